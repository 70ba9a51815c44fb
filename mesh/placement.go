package mesh

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// placement is who owns what: a function of the roster less the nodes that are out. Views may differ for a while; objects
// are self-verifying, so that is harmless, and nothing else depends on it.
type placement struct {
	nodes    []ring.Node // what now is made from
	now, old ring.Ring
	digest   [32]byte
	shared   map[membership.NodeID]*inCommon // with a peer; nil: made when first asked for
	swept    map[membership.NodeID]sweep
	behind   map[membership.NodeID]int // partitions that differed from a peer's when they were last compared
}

// Ring is the placement as this node sees it.
func (c *Core) Ring() ring.Ring { return c.placement.now }

// place computes the ring anew when its nodes changed.
func (c *Core) place() {
	var nodes []ring.Node
	for _, id := range c.people.ids {
		if id == c.self || !c.isOut(id) {
			nodes = append(nodes, ring.Node{ID: id, Zone: c.people.members[id].Zone})
		}
	}
	if slices.Equal(nodes, c.placement.nodes) {
		return
	}
	made := c.cfg.Place(nodes)
	c.placement = placement{
		nodes: nodes, now: made, old: c.placement.now, digest: placementDigest(made),
		swept: map[membership.NodeID]sweep{}, behind: map[membership.NodeID]int{},
	}
	c.people.changes++
	if c.placement.old != nil {
		c.moved()
	}
}

// has tells whether a node has a place on the ring.
func (p *placement) has(id membership.NodeID) bool {
	_, found := slices.BinarySearchFunc(p.nodes, id, func(n ring.Node, id membership.NodeID) int { return cmp.Compare(n.ID, id) })
	return found
}

// isOut tells whether a node left, or has been dead for longer than the grace time. For one that was never seen that time begins
// when this node started, or learned of it: a restart of everything moves nothing, and one that left is not waited for ever.
func (c *Core) isOut(id membership.NodeID) bool {
	switch c.people.status[id] {
	case membership.Left:
		return true
	case membership.Failed, "":
		return c.now.Sub(c.people.since[id]) > c.cfg.Grace
	}
	return false
}

func placementDigest(r ring.Ring) [32]byte {
	h := sha256.New()
	h.Write([]byte(r.Version()))
	for _, n := range r.Nodes() {
		h.Write([]byte("\x00" + string(n.ID) + "\x00" + n.Zone))
	}
	return [32]byte(h.Sum(nil))
}

// owners of an object, the first owner first.
func (c *Core) owners(h store.Hash) []membership.NodeID {
	return c.placement.now.Owners(ring.PartitionOf(h[:]), c.cfg.Replicas)
}

// standIns is how many nodes after the owners may take the place of those that are not there.
const standIns = 6

// holders are to take an object that is written now: its owners, and for each of those that is not there the next healthy
// node of the preference list (the sloppy quorum of DeCandia et al., "Dynamo", 2007, section 4.6). What a stand-in took is
// found by its hash like any other copy, and is handed to the owner when that returns. Without enough stand-ins the absent
// owners stay: the quorum never becomes smaller.
func (c *Core) holders(h store.Hash) []membership.NodeID {
	owners := c.owners(h)
	present := func(id membership.NodeID) bool { return id == c.self || c.mayOwn(id) }
	if !slices.ContainsFunc(owners, func(id membership.NodeID) bool { return !present(id) }) {
		return owners
	}
	preferred := c.placement.now.Owners(ring.PartitionOf(h[:]), len(owners)+standIns)
	var healthy, absent []membership.NodeID
	for _, id := range preferred {
		if present(id) {
			healthy = append(healthy, id)
		} else {
			absent = append(absent, id)
		}
	}
	return append(healthy, absent...)[:len(owners)]
}

// logOwners keep the log of a node.
func (c *Core) logOwners(node membership.NodeID) []membership.NodeID {
	r := c.placement.now
	return r.Owners(r.PartitionOf([]byte(node)), c.cfg.Replicas)
}

// moved brings what this node keeps to those who own it now, and compares notes with them soon.
func (c *Core) moved() {
	for p := range ring.Partitions {
		hashes := c.objects.held.in(ring.Partition(p))
		if len(hashes) == 0 {
			continue
		}
		owners := c.placement.now.Owners(ring.Partition(p), c.cfg.Replicas)
		before := c.placement.old.Owners(ring.Partition(p), c.cfg.Replicas)
		for _, to := range owners {
			if to != c.self && !slices.Contains(before, to) {
				c.enqueue(to, hashes...)
			}
		}
	}
	c.pumpOutboxes()
	c.logs.acked = map[membership.NodeID]uint64{}
	c.logs.had = map[membership.NodeID]map[membership.NodeID]bool{}
}
