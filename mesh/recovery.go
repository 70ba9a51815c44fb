package mesh

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"

	"shoal/membership"
	"shoal/store"
)

// Recovery of a head whose acceptors are lost for good (store/register_recovery.go). A node gathers what all who can be reached know
// and proposes how to go on; the operators sign that, and any node spreads it.

const maxRecovery = store.MaxRegisterValue + 4<<10 // bytes of its body

var errOldEra = errors.New("a later recovery is known, or another one of the same number")

// Standing is what can be told of a head without asking its acceptors, and how it could go on.
type Standing struct {
	Recovery store.Recovery // to be signed as it is
	Head     store.Head     // that it begins with; version 0: nothing was ever committed
	// Accepted: Head is above what is certified. An acceptor that is left had accepted it, so it may have been acknowledged.
	Accepted  bool
	HeldBy    int // members that have the newest certified head, of those that answered
	Answered  int
	Acceptors []store.Seat
	Voting    []membership.NodeID // of Acceptors, those that answered from the disk of their seat
}

// asking is a Standing under way.
type asking struct {
	id   uint64
	env  string
	told map[membership.NodeID]StandingTell
}

func (c *Core) askRecovery(ev AskRecovery) {
	if len(c.heads.asking) >= maxGatherings {
		c.emit(Answer{ID: ev.ID, Err: ErrTooMany})
		return
	}
	a := &asking{id: ev.ID, env: ev.Env, told: map[membership.NodeID]StandingTell{c.self: c.standing(ev.Env)}}
	c.heads.asking[ev.ID] = a
	for _, peer := range c.alivePeers() {
		c.askHeads(peer) // so that in the end this node's head is the newest of all
		c.send(peer, &StandingAsk{ID: ev.ID, Env: ev.Env})
	}
	c.after(gatherTime, func() {
		delete(c.heads.asking, ev.ID)
		c.answerRecovery(a)
	})
}

// standing is what this node knows of a head.
func (c *Core) standing(env string) StandingTell {
	h := c.heads.current[env]
	t := StandingTell{Epoch: c.heads.creations[env].epoch(), Version: h.value.Version}
	if h.value.Version > 0 {
		t.Revision = h.value.Hash()
	}
	if a, ok := c.registers.acceptors[store.HeadRegister(env)]; ok && a.Disk == c.fence.own.Disk && a.Phase != store.Moved {
		t.Votes, t.Accepted, t.At, t.Ballot = true, a.Value, a.Epoch, a.Accepted
	}
	return t
}

func (c *Core) onStandingAsk(from membership.NodeID, m *StandingAsk) {
	if _, known := c.heads.creations[m.Env]; known {
		tell := c.standing(m.Env)
		tell.ID = m.ID
		c.send(from, &tell)
	}
}

func (c *Core) onStandingTell(from membership.NodeID, m *StandingTell) {
	if a := c.heads.asking[m.ID]; a != nil {
		a.told[from] = *m
	}
}

func (c *Core) answerRecovery(a *asking) {
	created, ok := c.heads.creations[a.env]
	if !ok {
		c.emit(Answer{ID: a.id, Err: fmt.Errorf("recover %s: nobody who can be reached knows of it: %w", a.env, store.ErrNotFound)})
		return
	}
	s := Standing{Answered: len(a.told), Acceptors: slices.Clone(created.seats())}
	known, hasHead := c.heads.current[a.env]
	s.Recovery = store.Recovery{Env: a.env, Era: created.era + 1, Seats: store.ChooseSeats(a.env, c.candidates(created))}
	if chain := c.Chain(); chain != nil {
		s.Recovery.Mesh = chain.Mesh()
	}
	if hasHead {
		s.Recovery.Value, s.Head = known.record.Certificate.Value, known.head()
	}
	for _, seat := range s.Acceptors {
		if a.told[seat.Node].Votes {
			s.Voting = append(s.Voting, seat.Node)
		}
	}
	for _, id := range sorted(a.told) {
		if t := a.told[id]; hasHead && t.Revision == known.value.Hash() {
			s.HeldBy++
		}
	}
	if v, raw, ok := c.lastAccepted(a, created, known); ok {
		s.Recovery.Value, s.Head, s.Accepted = raw, v.Head(a.env), true
	}
	c.emit(Answer{ID: a.id, Value: s})
}

// lastAccepted is the newest that an acceptor of the newest epoch has accepted on top of the head that is known.
func (c *Core) lastAccepted(a *asking, created creation, known head) (best store.HeadValue, raw []byte, found bool) {
	var at store.Ballot
	for _, seat := range created.seats() {
		t := a.told[seat.Node]
		if !t.Votes || t.At != created.epoch() || len(t.Accepted) == 0 || found && t.Ballot.Compare(at) <= 0 {
			continue
		}
		v, _, err := store.OpenHeadValue(a.env, t.Accepted, c.everPublishers())
		if err == nil && v.Version > known.value.Version && (known.value.Version == 0 || v.Succeeds(known.value)) {
			best, raw, at, found = v, t.Accepted, t.Ballot, true
		}
	}
	return best, raw, found
}

// recover begins a new era here, and tells all who can be reached.
func (c *Core) recover(ev Recover) {
	env, err := c.learnRecovery(ev.Signed)
	if err == nil {
		c.install(env)
		for _, peer := range c.alivePeers() {
			c.send(peer, c.headTold(env))
		}
		c.nextProposal(env)
	}
	c.emit(Answer{ID: ev.ID, Err: err})
}

// learnRecoveryOf takes the recovery of a HeadTell, and returns whose its seals are, and whether something began.
func (c *Core) learnRecoveryOf(from membership.NodeID, m *HeadTell) (env string, began bool) {
	if m.Creation != nil {
		env = m.Creation.Env
	}
	if m.Recovery == nil {
		return env, false
	}
	env, err := c.learnRecovery(*m.Recovery)
	switch {
	case errors.Is(err, errOldEra):
		return "", false
	case err != nil:
		c.note("refused a recovery", from, env, err)
		return "", false
	}
	return env, true
}

// learnRecovery begins the era that the operators have signed. What was said of the head in an era before does not count
// any more; what this node applied stays as it is until something follows it.
func (c *Core) learnRecovery(signed membership.Signed) (env string, err error) {
	chain := c.Chain()
	if chain == nil {
		return "", membership.ErrUnauthorised
	}
	r, err := store.OpenRecovery(signed, chain.Mesh(), chain)
	if err != nil {
		return r.Env, err
	}
	known, ok := c.heads.creations[r.Env]
	switch {
	case ok && r.Era == known.era && bytes.Equal(known.recovery.Body, signed.Body):
		return r.Env, nil
	case ok && r.Era <= known.era:
		return r.Env, fmt.Errorf("recovery of %s: era %d: %w", r.Env, r.Era, errOldEra)
	case !ok && len(c.heads.creations) >= maxEnvs:
		return r.Env, fmt.Errorf("more than %d environments", maxEnvs)
	}
	began := known.begin(r, signed)
	h, err := c.firstHead(began)
	if err != nil {
		return r.Env, err
	}
	for i := range known.seals {
		c.emit(Save{Key: sealKey(r.Env, known.first()+uint64(i))})
	}
	c.heads.creations[r.Env] = began
	c.save(keyRecovery+r.Env, signed)
	c.note(fmt.Sprintf("the operators have begun era %d with version %d", r.Era, h.value.Version), "", r.Env, nil)
	c.people.changes++
	for _, register := range []string{store.HeadRegister(r.Env), store.DirectoryRegister(r.Env)} {
		if p := c.registers.proposals[register]; p != nil {
			c.cancelProposal(p)
		}
	}
	c.beginWith(r.Env, h)
	c.retryStagedSoon()
	return r.Env, nil
}

// begin is a creation in the era of a recovery.
func (r creation) begin(rec store.Recovery, signed membership.Signed) creation {
	return creation{record: r.record, recovery: &signed, began: rec, era: rec.Era, epochs: [][]store.Seat{rec.Seats}}
}

// firstHead is the head that an era begins with; none when nothing was ever committed.
func (c *Core) firstHead(created creation) (head, error) {
	r := created.began
	if len(r.Value) == 0 {
		return head{}, nil
	}
	return c.recoveredHead(created, store.HeadRecord{
		Env: r.Env, Certificate: store.Certificate{Value: r.Value, Votes: *created.recovery},
	})
}

// recoveredHead verifies a head for which the operators stand, and not a majority.
func (c *Core) recoveredHead(created creation, record store.HeadRecord) (head, error) {
	return created.recoveredHead(record, c.everPublishers())
}

func (r creation) recoveredHead(record store.HeadRecord, who store.Publishers) (head, error) {
	if r.recovery == nil || !bytes.Equal(record.Certificate.Votes.Body, r.recovery.Body) ||
		!bytes.Equal(record.Certificate.Value, r.began.Value) {
		return head{}, fmt.Errorf("head of %s: %w: of another recovery", record.Env, store.ErrCertificate)
	}
	value, revision, err := store.OpenHeadValue(record.Env, r.began.Value, who)
	return head{record, r.era, value, revision}, err
}

func (c *Core) beginWith(env string, h head) {
	if h.value.Version == 0 {
		delete(c.heads.current, env)
		c.emit(Save{Key: keyHead + env})
		return
	}
	c.heads.current[env] = h
	c.save(keyHead+env, h.record)
	c.keepSoon(h.value.Hash(), h.value.Revision, true)
	c.headMoved(env)
	c.follow()
}

// openRecoveries takes in what was saved. The operators may have changed since: what they signed then holds.
func (c *Core) openRecoveries() {
	for _, env := range slices.Sorted(maps.Keys(c.heads.lost)) {
		signed, chain := c.heads.lost[env], c.Chain()
		if chain == nil {
			continue
		}
		r, err := store.OpenRecovery(signed, chain.Mesh(), former{chain})
		if err != nil {
			c.note("a saved recovery does not hold any more", "", env, err)
			continue
		}
		c.heads.creations[env] = c.heads.creations[env].begin(r, signed)
	}
}

// former counts those who were operators once.
type former struct{ *membership.Chain }

// Authorises implements store.Operators.
func (f former) Authorises(keys []ed25519.PublicKey) bool { return f.EverAuthorised(keys) }
