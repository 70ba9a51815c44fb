package mesh

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/membership"
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

// ErrUnobtainable is returned for objects that all members who should have them say that they lack.
var ErrUnobtainable = errors.New("no member has the object")

// ErrUnreached is returned for objects that somebody may have who did not answer in time.
var ErrUnreached = errors.New("not all members that may have the object could be asked")

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
	wants  []*want
	tried  []membership.NodeID
	lacked []membership.NodeID // have said so in this turn
	before []membership.NodeID // in the turn before
	from   membership.NodeID   // asked now; empty: nobody
	round  uint64              // of the question
	rests  bool                // all sources were tried; waits for the next turn
}

// want is somebody who needs some objects.
type want struct {
	left   map[store.Hash]bool
	done   func(error)
	closed bool
	moved  time.Time // when an object of it last came
	once   bool      // gives up as soon as all who may have an object have said that they lack it
	hasty  bool      // gives up as soon as all who can be reached were asked in vain
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
		_, here := c.objects.soon.waiting[h]
		if here {
			defer c.storeNow()
		}
		f := c.objects.fetches.open[h]
		if f == nil {
			f = &fetching{}
			c.objects.fetches.open[h] = f
			if _, comes := c.objects.storing[h]; !here && !comes { // else it is fetched when it is stored
				c.objects.fetches.queue = append(c.objects.fetches.queue, h)
			}
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
	if w.closed {
		return
	}
	w.closed = true
	if silent := c.unreachedFor(w); len(silent) > 0 {
		w.done(fmt.Errorf("%w: %d missing; no answer from %s", ErrUnreached, len(w.left), strings.Join(silent, ", ")))
		return
	}
	w.done(fmt.Errorf("%w: %d missing", ErrUnobtainable, len(w.left)))
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
		c.giveUpOnce(w, h, one)
	}
	one.rests = true
	c.after(fetchAgain, func() {
		if c.objects.fetches.open[h] == one && one.rests {
			one.rests, one.tried, one.lacked, one.before = false, nil, nil, one.lacked
			c.objects.fetches.queue = append(c.objects.fetches.queue, h)
			c.pumpFetches()
		}
	})
}

// giveUpOnce ends a want for an object that nobody has who was asked, unless somebody who may have it has not answered: that one
// may have been stopped, or cut off, for a moment.
func (c *Core) giveUpOnce(w *want, h store.Hash, one *fetching) {
	if w.once && (w.hasty || len(c.unreached(h, one.lacked)) == 0) {
		c.giveUp(w)
	}
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

func (c *Core) isStoring(h store.Hash) bool {
	_, ok := c.objects.storing[h]
	return ok
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
	delete(c.objects.fetches.silent, from)
	for _, h := range m.Hashes {
		if one := c.objects.fetches.open[h]; one != nil {
			one.lacked = appendNew(one.lacked, from)
		}
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
	if w.once, w.hasty = true, ev.Hasty; !w.closed {
		c.hopeless(w)
	}
}

// hopeless ends a want at once when something of it has no source left already.
func (c *Core) hopeless(w *want) {
	for _, h := range sortedHashes(w.left) {
		if one := c.objects.fetches.open[h]; one != nil && one.rests {
			if c.giveUpOnce(w, h, one); w.closed {
				return
			}
		}
	}
}
