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
)

// request is one Write on its way.
type request struct {
	changes []store.Change
	done    chan error
}

func (r *request) bytes() (total int) {
	for _, c := range r.changes {
		total += len(c.Key) + len(c.Value) + perKey
	}
	return total
}

// batcher is group commit: one goroutine gives the writes that wait to commit, all at once, while the next gather. When
// the last group was of several, it waits a little for as many to come again: those it has just answered are on their
// way. A writer that is alone never waits.
type batcher struct {
	commit   func([]store.Change) error
	maxBytes int
	in       chan *request
	stop     chan struct{}
	once     sync.Once
	stopped  chan struct{}
}

func newBatcher(commit func([]store.Change) error, maxBytes int) *batcher {
	b := &batcher{
		commit:   commit,
		maxBytes: maxBytes,
		in:       make(chan *request),
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	go b.run()
	return b
}

// do returns when the changes are durable, or never will be.
func (b *batcher) do(ctx context.Context, changes []store.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{changes: changes, done: make(chan error, 1)}
	select {
	case b.in <- r:
		return <-r.done
	case <-b.stopped:
		return store.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the goroutine when the group that it is at is answered.
func (b *batcher) close() {
	b.once.Do(func() { close(b.stop) })
	<-b.stopped
}

func (b *batcher) run() {
	defer close(b.stopped)
	var carried *request // did not fit into the group before
	expect := 1
	for {
		first := carried
		if first == nil {
			select {
			case first = <-b.in:
			case <-b.stop:
				return
			}
		}
		var group []*request
		group, carried = b.gather(first, expect)
		b.answer(group)
		expect = len(group)
	}
}

// gather takes what is waiting, and waits itself only for as many as were in the group before.
func (b *batcher) gather(first *request, expect int) (group []*request, carried *request) {
	var late <-chan time.Time
	if expect > 1 {
		timer := time.NewTimer(groupWait)
		defer timer.Stop()
		late = timer.C
	}
	group = []*request{first}
	bytes, keys := first.bytes(), len(first.changes)
	for {
		next := b.next(len(group) < expect, late)
		if next == nil {
			return group, nil
		}
		bytes, keys = bytes+next.bytes(), keys+len(next.changes)
		if bytes >= b.maxBytes || keys > groupKeys {
			return group, next
		}
		group = append(group, next)
	}
}

// next returns the next request, or nil when there is none now and none is worth waiting for.
func (b *batcher) next(wait bool, late <-chan time.Time) *request {
	select {
	case r := <-b.in:
		return r
	default:
	}
	if !wait {
		return nil
	}
	select {
	case r := <-b.in:
		return r
	case <-late:
	case <-b.stop:
	}
	return nil
}

func (b *batcher) answer(group []*request) {
	var changes []store.Change
	for _, r := range group {
		changes = append(changes, r.changes...)
	}
	var err error
	if len(changes) > 0 {
		err = b.commit(changes)
	}
	for _, r := range group {
		r.done <- err
	}
}
