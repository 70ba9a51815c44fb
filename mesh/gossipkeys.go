package mesh

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
)

// The keys of the gossip (docs/decisions/gossip-keys.md). They go from member to member in frames, whose receiver has proved its
// grant, and never through the gossip, which an evicted node reads on for a while.

// Times of the keys.
const (
	keyTurn   = 1500 * time.Millisecond // how long each waits for those who are to make the key before it
	keyTurns  = 6                       // at most
	keyRetry  = 2 * time.Second         // a node without the key asks again
	keyAsked  = 2                       // members at a time
	meetTime  = 4 * time.Second
	maxMeets  = 64
	keyMark   = 8 // bytes of a key's name in a question
	keyOldest = time.Hour
	// welcomeEvery is how often a member is answered: an answer may be long.
	welcomeEvery = 500 * time.Millisecond
)

// ErrNotMet is returned when a peer has not let this node in, in time.
var ErrNotMet = errors.New("the peer did not answer")

// gossipKeys is what this node knows of the gossip's keys.
type gossipKeys struct {
	ring    *membership.Keyring
	saved   []membership.HeldKey
	evicted membership.Evictions // as of the last look
	due     *timer               // when this node makes the key itself
	asking  *timer
	next    *timer    // when what is used changes
	used    [][]byte  // as the shell was told last
	early   *KeysTell // a key for evictions that are not known here yet
	meets   map[membership.NodeID][]meeting
	// welcomed is when each member was let in last.
	welcomed map[membership.NodeID]time.Time
}

type meeting struct {
	id    uint64
	timer *timer
}

// toldKey is a key on its way: with its age, for clocks differ.
type toldKey struct {
	_   struct{} `cbor:",toarray"`
	Key membership.GossipKey
	Age uint64 // milliseconds
}

func (c *Core) openKeys() {
	c.sealing.ring = membership.NewKeyring(c.sealing.saved, c.cfg.GossipKey)
	c.sealing.evicted = c.people.roster.Evictions()
	c.sealing.ring.Know(c.sealing.evicted)
	c.sealing.meets = map[membership.NodeID][]meeting{}
	c.sealing.welcomed = map[membership.NodeID]time.Time{}
}

// GossipKeys are the keys to begin the gossip with, the first to send with; none before a member has let this node in.
func (c *Core) GossipKeys(now time.Time) [][]byte { return c.sealing.ring.Use(now) }

// startKeys begins what a key that is missing needs.
func (c *Core) startKeys() {
	if _, ok := c.sealing.ring.Fits(); !ok && c.sealing.evicted.Era > 0 {
		c.wantKey()
	}
	c.useKeys()
}

// keysRoster takes up evictions that became known.
func (c *Core) keysRoster() {
	now := c.people.roster.Evictions()
	if now == c.sealing.evicted || c.sealing.ring == nil {
		return
	}
	c.sealing.evicted = now
	c.sealing.ring.Know(now)
	if early := c.sealing.early; early != nil {
		c.sealing.early = nil
		c.addKeys(early.Keys, false)
	}
	if _, ok := c.sealing.ring.Fits(); !ok {
		c.wantKey()
	}
	c.useKeys()
}

// wantKey asks for the key, and makes it when those who are to make it before have had their turn.
func (c *Core) wantKey() {
	c.timers.stop(c.sealing.due)
	wait := time.Duration(c.keyTurn()) * keyTurn
	if len(c.alivePeers()) == 0 {
		wait = keyTurns * keyTurn // nobody is to be told, and somebody may know one
	}
	c.sealing.due = c.after(wait, c.makeKey)
	c.timers.stop(c.sealing.asking)
	c.sealing.asking = c.after(keyRetry, c.askKey)
}

// keyTurn is this node's place among those who are to make the key: by highest random weight, so that it is somebody else each time, and
// nearly always one alone.
func (c *Core) keyTurn() (turn int) {
	weight := func(id membership.NodeID) []byte {
		sum := sha256.Sum256(append(c.sealing.evicted.Set[:], id...))
		return sum[:]
	}
	own := weight(c.self)
	for _, id := range c.alivePeers() {
		if bytes.Compare(weight(id), own) < 0 {
			turn++
		}
	}
	return min(turn, keyTurns)
}

func (c *Core) askKey() {
	if _, ok := c.sealing.ring.Fits(); ok || c.people.evicted {
		return
	}
	for _, peer := range c.somePeers(keyAsked) {
		c.askKeyOf(peer)
	}
	c.timers.stop(c.sealing.asking)
	c.sealing.asking = c.after(keyRetry, c.askKey)
}

// askKeyOf asks a member for the key that it would use, when there is more than the one of the beginning.
func (c *Core) askKeyOf(peer membership.NodeID) {
	if c.sealing.evicted.Era == 0 {
		return
	}
	ask := &KeysAsk{Evicted: c.sealing.evicted.Set}
	if best, ok := c.sealing.ring.Fits(); ok {
		name := best.Key.Name()
		ask.Mark = name[:keyMark]
	}
	c.send(peer, ask)
}

func (c *Core) makeKey() {
	if _, ok := c.sealing.ring.Fits(); ok || c.people.evicted || c.sealing.evicted.Era == 0 || c.people.roster.Chain() == nil {
		return
	}
	key, err := membership.MakeGossipKey(c.cfg.Key, c.people.roster.Chain().Mesh(), c.sealing.evicted)
	if err != nil {
		c.note("could not make a gossip key", "", "", err)
		return
	}
	if !c.sealing.ring.Add(key, c.now, c.now, false) {
		c.wantKey() // too many at a time: later
		return
	}
	c.note("made a gossip key, for a node was evicted", "", "", nil)
	c.keysChanged()
	for _, peer := range c.alivePeers() {
		c.tellKey(peer)
	}
}

// tellKey gives a member the key; that it is one, as far as this node knows, its caller has seen.
func (c *Core) tellKey(peer membership.NodeID) {
	if best, ok := c.sealing.ring.Fits(); ok && best.Key.Era > 0 {
		c.send(peer, &KeysTell{Keys: []toldKey{c.told(best)}})
	}
}

func (c *Core) told(h membership.HeldKey) toldKey {
	return toldKey{Key: h.Key, Age: uint64(min(h.Age(c.now), keyOldest).Milliseconds())}
}

func (c *Core) onKeysAsk(from membership.NodeID, m *KeysAsk) {
	best, ok := c.sealing.ring.Fits()
	if !ok || m.Evicted != c.sealing.evicted.Set {
		c.askRoster(from) // one of us does not know of an eviction
		return
	}
	if name := best.Key.Name(); !bytes.Equal(m.Mark, name[:keyMark]) {
		c.tellKey(from)
	}
}

// onKeysTell takes a key. One for other evictions than are known here is kept until those are: anybody could make up a higher era.
func (c *Core) onKeysTell(from membership.NodeID, m *KeysTell) {
	for _, k := range m.Keys {
		if !k.Key.Of(c.sealing.evicted) {
			if k.Key.Era >= c.sealing.evicted.Era {
				c.sealing.early = m
				c.askRoster(from)
			}
			return
		}
	}
	c.addKeys(m.Keys, false)
}

func (c *Core) addKeys(told []toldKey, ahead bool) {
	added := false
	for _, k := range told {
		at := c.now.Add(-min(time.Duration(min(k.Age, uint64(keyOldest.Milliseconds())))*time.Millisecond, keyOldest))
		if c.sealing.ring.Add(k.Key, at, c.now, ahead) {
			added = true
		}
	}
	if added {
		c.note("has a new gossip key", "", "", nil)
		c.keysChanged()
	}
}

func (c *Core) keysChanged() {
	c.save(keyGossip+"ring", c.sealing.ring.Held(c.now))
	c.useKeys()
}

// useKeys tells the shell which keys hold now, and looks again when that changes.
func (c *Core) useKeys() {
	if c.sealing.ring.Prune(c.now) {
		c.save(keyGossip+"ring", c.sealing.ring.Held(c.now))
	}
	now := c.sealing.ring.Use(c.now)
	if len(now) > 0 && !slices.EqualFunc(now, c.sealing.used, bytes.Equal) {
		c.sealing.used = now
		c.emit(UseKeys{Keys: now})
	}
	c.timers.stop(c.sealing.next)
	if at := c.sealing.ring.Next(c.now); !at.IsZero() {
		c.sealing.next = c.after(at.Sub(c.now), c.useKeys)
	}
}

// somePeers are some members that are alive, chosen at random.
func (c *Core) somePeers(n int) []membership.NodeID {
	peers := c.alivePeers()
	for i := range min(n, len(peers)) {
		j := i + int(c.dice.below(len(peers)-i))
		peers[i], peers[j] = peers[j], peers[i]
	}
	return peers[:min(n, len(peers))]
}

// call asks a peer that the transport has reached to let this node in: for what has become of its own grant and of the peer's while it
// was away, and for the keys of the gossip.
func (c *Core) call(ev Meet) {
	waiting := 0
	for _, m := range c.sealing.meets {
		waiting += len(m)
	}
	if waiting >= maxMeets || ev.Peer == c.self {
		c.emit(Answer{ID: ev.ID, Err: ErrNotMet})
		return
	}
	m := meeting{id: ev.ID}
	m.timer = c.after(meetTime, func() { c.met(ev.Peer, ErrNotMet) })
	c.sealing.meets[ev.Peer] = append(c.sealing.meets[ev.Peer], m)
	c.question(ev.Peer, &WelcomeAsk{})
}

func (c *Core) met(peer membership.NodeID, err error) {
	for _, m := range c.sealing.meets[peer] {
		c.timers.stop(m.timer)
		c.emit(Answer{ID: m.id, Err: err})
	}
	delete(c.sealing.meets, peer)
}

// onWelcomeAsk tells a member, whose grant may have been renewed while it was away, what it needs to come in.
func (c *Core) onWelcomeAsk(from membership.NodeID) {
	if last, again := c.sealing.welcomed[from]; c.people.roster.Chain() == nil || again && c.now.Sub(last) < welcomeEvery {
		return
	}
	c.sealing.welcomed[from] = c.now
	w := &Welcome{Records: slices.Concat(c.people.roster.Chain().All(), c.people.roster.Grants(from, c.self))}
	for _, h := range c.sealing.ring.Held(c.now) {
		w.Keys = append(w.Keys, c.told(h))
	}
	c.send(from, w)
}

// onWelcome is heard from whom this node asked, even if it knows of no grant of theirs that holds: the records speak for themselves,
// and keys count from a member only.
func (c *Core) onWelcome(from membership.NodeID, m *Welcome) {
	if len(c.sealing.meets[from]) == 0 {
		return
	}
	if err := c.addRecords(m.Records); err != nil {
		c.note("refused roster records", from, "", err)
	}
	if !c.isMember(from) {
		c.met(from, membership.ErrNoGrant)
		return
	}
	c.addKeys(m.Keys, true)
	c.met(from, nil)
}

func loadKeys(value []byte) (held []membership.HeldKey, err error) {
	err = codec.Unmarshal(value, &held)
	if err == nil && len(held) > membership.MaxKeys {
		err = membership.ErrLimit
	}
	return held, err
}
