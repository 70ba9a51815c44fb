package store

import (
	"fmt"
	"slices"
	"strings"

	"shoal/membership"
)

// The acceptors of a register change from one epoch to the next:
//
//	epoch e      any proposer: prepare, then accept(value as it was read, Next = acceptors of e+1): the seal
//	             a majority of e votes for it: the epoch is over, and its value final
//	epoch e+1    each acceptor of Next installs the value, shown the votes, and only then answers
//
// A push at the same time was accepted before the seal, and is the value that the seal carries; or it reads the seal, finishes
// it unchanged, and begins again in e+1. What an acceptor accepted of a seal that no majority saw yet binds it to nothing:
// a higher ballot may put another value in its place, as with any value.

// Seat is one place among the acceptors of a register: a node, with the disk that it has. A node that lost its disk does not
// get its place back by its name: it would vote with its promises forgotten.
type Seat struct {
	_    struct{} `cbor:",toarray"`
	Node membership.NodeID
	Disk uint64 // 0: not known. Nobody installs itself in such a place
}

// NodesOf are the nodes of some seats, in their order.
func NodesOf(seats []Seat) []membership.NodeID {
	out := make([]membership.NodeID, len(seats))
	for i, s := range seats {
		out[i] = s.Node
	}
	return out
}

// MaxSeats bounds the acceptors of a head.
const MaxSeats = 5

func checkSeats(seats []Seat) error {
	if len(seats) == 0 || len(seats) > MaxSeats {
		return fmt.Errorf("%d seats", len(seats))
	}
	for i := 1; i < len(seats); i++ {
		if seats[i-1].Node >= seats[i].Node {
			return fmt.Errorf("seats are not sorted or twice there")
		}
	}
	return nil
}

// OpenSeal verifies that a majority of the acceptors of an epoch sealed it. Votes are those of a Certificate; what is the value
// they carry is told by its hash alone.
func OpenSeal(votes membership.Signed, register string, epoch uint64, members []membership.NodeID) (Vote, error) {
	var vote Vote
	keys, err := votes.Open(membership.DomainAccepted, &vote)
	if err != nil {
		return vote, fmt.Errorf("%w of %s: %w", ErrCertificate, register, err)
	}
	if vote.Register != register || vote.Epoch != epoch {
		return vote, fmt.Errorf("%w of %s: the votes are for something else", ErrCertificate, register)
	}
	if err := checkSeats(vote.Next); err != nil {
		return vote, fmt.Errorf("seal of %s: %w", register, err)
	}
	_, err = votersAmong(register, keys, members)
	return vote, err
}

// Reseat chooses the acceptors of the next epoch; where it returns seats as they are, nothing is to change. A seat that is
// good stays. One that is not goes to the highest-ranked of the candidates, who are live, and whose disks are known; and
// there are 5 as soon as there are as many, or 3. Where nobody can take a seat its holder keeps it, unless it is gone for
// good.
func Reseat(env string, seats []Seat, good, gone func(Seat) bool, candidates []Seat) []Seat {
	keep := slices.DeleteFunc(slices.Clone(seats), func(s Seat) bool { return !good(s) })
	disks, taken := map[membership.NodeID]uint64{}, NodesOf(keep)
	var free []membership.NodeID
	for _, c := range candidates {
		if !slices.Contains(taken, c.Node) {
			disks[c.Node], free = c.Disk, append(free, c.Node)
		}
	}
	all := len(keep) + len(free)
	size := min(all, len(seats)) // 2 are no better than 1: either is needed
	switch {
	case all >= MaxSeats:
		size = MaxSeats
	case all >= 3:
		size = 3
	}
	if len(keep) == len(seats) && len(keep) >= size || len(keep) > MaxSeats {
		return seats
	}
	next := keep[:min(len(keep), size)]
	for _, id := range highest(HeadRegister(env), free, size-len(next)) {
		next = append(next, Seat{Node: id, Disk: disks[id]})
	}
	if len(next) < len(seats) && !slices.ContainsFunc(seats, gone) {
		return seats
	}
	slices.SortFunc(next, func(a, b Seat) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return next
}

// firstBallot is below all that a proposer makes, and above none at all. The value that an epoch begins with stands at it: a
// ballot of the epoch before could be above one of this epoch, and hide what was chosen here.
var firstBallot = Ballot{Run: 1}

// Move is what a chosen seal makes of an acceptor, or of a node that was none: it installs the value that the seal carried,
// when it has a place on this disk in the next epoch. ok is false when it has neither a place before nor after.
func (a Acceptor) Move(register string, epoch uint64, next []Seat, value []byte, self Seat) (moved Acceptor, ok bool) {
	if a.Phase != 0 && a.Epoch > epoch {
		return a, false
	}
	if !slices.Contains(next, self) || self.Disk == 0 {
		if a.Phase == 0 || a.Phase == Moved {
			return a, false
		}
		a.Phase = Moved
		return a, true
	}
	moved = Acceptor{Register: register, Epoch: epoch + 1, Members: NodesOf(next), Phase: Active, Disk: self.Disk}
	if len(value) > 0 {
		moved.Promised, moved.Accepted, moved.Value = firstBallot, firstBallot, slices.Clone(value)
	}
	return moved, true
}
