package store

import (
	"cmp"
	"fmt"

	"shoal/membership"
)

// Ballot orders the attempts at one register. Two attempts never share one: the proposer keeps its own apart by the
// number, other proposers by their id, and its other proposals, also those of before a restart that it has forgotten, by Run.
type Ballot struct {
	_        struct{} `cbor:",toarray"`
	Number   uint64
	Proposer membership.NodeID
	Run      uint64 // of the proposal: counted up from what the proposer drew at its start
}

// Compare is negative when b is before o, zero when they are one, positive otherwise.
func (b Ballot) Compare(o Ballot) int {
	return cmp.Or(cmp.Compare(b.Number, o.Number), cmp.Compare(b.Proposer, o.Proposer), cmp.Compare(b.Run, o.Run))
}

// IsZero says that there was no attempt yet.
func (b Ballot) IsZero() bool { return b == Ballot{} }

// String is for people.
func (b Ballot) String() string { return fmt.Sprintf("%d.%s", b.Number, b.Proposer.Short()) }

// Majority is the least number of n acceptors of which any two sets share one.
func Majority(n int) int { return n/2 + 1 }
