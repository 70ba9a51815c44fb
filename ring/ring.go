package ring

import "shoal/membership"

// Partitions is the fixed number of slices of the key space.
const Partitions = 4096

// Partition is one slice of the key space, 0 to Partitions-1.
type Partition uint16

// Node is a member as placement sees it.
type Node struct {
	ID   membership.NodeID
	Zone string
}

// Ring answers who owns a partition. Two rings made from equal members are equal. It is immutable and safe for many
// goroutines.
type Ring interface {
	// Version names the algorithm and its parameters, such as "token/1"; it travels with every request for data.
	Version() string
	// PartitionOf places a key, such as an object's hash.
	PartitionOf(key []byte) Partition
	// Owners returns at most n distinct nodes, the first owner first; fewer when the mesh has fewer.
	Owners(p Partition, n int) []membership.NodeID
	// AppendOwners appends what Owners returns to a slice: for those who go over all partitions.
	AppendOwners(to []membership.NodeID, p Partition, n int) []membership.NodeID
	// Nodes returns all members, sorted by id.
	Nodes() []Node
}
