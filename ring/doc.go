// Package ring says who owns a key: a pure function of the members, the nodes that are out, their zones and the
// version of the algorithm.
package ring
