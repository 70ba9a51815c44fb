package mesh

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// Collection deletes what nothing refers to any more, and the copies that moved. A round:
//
//	1 ask     all who are alive: do you know of a head or an environment that I do not?
//	          on with a majority of the roster and all acceptors of each environment, and no yes
//	2 reach   read the newest Keep revisions of each environment, what is applied and what is staged: all that they are made of
//	3 doom    what is here and not reached is doomed; what was doomed for Forget, and not touched since, is deleted
//	4 drop    what is reached but not needed or owned here is deleted when all its owners signed that they have it
//
// Why nothing that was acknowledged goes: an acceptor that has accepted more than this node knows ends the round at 1, and all are
// asked, also those that hold what never got a majority: a later proposer may carry it on. A head that is accepted later had its
// objects offered to this node, or counted here, less than PushMost before; an offer lifts the doom, and Forget is longer than
// PushMost. What cannot be read in 2 ends the round too: unknown is never unreferenced.
const (
	// DefaultKeep revisions of each environment stay, the head among them.
	DefaultKeep = 20
	// DefaultForget is how long an object stays that nothing refers to.
	DefaultForget = 24 * time.Hour
	collectEvery  = time.Hour
	collectWait   = 5 * time.Second
	maxCollect    = 4096   // objects deleted in one round of each kind, so that the disk has time for others
	maxGone       = 100000 // collected objects that are not taken back in by repair
)

// collecting is a round, and what is known from the rounds before.
type collecting struct {
	doomed   map[store.Hash]time.Time // since when nothing refers to it
	gone     map[store.Hash]bool      // collected: a peer that has it still is later than we are
	dropping map[store.Hash]bool      // being deleted from the disk
	round    *round
	rounds   uint64
}

// round is one collection under way.
type round struct {
	id       uint64
	begun    time.Time
	heads    []EnvVersion
	epochs   []uint64 // of heads
	answered map[membership.NodeID]bool
	reading  bool
	needed   map[store.Hash]bool // here, whoever owns it
	trees    []store.Hash        // for which it is needed
	placed   [32]byte
	signed   map[store.Hash]map[membership.NodeID]bool
}

func newCollecting() collecting {
	return collecting{doomed: map[store.Hash]time.Time{}, gone: map[store.Hash]bool{}, dropping: map[store.Hash]bool{}}
}

// KeptReceipt is an owner's word that objects are on its disk: on it another node deletes its copies.
type KeptReceipt struct {
	For    membership.NodeID `cbor:"1,keyasint"`
	Round  uint64            `cbor:"2,keyasint"`
	Hashes []store.Hash      `cbor:"3,keyasint"`
}

func (c *Core) startCollection() {
	c.every(c.cfg.Collect*3/4, c.cfg.Collect*5/4, c.collect)
}

// touch lifts the doom of objects that somebody wants here.
func (c *Core) touch(hashes ...store.Hash) {
	for _, h := range hashes {
		delete(c.objects.collecting.doomed, h)
		delete(c.objects.collecting.gone, h)
	}
}

func (c *Core) collect() {
	k := &c.objects.collecting
	k.rounds++
	r := &round{id: k.rounds, begun: c.now, answered: map[membership.NodeID]bool{c.self: true}}
	for _, env := range slices.Sorted(maps.Keys(c.heads.creations)) {
		r.heads = append(r.heads, EnvVersion{Env: env, Version: c.heads.current[env].value.Version})
		r.epochs = append(r.epochs, c.heads.creations[env].epoch())
	}
	k.round = r
	if c.isAhead(r.heads, r.epochs) {
		return // an acceptor of this very node has accepted what is not decided yet
	}
	for _, peer := range c.alivePeers() {
		c.send(peer, &CollectAsk{Round: r.id, Heads: r.heads, Epochs: r.epochs})
	}
	c.after(collectWait, func() {
		if k.round == r && !r.reading {
			k.round = nil
		}
	})
	c.collectReady(r)
}

// isAhead tells whether this node knows, or may have a part in, something newer than the heads of another, or than the acceptors
// that the other asks.
func (c *Core) isAhead(theirs []EnvVersion, epochs []uint64) bool {
	at := make(map[string]int, len(theirs))
	for i, h := range theirs {
		at[h.Env] = i
	}
	for env, created := range c.heads.creations {
		i, known := at[env]
		if !known || created.epoch() > epochs[i] {
			return true
		}
		v := theirs[i].Version
		if c.heads.current[env].value.Version > v || c.acceptedVersion(env) > v || c.isSealed(env, epochs[i]) {
			return true
		}
	}
	return false
}

// isSealed tells whether this node's acceptor has accepted a change of the acceptors of an epoch, or knows of one.
func (c *Core) isSealed(env string, epoch uint64) bool {
	a, ok := c.registers.acceptors[store.HeadRegister(env)]
	return ok && (a.Epoch > epoch || a.Epoch == epoch && a.Phase != store.Active)
}

// acceptedVersion is the version that this node, as an acceptor, has accepted; 0: none.
func (c *Core) acceptedVersion(env string) uint64 {
	a, ok := c.registers.acceptors[store.HeadRegister(env)]
	if !ok || len(a.Value) == 0 {
		return 0
	}
	value, _, err := store.OpenHeadValue(env, a.Value, c.everPublishers())
	if err != nil {
		return 0
	}
	return value.Version
}

func (c *Core) onCollectAsk(from membership.NodeID, m *CollectAsk) {
	c.send(from, &CollectTell{Round: m.Round, Ahead: c.isAhead(m.Heads, m.Epochs)})
}

func (c *Core) onCollectTell(from membership.NodeID, m *CollectTell) {
	k := &c.objects.collecting
	r := k.round
	if r == nil || r.id != m.Round || r.reading {
		return
	}
	if m.Ahead {
		k.round = nil
		c.askHeads(from)
		return
	}
	r.answered[from] = true
	c.collectReady(r)
}

// collectReady goes on when no head can have escaped those that answered.
func (c *Core) collectReady(r *round) {
	if !c.answers(r, c.people.ids) {
		return
	}
	for env := range c.heads.creations {
		for _, id := range c.acceptorsOf(env) {
			if !r.answered[id] {
				return
			}
		}
	}
	r.reading = true
	ask := ReachObjects{Round: r.id, Keep: c.cfg.Keep}
	for _, h := range r.heads {
		if head, ok := c.heads.current[h.Env]; ok {
			ask.Revisions = append(ask.Revisions, head.value.Hash())
		}
	}
	ask.Staged = sortedHashes(c.pushes.open)
	r.trees = c.treesHere()
	ask.Here = r.trees
	c.emit(ask)
}

// treesHere are the manifests of what is applied, of what is to be, and of the pushes at this node.
func (c *Core) treesHere() (trees []store.Hash) {
	for _, env := range slices.Sorted(maps.Keys(c.heads.applied)) {
		trees = append(trees, c.heads.applied[env].Manifest)
	}
	if p := c.heads.pursuit; p != nil {
		trees = append(trees, p.head.revision.Manifest)
	}
	for _, h := range sortedHashes(c.pushes.open) {
		trees = append(trees, c.pushes.open[h].revision.Manifest)
	}
	return trees
}

// outdated ends a round in which something came to be needed here that it has not read. The next one will.
func (c *Core) outdated(r *round) bool {
	if slices.Equal(r.trees, c.treesHere()) {
		return false
	}
	c.objects.collecting.round = nil
	return true
}

// isDropping tells whether one of the objects is being deleted, though it can be read still.
func (c *Core) isDropping(objects []store.Hash) bool {
	return slices.ContainsFunc(objects, func(h store.Hash) bool { return c.objects.collecting.dropping[h] })
}

// acceptorsOf are those that decide an environment's head.
func (c *Core) acceptorsOf(env string) []membership.NodeID {
	created, ok := c.heads.creations[env]
	if !ok {
		return nil
	}
	return created.members(created.epoch())
}

func (c *Core) answers(r *round, of []membership.NodeID) bool {
	n := 0
	for _, id := range of {
		if r.answered[id] {
			n++
		}
	}
	return n >= store.Majority(len(of))
}

// reached knows what is referred to: the rest is doomed, and deleted when it has been for long enough.
func (c *Core) reached(ev Reached) {
	k := &c.objects.collecting
	r := k.round
	if r == nil || r.id != ev.Round || c.outdated(r) {
		return
	}
	if ev.Err != nil {
		k.round = nil
		c.note("nothing is collected: what is kept cannot be read", "", "", ev.Err)
		return
	}
	wanted := make(map[store.Hash]bool, len(ev.Kept)+len(ev.Here))
	r.needed = make(map[store.Hash]bool, len(ev.Here))
	for _, h := range ev.Kept {
		wanted[h] = true
	}
	for _, h := range ev.Here {
		wanted[h], r.needed[h] = true, true
	}
	var garbage, moved []store.Hash
	doomed := map[store.Hash]time.Time{} // only what is still here
	for p := range ring.Partition(ring.Partitions) {
		hashes := c.objects.held.in(p)
		if len(hashes) == 0 {
			continue
		}
		mine := slices.Contains(c.placement.now.Owners(p, c.cfg.Replicas), c.self)
		for _, h := range hashes {
			switch since, before := k.doomed[h]; {
			case wanted[h]:
				if !mine && !r.needed[h] && len(moved) < maxCollect {
					moved = append(moved, h)
				}
			case !before:
				doomed[h] = r.begun
			case r.begun.Sub(since) >= c.cfg.Forget && len(garbage) < maxCollect && !c.wanted(h):
				garbage = append(garbage, h)
			default:
				doomed[h] = since
			}
		}
	}
	k.doomed = doomed
	c.drop(garbage, false)
	for _, h := range garbage {
		if len(k.gone) < maxGone {
			k.gone[h] = true
		}
	}
	c.askOwners(r, moved)
}

// askOwners asks all owners of what this node need not keep to sign that they have it.
func (c *Core) askOwners(r *round, moved []store.Hash) {
	r.placed, r.signed = c.placement.digest, map[store.Hash]map[membership.NodeID]bool{}
	ask := map[membership.NodeID][]store.Hash{}
	for _, h := range moved {
		owners := c.owners(h)
		if slices.ContainsFunc(owners, func(id membership.NodeID) bool { return !c.alive(id) }) {
			continue
		}
		r.signed[h] = map[membership.NodeID]bool{}
		for _, id := range owners {
			ask[id] = append(ask[id], h)
		}
	}
	for _, id := range sorted(ask) {
		for batch := range slices.Chunk(ask[id], maxHashes) {
			c.send(id, &KeepAsk{Round: r.id, Placement: r.placed, Hashes: batch})
		}
	}
}

// onKeepAsk signs for what is on this disk, if both see the same owners and this node is one of them: whoever signs goes on
// keeping it.
func (c *Core) onKeepAsk(from membership.NodeID, m *KeepAsk) {
	if m.Placement != c.placement.digest {
		return
	}
	receipt := KeptReceipt{For: from, Round: m.Round}
	for _, h := range m.Hashes {
		if c.objects.held.has(h) && slices.Contains(c.owners(h), c.self) {
			c.touch(h)
			receipt.Hashes = append(receipt.Hashes, h)
		}
	}
	signed, err := membership.Sign(membership.DomainKept, receipt, c.cfg.Key)
	if err != nil {
		c.note("cannot sign", from, "", err)
		return
	}
	c.send(from, &KeepTell{Receipt: signed})
}

// onKeepTell drops what now has the signatures of all its owners.
func (c *Core) onKeepTell(from membership.NodeID, m *KeepTell) {
	r := c.objects.collecting.round
	receipt, err := openReceipt(from, c.self, m.Receipt)
	if err != nil {
		c.note("refused a receipt", from, "", err)
		return
	}
	if r == nil || r.id != receipt.Round || r.signed == nil || r.placed != c.placement.digest || c.outdated(r) {
		return
	}
	var drop []store.Hash
	for _, h := range receipt.Hashes {
		signed := r.signed[h]
		if signed == nil {
			continue
		}
		signed[from] = true
		if c.signedByAll(h, signed) && !c.wanted(h) && c.objects.held.has(h) {
			drop = append(drop, h)
			delete(r.signed, h)
		}
	}
	c.drop(drop, true)
}

func (c *Core) signedByAll(h store.Hash, signed map[membership.NodeID]bool) bool {
	for _, id := range c.owners(h) {
		if id == c.self || !signed[id] {
			return false
		}
	}
	return true
}

func openReceipt(from, self membership.NodeID, s membership.Signed) (receipt KeptReceipt, err error) {
	keys, err := s.Open(membership.DomainKept, &receipt)
	if err != nil {
		return receipt, err
	}
	if len(keys) != 1 || membership.IDOf(keys[0]) != from || receipt.For != self {
		return receipt, fmt.Errorf("%w: a receipt of or for somebody else", membership.ErrSignature)
	}
	return receipt, atMost("hashes", len(receipt.Hashes), maxHashes)
}

// drop deletes objects. From now on they are not here; until the disk has deleted them nothing of that name is taken in, or it
// might be deleted with them.
func (c *Core) drop(hashes []store.Hash, moved bool) {
	if len(hashes) == 0 {
		return
	}
	for _, h := range hashes {
		c.objects.held.remove(h)
		c.objects.collecting.dropping[h] = true
		delete(c.objects.scrub.asked, h)
	}
	what := "collected"
	if moved {
		what = "dropped what moved"
	}
	c.note(fmt.Sprintf("%s: %d objects", what, len(hashes)), "", "", nil)
	c.emit(DropObjects{Hashes: hashes, Moved: moved})
}

// dropped hears that the disk has deleted them. Where it could not they may be there still: then they are not asked for, and
// counted again at the next start.
func (c *Core) dropped(ev Dropped) {
	for _, h := range ev.Hashes {
		delete(c.objects.collecting.dropping, h)
	}
	if ev.Err != nil {
		c.note("cannot delete objects", "", "", ev.Err)
	}
}
