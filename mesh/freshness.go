package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"shoal/membership"
	"shoal/store"
)

// Against a freeze: whoever stands between a node and the rest can hold back what is new and let everything else pass, and nothing
// that the node has is wrong. So it asks the acceptors of its environment, once in a period, how far head, roster and trust chain
// are, with a nonce that nobody can have had before. A majority that knows of nothing newer has no push behind its back: it has an
// acceptor in common with every majority that commits. Where none answers for three periods the node says so. It goes on enforcing
// what it has: that needs no network.

// DefaultFresh is the period of the challenge.
const DefaultFresh = time.Minute

const (
	stalePeriods = 3
	freshGap     = time.Second // between two answers to one peer: each is a signature
	freshStale   = "stale: no majority of the acceptors has confirmed what is here"
	freshAgain   = "no longer stale: a majority of the acceptors has confirmed what is here"
)

// ErrStale is what a node says of itself when nobody confirms that it is up to date.
var ErrStale = errors.New("stale")

// Freshness is what an acceptor signs (membership.DomainFresh) when it is challenged: what it knows of, for one asker and one nonce.
type Freshness struct {
	For      membership.NodeID `cbor:"1,keyasint"`
	Nonce    [16]byte          `cbor:"2,keyasint"`
	Env      string            `cbor:"3,keyasint"`
	Epoch    uint64            `cbor:"4,keyasint"` // of the acceptors
	Version  uint64            `cbor:"5,keyasint"` // of the newest certified head; 0: none
	Revision store.Hash        `cbor:"6,keyasint"`
	Roster   uint64            `cbor:"7,keyasint"` // records
	Trust    uint64            `cbor:"8,keyasint"` // height of the chain
}

// freshness is a node's part in it, as the one that asks and as one that answers.
type freshness struct {
	nonce   [16]byte
	asked   bool
	count   uint64
	answers map[membership.NodeID]Freshness
	missed  int
	stale   bool
	since   time.Time                       // when what is here was last confirmed, or the start
	told    map[membership.NodeID]time.Time // when a peer was answered last
}

func (c *Core) startFreshness() {
	c.fresh = freshness{since: c.now, stale: c.wasStale(), told: map[membership.NodeID]time.Time{}, answers: map[membership.NodeID]Freshness{}}
	c.after(freshGap, c.challenge)
}

// wasStale tells whether the node's own log ends in an alarm: a restart does not end it.
func (c *Core) wasStale() bool {
	n := c.logs.kept[c.self]
	for i := 0; n != nil && i < len(n.entries); i++ {
		switch e := n.entries[len(n.entries)-1-i]; e.event.What {
		case freshStale:
			return true
		case freshAgain:
			return false
		}
	}
	return false
}

// Stale tells since when nobody has confirmed that this node is up to date, once that is worth an alarm.
func (c *Core) Stale() (since time.Time, stale bool) { return c.fresh.since, c.fresh.stale }

// challenge ends one period and begins the next.
func (c *Core) challenge() {
	f := &c.fresh
	if f.asked && !c.confirmed() {
		if f.missed++; f.missed == stalePeriods && !f.stale {
			f.stale = true
			c.people.changes++
			c.event(freshStale, fmt.Errorf("%w: %s is at version %d here", ErrStale, c.Env(), c.heads.current[c.Env()].value.Version))
		}
	}
	f.asked, f.nonce = false, c.nonce()
	clear(f.answers)
	if env := c.Env(); !c.people.evicted && len(c.acceptorsOf(env)) > 0 {
		f.asked = true
		for _, id := range c.acceptorsOf(env) {
			if id != c.self {
				c.question(id, &FreshAsk{Env: env, Nonce: f.nonce})
			}
		}
		c.refreshed()
	}
	c.after(c.cfg.Fresh, c.challenge)
}

// nonce cannot be known before by anybody who has not the node's key.
func (c *Core) nonce() [16]byte {
	c.fresh.count++
	seed := binary.BigEndian.AppendUint64(nil, c.run)
	seed = binary.BigEndian.AppendUint64(seed, c.fresh.count)
	sum := sha256.Sum256(append(append([]byte("shoal/fresh/nonce\x00"), c.cfg.Key.Seed()...), seed...))
	return [16]byte(sum[:16])
}

// confirmed tells whether a majority of the acceptors, as this node knows them, knows of nothing that is newer than what is here. One
// that says it does is as one that says nothing: what it says has to come, and be verified.
func (c *Core) confirmed() bool {
	env := c.Env()
	members, count := c.acceptorsOf(env), 0
	for _, id := range members {
		if answer, ok := c.fresh.answers[id]; id == c.self || ok && !c.newer(answer) {
			count++
		}
	}
	return len(members) > 0 && count >= store.Majority(len(members))
}

func (c *Core) newer(f Freshness) bool {
	own := c.freshnessOf(c.Env())
	return f.Version > own.Version || f.Epoch > own.Epoch || f.Trust > own.Trust || f.Roster > own.Roster
}

// freshnessOf is how far this node is.
func (c *Core) freshnessOf(env string) Freshness {
	h := c.heads.current[env].value
	f := Freshness{Env: env, Version: h.Version, Roster: uint64(c.people.roster.Size())}
	if created, ok := c.heads.creations[env]; ok {
		f.Epoch = created.epoch()
	}
	if h.Version > 0 {
		f.Revision = h.Hash()
	}
	if chain := c.Chain(); chain != nil {
		f.Trust = chain.Height()
	}
	return f
}

// refreshed ends the alarm, and the count towards it, as soon as enough have answered.
func (c *Core) refreshed() {
	f := &c.fresh
	if !f.asked || !c.confirmed() {
		return
	}
	f.missed, f.since = 0, c.now
	if f.stale {
		f.stale = false
		c.people.changes++
		c.event(freshAgain, nil)
	}
}

// onFreshAsk signs what this node knows of. It promises nothing, and need not be kept.
func (c *Core) onFreshAsk(from membership.NodeID, m *FreshAsk) {
	if last, ok := c.fresh.told[from]; ok && c.now.Sub(last) < freshGap {
		return
	}
	c.fresh.told[from] = c.now
	f := c.freshnessOf(m.Env)
	f.For, f.Nonce = from, m.Nonce
	signed, err := membership.Sign(membership.DomainFresh, f, c.cfg.Key)
	if err != nil {
		c.note("cannot sign", from, m.Env, err)
		return
	}
	c.send(from, &FreshTell{Word: signed})
}

// onFreshTell takes an answer to this period's nonce, and asks for what it says is newer.
func (c *Core) onFreshTell(from membership.NodeID, m *FreshTell) {
	f, err := openFreshness(from, m.Word)
	if err != nil {
		c.note("refused an answer to a challenge", from, "", err)
		return
	}
	if !c.fresh.asked || f.For != c.self || f.Nonce != c.fresh.nonce || f.Env != c.Env() {
		return // of another period, or of somebody else's
	}
	if !slices.Contains(c.acceptorsOf(f.Env), from) {
		return
	}
	c.fresh.answers[from] = f
	if c.newer(f) {
		c.contact(from)
	}
	c.refreshed()
}

func openFreshness(from membership.NodeID, s membership.Signed) (f Freshness, err error) {
	keys, err := s.Open(membership.DomainFresh, &f)
	if err == nil && (len(keys) != 1 || membership.IDOf(keys[0]) != from) {
		err = fmt.Errorf("%w: of somebody else", membership.ErrSignature)
	}
	return f, err
}
