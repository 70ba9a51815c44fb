package mesh

import (
	"time"

	"shoal/ring"
	"shoal/store"
)

// Scrub reads everything again, slowly: a bit that turned on the disk is found before the other copies are gone. It goes by
// what the index says is here and not by what the disk lists, since a list leaves out what it cannot read.
//
// What is bad counts as lost from then on: it is not served, and comes back from a peer.

// Rates of the scrub.
const (
	// DefaultScrub is how long one pass over everything takes, unless that is more than scrubMost.
	DefaultScrub = 24 * time.Hour
	scrubEvery   = 10 * time.Second
	scrubMost    = 16 << 20 // bytes of one turn: 1.6 MiB/s
	// scrubObjects bounds a turn where objects are small.
	scrubObjects = 2048
)

// scrub is where the pass is.
type scrub struct {
	part  ring.Partition      // the next one
	rest  []store.Hash        // of the one before
	asked map[store.Hash]bool // being read; nil: nothing
	pass  int                 // passes that are over
}

func (c *Core) startScrub() { c.every(scrubEvery*4/5, scrubEvery*6/5, c.scrubTurn) }

// scrubTurn has the next objects read. A disk that has not answered the last turn is not asked for more.
func (c *Core) scrubTurn() {
	s := &c.objects.scrub
	if s.asked != nil || c.objects.held.count == 0 {
		return
	}
	turns := int64(max(1, c.cfg.Scrub/scrubEvery))
	budget := min(c.objects.held.bytes/turns+1, scrubMost)
	var hashes []store.Hash
	for budget > 0 && len(hashes) < scrubObjects {
		h, size, ok := c.scrubNext(s)
		if !ok {
			break
		}
		hashes, budget = append(hashes, h), budget-int64(size)
	}
	if len(hashes) == 0 {
		return
	}
	s.asked = make(map[store.Hash]bool, len(hashes))
	for _, h := range hashes {
		s.asked[h] = true
	}
	c.emit(VerifyObjects{Hashes: hashes})
}

// scrubNext steps to the next object that is here; not ok at the end of a pass.
func (c *Core) scrubNext(s *scrub) (h store.Hash, size int, ok bool) {
	for {
		for len(s.rest) > 0 {
			h, s.rest = s.rest[0], s.rest[1:]
			if size, ok = c.objects.held.parts[ring.PartitionOf(h[:])][h]; ok {
				return h, size, true
			}
		}
		if s.part == ring.Partitions {
			s.part, s.pass = 0, s.pass+1
			return h, 0, false
		}
		s.rest = c.objects.held.in(s.part)
		s.part++
	}
}

// verified hears what of a turn is bad.
func (c *Core) verified(ev Verified) {
	asked := c.objects.scrub.asked
	c.objects.scrub.asked = nil
	for _, h := range ev.Bad {
		if asked[h] {
			c.lost(h)
		}
	}
}
