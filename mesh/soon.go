package mesh

import (
	"time"

	"shoal/store"
)

// soonTime is how long revisions are gathered before they are stored as objects.
const soonTime = 20 * time.Millisecond

// soon are the revisions that are to become objects of this node. They are small and many, and others wait for what is
// said about them, not for them; so they share a write. One that this node answers for stands in a record of its own until
// then, which goes to the disk with the vote.
type soon struct {
	waiting  map[store.Hash][]byte
	recorded map[store.Hash]bool
	set      bool // the write is
}

func newSoon() soon {
	return soon{waiting: map[store.Hash][]byte{}, recorded: map[store.Hash]bool{}}
}

func (s *soon) load(object []byte) {
	h := store.HashOf(object)
	s.waiting[h], s.recorded[h] = object, true
}

// keepSoon stores a revision with the next write; answered, it is durable with this Step all the same.
func (c *Core) keepSoon(h store.Hash, object []byte, answered bool) {
	s := &c.objects.soon
	c.touch(h)
	if c.objects.held.has(h) {
		return
	}
	if answered && !s.recorded[h] {
		s.recorded[h] = true
		c.emit(Save{Key: keyRevision + h.String(), Value: object})
	}
	if _, under := c.objects.storing[h]; !under {
		s.waiting[h] = object
		c.storeSoon()
	}
}

func (c *Core) storeSoon() {
	s := &c.objects.soon
	if s.set || len(s.waiting) == 0 {
		return
	}
	s.set = true
	c.after(soonTime, func() {
		s.set = false
		var objects [][]byte
		for _, h := range sortedHashes(s.waiting) {
			if data := s.waiting[h]; !c.objects.held.has(h) {
				c.objects.storing[h] = storing{size: len(data)}
				c.objects.pending += len(data)
				objects = append(objects, data)
			} else {
				c.keptSoon(h)
			}
		}
		clear(s.waiting)
		if len(objects) > 0 {
			c.emit(StoreObjects{Objects: objects})
		}
	})
}

// keptSoon: the object is durable, and its record can go.
func (c *Core) keptSoon(h store.Hash) {
	if c.objects.soon.recorded[h] {
		delete(c.objects.soon.recorded, h)
		c.emit(Save{Key: keyRevision + h.String(), Late: true})
	}
}
