// Package simulation runs whole meshes of the cores that ship in one goroutine and in virtual time: a network, disks, clocks,
// processes and clients that fail in every way that docs/simulation.md lists, all of it drawn from one seed, so that what went
// wrong can be run again. Nothing here waits: a minute of a mesh takes a few milliseconds.
package simulation
