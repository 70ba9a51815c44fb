// Package states says what is wanted: the language, the catalogue, who gets what, and the plan graph that comes of it.
// It is pure: its inputs are the tree, a node's tags and name, and the descriptions of the modules, so that any node can
// compute any other node's plan.
package states
