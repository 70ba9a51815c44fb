package badger

import (
	"context"
	"sync"
	"time"

	"shoal/store"
)

// Limits of a group of writes that share a sync.
const (
	groupWait = 2 * time.Millisecond
	groupKeys = 4096
	// perKey is what the library counts beside a key and its value, rounded up.
	perKey = 64
	// groupLarge bounds the bytes of a group that go into segments, and not into the library's transaction.
	groupLarge = 2 << 20
)

// request is one Write on its way.
type request struct {
	changes []store.Change
	done    chan error
	lead    chan struct{} // it is first, and the group before it is answered
	// bytes of the library's transaction, and of segments
	bytes, large int
}

func (r *request) count(isLarge func(store.Change) bool) {
	for _, c := range r.changes {
		r.bytes += len(c.Key) + perKey
		if isLarge(c) {
			r.bytes, r.large = r.bytes+placeSize, r.large+len(c.Value)
		} else {
			r.bytes += len(c.Value)
		}
	}
}

// batcher is group commit: one of the writers commits all that wait, while the next gather; then the first of those does. When
// the last group was of several, it waits a little for as many to come again: those that were just answered are on their
// way. A writer that is alone never waits, and commits in its own goroutine: to hand its write to another, and the answer back, woke two
// threads for each.
type batcher struct {
	commit   func([]store.Change) error
	isLarge  func(store.Change) bool
	maxBytes int
	expect   int           // how many were in the last group; the leader's
	came     chan struct{} // wakes the leader while it waits for more
	stop     chan struct{}

	mu     sync.Mutex
	queue  []*request
	led    bool // somebody leads
	closed bool
	ended  chan struct{} // closed, and nobody leads
}

func newBatcher(commit func([]store.Change) error, isLarge func(store.Change) bool, maxBytes int) *batcher {
	return &batcher{
		commit: commit, isLarge: isLarge, maxBytes: maxBytes, expect: 1,
		came: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
}

// do returns when the changes are durable, or never will be.
func (b *batcher) do(ctx context.Context, changes []store.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{changes: changes, done: make(chan error, 1), lead: make(chan struct{}, 1)}
	r.count(b.isLarge)
	if err := b.enter(r); err != nil {
		return err
	}
	select {
	case <-r.lead:
		b.turn()
		return <-r.done // it was in its own group
	case err := <-r.done:
		return err
	}
}

func (b *batcher) enter(r *request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return store.ErrClosed
	}
	b.queue = append(b.queue, r)
	if !b.led {
		b.led = true
		r.lead <- struct{}{}
		return nil
	}
	select {
	case b.came <- struct{}{}:
	default:
	}
	return nil
}

// close refuses further writes, and returns when those that came before are answered.
func (b *batcher) close() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.stop)
		if !b.led {
			close(b.ended)
		}
	}
	b.mu.Unlock()
	<-b.ended
}

// turn commits the group of which the leader is the first, and makes the first of the next the leader.
func (b *batcher) turn() {
	group := b.gather()
	b.expect = len(group)
	b.answer(group)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.queue) > 0:
		b.queue[0].lead <- struct{}{}
	case b.closed:
		close(b.ended)
		fallthrough
	default:
		b.led = false
	}
}

// gather takes what is waiting, and waits itself only for as many as were in the group before.
func (b *batcher) gather() []*request {
	n, full := b.fits()
	if !full && n < b.expect {
		late := time.NewTimer(groupWait)
		defer late.Stop()
		for waits := true; waits && !full && n < b.expect; n, full = b.fits() {
			select {
			case <-b.came:
			case <-late.C:
				waits = false
			case <-b.stop:
				waits = false
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	group := b.queue[:n:n]
	b.queue = append([]*request(nil), b.queue[n:]...)
	return group
}

// fits is how many of those that wait go into one group, of which there is always one; full: no more would.
func (b *batcher) fits() (n int, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bytes, large, keys := 0, 0, 0
	for _, r := range b.queue {
		bytes, large, keys = bytes+r.bytes, large+r.large, keys+len(r.changes)
		if n > 0 && (bytes >= b.maxBytes || large > groupLarge || keys > groupKeys) {
			return n, true
		}
		n++
	}
	return n, false
}

func (b *batcher) answer(group []*request) {
	changes := group[0].changes
	if len(group) > 1 {
		changes = nil
		for _, r := range group {
			changes = append(changes, r.changes...)
		}
	}
	var err error
	if len(changes) > 0 {
		err = b.commit(changes)
	}
	for _, r := range group {
		r.done <- err
	}
}
