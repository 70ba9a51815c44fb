package mesh

import (
	"slices"

	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// source is the next one to ask: the owners in a random order, those of the placement before, then any member that is
// alive, since all that follow an environment keep its objects. Those that were silent come after these. At last those are asked who
// should have the object and are dead as the gossip has it: it may be wrong, and being wrong costs one message.
func (c *Core) source(h store.Hash, tried []membership.NodeID) membership.NodeID {
	among := func(ids []membership.NodeID, fit func(membership.NodeID) bool) (out []membership.NodeID) {
		for _, id := range ids {
			if id != c.self && !slices.Contains(tried, id) && fit(id) {
				out = append(out, id)
			}
		}
		return out
	}
	usable := func(id membership.NodeID) bool { return c.alive(id) && !c.isSilent(id) }
	from := among(c.owners(h), usable)
	if len(from) == 0 {
		from = among(c.oldOwners(h), usable)
	}
	if len(from) == 0 {
		from = among(c.people.ids, usable)
	}
	if len(from) > 0 {
		return from[c.dice.below(len(from))]
	}
	from = append(among(c.people.ids, c.alive), among(c.mayHave(h), func(id membership.NodeID) bool { return !c.isSilent(id) })...)
	if len(from) > 0 {
		return from[0]
	}
	return ""
}

// isSilent tells whether a peer lately did not answer.
func (c *Core) isSilent(id membership.NodeID) bool {
	at, ok := c.objects.fetches.silent[id]
	return ok && c.now.Sub(at) < silentTime
}

func (c *Core) oldOwners(h store.Hash) []membership.NodeID {
	if c.placement.old == nil {
		return nil
	}
	return c.placement.old.Owners(ring.PartitionOf(h[:]), c.cfg.Replicas)
}

// mayHave are the other members that an object was brought to, if it was brought to anybody: its owners, who can stand in for those, and the
// owners before the last change. Whoever has left took no care of it any more.
func (c *Core) mayHave(h store.Hash) (out []membership.NodeID) {
	ids := c.placement.now.Owners(ring.PartitionOf(h[:]), c.cfg.Replicas+standIns)
	for _, id := range slices.Concat(ids, c.oldOwners(h)) {
		if id != c.self && c.isMember(id) && c.people.status[id] != membership.Left {
			out = appendNew(out, id)
		}
	}
	return out
}

// unreached are those who may have an object and have not said that they lack it.
func (c *Core) unreached(h store.Hash, lacked []membership.NodeID) []membership.NodeID {
	return slices.DeleteFunc(c.mayHave(h), func(id membership.NodeID) bool { return slices.Contains(lacked, id) })
}

// maxNamed bounds how many an error names.
const maxNamed = 8

// unreachedFor names, for people, those who may have what a want still misses and did not answer.
func (c *Core) unreachedFor(w *want) (names []string) {
	for _, h := range sortedHashes(w.left) {
		one := c.objects.fetches.open[h]
		if one == nil {
			continue
		}
		for _, id := range c.unreached(h, slices.Concat(one.lacked, one.before)) {
			name := c.people.members[id].Name
			if !c.alive(id) {
				name += " (not seen now)"
			}
			if names = appendNew(names, name); len(names) == maxNamed {
				return append(names, "and others")
			}
		}
	}
	return names
}
