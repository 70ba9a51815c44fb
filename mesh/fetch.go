package mesh

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// Limits of fetching.
const (
	maxFlight    = 48               // objects asked for and not yet here: 12 MiB at most
	getTimeout   = 2 * time.Second  // without an object from the one that was asked
	silentTime   = 15 * time.Second // that such a one is asked only when nobody else is left
	fetchAgain   = time.Second      // until all sources are tried anew
	fetchTimeout = 20 * time.Second
)

// ErrUnobtainable is returned for objects that no member brought in time.
var ErrUnobtainable = errors.New("no member has the object")

// fetches are the objects that this node needs and does not have.
type fetches struct {
	open   map[store.Hash]*fetching
	queue  []store.Hash // those of open that wait for a source
	flight int
	round  uint64
	heard  map[membership.NodeID]time.Time // when an object last came from a peer
	silent map[membership.NodeID]time.Time // when one did not answer: it may be dead, and the gossip not know it yet
}

func newFetches() fetches {
	return fetches{
		open:  map[store.Hash]*fetching{},
		heard: map[membership.NodeID]time.Time{}, silent: map[membership.NodeID]time.Time{},
	}
}

// fetching is one object and who was asked for it.
type fetching struct {
	wants []*want
	tried []membership.NodeID
	from  membership.NodeID // asked now; empty: nobody
	round uint64            // of the question
	rests bool              // all sources were tried; waits for the next turn
}

// want is somebody who needs some objects.
type want struct {
	left   map[store.Hash]bool
	done   func(error)
	closed bool
	moved  time.Time // when an object of it last came
	once   bool      // gives up as soon as all that could have an object were asked in vain
}

// fetch gets objects from whoever has them; done is called once, in this Step when all are here. limit 0: for as long as it
// takes.
func (c *Core) fetch(hashes []store.Hash, limit time.Duration, done func(error)) *want {
	w := &want{left: map[store.Hash]bool{}, done: done}
	for _, h := range hashes {
		if c.objects.held.has(h) || w.left[h] {
			continue
		}
		w.left[h] = true
		f := c.objects.fetches.open[h]
		if f == nil {
			f = &fetching{}
			c.objects.fetches.open[h] = f
			c.objects.fetches.queue = append(c.objects.fetches.queue, h)
		}
		f.wants = append(f.wants, w)
	}
	if len(w.left) == 0 {
		w.closed = true
		done(nil)
		return w
	}
	if limit > 0 {
		c.after(limit, func() { c.giveUp(w) })
	}
	c.pumpFetches()
	return w
}

func (c *Core) giveUp(w *want) {
	if !w.closed {
		w.closed = true
		w.done(fmt.Errorf("%w: %d missing", ErrUnobtainable, len(w.left)))
	}
}

// cancel ends a want without a word.
func (w *want) cancel() {
	if w != nil {
		w.closed = true
	}
}

// pumpFetches asks for what waits, in batches by source.
func (c *Core) pumpFetches() {
	f := &c.objects.fetches
	ask := map[membership.NodeID][]store.Hash{}
	var rest []store.Hash
	for i, h := range f.queue {
		if f.flight >= maxFlight {
			rest = append(rest, f.queue[i:]...)
			break
		}
		one := f.open[h]
		if one == nil || one.from != "" || one.rests {
			continue
		}
		if !slices.ContainsFunc(one.wants, func(w *want) bool { return !w.closed }) {
			delete(f.open, h)
			continue
		}
		from := c.source(h, one.tried)
		if from == "" {
			c.restFetch(h, one)
			continue
		}
		f.flight++
		one.from, one.tried = from, append(one.tried, from)
		ask[from] = append(ask[from], h)
	}
	f.queue = rest
	for _, from := range sorted(ask) {
		for batch := range slices.Chunk(ask[from], maxGet) {
			c.ask(from, batch)
		}
	}
}

// restFetch lets an object that nobody had wait for the next turn.
func (c *Core) restFetch(h store.Hash, one *fetching) {
	for _, w := range one.wants {
		if w.once {
			c.giveUp(w)
		}
	}
	one.rests = true
	c.after(fetchAgain, func() {
		if c.objects.fetches.open[h] == one && one.rests {
			one.rests, one.tried = false, nil
			c.objects.fetches.queue = append(c.objects.fetches.queue, h)
			c.pumpFetches()
		}
	})
}

func (c *Core) ask(from membership.NodeID, batch []store.Hash) {
	f := &c.objects.fetches
	f.round++
	round := f.round
	for _, h := range batch {
		f.open[h].round = round
	}
	c.send(from, &Get{Hashes: batch})
	c.after(getTimeout, func() { c.getTimedOut(from, batch, round) })
}

// getTimedOut waits on while objects still come, else asks others for the rest.
func (c *Core) getTimedOut(from membership.NodeID, batch []store.Hash, round uint64) {
	f := &c.objects.fetches
	var open []store.Hash
	for _, h := range batch {
		if one := f.open[h]; one != nil && one.from == from && one.round == round && !c.isStoring(h) {
			open = append(open, h)
		}
	}
	if len(open) == 0 {
		return
	}
	if c.now.Sub(f.heard[from]) < getTimeout {
		c.after(getTimeout, func() { c.getTimedOut(from, open, round) })
		return
	}
	f.silent[from] = c.now
	for _, h := range open {
		c.fetchFailed(from, h)
	}
	c.pumpFetches()
}

// isSilent tells whether a peer lately did not answer.
func (c *Core) isSilent(id membership.NodeID) bool {
	at, ok := c.objects.fetches.silent[id]
	return ok && c.now.Sub(at) < silentTime
}

func (c *Core) isStoring(h store.Hash) bool {
	_, ok := c.objects.storing[h]
	return ok
}

// source is the next one to ask: the owners in a random order, those of the placement before, then any member that is
// alive, since all that follow an environment keep its objects. Those that were silent come last.
func (c *Core) source(h store.Hash, tried []membership.NodeID) membership.NodeID {
	usable := func(ids []membership.NodeID) (out []membership.NodeID) {
		for _, id := range ids {
			if id != c.self && c.alive(id) && !slices.Contains(tried, id) && !c.isSilent(id) {
				out = append(out, id)
			}
		}
		return out
	}
	from := usable(c.owners(h))
	if len(from) == 0 && c.placement.old != nil {
		from = usable(c.placement.old.Owners(ring.PartitionOf(h[:]), c.cfg.Replicas))
	}
	if len(from) == 0 {
		from = usable(c.people.ids)
	}
	if len(from) == 0 {
		for _, id := range c.alivePeers() {
			if !slices.Contains(tried, id) {
				return id
			}
		}
		return ""
	}
	return from[c.dice.below(len(from))]
}

// fetchFailed goes on to the next source after one that did not have an object, was silent, or sent something else.
func (c *Core) fetchFailed(from membership.NodeID, h store.Hash) {
	f := &c.objects.fetches
	one := f.open[h]
	if one == nil || one.from != from {
		return
	}
	one.from = ""
	f.flight--
	f.queue = append(f.queue, h)
}

func (c *Core) onLacks(from membership.NodeID, m *Lacks) {
	for _, h := range m.Hashes {
		c.fetchFailed(from, h)
	}
	c.pumpFetches()
}

// fetched ends the wait for an object that is durable here now.
func (c *Core) fetched(h store.Hash) {
	f := &c.objects.fetches
	one := f.open[h]
	if one == nil {
		return
	}
	delete(f.open, h)
	if one.from != "" {
		f.flight--
	}
	for _, w := range one.wants {
		delete(w.left, h)
		w.moved = c.now
		if len(w.left) == 0 && !w.closed {
			w.closed = true
			w.done(nil)
		}
	}
}

// abandonSource asks others for what a peer that is gone was asked for.
func (c *Core) abandonSource(id membership.NodeID) {
	f := &c.objects.fetches
	for _, h := range sortedHashes(f.open) {
		if f.open[h].from == id && !c.isStoring(h) {
			c.fetchFailed(id, h)
		}
	}
	c.pumpFetches()
}

func (c *Core) wantFor(ev Want) {
	w := c.fetch(ev.Hashes, fetchTimeout, func(err error) { c.emit(Answer{ID: ev.ID, Err: err}) })
	if w.once = true; !w.closed {
		c.hopeless(w)
	}
}

// hopeless ends a want at once when something of it has no source left already.
func (c *Core) hopeless(w *want) {
	for _, h := range sortedHashes(w.left) {
		if one := c.objects.fetches.open[h]; one != nil && one.rests {
			c.giveUp(w)
			return
		}
	}
}
