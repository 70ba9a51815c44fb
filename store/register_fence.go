package store

import (
	"errors"
	"slices"

	"shoal/membership"
)

// The fence keeps an acceptor that has forgotten from voting as if it had not.
//
// A disk that was wiped is another disk: it has no seat, so what it forgot is its predecessor's. A disk that went back in time
// looks like any disk at a start. So at each start but its first an acceptor votes only once it has asked the others how far
// the register is, and they have written down that it started again: Recovered says how many. Whatever this acceptor took
// part in, one of those took part in it before they were asked, and tells; or after, and then it tells the proposer of the new
// start, who does not count what the acceptor said before it. These are the crash-consistent quorums of Michael, Ports,
// Sharma and Szekeres ("Recovering shared objects without stable storage", DISC 2017), as the second line of defence
// behind disks that keep what was synced.

// Incarnation is a node's word for the start that it is in, signed by it (membership.DomainIncarnation).
type Incarnation struct {
	Node  membership.NodeID `cbor:"1,keyasint"`
	Disk  uint64            `cbor:"2,keyasint"` // drawn when the disk was empty
	Start uint64            `cbor:"3,keyasint"` // counts the starts from this disk
	Nonce uint64            `cbor:"4,keyasint"` // two starts with one number: the disk went back in time
}

// ErrAmnesia says that an acceptor may have forgotten what it promised.
var ErrAmnesia = errors.New("amnesia")

// Outdates tells whether i shows that o's disk went back in time since i.
func (i Incarnation) Outdates(o Incarnation) bool {
	return i.Node == o.Node && i.Disk == o.Disk && (i.Start > o.Start || i.Start == o.Start && i.Nonce != o.Nonce)
}

// Recovered is how many of the other acceptors must have answered one that starts again: so many that each majority that it
// was ever part of has one of them.
func Recovered(acceptors int) int { return min(acceptors-1, acceptors-Majority(acceptors)+1) }

// Recall takes in what another acceptor tells one that starts again; counts says whether that one has now heard it. Who has
// moved on does not count: it may know of a seal that it never accepted, and that is to be learned first. Who is not there
// yet has taken part in nothing.
func (a Acceptor) Recall(told Acceptor) (recalled Acceptor, counts bool) {
	switch {
	case told.Phase == 0 || told.Epoch < a.Epoch:
		return a, true
	case told.Phase == Moved || a.refuses(told.Register, told.Epoch) != "":
		return a, false
	}
	return a.remember(told.Promised, told.Accepted, told.Value, told.Next), true
}

// answers are those of one half of a round, each with the start in which it was given.
type answers struct {
	members []membership.NodeID
	given   map[membership.NodeID]uint64
	known   []uint64 // highest start that anybody told of, of each member
}

func newAnswers(members []membership.NodeID) answers {
	return answers{members: members, given: map[membership.NodeID]uint64{}, known: make([]uint64, len(members))}
}

func (a answers) has(id membership.NodeID) bool {
	_, ok := a.given[id]
	return ok
}

// add counts an answer, and no longer those which it shows to be of a start that is over. Without starts it shows nothing.
func (a answers) add(id membership.NodeID, starts []uint64) {
	own := uint64(0)
	if len(starts) == len(a.members) {
		for i, s := range starts {
			a.known[i] = max(a.known[i], s)
		}
		own = starts[slices.Index(a.members, id)]
	}
	a.given[id] = own
}

func (a answers) counts(id membership.NodeID) bool {
	start, given := a.given[id]
	return given && (start == 0 || start >= a.known[slices.Index(a.members, id)])
}

func (a answers) count() int {
	n := 0
	for _, id := range a.members {
		if a.counts(id) {
			n++
		}
	}
	return n
}
