package mesh

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// registers is this node's part in the registers: as an acceptor, and as a proposer.
type registers struct {
	acceptors map[string]store.Acceptor
	proposals map[string]*proposal
	leases    map[string]store.Lease     // of the heads that this node advanced last
	usual     time.Duration              // of a round that succeeds: one that takes longer is given up only by that measure, or load would make more
	volatile  map[membership.NodeID]bool // those that told so, to be chosen last
}

func newRegisters() registers {
	return registers{
		acceptors: map[string]store.Acceptor{}, proposals: map[string]*proposal{}, leases: map[string]store.Lease{}, volatile: map[membership.NodeID]bool{},
	}
}

// mayVote tells whether this node may be an acceptor: what it promises must outlive it. A node without a mesh has nobody to
// contradict.
func (c *Core) mayVote() bool { return !c.cfg.Volatile || c.people.roster.Chain() == nil }

// maxRegisters bounds the acceptors that peers can make a node keep.
const maxRegisters = 4 * maxEnvs

// onPrepare answers for the acceptor. What it promises is saved before the answer leaves.
func (c *Core) onPrepare(from membership.NodeID, m *Prepare) {
	answer := &Promise{Register: m.Register, Ballot: m.Ballot}
	if m.Ballot.Proposer != from {
		answer.Refused = store.RefusedStranger
		c.send(from, answer)
		return
	}
	if !c.mayVote() {
		answer.Refused = store.RefusedVolatile
		c.send(from, answer)
		return
	}
	if !c.mayDirect(from, m, answer) || c.elsewhere(from, m.Register, m.Epoch) {
		return
	}
	if c.fenced(m.Register) {
		answer.Refused = store.RefusedFenced
		c.send(from, answer)
		return
	}
	kept, promise := c.registers.acceptors[m.Register].Prepare(store.Prepare{
		Register: m.Register, Epoch: m.Epoch, Ballot: m.Ballot,
	})
	if promise.Refused == "" {
		c.registers.acceptors[m.Register] = kept
		c.save(keyAcceptor+m.Register, kept)
	}
	answer.Refused, answer.Promised = promise.Refused, promise.Promised
	answer.Accepted, answer.Value, answer.Next = promise.Accepted, promise.Value, promise.Next
	answer.Starts = c.starts(from, m.Register, m.Epoch)
	if promise.Refused == "" {
		answer.Word = c.word(from, m, promise.Accepted)
	}
	if len(m.Order) == 0 {
		answer.Order = kept.Order
	}
	c.send(from, answer)
}

// mayDirect prepares the acceptor of a directory register: it installs itself when the proposer means the electorate that
// this node's own roster gives, and from then on answers for no other. An environment that is known to exist is not
// created again: the asker is shown the creation.
func (c *Core) mayDirect(from membership.NodeID, m *Prepare, answer *Promise) bool {
	env, ok := strings.CutPrefix(m.Register, store.DirectoryRegister(""))
	if !ok {
		return true
	}
	if store.CheckEnv(env) != nil {
		answer.Refused = store.RefusedValue
		c.send(from, answer)
		return false
	}
	if creation, known := c.heads.creations[env]; known {
		tell := &HeadTell{}
		tell.Creation, tell.Recovery = creation.beginning()
		c.send(from, tell)
		return false
	}
	if c.people.joins {
		answer.Refused = store.RefusedUnknown
		c.send(from, answer)
		return false
	}
	a, installed := c.registers.acceptors[m.Register]
	// Without an order it has been read at most: nothing is lost when it goes by one.
	bound := installed && (len(a.Order) > 0 || !a.Accepted.IsZero() || len(m.Order) == 0)
	if installed && slices.Equal(a.Members, m.Members) && (bound || c.mayElect(env, m)) {
		if !bound {
			a.Order = m.Order
			c.registers.acceptors[m.Register] = a // saved with the promise
		}
		return true
	}
	answer.Refused = store.RefusedMembers
	switch {
	case bound:
		answer.Members, answer.Order = a.Members, a.Order
	case !c.mayElect(env, m):
		c.askRoster(from)
	default:
		first, err := store.Install(m.Register, 0, m.Members)
		if err == nil && (installed || len(c.registers.acceptors) < maxRegisters) {
			first.Promised, first.Order = a.Promised, m.Order
			c.registers.acceptors[m.Register] = first // saved with the promise
			answer.Refused = ""
			return true
		}
	}
	c.send(from, answer)
	return false
}

// mayElect tells whether those whom a proposer means may decide who the acceptors of an environment are: all members, as far
// as this node knows them, or those whom a publisher has named, when they cannot decide past each other.
func (c *Core) mayElect(env string, m *Prepare) bool {
	own := store.Electorate(env, c.people.ids)
	if !slices.Contains(m.Members, c.self) {
		return false
	}
	if len(m.Order) == 0 {
		return slices.Equal(own, m.Members)
	}
	named, err := store.OpenOrder(env, m.Order, m.Members, c.Chain().EverPublished)
	if err != nil {
		c.note("refused to create an environment", m.Ballot.Proposer, env, err)
		return false
	}
	return slices.Equal(own, m.Members) || named && store.Agree(own, m.Members)
}

// onAccept answers for the acceptor, with its signed vote. A value that the register may not hold is refused: a member is
// no operator, and cannot make a head of what no publisher signed, nor of what is older than the head that is known, or does
// not follow it: whoever proposes by the rules has read that head from a majority.
func (c *Core) onAccept(from membership.NodeID, m *Accept) {
	answer := &Accepted{Register: m.Register, Ballot: m.Ballot}
	held, ok := c.mayHold(m)
	switch {
	case m.Ballot.Proposer != from:
		answer.Refused = store.RefusedStranger
	case !c.mayVote():
		answer.Refused = store.RefusedVolatile
	case c.fenced(m.Register):
		answer.Refused = store.RefusedFenced
	case !ok:
		answer.Refused = store.RefusedValue
	default:
		kept, accepted := c.registers.acceptors[m.Register].Accept(store.Accept{
			Register: m.Register, Epoch: m.Epoch, Ballot: m.Ballot, Value: m.Value, Next: m.Next, Then: m.then(),
		})
		answer.Refused, answer.Promised = accepted.Refused, accepted.Promised
		if accepted.Refused == "" {
			c.registers.acceptors[m.Register] = kept
			c.save(keyAcceptor+m.Register, kept)
			if len(held.Revision) > 0 { // the next value takes its place in the register
				c.keepSoon(held.Hash(), held.Revision, true)
			}
			answer.Vote, answer.Starts = c.vote(m), c.starts(from, m.Register, m.Epoch)
		}
	}
	c.send(from, answer)
}

// mayHold tells whether the register may hold the value, and what it is, when it is a head's.
func (c *Core) mayHold(m *Accept) (value store.HeadValue, ok bool) {
	if env, ok := strings.CutPrefix(m.Register, store.DirectoryRegister("")); ok {
		a := c.registers.acceptors[m.Register]
		_, err := store.OpenDirectoryValue(env, m.Value, a.Members)
		return value, err == nil && len(a.Order) > 0
	}
	env, ok := strings.CutPrefix(m.Register, store.HeadRegister(""))
	if !ok {
		return value, false
	}
	known, hasHead := c.heads.current[env]
	if len(m.Next) > 0 && (!c.mayReseat(env, m.Next) || len(m.Value) == 0 && hasHead) {
		return value, false
	}
	if len(m.Next) > 0 && len(m.Value) == 0 {
		return value, true
	}
	who := c.publishers()
	if hasHead && bytes.Equal(known.record.Certificate.Value, m.Value) || bytes.Equal(c.registers.acceptors[m.Register].Value, m.Value) {
		who = c.everPublishers() // it is carried on: what was accepted stays so when its publisher goes
	}
	value, _, err := store.OpenHeadValue(env, m.Value, who)
	if err != nil {
		return value, false
	}
	return value, c.standsOn(m, value, known.value)
}

// standsOn tells whether a value stands on the head that is known here. One that is so far ahead that it does not name that is refused,
// unless it stands on what this acceptor has accepted since: versions are pushed one by one, and an acceptor that has missed many
// learns of them before it votes, or whoever has a revision with a version far ahead could put it where no other follows.
//
// What was accepted and is not known to be chosen binds to nothing else: a higher ballot may have another value of the same version,
// whose proposer read it from a majority that had never heard of this one.
func (c *Core) standsOn(m *Accept, value, known store.HeadValue) bool {
	if known.Version > 0 && value.Version <= known.Version+store.MaxBefore {
		return value.Succeeds(known)
	}
	if known.Version == 0 && value.Version <= store.MaxBefore {
		return uint64(len(value.Before))+1 == value.Version
	}
	var accepted store.HeadValue
	if a := c.registers.acceptors[m.Register]; len(a.Value) > 0 && codec.Unmarshal(a.Value, &accepted) != nil {
		return false
	}
	base := max(accepted.Version, known.Version)
	if value.Version >= base && value.Version-base <= store.MaxBefore {
		return base == 0 || value.Succeeds(accepted)
	}
	c.askSpaced(m.Ballot.Proposer, strings.TrimPrefix(m.Register, store.HeadRegister("")) == c.Env())
	return false
}

// elsewhere shows an asker that is at an older epoch what came after, and asks one that is ahead. Either way this acceptor's
// answer, which would be a refusal, is not worth a message of its own.
func (c *Core) elsewhere(from membership.NodeID, register string, epoch uint64) bool {
	env, ok := strings.CutPrefix(register, store.HeadRegister(""))
	created, known := c.heads.creations[env]
	if !ok || !known || from == c.self || epoch == created.epoch() {
		return false
	}
	if epoch < created.epoch() {
		c.tellConfiguration(from, env, epoch)
		return true
	}
	return false
}

// learnChosen brings this node's acceptor up to a head that was certified by others.
func (c *Core) learnChosen(h store.HeadRecord) {
	register := store.HeadRegister(h.Env)
	a, installed := c.registers.acceptors[register]
	if !installed {
		return
	}
	learned := a.Learn(h.Certificate)
	if learned.Promised != a.Promised || learned.Accepted != a.Accepted {
		c.registers.acceptors[register] = learned
		c.save(keyAcceptor+register, learned)
	}
}

// vote signs that this acceptor accepted.
func (c *Core) vote(m *Accept) membership.Signature {
	signed, err := membership.Sign(membership.DomainAccepted, store.Vote{
		Register: m.Register, Epoch: m.Epoch, Ballot: m.Ballot, Value: store.HashOf(m.Value), Next: m.Next,
	}, c.cfg.Key)
	if err != nil {
		return membership.Signature{} // a vote always encodes; an empty one counts for nothing
	}
	return signed.Signatures[0]
}

// ballotVotes gathers the votes of one round under one record.
type ballotVotes struct {
	record membership.Signed
	ballot store.Ballot
}

// add verifies a vote and keeps it; false: it is not worth anything. One's own is as good as it is.
func (v *ballotVotes) add(from membership.NodeID, m store.Accept, sig membership.Signature, own bool) bool {
	if membership.IDOf(sig.Key) != from || len(sig.Key) != ed25519.PublicKeySize {
		return false
	}
	vote := store.Vote{Register: m.Register, Epoch: m.Epoch, Ballot: v.ballot, Value: store.HashOf(m.Value), Next: m.Next}
	body, err := membership.Sign(membership.DomainAccepted, vote)
	if err != nil {
		return false
	}
	body.Signatures = []membership.Signature{sig}
	var opened store.Vote
	if !own {
		if _, err := body.Open(membership.DomainAccepted, &opened); err != nil {
			return false
		}
	}
	v.record.Domain, v.record.Body = body.Domain, body.Body
	for _, s := range v.record.Signatures {
		if membership.IDOf(s.Key) == from {
			return true
		}
	}
	v.record.Signatures = append(v.record.Signatures, sig)
	return true
}
