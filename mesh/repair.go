package mesh

import (
	"slices"
	"time"

	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// Repair brings back what an owner missed. Any two that own partitions in common compare a tree of digests of three levels (root,
// 64 groups of 64 partitions, partitions: Merkle, 1987), and of the partitions that differ exchange the lists of hashes; each
// fetches what it lacks:
//
//	A ── Compare(root) ──▶ B        answered by no groups when B's root is the same
//	A ◀── Groups ───────── B        of all partitions in common
//	A ── Digests ────────▶ B        of the partitions of the groups that differ
//	A ◀── Hashes ───────── B        of at most maxDiffer that differ; A fetches what it lacks
//	A ── Hashes(answer) ─▶ B        B fetches what it lacks
//
// The next exchange goes on where this one stopped.
//
// Objects may also be where no owner is: with those who stood in for absent owners. So whoever holds what it does not own
// offers it to the owners, once for each change, when they return and now and then.

// Limits of one exchange.
const (
	maxDiffer = 256  // partitions
	maxListed = 4096 // hashes
	// maxRepair objects are begun to be fetched within repairWindow, whatever more peers list: 128 MiB at most.
	maxRepair    = 512
	repairWindow = 10 * time.Second
	repairGroups = 64
	groupSize    = ring.Partitions / repairGroups
)

func (c *Core) startRepair() {
	c.every(8*time.Second, 12*time.Second, func() {
		if peers := c.alivePeers(); len(peers) > 0 {
			peer := peers[c.dice.below(len(peers))]
			c.compareWith(c.sharer(peer))
			c.handBack(peer)
		}
	})
}

// sharer is the peer, or, where that owns nothing that this node owns too, as most do in a large mesh, one who does.
func (c *Core) sharer(peer membership.NodeID) membership.NodeID {
	if len(c.common(peer).parts) > 0 {
		return peer
	}
	var alive []membership.NodeID
	for _, id := range sorted(c.placement.shared) {
		if id != c.self && c.alive(id) {
			alive = append(alive, id)
		}
	}
	if len(alive) == 0 {
		return peer
	}
	return alive[c.dice.below(len(alive))]
}

// sweepAgain is how long a peer is taken to have got what it was offered.
const sweepAgain = 10 * time.Minute

// sweep is how far this node has offered a peer what that owns and this node does not.
type sweep struct {
	next  ring.Partition
	added uint64 // holdings.added when the sweep began
	ended time.Time
}

// pace is how many objects repair has begun to fetch lately.
type pace struct {
	since time.Time
	taken int
}

// take grants at most n more.
func (p *pace) take(now time.Time, n int) int {
	if now.Sub(p.since) >= repairWindow {
		p.since, p.taken = now, 0
	}
	n = max(0, min(n, maxRepair-p.taken))
	p.taken += n
	return n
}

// handBack offers a peer what it owns of that which this node holds for others, at most maxOffer objects at a time. Most of it
// the peer has: an offer names only hashes.
func (c *Core) handBack(peer membership.NodeID) {
	s := c.placement.swept[peer]
	if c.misplaced(peer) {
		return
	}
	idle := s.next == 0 && s.added == c.objects.held.added && c.now.Sub(s.ended) < sweepAgain
	if idle || !c.alive(peer) || c.objects.outbox[peer] != nil {
		return
	}
	if s.next == 0 {
		s.added = c.objects.held.added
	}
	for offered := 0; s.next < ring.Partitions && offered < maxOffer; s.next++ {
		hashes := c.objects.held.in(s.next)
		if len(hashes) == 0 {
			continue
		}
		owners := c.placement.now.Owners(s.next, c.cfg.Replicas)
		if slices.Contains(owners, peer) && !slices.Contains(owners, c.self) {
			c.enqueue(peer, hashes...)
			offered += len(hashes)
		}
	}
	if s.next == ring.Partitions {
		s.next, s.ended = 0, c.now
	}
	c.placement.swept[peer] = s
	c.pumpOutbox(peer)
}

// holding is what this node keeps, and how far that is from what it should.
func (c *Core) holding() Holding {
	h := Holding{Node: c.self, Placement: c.placementVersion(), Objects: c.objects.held.count, Bytes: c.objects.held.bytes, Moving: len(c.objects.fetches.open)}
	for _, o := range c.objects.outbox {
		h.Moving += len(o.entries)
	}
	for peer, n := range c.placement.behind {
		if c.alive(peer) {
			h.Behind = max(h.Behind, n)
		}
	}
	if c.fresh.stale {
		h.Stale = max(c.now.Sub(c.fresh.since), time.Second)
	}
	return h
}

// differs notes what a comparison has shown.
func (c *Core) differs(peer membership.NodeID, partitions int) {
	if c.isMember(peer) {
		c.placement.behind[peer] = partitions
	}
}

// inCommon is what this node owns along with a peer.
type inCommon struct {
	parts []ring.Partition // in order
	root  [32]byte         // of what is held of them
	at    uint64           // holdings.changes when root was made; 0: never
}

// common are the partitions that both this node and a peer own. Those of all peers are found in one pass.
func (c *Core) common(peer membership.NodeID) *inCommon {
	if c.placement.shared == nil {
		c.placement.shared = map[membership.NodeID]*inCommon{}
		var owners []membership.NodeID
		for p := range ring.Partition(ring.Partitions) {
			owners = c.placement.now.AppendOwners(owners[:0], p, c.cfg.Replicas)
			if !slices.Contains(owners, c.self) {
				continue
			}
			for _, owner := range owners {
				shared := c.placement.shared[owner]
				if shared == nil {
					shared = &inCommon{}
					c.placement.shared[owner] = shared
				}
				shared.parts = append(shared.parts, p)
			}
		}
	}
	if shared := c.placement.shared[peer]; shared != nil {
		return shared
	}
	return &inCommon{}
}

// commonRoot sums up what is held of the partitions that a peer owns too.
func (c *Core) commonRoot(peer membership.NodeID) [32]byte {
	shared, changes := c.common(peer), c.objects.held.changes+1
	if shared.at != changes {
		shared.root, shared.at = c.objects.held.root(shared.parts), changes
	}
	return shared.root
}

// compareWith begins an exchange, unless there is nothing that both own.
func (c *Core) compareWith(peer membership.NodeID) {
	if c.misplaced(peer) {
		c.tellPlaced(peer) // it may have changed since
		return
	}
	if c.alive(peer) && len(c.common(peer).parts) > 0 {
		c.send(peer, &Compare{Placed: wordOf(c.placementVersion()), Placement: c.placement.digest, Root: c.commonRoot(peer), Groups: true})
	}
}

// onCompare does nothing while the two see different members: what they would compare is not the same.
func (c *Core) onCompare(from membership.NodeID, m *Compare) {
	if m.Placement != c.placement.digest {
		if !c.samePlacement(from, versionOf(m.Placed)) {
			c.tellPlaced(from)
		}
		return
	}
	parts := c.common(from).parts
	if m.Root == c.commonRoot(from) {
		c.differs(from, 0)
		if m.Groups {
			c.send(from, &Groups{Placement: c.placement.digest}) // nothing differs
		}
		return
	}
	if !m.Groups {
		c.send(from, &Digests{Placement: c.placement.digest, Partitions: c.digests(parts, nil)})
		return
	}
	c.send(from, &Groups{Placement: c.placement.digest, Groups: c.objects.held.groups(parts)})
}

// onGroups answers with the partitions of the groups that differ.
func (c *Core) onGroups(from membership.NodeID, m *Groups) {
	if m.Placement != c.placement.digest {
		return
	}
	if len(m.Groups) == 0 {
		c.differs(from, 0)
		return
	}
	theirs := make(map[uint8][16]byte, len(m.Groups))
	for _, g := range m.Groups {
		theirs[g.Group] = g.Sum
	}
	parts := c.common(from).parts
	answer := &Digests{Placement: c.placement.digest}
	for _, g := range c.objects.held.groups(parts) {
		if theirs[g.Group] != g.Sum {
			answer.Groups = append(answer.Groups, g.Group)
		}
	}
	if len(answer.Groups) == 0 {
		c.differs(from, 0)
		return
	}
	answer.Partitions = c.digests(parts, answer.Groups)
	c.send(from, answer)
}

// digests of the partitions that are not empty here, of some groups; nil: of all.
func (c *Core) digests(parts []ring.Partition, groups []uint8) (out []PartitionDigest) {
	for _, p := range parts {
		if d := c.objects.held.digest(p); d.Count > 0 && (groups == nil || slices.Contains(groups, groupOf(p))) {
			out = append(out, d)
		}
	}
	return out
}

func groupOf(p ring.Partition) uint8 { return uint8(p / groupSize) }

func (c *Core) onDigests(from membership.NodeID, m *Digests) {
	if m.Placement != c.placement.digest {
		return
	}
	theirs := make(map[ring.Partition]PartitionDigest, len(m.Partitions))
	for _, d := range m.Partitions {
		theirs[d.Partition] = d
	}
	var differ []ring.Partition
	for _, p := range c.common(from).parts {
		if len(m.Groups) > 0 && !slices.Contains(m.Groups, groupOf(p)) {
			continue
		}
		their := theirs[p]
		their.Partition = p
		if their != c.objects.held.digest(p) {
			differ = append(differ, p)
		}
	}
	c.differs(from, len(differ))
	c.list(from, differ, false)
}

// list tells a peer what is here of some partitions; it begins anywhere, so that a partition too large for one exchange
// does not hide the others for ever.
func (c *Core) list(to membership.NodeID, parts []ring.Partition, answer bool) {
	if len(parts) == 0 {
		return
	}
	m := &Hashes{Answer: answer}
	begin := c.dice.below(len(parts))
	if answer {
		begin = 0
	}
	for i := range parts {
		p := parts[(begin+i)%len(parts)]
		hashes := c.objects.held.in(p)
		if len(m.Partitions) == maxDiffer || len(m.Hashes)+len(hashes) > maxListed {
			break
		}
		m.Partitions = append(m.Partitions, p)
		m.Hashes = append(m.Hashes, hashes...)
	}
	c.send(to, m)
}

func (c *Core) onHashes(from membership.NodeID, m *Hashes) {
	var lacking []store.Hash
	for _, h := range m.Hashes {
		// What is being fetched already is not waited for again: each list would add as many who wait.
		if c.objects.fetches.open[h] == nil && !c.objects.collecting.gone[h] && !c.objects.held.has(h) && slices.Contains(c.owners(h), c.self) {
			lacking = append(lacking, h)
		}
	}
	if n := c.objects.pace.take(c.now, min(len(lacking), maxRepair-len(c.objects.fetches.open))); n > 0 {
		c.fetch(lacking[:n], fetchTimeout, func(error) {})
	}
	if !m.Answer {
		c.differs(from, len(m.Partitions)) // at least
		c.list(from, m.Partitions, true)
	}
}
