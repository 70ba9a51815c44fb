// Package loopback tests what is between machines with real sockets: mesh/p2p and membership/gossip, wired as cmd wires
// them, on the loopback interface of one machine.
package loopback
