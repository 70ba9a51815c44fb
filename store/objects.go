package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"shoal/ring"
)

// ErrTooLarge is returned for an object of more than MaxObject bytes.
var ErrTooLarge = fmt.Errorf("object larger than %d bytes", MaxObject)

// Objects is the part of a KV that holds the objects of this node, with an index of what is there. It must be the only
// one that writes them. Put and Drop are idempotent; Puts commute.
type Objects struct {
	kv    KV
	index *Index

	mu sync.Mutex
	// busy holds the objects that are being written or dropped; the channel is closed when that is over. So no two count
	// one object in the index, and writes of different objects share a sync.
	busy map[Hash]chan struct{}
	// bad are those that were read with a wrong hash: from then on they are not here, and a Put replaces them.
	bad map[Hash]bool
	// broken is the failed sync after which nobody knows what is durable, also of what can be read: nothing is kept any more.
	broken error
}

// OpenObjects reads the names of what kv holds already.
func OpenObjects(ctx context.Context, kv KV) (*Objects, error) {
	o := &Objects{kv: kv, index: &Index{}, busy: map[Hash]chan struct{}{}, bad: map[Hash]bool{}}
	return o, o.index.load(ctx, kv)
}

// Index tells how much is in which partition.
func (o *Objects) Index() *Index { return o.index }

// Put keeps the objects and returns their names when all are durable. When it fails, some may be kept.
func (o *Objects) Put(ctx context.Context, objects [][]byte) ([]Hash, error) {
	names := make([]Hash, len(objects))
	for i, data := range objects {
		if len(data) > MaxObject {
			return nil, fmt.Errorf("put: %w: %d", ErrTooLarge, len(data))
		}
		names[i] = HashOf(data)
	}
	for from := 0; from < len(objects); {
		to := batchEnd(objects, from)
		if err := o.putBatch(ctx, names[from:to], objects[from:to]); err != nil {
			return nil, fmt.Errorf("put: %w", err)
		}
		from = to
	}
	return names, nil
}

// batchEnd is where the batch that begins at from must end, so that it fits into one Write.
func batchEnd(objects [][]byte, from int) int {
	const keySize = len(objectPrefix) + 2 + len(Hash{})
	size := 0
	for i := from; i < len(objects); i++ {
		if size += keySize + len(objects[i]); i > from && (size > MaxBatch || i-from == MaxChanges) {
			return i
		}
	}
	return len(objects)
}

func (o *Objects) putBatch(ctx context.Context, names []Hash, objects [][]byte) error {
	return o.claim(ctx, names, func() error {
		var b objectBatch
		for i, name := range names {
			old, here, err := o.size(ctx, name)
			if err != nil {
				return err
			}
			if !here || o.isBad(name) {
				b.put(name, objects[i], old, here)
			}
		}
		return o.write(ctx, b)
	})
}

// objectBatch is what one Write changes, and what that means for the index.
type objectBatch struct {
	seen    map[Hash]bool
	changes []Change
	moves   []indexMove
}

type indexMove struct {
	name       Hash
	size, sign int64
}

func (b *objectBatch) put(name Hash, data []byte, old int64, here bool) {
	if b.take(name) {
		return
	}
	if data == nil {
		data = []byte{} // nil would delete it
	}
	b.changes = append(b.changes, Change{Key: ObjectKey(name), Value: data})
	if here {
		b.moves = append(b.moves, indexMove{name, old, -1})
	}
	b.moves = append(b.moves, indexMove{name, int64(len(data)), 1})
}

func (b *objectBatch) drop(name Hash, old int64) {
	if b.take(name) {
		return
	}
	b.changes = append(b.changes, Change{Key: ObjectKey(name)})
	b.moves = append(b.moves, indexMove{name, old, -1})
}

// take says whether the name is in the batch already, and enters it.
func (b *objectBatch) take(name Hash) (twice bool) {
	if b.seen == nil {
		b.seen = map[Hash]bool{}
	}
	twice = b.seen[name]
	b.seen[name] = true
	return twice
}

func (o *Objects) write(ctx context.Context, b objectBatch) error {
	if err := o.brokenBy(nil); err != nil {
		return err
	}
	if len(b.changes) == 0 {
		return nil
	}
	if err := o.kv.Write(ctx, b.changes); err != nil {
		return o.brokenBy(err)
	}
	for _, m := range b.moves {
		o.index.change(m.name, m.size, m.sign)
		o.markBad(m.name, false)
	}
	return nil
}

// brokenBy notes a failed sync, and returns err or the one that was noted before.
func (o *Objects) brokenBy(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken == nil && errors.Is(err, ErrBroken) {
		o.broken = err
	}
	return cmp.Or(err, o.broken)
}

// Get returns an object whose hash is right. When it is not, it returns ErrCorrupt, and the object counts as missing
// until it is put again.
func (o *Objects) Get(ctx context.Context, name Hash) ([]byte, error) {
	data, err := o.kv.Get(ctx, ObjectKey(name))
	if err == nil && HashOf(data) != name {
		err = ErrCorrupt
	}
	if errors.Is(err, ErrCorrupt) {
		o.markBad(name, true)
	}
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", name.Short(), err)
	}
	return data, nil
}

// Has says which of the objects are here, without reading them.
func (o *Objects) Has(ctx context.Context, names []Hash) ([]bool, error) {
	here := make([]bool, len(names))
	for i, name := range names {
		_, ok, err := o.size(ctx, name)
		if err != nil {
			return nil, err
		}
		here[i] = ok && !o.isBad(name)
	}
	return here, nil
}

// List returns at most limit names of a partition's objects that are greater than after (zero: from the first), sorted.
// Those known to be bad are left out, so a shorter list than limit is not the last: that is an empty one.
func (o *Objects) List(ctx context.Context, p ring.Partition, after Hash, limit int) ([]Hash, error) {
	prefix := PartitionPrefix(p)
	var from []byte
	if !after.IsZero() {
		from = append(bytes.Clone(prefix), after[:]...)
	}
	for {
		page, err := o.kv.Scan(ctx, prefix, from, limit, true)
		if err != nil || len(page) == 0 {
			return nil, err
		}
		var names []Hash
		for _, pair := range page {
			if name, ok := objectOf(pair.Key); ok && !o.isBad(name) {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			return names, nil
		}
		from = page[len(page)-1].Key
	}
}

// Drop forgets objects, as an old owner does when all new ones have them.
func (o *Objects) Drop(ctx context.Context, names []Hash) error {
	for len(names) > 0 {
		batch := names[:min(len(names), MaxChanges)]
		names = names[len(batch):]
		if err := o.dropBatch(ctx, batch); err != nil {
			return fmt.Errorf("drop: %w", err)
		}
	}
	return nil
}

func (o *Objects) dropBatch(ctx context.Context, names []Hash) error {
	return o.claim(ctx, names, func() error {
		var b objectBatch
		for _, name := range names {
			old, here, err := o.size(ctx, name)
			if err != nil {
				return err
			}
			if here {
				b.drop(name, old)
			}
		}
		return o.write(ctx, b)
	})
}

func (o *Objects) size(ctx context.Context, name Hash) (size int64, here bool, err error) {
	if kv, ok := o.kv.(Sizer); ok {
		return kv.Size(ctx, ObjectKey(name))
	}
	found, err := o.kv.Scan(ctx, ObjectKey(name), nil, 1, true)
	if err != nil || len(found) == 0 {
		return 0, false, err
	}
	return found[0].Size, true, nil
}

// claim runs work while nobody else writes or drops any of the names. It waits for those that do; it never waits while
// it holds a claim, so two claims cannot wait for each other.
func (o *Objects) claim(ctx context.Context, names []Hash, work func() error) error {
	for {
		over := make(chan struct{})
		wait := o.tryClaim(names, over)
		if wait == nil {
			defer o.release(names, over)
			return work()
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryClaim enters all names, or none and returns what to wait for.
func (o *Objects) tryClaim(names []Hash, over chan struct{}) (wait chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range names {
		if other, ok := o.busy[name]; ok {
			return other
		}
	}
	for _, name := range names {
		o.busy[name] = over
	}
	return nil
}

func (o *Objects) release(names []Hash, over chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range names {
		delete(o.busy, name)
	}
	close(over)
}

func (o *Objects) isBad(name Hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bad[name]
}

func (o *Objects) markBad(name Hash, bad bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if bad {
		o.bad[name] = true
	} else {
		delete(o.bad, name)
	}
}
