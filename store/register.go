package store

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"shoal/internal/codec"
	"shoal/membership"
)

// A register is one value with compare-and-swap, kept by its acceptors and moved by whoever proposes: CASPaxos
// (Rystsov, "CASPaxos: Replicated State Machines without logs", 2018). One change takes two round trips:
//
//	proposer                     acceptors (a majority must answer)
//	   │ prepare(ballot) ───────────▶ promise to refuse lower ballots; tell what was accepted
//	   │ ◀─────────────── promise ──
//	   │ next = change(value of the highest accepted ballot)
//	   │ accept(ballot, next) ──────▶ unless a higher ballot was promised: keep it, sign a vote
//	   │ ◀────────────── accepted ──
//	   ▼ a majority of votes is the value's certificate
//
// The acceptors are part of the acceptor's own record, never derived from gossip or from the ring.

// Limits of a register.
const (
	MaxRegisterName  = 80
	MaxRegisterValue = 24 << 10
	MaxAcceptors     = 127 // so that a majority's votes fit into one record, see membership.MaxSignatures
)

// MaxBallotStep is how far a ballot may be above what its acceptor promised. A proposer raises its number by one; without a
// limit one message with the highest number there is would leave the register without a ballot for anybody else, for ever.
const MaxBallotStep = 1 << 20

// Phase of an acceptor's configuration.
type Phase uint8

// The phases; register_config.go says how they follow each other. One that is Moved answers nothing but that.
const (
	Active Phase = iota + 1
	Sealed       // what it accepted last is a seal, which may have been chosen or not
	Moved        // a seal was chosen, and this acceptor has no place in what comes after
)

// Refusal is why an acceptor did not do what it was asked.
type Refusal string

// The refusals. An empty one means that it did.
const (
	RefusedBallot   Refusal = "ballot"   // a higher ballot was promised; Promised says which
	RefusedEpoch    Refusal = "epoch"    // another epoch, or not active
	RefusedUnknown  Refusal = "unknown"  // no state was installed: an acceptor that knows nothing promises nothing
	RefusedMembers  Refusal = "members"  // the asker means another set of acceptors
	RefusedValue    Refusal = "value"    // not a value that this register may hold
	RefusedStranger Refusal = "stranger" // the ballot names a proposer other than the sender
	RefusedVolatile Refusal = "volatile" // this node would forget its promise at a restart
	RefusedFenced   Refusal = "fenced"   // what this node has promised may be forgotten; see register_fence.go
)

// Acceptor is what one acceptor keeps of one register. It is made durable after each change and before the answer that
// follows from it leaves.
type Acceptor struct {
	Register string              `cbor:"1,keyasint"`
	Epoch    uint64              `cbor:"2,keyasint"`
	Members  []membership.NodeID `cbor:"3,keyasint"`
	Promised Ballot              `cbor:"4,keyasint"`
	Accepted Ballot              `cbor:"5,keyasint"`
	Value    []byte              `cbor:"6,keyasint"`
	Phase    Phase               `cbor:"7,keyasint"`
	// Disk is the disk that was given the place: on another one this record is a copy, and does not vote. 0 in a directory.
	Disk uint64 `cbor:"8,keyasint,omitempty"`
	// Order is the revision on whose word a directory has its Members, see OpenOrder.
	Order []byte `cbor:"10,keyasint,omitempty"`
	Next  []Seat `cbor:"9,keyasint,omitempty"` // with Sealed: the acceptors of the next epoch, accepted with Value
}

// Install makes the first state of an acceptor. Members are the acceptors of the register, this one among them.
func Install(register string, epoch uint64, members []membership.NodeID) (Acceptor, error) {
	if err := checkAcceptors(register, members); err != nil {
		return Acceptor{}, err
	}
	return Acceptor{Register: register, Epoch: epoch, Members: slices.Clone(members), Phase: Active}, nil
}

func checkAcceptors(register string, members []membership.NodeID) error {
	switch {
	case register == "" || len(register) > MaxRegisterName:
		return fmt.Errorf("register name of %d bytes", len(register))
	case len(members) == 0 || len(members) > MaxAcceptors:
		return fmt.Errorf("register %s: %d acceptors", register, len(members))
	}
	for i := 1; i < len(members); i++ {
		if members[i-1] >= members[i] {
			return fmt.Errorf("register %s: acceptors are not sorted or twice there", register)
		}
	}
	return nil
}

// Prepare asks for a promise.
type Prepare struct {
	Register string
	Epoch    uint64
	Ballot   Ballot
}

// Promise answers a Prepare. Refused empty: the acceptor will refuse all ballots below Ballot, and has accepted Value at
// Accepted (zero: nothing yet).
type Promise struct {
	Ballot   Ballot
	Refused  Refusal
	Promised Ballot // with RefusedBallot: what stands against it
	Accepted Ballot
	Value    []byte
	Next     []Seat
	Starts   []uint64 // of each of Members, as far as the acceptor has heard; see register_fence.go
}

// Accept asks to keep a value. With Next it is a seal. Then is a later ballot of the same proposer, which asks for its promise
// along with this: as long as nobody else comes, the next value needs no round of its own to be prepared (Rystsov, section 2.2.1).
type Accept struct {
	Register string
	Epoch    uint64
	Ballot   Ballot
	Value    []byte
	Next     []Seat
	Then     Ballot
}

// Accepted answers an Accept; whoever carries it adds the acceptor's signature of the Vote.
type Accepted struct {
	Ballot   Ballot
	Refused  Refusal
	Promised Ballot   // with RefusedBallot: what stands against it; else Then, when that is promised too
	Starts   []uint64 // as Promise has it
}

// Prepare returns the record to keep and the answer to send once it is kept. A ballot equal to the promised one is refused
// too: each acceptor promises a ballot once, or a proposer that forgot could use it for a second value.
func (a Acceptor) Prepare(m Prepare) (Acceptor, Promise) {
	if refused := a.refuses(m.Register, m.Epoch); refused != "" {
		return a, Promise{Ballot: m.Ballot, Refused: refused}
	}
	if m.Ballot.Compare(a.Promised) <= 0 || a.leaps(m.Ballot) {
		return a, Promise{Ballot: m.Ballot, Refused: RefusedBallot, Promised: a.Promised}
	}
	a.Promised = m.Ballot
	return a, Promise{Ballot: m.Ballot, Accepted: a.Accepted, Value: a.Value, Next: a.Next}
}

// Accept returns the record to keep and the answer to send once it is kept. Repeating it changes nothing, but is refused when
// Then was promised with it. Another value at the same ballot is refused, or a proposer with bad intent could have two of them
// chosen, each with a certificate.
func (a Acceptor) Accept(m Accept) (Acceptor, Accepted) {
	if refused := a.refuses(m.Register, m.Epoch); refused != "" {
		return a, Accepted{Ballot: m.Ballot, Refused: refused}
	}
	if m.Ballot.Compare(a.Promised) < 0 || a.leaps(m.Ballot) {
		return a, Accepted{Ballot: m.Ballot, Refused: RefusedBallot, Promised: a.Promised}
	}
	if len(m.Value) == 0 && len(m.Next) == 0 || len(m.Value) > MaxRegisterValue || len(m.Next) > 0 && checkSeats(m.Next) != nil {
		return a, Accepted{Ballot: m.Ballot, Refused: RefusedValue}
	}
	if m.Ballot == a.Accepted && !(bytes.Equal(m.Value, a.Value) && slices.Equal(m.Next, a.Next)) {
		return a, Accepted{Ballot: m.Ballot, Refused: RefusedValue}
	}
	a = a.take(m.Ballot, m.Value, m.Next)
	answer := Accepted{Ballot: m.Ballot}
	if m.Then.Compare(m.Ballot) > 0 && m.Then.Proposer == m.Ballot.Proposer && !a.leaps(m.Then) && len(m.Next) == 0 {
		a.Promised, answer.Promised = m.Then, m.Then
	}
	return a, answer
}

func (a Acceptor) take(b Ballot, value []byte, next []Seat) Acceptor {
	a.Promised, a.Accepted, a.Value, a.Next, a.Phase = b, b, slices.Clone(value), slices.Clone(next), Active
	if len(next) > 0 {
		a.Phase = Sealed
	}
	return a
}

func (a Acceptor) leaps(b Ballot) bool {
	return b.Number > a.Promised.Number && b.Number-a.Promised.Number > MaxBallotStep
}

// Learn takes in what a certificate shows to be chosen, as if the Accept had come just now: an acceptor that was away cannot
// be made to vote for something older, and does not stay behind with its ballots. The certificate must have been verified.
func (a Acceptor) Learn(c Certificate) Acceptor {
	vote, err := c.Vote()
	if err != nil || a.refuses(vote.Register, vote.Epoch) != "" || HashOf(c.Value) != vote.Value {
		return a
	}
	return a.remember(vote.Ballot, vote.Ballot, c.Value, vote.Next)
}

// remember takes in what others have promised and accepted. Whatever was proposed at a ballot may be told of by anybody: the
// promises that it rests on were given before.
func (a Acceptor) remember(promised, accepted Ballot, value []byte, next []Seat) Acceptor {
	if accepted.Compare(a.Accepted) > 0 {
		before := a.Promised
		a = a.take(accepted, value, next)
		if before.Compare(a.Promised) > 0 {
			a.Promised = before
		}
	}
	if promised.Compare(a.Promised) > 0 {
		a.Promised = promised
	}
	return a
}

func (a Acceptor) refuses(register string, epoch uint64) Refusal {
	switch {
	case a.Phase == 0 || a.Register != register:
		return RefusedUnknown
	case a.Epoch != epoch || a.Phase == Moved:
		return RefusedEpoch
	}
	return ""
}

// ErrCertificate is returned for a value that no majority of its acceptors is known to have accepted.
var ErrCertificate = errors.New("no certificate")

// Vote is what an acceptor signs (membership.DomainAccepted) when it accepted a value. All acceptors of one round sign the
// same bytes, so that a majority's signatures stand under one record.
type Vote struct {
	Register string `cbor:"1,keyasint"`
	Epoch    uint64 `cbor:"2,keyasint"`
	Ballot   Ballot `cbor:"3,keyasint"`
	Value    Hash   `cbor:"4,keyasint"` // hash of the value
	Next     []Seat `cbor:"5,keyasint,omitempty"`
}

// Certificate shows that a majority of acceptors accepted a value: it is chosen, and whoever holds it needs to ask nobody.
type Certificate struct {
	Value []byte            `cbor:"1,keyasint"`
	Votes membership.Signed `cbor:"2,keyasint"`
}

// Vote is what was signed, unverified.
func (c Certificate) Vote() (vote Vote, err error) {
	if c.Votes.Domain != membership.DomainAccepted {
		return vote, fmt.Errorf("%w: a record of kind %q", ErrCertificate, c.Votes.Domain)
	}
	err = codec.Unmarshal(c.Votes.Body, &vote)
	return vote, err
}

// Verify checks that a majority of members signed that the register accepted the value in this epoch, and returns the
// members that did.
func (c Certificate) Verify(register string, epoch uint64, members []membership.NodeID) ([]membership.NodeID, error) {
	if err := checkAcceptors(register, members); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	var vote Vote
	keys, err := c.Votes.Open(membership.DomainAccepted, &vote)
	if err != nil {
		return nil, fmt.Errorf("%w of %s: %w", ErrCertificate, register, err)
	}
	if vote.Register != register || vote.Epoch != epoch || vote.Value != HashOf(c.Value) {
		return nil, fmt.Errorf("%w of %s: the votes are for something else", ErrCertificate, register)
	}
	return votersAmong(register, keys, members)
}

func votersAmong(register string, keys []ed25519.PublicKey, members []membership.NodeID) ([]membership.NodeID, error) {
	var voters []membership.NodeID
	for _, key := range keys {
		if id := membership.IDOf(key); slices.Contains(members, id) {
			voters = append(voters, id)
		}
	}
	if len(voters) < Majority(len(members)) {
		return nil, fmt.Errorf("%w of %s: %d of %d acceptors", ErrCertificate, register, len(voters), len(members))
	}
	return voters, nil
}
