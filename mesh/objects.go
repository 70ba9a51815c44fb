package mesh

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"shoal/membership"
	"shoal/store"
)

// Limits of what is under way with one peer.
const (
	maxOffer      = 512     // hashes in one Offer
	maxSending    = 512     // objects sent and not yet acknowledged
	maxSendBytes  = 4 << 20 // the same; beyond half of either nothing is added
	maxDirect     = 4 << 10 // bytes of an object that is sent without being offered
	maxFresh      = 4096
	maxStoring    = 24 << 20               // bytes received and not yet durable
	offerLow      = 400 * time.Millisecond // until an Offer or a Put is taken for lost; doubled each time that one is
	offerHigh     = 3 * time.Second
	maxBackground = 5                // times that something is sent without anybody waiting for it
	replicateTime = 20 * time.Second // for a Put of the Store
)

// ErrUnavailable is returned when too few owners could be reached.
var ErrUnavailable = errors.New("a quorum of owners cannot be reached")

// ErrPlacement is noted of nodes that place by another algorithm than this one.
var ErrPlacement = errors.New("another placement")

// objects is what this node keeps, what it brings to others, and what it fetches.
type objects struct {
	held    *holdings
	storing map[store.Hash]storing // received, not yet durable
	pending int                    // bytes of storing
	outbox  map[membership.NodeID]*outbox
	needing map[store.Hash][]*job // in the order in which they began
	fresh   map[store.Hash]bool   // see brought
	soon    soon
	fetches fetches
	scrub   scrub
	pace    pace

	collecting collecting
}

// storing is an object on its way to the disk, and who waits for the word that it is there.
type storing struct {
	size int
	from []membership.NodeID
}

func newObjects() objects {
	return objects{
		held: &holdings{}, storing: map[store.Hash]storing{}, outbox: map[membership.NodeID]*outbox{}, needing: map[store.Hash][]*job{}, fresh: map[store.Hash]bool{}, fetches: newFetches(), soon: newSoon(),
		collecting: newCollecting(),
	}
}

// outbox is what a peer is to be offered, was offered, and is being sent.
type outbox struct {
	queue   []store.Hash
	entries map[store.Hash]*entry
	lacks   []store.Hash // the peer wants these
	offered int
	sending int
	bytes   int    // of sending
	round   uint64 // tells a timeout whether its round is still on
	wait    time.Duration
}

type entry struct {
	state entryState
	tries int
	size  int // while it is sent
}

type entryState uint8

const (
	queued entryState = iota
	offered
	lacking
	sending
)

// job brings objects to a quorum of their owners.
type job struct {
	needs  map[store.Hash]*need
	order  []store.Hash
	least  int         // copies of each, however few owners there are
	done   func(error) // nil: nobody waits
	closed bool
	moved  time.Time // when an object last got its quorum
	again  *timer    // assigns it anew
	limit  *timer
}

// need is an object that does not have its quorum yet.
type need struct {
	owners []membership.NodeID // or who stands in for one, see holders
	acked  []membership.NodeID
}

// replicate begins a job that is over when each has a quorum, and least at that; done is called once, in this Step or a later one. limit 0: for as long as it takes.
func (c *Core) replicate(hashes []store.Hash, least int, limit time.Duration, done func(error)) *job {
	j := &job{needs: make(map[store.Hash]*need, len(hashes)), least: least, done: done}
	c.touch(hashes...)
	for _, h := range hashes {
		if _, twice := j.needs[h]; !twice {
			j.needs[h] = &need{}
			j.order = append(j.order, h)
		}
	}
	if len(j.order) == 0 {
		j.closed = true
		done(nil)
		return j
	}
	for _, h := range j.order {
		c.objects.needing[h] = append(c.objects.needing[h], j)
	}
	c.assign(j)
	c.pumpOutboxes()
	if limit > 0 && !j.closed {
		j.limit = c.after(limit, func() {
			c.finish(j, fmt.Errorf("%w: %d objects have too few copies%s", ErrUnavailable, len(j.needs), c.misplacedOwners(sortedHashes(j.needs))))
		})
	}
	return j
}

// assign asks the ring who is to hold what is still needed, and offers it to them. It is done again from time to time,
// since owners come, go and forget.
func (c *Core) assign(j *job) {
	if j.closed {
		return
	}
	j.order = slices.DeleteFunc(j.order, func(h store.Hash) bool { return j.needs[h] == nil })
	for _, h := range slices.Clone(j.order) {
		n := j.needs[h]
		n.owners = c.holders(h)
		direct := c.objects.fresh[h] && c.objects.held.size(h) <= maxDirect
		delete(c.objects.fresh, h)
		if slices.Contains(n.owners, c.self) && c.objects.held.has(h) {
			c.ack(j, h, c.self)
		}
		for _, to := range n.owners {
			if to != c.self && c.mayOwn(to) && !slices.Contains(n.acked, to) {
				if direct && c.placesAlike(to) {
					c.enqueueDirect(to, h)
				} else {
					c.enqueue(to, h)
				}
			}
		}
		c.ack(j, h, "") // the owners may have become fewer
	}
	if !j.closed {
		c.timers.stop(j.again)
		j.again = c.after(2*time.Second, func() { c.assign(j); c.pumpOutboxes() })
	}
}

// ack counts one owner's word; with an empty id it only looks whether there are enough.
func (c *Core) ack(j *job, h store.Hash, from membership.NodeID) {
	n := j.needs[h]
	if n == nil || j.closed {
		return
	}
	if from != "" && !slices.Contains(n.acked, from) {
		n.acked = append(n.acked, from)
	}
	have := 0
	for _, id := range n.acked {
		if slices.Contains(n.owners, id) && !c.misplaced(id) {
			have++
		}
	}
	if have >= max(c.quorum(len(n.owners)), j.least) {
		delete(j.needs, h)
		c.needsNoMore(j, h)
		j.moved = c.now
	}
	if len(j.needs) == 0 {
		c.finish(j, nil)
	}
}

// quorum of owners that must have an object on disk: 2 of 3, and a majority where there are fewer. A ring that has shrunk since
// members are out makes it no smaller: whoever was alone for long would count itself as enough, and have its head decided by
// those who come back at that moment. Of two members one that is left may go on alone, as it may with the head.
func (c *Core) quorum(owners int) int {
	members := 0
	for _, id := range c.people.ids {
		if c.people.status[id] != membership.Left {
			members++
		}
	}
	if members > 2 {
		owners = max(owners, min(c.cfg.Replicas, members))
	}
	return store.Majority(owners)
}

func (c *Core) finish(j *job, err error) {
	if j.closed {
		return
	}
	c.closeJob(j)
	j.done(err)
}

func (c *Core) closeJob(j *job) {
	j.closed = true
	c.timers.stop(j.again)
	c.timers.stop(j.limit)
	for _, h := range j.order {
		c.needsNoMore(j, h)
	}
}

func (c *Core) needsNoMore(j *job, h store.Hash) {
	left := slices.DeleteFunc(c.objects.needing[h], func(o *job) bool { return o == j })
	if c.objects.needing[h] = left; len(left) == 0 {
		delete(c.objects.needing, h)
	}
}

func (c *Core) outboxOf(to membership.NodeID) *outbox {
	o := c.objects.outbox[to]
	if o == nil {
		o = &outbox{entries: map[store.Hash]*entry{}, wait: offerLow}
		c.objects.outbox[to] = o
	}
	return o
}

// brought remembers an object that a client has just brought: the other owners will hardly have it, and a small one is sent to them in
// less than it takes to ask. What comes of it when it is lost on the way is as with all others: it is offered.
func (c *Core) brought(h store.Hash) {
	if len(c.objects.fresh) >= maxFresh {
		clear(c.objects.fresh)
	}
	c.objects.fresh[h] = true
}

// enqueueDirect is enqueue for what a peer is taken to lack.
func (c *Core) enqueueDirect(to membership.NodeID, h store.Hash) {
	if o := c.outboxOf(to); o.entries[h] == nil {
		o.entries[h] = &entry{state: lacking}
		o.lacks = append(o.lacks, h)
	}
}

// enqueue puts hashes into a peer's outbox, unless they are there.
func (c *Core) enqueue(to membership.NodeID, hashes ...store.Hash) {
	o := c.outboxOf(to)
	for _, h := range hashes {
		if o.entries[h] == nil {
			o.entries[h] = &entry{}
			o.queue = append(o.queue, h)
		}
	}
}

func (c *Core) pumpOutboxes() {
	for _, to := range sorted(c.objects.outbox) {
		c.pumpOutbox(to)
	}
}

// pumpOutbox offers what is queued and sends what is lacking, as far as the window allows.
func (c *Core) pumpOutbox(to membership.NodeID) {
	o := c.objects.outbox[to]
	if o == nil || !c.mayOwn(to) {
		return
	}
	moved := false
	if o.offered == 0 && len(o.lacks) == 0 && len(o.queue) > 0 {
		n := min(maxOffer, len(o.queue))
		batch := slices.Clone(o.queue[:n])
		o.queue, o.offered, moved = o.queue[n:], n, true
		for _, h := range batch {
			o.entries[h].state = offered
		}
		c.send(to, &Offer{Hashes: batch, Placed: wordOf(c.placementVersion())})
	}
	if batch := c.sendNext(o); len(batch) > 0 {
		moved = true
		c.emit(SendObjects{To: to, Hashes: batch})
	}
	if moved {
		c.watch(to, o)
	}
	if len(o.entries) == 0 {
		delete(c.objects.outbox, to)
	}
}

// sendNext takes what is to be sent now of what a peer lacks.
func (c *Core) sendNext(o *outbox) []store.Hash {
	if o.sending > maxSending/2 || o.bytes > maxSendBytes/2 {
		return nil
	}
	n := 0
	for _, h := range o.lacks {
		e := o.entries[h]
		e.size = c.objects.held.size(h)
		if o.sending == maxSending || o.bytes+e.size > maxSendBytes {
			break
		}
		e.state = sending
		o.count(e, 1)
		n++
	}
	batch := slices.Clone(o.lacks[:n])
	o.lacks = o.lacks[n:]
	return batch
}

// watch gives a peer some time to answer anything; then all that is under way is offered again, or given up when nobody
// waits for it: repair will find it. A peer that is only slow is given more time as long as there is something for it, so that
// the same bytes are not sent to it over and over.
func (c *Core) watch(to membership.NodeID, o *outbox) {
	o.round++
	round := o.round
	c.after(o.wait, func() {
		if c.objects.outbox[to] != o || o.round != round || o.offered+o.sending+len(o.lacks) == 0 {
			return
		}
		o.wait = min(2*o.wait, offerHigh)
		for _, h := range sortedHashes(o.entries) {
			e := o.entries[h]
			if e.state == queued {
				continue
			}
			if e.tries++; e.tries >= maxBackground && !c.wanted(h) {
				delete(o.entries, h)
				continue
			}
			e.state = queued
			o.queue = append(o.queue, h)
		}
		o.offered, o.sending, o.bytes, o.lacks = 0, 0, 0, nil
		c.pumpOutbox(to)
	})
}

// wanted tells whether a job waits for copies of an object.
func (c *Core) wanted(h store.Hash) bool { return len(c.objects.needing[h]) > 0 }

func (c *Core) onOffer(from membership.NodeID, m *Offer) {
	if !c.samePlacement(from, versionOf(m.Placed)) {
		c.tellPlaced(from)
		return
	}
	answer := &Have{}
	c.touch(m.Hashes...)
	for _, h := range m.Hashes {
		if c.objects.held.has(h) {
			answer.Have = append(answer.Have, h)
		} else {
			answer.Lacks = append(answer.Lacks, h)
		}
	}
	c.send(from, answer)
}

// onHave hears what a peer has on disk and what it lacks.
func (c *Core) onHave(from membership.NodeID, m *Have) {
	o := c.objects.outbox[from]
	if o == nil {
		return
	}
	for _, h := range m.Have {
		e := o.entries[h]
		if e == nil {
			continue
		}
		o.count(e, -1)
		if e.state == queued {
			o.queue = slices.DeleteFunc(o.queue, func(q store.Hash) bool { return q == h })
		}
		if e.state == lacking {
			o.lacks = slices.DeleteFunc(o.lacks, func(q store.Hash) bool { return q == h })
		}
		delete(o.entries, h)
		for _, j := range slices.Clone(c.objects.needing[h]) {
			c.ack(j, h, from)
		}
	}
	for _, h := range m.Lacks {
		if e := o.entries[h]; e != nil && e.state == offered {
			o.count(e, -1)
			e.state = lacking
			o.lacks = append(o.lacks, h)
		}
	}
	if o.offered+o.sending > 0 {
		c.watch(from, o)
	}
	c.pumpOutbox(from)
}

// count keeps the numbers of what is under way.
func (o *outbox) count(e *entry, by int) {
	switch e.state {
	case offered:
		o.offered += by
	case sending:
		o.sending += by
		o.bytes += by * e.size
	}
}

// onPut takes objects in: those that were asked for, and those that this node owns or that somebody brings. Bytes that are
// not what their hash says are never kept.
func (c *Core) onPut(from membership.NodeID, m *Put) {
	var keep [][]byte
	var have []store.Hash
	c.objects.fetches.heard[from] = c.now
	delete(c.objects.fetches.silent, from)
	for _, o := range m.Objects {
		if store.HashOf(o.Data) != o.Hash {
			c.note("refused a corrupt object", from, "", store.ErrCorrupt)
			c.fetchFailed(from, o.Hash)
			continue
		}
		if c.objects.collecting.dropping[o.Hash] {
			continue // it will be brought again
		}
		c.touch(o.Hash)
		if c.objects.held.has(o.Hash) {
			have = append(have, o.Hash)
			continue
		}
		s, under := c.objects.storing[o.Hash]
		if !under && c.objects.pending+len(o.Data) > maxStoring {
			continue // it will be brought again
		}
		s.size, s.from = len(o.Data), appendNew(s.from, from)
		c.objects.storing[o.Hash] = s
		if !under {
			c.objects.pending += len(o.Data)
			keep = append(keep, o.Data)
		}
	}
	if len(have) > 0 {
		c.send(from, &Have{Have: have})
	}
	if len(keep) > 0 {
		c.emit(StoreObjects{Objects: keep})
	}
	c.pumpFetches()
}

func appendNew[T comparable](ids []T, id T) []T {
	if slices.Contains(ids, id) {
		return ids
	}
	return append(ids, id)
}

// stored hears from the disk.
func (c *Core) stored(ev Stored) {
	acks := map[membership.NodeID][]store.Hash{}
	for _, k := range ev.Objects {
		s, under := c.objects.storing[k.Hash]
		if under {
			delete(c.objects.storing, k.Hash)
			c.objects.pending -= s.size
		}
		if c.objects.collecting.dropping[k.Hash] {
			continue // it may have been deleted again
		}
		c.touch(k.Hash)
		if ev.Err != nil {
			for _, from := range s.from {
				c.fetchFailed(from, k.Hash)
			}
			if one := c.objects.fetches.open[k.Hash]; one != nil && len(s.from) == 0 {
				c.objects.fetches.queue = append(c.objects.fetches.queue, k.Hash)
			}
			continue
		}
		if !under && !c.objects.held.has(k.Hash) {
			c.brought(k.Hash)
		}
		c.objects.held.add(k)
		c.keptSoon(k.Hash)
		for _, from := range s.from {
			acks[from] = append(acks[from], k.Hash)
		}
		c.fetched(k.Hash)
	}
	if ev.Err != nil {
		c.note("cannot store objects", "", "", ev.Err)
		return
	}
	for _, from := range sorted(acks) {
		for batch := range slices.Chunk(acks[from], maxHashes) {
			c.send(from, &Have{Have: batch})
		}
	}
	c.pumpFetches()
}

// lost forgets an object whose bytes are gone or bad, and fetches it again where it belongs here.
func (c *Core) lost(h store.Hash) {
	if !c.objects.held.has(h) {
		return
	}
	c.objects.held.remove(h)
	c.note("lost an object", "", "", store.ErrCorrupt)
	c.fetch([]store.Hash{h}, fetchTimeout, func(error) {})
}

// gone stops what is under way with a peer that is not there.
func (c *Core) gone(id membership.NodeID) {
	delete(c.objects.outbox, id)
	c.abandonSource(id)
}

func (c *Core) replicateFor(ev Replicate) {
	c.replicate(ev.Hashes, 0, replicateTime, func(err error) { c.emit(Answer{ID: ev.ID, Err: err}) })
}

func sortedHashes[V any](m map[store.Hash]V) []store.Hash {
	out := make([]store.Hash, 0, len(m))
	for h := range m {
		out = append(out, h)
	}
	slices.SortFunc(out, compareHashes)
	return out
}
