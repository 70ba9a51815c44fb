package mesh

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// heads is what this node knows of the environments, and how far it follows its own.
type heads struct {
	creations map[string]creation
	current   map[string]head
	applied   map[string]appliedHead
	pursuit   *pursuit
	restored  store.Hash // manifest of the applied revision, while its objects are looked after at a start

	unopened map[string]store.Creation      // loaded, to be opened once the roster is there
	unsealed map[string][]membership.Signed // the same, in the order of their epochs
	lost     map[string]membership.Signed   // the same, of recoveries
	saved    map[string]store.HeadRecord    // the same
	hinted   map[string]uint64              // env -> the version that peers are being asked for
	asking   map[uint64]*asking
	spacings map[string]*spacing
	refused  map[string]string // env -> a revision whose tree could not be read; not tried for treeAgain
}

func newHeads() heads {
	return heads{
		creations: map[string]creation{}, current: map[string]head{}, applied: map[string]appliedHead{},
		unopened: map[string]store.Creation{}, unsealed: map[string][]membership.Signed{}, saved: map[string]store.HeadRecord{}, refused: map[string]string{},
		hinted: map[string]uint64{}, spacings: map[string]*spacing{}, lost: map[string]membership.Signed{}, asking: map[uint64]*asking{},
	}
}

// treeAgain is when a tree that could not be read is looked at again; treeSoon, one of which something is just being deleted.
const (
	treeAgain = time.Minute
	treeSoon  = 100 * time.Millisecond
)

// head is a verified head.
type head struct {
	record   store.HeadRecord
	era      uint64
	value    store.HeadValue
	revision store.Revision
}

// mark tells one revision of a version from another; 0: there is none.
func (h head) mark() uint64 {
	if h.value.Version == 0 {
		return 0
	}
	hash := h.value.Hash()
	return binary.BigEndian.Uint64(hash[:8])
}

func (h head) head() store.Head { return h.value.Head(h.record.Env) }

// appliedHead is the revision that this node last set out to apply, with all its objects here. It never goes back.
type appliedHead struct {
	Version  uint64     `cbor:"1,keyasint"`
	Revision store.Hash `cbor:"2,keyasint"`
	Manifest store.Hash `cbor:"3,keyasint"`
	Era      uint64     `cbor:"4,keyasint,omitempty"` // see store.Recovery
}

// follows tells whether a head is to be applied after another. A version is applied once, and none that is lower: only where the
// operators have begun a new era another revision takes the place of one with the same number.
func (h head) follows(a appliedHead) bool {
	return h.value.Version > a.Version || h.value.Version == a.Version && h.era > a.Era && h.value.Hash() != a.Revision
}

// pursuit is the fetching of a revision that is to be applied.
type pursuit struct {
	env  string
	head head
	want *want
}

// Env is the environment that this node follows: what its grant says, or DefaultEnv.
func (c *Core) Env() string {
	return EnvOf(c.people.members[c.self])
}

// Heads are the newest heads that this node knows, by environment.
func (c *Core) Heads() map[string]store.Head {
	out := make(map[string]store.Head, len(c.heads.current))
	for env, h := range c.heads.current {
		out[env] = h.head()
	}
	return out
}

// Applied is the revision of the followed environment that this node applies; ok is false before the first.
func (c *Core) Applied() (h store.Head, ok bool) {
	a, ok := c.heads.applied[c.Env()]
	return store.Head{Env: c.Env(), Version: a.Version, Revision: a.Revision}, ok
}

// openSaved verifies what was loaded, as if a peer had sent it: since then a publisher may have lost the right, and the disk
// may be that of somebody else. What does not hold any more is left out and the node starts all the same: it has a revision to
// enforce.
func (c *Core) openSaved() {
	for _, env := range slices.Sorted(maps.Keys(c.heads.unopened)) {
		record := c.heads.unopened[env]
		seats, err := record.Open(c.granted)
		if err != nil {
			c.note("a saved creation does not hold any more", "", env, err)
			continue
		}
		c.heads.creations[env] = creation{record: record, epochs: [][]store.Seat{seats}}
	}
	c.openRecoveries()
	for _, env := range slices.Sorted(maps.Keys(c.heads.creations)) {
		if _, err := c.learnSeals(env, c.heads.unsealed[env]); err != nil {
			c.note("a saved change of acceptors does not hold any more", "", env, err)
		}
	}
	for _, env := range slices.Sorted(maps.Keys(c.heads.saved)) {
		h, err := c.openHead(c.heads.saved[env])
		if err != nil {
			c.note("a saved head does not hold any more", "", env, err)
			continue
		}
		c.heads.current[env] = h
	}
	c.heads.unopened, c.heads.unsealed, c.heads.saved, c.heads.lost = nil, nil, nil, nil
}

func (c *Core) openHead(record store.HeadRecord) (head, error) {
	created, ok := c.heads.creations[record.Env]
	if !ok {
		return head{}, fmt.Errorf("head of %s: its creation is not known", record.Env)
	}
	if record.Certificate.Votes.Domain == membership.DomainRecovery {
		return c.recoveredHead(created, record)
	}
	value, revision, err := record.Open(created.members, c.everPublishers())
	return head{record, created.era, value, revision}, err
}

// ownHead is a head that this node has got chosen: it has verified each vote as it came.
func (c *Core) ownHead(env string, cert store.Certificate) (head, error) {
	value, revision, err := store.OpenHeadValue(env, cert.Value, c.everPublishers())
	return head{store.HeadRecord{Env: env, Certificate: cert}, c.heads.creations[env].era, value, revision}, err
}

// startHeads goes on enforcing what was applied last, before anything else, and looks for what is newer.
func (c *Core) startHeads() {
	env := c.Env()
	if a, ok := c.heads.applied[env]; ok {
		again := Converge{Head: store.Head{Env: env, Version: a.Version, Revision: a.Revision}, Manifest: a.Manifest}
		if h, ok := c.heads.current[env]; ok && h.head() == again.Head {
			again.Proof = c.proofOf(h)
		}
		c.emit(again)
		c.heads.restored = a.Manifest
		c.emit(CheckTree{Manifest: a.Manifest})
	}
	c.follow()
}

// askHeads asks a peer for newer heads than ours.
func (c *Core) askHeads(peer membership.NodeID) {
	m := &HeadAsk{}
	for _, env := range slices.Sorted(maps.Keys(c.heads.creations)) {
		m.Heads = append(m.Heads, EnvVersion{Env: env, Version: c.heads.current[env].value.Version})
		m.Epochs = append(m.Epochs, c.heads.creations[env].epoch())
		m.Marks = append(m.Marks, c.heads.current[env].mark())
	}
	if c.diskOf(peer) == 0 {
		m.Marks = nil // it may be of version 0.1
	}
	if slices.Max(append(m.Epochs, 0)) == 0 {
		m.Epochs = nil // as version 0.1 has it
	}
	c.send(peer, m)
}

// onHeadAsk tells what the asker lacks, and asks in return where the asker is ahead.
func (c *Core) onHeadAsk(from membership.NodeID, m *HeadAsk) {
	followed := false
	forked := map[string]bool{} // another revision of the same version: somebody has lied
	theirs, epochs, ahead := make(map[string]EnvVersion, len(m.Heads)), map[string]uint64{}, false
	for i, h := range m.Heads {
		theirs[h.Env] = h
		if len(m.Epochs) > 0 {
			epochs[h.Env] = m.Epochs[i]
		}
		created, known := c.heads.creations[h.Env]
		if at := c.heads.current[h.Env]; len(m.Marks) > 0 && h.Version > 0 && h.Version == at.value.Version {
			forked[h.Env] = m.Marks[i] != at.mark() && store.EraOf(epochs[h.Env]) == created.era
		}
		behind := store.EraOf(epochs[h.Env]) < created.era // its versions do not count any more
		if !known || h.Version > c.heads.current[h.Env].value.Version && !behind || epochs[h.Env] > created.epoch() {
			ahead, followed = true, followed || h.Env == c.Env()
		}
	}
	for _, env := range slices.Sorted(maps.Keys(c.heads.creations)) {
		at, known := theirs[env]
		created := c.heads.creations[env]
		if known && store.EraOf(epochs[env]) < created.era {
			at.Version = 0
		}
		tell := created.tell(epochs[env], known)
		if h, ok := c.heads.current[env]; ok && (h.value.Version > at.Version || h.value.Version == at.Version && forked[env]) {
			tell.Head = &h.record
		}
		if tell.Creation != nil || tell.Recovery != nil || tell.Head != nil {
			c.send(from, tell)
		}
	}
	if ahead {
		c.askSpaced(from, followed)
	}
}

func (c *Core) onHeadTell(from membership.NodeID, m *HeadTell) {
	if m.Creation != nil {
		if err := c.learnCreation(*m.Creation); err != nil {
			c.note("refused a creation", from, m.Creation.Env, err)
			return
		}
	}
	env, moved := c.learnRecoveryOf(from, m)
	if env != "" {
		sealed, err := c.learnSeals(env, m.Seals)
		if err != nil {
			c.note("refused a change of acceptors", from, env, err)
		}
		moved = moved || sealed
	}
	if m.Head != nil {
		if err := c.learnHead(*m.Head); err != nil {
			c.note("refused a head", from, m.Head.Env, err)
		}
	}
	if moved {
		c.install(env)
		c.nextProposal(env)
	}
	if len(m.Seals) == sealsTold {
		c.askHeads(from)
	}
}

// learnCreation keeps the first creation of an environment that it is shown, for ever.
func (c *Core) learnCreation(record store.Creation) error {
	if known, ok := c.heads.creations[record.Env]; ok {
		if known.era == 0 && string(known.record.Certificate.Value) != string(record.Certificate.Value) {
			return fmt.Errorf("a second creation of %s, with other acceptors", record.Env)
		}
		return nil
	}
	if len(c.heads.creations) >= maxEnvs {
		return fmt.Errorf("more than %d environments", maxEnvs)
	}
	seats, err := record.Open(c.granted)
	if err == nil {
		_, err = store.OpenOrder(record.Env, record.Order, record.Electorate, c.Chain().EverPublished)
	}
	if err != nil {
		return err
	}
	c.heads.creations[record.Env] = creation{record: record, epochs: [][]store.Seat{seats}}
	c.save(keyCreation+record.Env, record)
	c.install(record.Env)
	c.created(record.Env)
	return nil
}

// learnHead takes a head that is newer than ours, once its author and its certificate are verified.
func (c *Core) learnHead(record store.HeadRecord) error {
	if known, ok := c.heads.current[record.Env]; ok && string(known.record.Certificate.Value) == string(record.Certificate.Value) {
		return nil
	}
	h, err := c.openHead(record)
	if err != nil {
		return err
	}
	return c.takeHead(h)
}

func (c *Core) takeHead(h head) error {
	record := h.record
	c.examine(record.Env, record.Certificate.Votes)
	known, ok := c.heads.current[record.Env]
	if ok && h.value.Version < known.value.Version {
		return nil // old news
	}
	if ok && h.value.Version == known.value.Version {
		if h.value.Hash() == known.value.Hash() {
			return nil
		}
		return fmt.Errorf("two certified revisions of version %d", h.value.Version)
	}
	if ok && h.value.Version-known.value.Version <= store.MaxBefore && !h.value.Succeeds(known.value) {
		return fmt.Errorf("a certified version %d that is not on version %d", h.value.Version, known.value.Version)
	}
	c.heads.current[record.Env] = h
	c.learnChosen(record)
	c.people.changes++
	c.saveLate(keyHead+record.Env, record)
	c.install(record.Env)
	c.keepSoon(h.value.Hash(), h.value.Revision, false)
	c.headMoved(record.Env)
	c.follow()
	return nil
}

// hint is what gossip carries of a head: enough to ask for it. Gossip does not say who began a rumour, so the hint does;
// nobody has to believe it.
type hint struct {
	_       struct{} `cbor:",toarray"`
	Env     string
	Version uint64
	Hash    [8]byte
	From    membership.NodeID
}

// hintEvery is how far apart the hints of one environment are, and the questions to one peer that hints lead to: of many heads
// in a row only the newest is worth asking for. As long as they go on coming it is doubled, up to hintMost where this node follows
// the environment and up to hintRest where it does not: to ask for each of a thousand heads a second, and to verify its
// certificate, takes more than to have it chosen.
const (
	hintEvery = 30 * time.Millisecond
	hintMost  = 240 * time.Millisecond
	hintRest  = 2 * time.Second
	hintOver  = time.Second // without one, or twice the gap: the next is the first of a row
)

// spacing is when something was done last, how long the next waits for, and whether it does.
type spacing struct {
	at  time.Time
	gap time.Duration
	set bool
}

// spaced runs now or, when it ran under this name a short while ago, later: once for all who wanted it.
func (c *Core) spaced(name string, most time.Duration, run func()) {
	s := c.heads.spacings[name]
	if s == nil {
		s = &spacing{}
		c.heads.spacings[name] = s
	}
	if s.set {
		return
	}
	again := func() {
		s.set, s.at, s.gap = false, c.now, min(2*s.gap, most)
		run()
	}
	switch quiet := c.now.Sub(s.at); {
	case quiet >= max(2*s.gap, hintOver):
		s.gap = hintEvery / 2
		again()
	case quiet >= s.gap:
		again()
	default:
		s.set = true
		c.after(s.gap-quiet, again)
	}
}

// tellHead tells all members that there is something to ask for.
func (c *Core) tellHead(env string) {
	c.spaced("env/"+env, hintMost, func() { c.sendHint(c.heads.current[env].head()) })
}

func (c *Core) sendHint(h store.Head) {
	data, err := codec.Marshal(hint{Env: h.Env, Version: h.Version, Hash: [8]byte(h.Revision[:8]), From: c.self})
	if err == nil && len(data) <= membership.MaxHint {
		c.emit(Hint{Data: data})
	}
}

// Times of a hint.
const (
	hintAgain = 300 * time.Millisecond // until somebody is asked again for what a hint told of; doubled each time
	hintTries = 4
)

// hinted asks for the news, and again while it does not come: who waits for the next regular contact waits for seconds.
func (c *Core) hinted(ev membership.Event) {
	var h hint
	if len(ev.Hint) > membership.MaxHint || codec.Unmarshal(ev.Hint, &h) != nil || h.From == c.self {
		return
	}
	if h.Version <= c.heads.current[h.Env].value.Version {
		return
	}
	c.askHinted(h)
	if _, asking := c.heads.hinted[h.Env]; (asking || len(c.heads.hinted) < maxEnvs) && h.Version > c.heads.hinted[h.Env] {
		c.heads.hinted[h.Env] = h.Version
		c.hintedAgain(h, hintAgain, hintTries-1)
	}
}

func (c *Core) hintedAgain(h hint, wait time.Duration, tries int) {
	c.after(wait, func() {
		switch {
		case c.heads.hinted[h.Env] != h.Version: // a newer one is being asked for
		case tries == 0 || h.Version <= c.heads.current[h.Env].value.Version:
			delete(c.heads.hinted, h.Env)
		default:
			c.askHinted(h)
			c.hintedAgain(h, 2*wait, tries-1)
		}
	})
}

// askHinted asks whoever has the news, or anybody when that one cannot be reached.
func (c *Core) askHinted(h hint) {
	if c.alive(h.From) {
		c.askSpaced(h.From, h.Env == c.Env())
	} else if peers := c.alivePeers(); len(peers) > 0 {
		c.askHeads(peers[c.dice.below(len(peers))])
	}
}

// askSpaced asks a peer for newer heads, soon; sooner where the one that this node follows is among them.
func (c *Core) askSpaced(peer membership.NodeID, followed bool) {
	name, most := "rest/", hintRest
	if followed {
		name, most = "peer/", hintMost
	}
	c.spaced(name+string(peer), most, func() { c.askHeads(peer) })
}

// follow pursues the head of the environment of this node: all objects first, then apply. A newer head takes the place of
// one that is being fetched.
func (c *Core) follow() {
	env := c.Env()
	h, ok := c.heads.current[env]
	if !ok || !h.follows(c.heads.applied[env]) || c.heads.refused[env] == h.value.Hash().String() {
		return
	}
	if p := c.heads.pursuit; p != nil {
		if p.env == env && p.head.value.Hash() == h.value.Hash() {
			return
		}
		p.want.cancel()
	}
	c.heads.pursuit = &pursuit{env: env, head: h}
	c.emit(CheckTree{Manifest: h.revision.Manifest})
}

// treeChecked goes on with whatever waited to know what a tree still needs.
func (c *Core) treeChecked(ev TreeChecked) {
	if p := c.heads.pursuit; p != nil && p.head.revision.Manifest == ev.Manifest {
		c.pursue(p, ev)
	}
	if !ev.Manifest.IsZero() && c.heads.restored == ev.Manifest {
		c.restore(ev)
	}
	c.treeCheckedForPush(ev)
}

// restore brings back what the disk has lost of the applied revision while the node was down.
func (c *Core) restore(ev TreeChecked) {
	c.heads.restored = store.Hash{}
	if len(ev.Missing) == 0 {
		return
	}
	for _, h := range ev.Missing {
		c.objects.held.remove(h) // the index may have it still, where the bytes are damaged
	}
	c.fetch(ev.Missing, 0, func(error) {
		c.heads.restored = ev.Manifest
		c.emit(CheckTree{Manifest: ev.Manifest})
	})
}

func (c *Core) pursue(p *pursuit, ev TreeChecked) {
	switch {
	case ev.Err != nil:
		c.note("a head whose tree cannot be read", "", p.env, ev.Err)
		c.heads.refused[p.env] = p.head.value.Hash().String()
		c.heads.pursuit = nil
		c.after(treeAgain, func() { // it may have been the disk
			delete(c.heads.refused, p.env)
			c.follow()
		})
	case len(ev.Missing) > 0:
		p.want.cancel()
		p.want = c.fetch(ev.Missing, 0, func(error) {
			if c.heads.pursuit == p {
				c.emit(CheckTree{Manifest: ev.Manifest})
			}
		})
	case c.isDropping(ev.Objects):
		c.after(treeSoon, func() {
			if c.heads.pursuit == p {
				c.emit(CheckTree{Manifest: ev.Manifest})
			}
		})
	default:
		c.heads.pursuit = nil
		c.apply(p)
	}
}

// apply persists what is to be enforced from now on, and enforces it.
func (c *Core) apply(p *pursuit) {
	h := p.head.head()
	if !p.head.follows(c.heads.applied[p.env]) {
		return
	}
	a := appliedHead{Version: h.Version, Revision: h.Revision, Manifest: p.head.revision.Manifest, Era: p.head.era}
	c.heads.applied[p.env] = a
	c.people.changes++
	c.save(keyApplied+p.env, a)
	c.emit(Converge{Head: h, Manifest: a.Manifest, Proof: c.proofOf(p.head)})
}
