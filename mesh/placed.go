package mesh

import (
	"fmt"
	"slices"
	"strings"

	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// Two nodes whose placements are of different algorithms, or of different versions of one, do not mean the same by "owner". It
// happens while a mesh is upgraded, and where --ring is not the same everywhere. Each request that goes by placement names the
// sender's, as a word (Offer) or in a digest (Compare, Groups, Digests, KeepAsk); who places otherwise answers with its own word
// and does nothing. Such a node counts as an owner that is not there: the next of the preference list stands in for it, and a
// write quorum is never made of its answers. Objects are asked for by hash, of anybody, so it gets what it applies all the same.

// wordOf is how a version travels: token/1 as no word, since that is what version 0.1 says.
func wordOf(version string) string {
	if version == ring.TokenVersion {
		return ""
	}
	return version
}

func versionOf(word string) string {
	if word == "" {
		return ring.TokenVersion
	}
	return word
}

// placementVersion is the algorithm by which this node places, and its version.
func (c *Core) placementVersion() string { return c.placement.now.Version() }

// tellPlaced says by which algorithm this node places.
func (c *Core) tellPlaced(peer membership.NodeID) {
	c.send(peer, &Placed{Version: c.placementVersion()})
}

func (c *Core) onPlaced(from membership.NodeID, m *Placed) { c.samePlacement(from, m.Version) }

// samePlacement takes a node's word for how it places, and tells whether it is as here.
func (c *Core) samePlacement(peer membership.NodeID, version string) bool {
	mine := c.placementVersion()
	before, known := c.people.placed[peer]
	if !known {
		before = mine
	}
	if c.people.placed[peer] = version; before != version {
		c.people.changes++
		if version != mine {
			c.note(fmt.Sprintf("places by %s, and this node by %s: it is no owner to us until they are the same", version, mine), peer, "", ErrPlacement)
		} else {
			c.note("places as this node does", peer, "", nil)
		}
	}
	if version != mine {
		delete(c.objects.outbox, peer)
	}
	return version == mine
}

// misplaced tells whether a node is known to place by another algorithm.
func (c *Core) misplaced(id membership.NodeID) bool {
	version, known := c.people.placed[id]
	return known && id != c.self && version != c.placementVersion()
}

// placesAlike tells whether a node has said that it places as this one does; mayOwn takes that for granted until it says otherwise.
func (c *Core) placesAlike(id membership.NodeID) bool {
	version, known := c.people.placed[id]
	return known && version == c.placementVersion()
}

// mayOwn tells whether a node is here and means the same by owner.
func (c *Core) mayOwn(id membership.NodeID) bool { return c.alive(id) && !c.misplaced(id) }

// misplacedOwners names those of the owners of some objects that place by another algorithm, for people.
func (c *Core) misplacedOwners(hashes []store.Hash) string {
	var who []string
	for _, h := range hashes {
		for _, id := range c.owners(h) {
			if !c.misplaced(id) {
				continue
			}
			one := fmt.Sprintf("%s by %s", c.people.members[id].Name, c.people.placed[id])
			if !slices.Contains(who, one) {
				who = append(who, one)
			}
		}
	}
	if len(who) == 0 {
		return ""
	}
	slices.Sort(who)
	return fmt.Sprintf("; this node places by %s, and %s: set --ring alike on all", c.placementVersion(), strings.Join(who, ", "))
}
