package store

import (
	"bytes"
	"slices"

	"shoal/membership"
)

// Transition computes a register's next value from its current one (nil: none was ever accepted). It must not have effects:
// it is called once a round. Returning current unchanged makes the round a read that is safe to answer from. Returning nil
// ends the round without a write.
type Transition func(current []byte) (next []byte)

// Step of a proposal.
type ProposalStep uint8

// The steps.
const (
	Preparing ProposalStep = iota + 1
	Accepting
	Chosen   // Value was accepted by a majority
	Declined // the change returned nil
	Lost     // somebody's higher ballot is in the way: wait a random time, then Begin again
)

// Proposal is the proposer's side of one change of one register: a state machine that is told the answers and says what
// to ask. It sends nothing and knows no time; whoever drives it begins a new round when answers stay out.
//
// However answers are lost, repeated or late, at most one value is chosen for each ballot, and a later ballot sees it.
type Proposal struct {
	Register string
	Epoch    uint64
	Members  []membership.NodeID
	Change   Transition
	// Seal, when set, leaves the value as it is and closes the epoch: these are the acceptors of the next.
	Seal []Seat
	// After is a number that a majority is known to have promised; the first round is above it, and need not be lost to learn it.
	After uint64
	// Then, when set, is asked to be promised along with the value: a ballot for Resume.
	Then Ballot

	step     ProposalStep
	ballot   Ballot
	promises answers
	accepted Ballot // highest among the promises
	current  []byte
	value    []byte
	next     []Seat // of current, then of value
	votes    answers
	then     []membership.NodeID // promised Then with their votes
	refusals map[membership.NodeID]Refusal
	promised map[membership.NodeID]uint64 // numbers of the ballots that were promised to others, in this round
}

// Begin starts a round with a ballot above all that were seen, and returns what to send to all members. run is the
// proposer's number for this proposal, which none of its others has: two values must never stand under one ballot.
func (p *Proposal) Begin(self membership.NodeID, run uint64) Prepare {
	number := max(p.ballot.Number, p.After, p.inTheWay()) + 1
	p.ballot = Ballot{Number: number, Proposer: self, Run: run}
	p.step, p.accepted, p.current, p.value, p.next = Preparing, Ballot{}, nil, nil, nil
	p.promises, p.votes, p.then = newAnswers(p.Members), newAnswers(p.Members), nil
	p.refusals, p.promised = map[membership.NodeID]Refusal{}, map[membership.NodeID]uint64{}
	return p.Prepare()
}

// inTheWay is the number above which a majority of those that answered the last round would promise. It is not the highest
// that was told: one acceptor that lies could name a number that all others refuse.
func (p *Proposal) inTheWay() uint64 {
	var told []uint64
	for _, id := range p.Members {
		if number, ok := p.promised[id]; ok {
			told = append(told, number)
		} else if p.promises.has(id) {
			told = append(told, p.ballot.Number)
		}
	}
	if len(told) == 0 {
		return 0
	}
	slices.Sort(told)
	number := told[min(Majority(len(p.Members)), len(told))-1]
	if len(told) < len(p.Members) { // among so few the liar may be the one that counts
		number = min(number, p.ballot.Number+MaxBallotStep-1) // those who promised this round's follow
	}
	return number
}

// Climbs tells whether what is in the way is further up than the next round may go.
func (p *Proposal) Climbs() bool { return p.inTheWay() == p.ballot.Number+MaxBallotStep-1 }

// Lift is for an acceptor that refuses this round's ballot since it has promised so little that it does not follow in one step,
// as when a member with bad intent has raised the others. It is asked to promise as much as it can, which counts
// for nothing but that promised is higher then. False: it is near enough.
func (p *Proposal) Lift(promised uint64) (Prepare, bool) {
	if p.ballot.Number <= promised || p.ballot.Number-promised <= MaxBallotStep {
		return Prepare{}, false
	}
	m := p.Prepare()
	m.Ballot.Number = promised + MaxBallotStep
	return m, true
}

// Prepare is the message of the first half of this round, to be repeated to whoever was not ready for it.
func (p *Proposal) Prepare() Prepare {
	return Prepare{Register: p.Register, Epoch: p.Epoch, Ballot: p.ballot}
}

// Accept is the message of the second half of this round.
func (p *Proposal) Accept() Accept {
	return Accept{Register: p.Register, Epoch: p.Epoch, Ballot: p.ballot, Value: p.value, Next: p.next, Then: p.Then}
}

// Lease is what a proposer has been promised along with its last value: a ballot for the next.
type Lease struct {
	ballot   Ballot
	epoch    uint64
	members  []membership.NodeID
	accepted Ballot
	value    []byte
}

// Number is that of the lease's ballot in an epoch: in another it means nothing.
func (l Lease) Number(epoch uint64) uint64 {
	if l.epoch != epoch {
		return 0
	}
	return l.ballot.Number
}

// Lease returns what a chosen proposal was promised for its Then; ok is false unless all of the majority that chose it did.
func (p *Proposal) Lease() (l Lease, ok bool) {
	promised := 0
	for _, id := range p.then {
		if p.votes.counts(id) {
			promised++
		}
	}
	if p.step != Chosen || len(p.next) > 0 || promised < Majority(len(p.Members)) {
		return l, false
	}
	return Lease{p.Then, p.Epoch, p.Members, p.ballot, p.value}, true
}

// Holds tells whether the lease was given along with a value: when another was chosen since, it is over.
func (l Lease) Holds(value []byte) bool { return bytes.Equal(l.value, value) }

// Resume starts the second half of a round whose first half was done with the value before. What the majority told then, in
// the starts that it was in, is what it would tell in promises for this ballot: that it accepted that value, and nothing later.
func (p *Proposal) Resume(l Lease) (Accept, bool) {
	if p.Epoch != l.epoch || !slices.Equal(p.Members, l.members) || len(p.Seal) > 0 {
		return Accept{}, false
	}
	value := p.Change(l.value)
	if value == nil {
		return Accept{}, false
	}
	p.ballot, p.step, p.accepted, p.current, p.value, p.next = l.ballot, Accepting, l.accepted, l.value, value, nil
	p.promises, p.votes, p.then = newAnswers(p.Members), newAnswers(p.Members), nil
	p.refusals, p.promised = map[membership.NodeID]Refusal{}, map[membership.NodeID]uint64{}
	return p.Accept(), true
}

// Step says where the proposal is.
func (p *Proposal) Step() ProposalStep { return p.step }

// Ballot is that of the current round.
func (p *Proposal) Ballot() Ballot { return p.ballot }

// Value is what is proposed (Accepting) or chosen (Chosen).
func (p *Proposal) Value() []byte { return p.value }

// Next are the acceptors of the next epoch, when Value closes this one.
func (p *Proposal) Next() []Seat { return p.next }

// Voted tells whether a member's vote counts for Value.
func (p *Proposal) Voted(id membership.NodeID) bool { return p.votes.counts(id) }

// Fenced are the members that refused in this round since they may have forgotten what they promised.
func (p *Proposal) Fenced() (members []membership.NodeID) {
	for _, id := range p.Members {
		if p.refusals[id] == RefusedFenced {
			members = append(members, id)
		}
	}
	return members
}

// Current is what the promises told of the register, when Declined.
func (p *Proposal) Current() []byte { return p.current }

// Promised takes an answer to Prepare. It returns true when the proposal has just moved on: to Accepting, Declined or Lost.
func (p *Proposal) Promised(from membership.NodeID, m Promise) bool {
	if m.Ballot != p.ballot || !slices.Contains(p.Members, from) || p.promises.has(from) {
		return false
	}
	if p.step == Lost && m.Refused == RefusedBallot {
		p.promised[from] = m.Promised.Number // for the next round
	}
	if p.step != Preparing {
		return false
	}
	if m.Refused != "" {
		return p.refused(from, m.Refused, m.Promised)
	}
	p.promises.add(from, m.Starts)
	if !m.Accepted.IsZero() && m.Accepted.Compare(p.accepted) > 0 {
		p.accepted, p.current, p.next = m.Accepted, m.Value, m.Next
	}
	if p.promises.count() < Majority(len(p.Members)) {
		return false
	}
	p.step = Accepting
	switch {
	case len(p.next) > 0: // sealed, perhaps by a majority: it is finished as it is
		p.value = p.current
	case len(p.Seal) > 0:
		p.value, p.next = p.current, p.Seal
	default:
		if p.value = p.Change(p.current); p.value == nil {
			p.step = Declined
		}
	}
	return true
}

// Accepted takes an answer to Accept whose signature was checked. It returns true when the proposal has just moved on: to
// Chosen or Lost.
func (p *Proposal) Accepted(from membership.NodeID, m Accepted) bool {
	if p.step != Accepting || m.Ballot != p.ballot || !slices.Contains(p.Members, from) || p.votes.has(from) {
		return false
	}
	if m.Refused != "" {
		return p.refused(from, m.Refused, m.Promised)
	}
	p.votes.add(from, m.Starts)
	if !p.Then.IsZero() && m.Promised == p.Then {
		p.then = append(p.then, from)
	}
	if p.votes.count() < Majority(len(p.Members)) {
		return false
	}
	p.step = Chosen
	return true
}

// refused gives the round up as soon as no majority can be had any more. One higher ballot alone does not end it: the
// others may still suffice.
func (p *Proposal) refused(from membership.NodeID, why Refusal, promised Ballot) bool {
	if why == RefusedBallot {
		p.promised[from] = promised.Number
	}
	if why == RefusedUnknown || why == RefusedMembers || why == RefusedEpoch {
		return false // may be asked again in this round, once it was told
	}
	p.refusals[from] = why
	if len(p.Members)-len(p.refusals) >= Majority(len(p.Members)) {
		return false
	}
	p.step = Lost
	return true
}
