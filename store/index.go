package store

import (
	"context"
	"fmt"
	"sync"

	"shoal/ring"
)

// Digest sums up the objects of a partition. Two nodes with equal digests of a partition have the same objects there.
//
// Sum is the exclusive or of the hashes, so it does not depend on order and costs nothing to keep. Who can choose contents
// could make two sets with one sum; only publishers choose contents, and what a node needs for its plan it asks for by
// name anyway.
type Digest struct {
	_     struct{} `cbor:",toarray"`
	Sum   Hash
	Count int64
	Bytes int64
}

// merge adds or, being its own inverse on the sum, takes away.
func (d *Digest) merge(other Digest, sign int64) {
	for i := range d.Sum {
		d.Sum[i] ^= other.Sum[i]
	}
	d.Count += sign * other.Count
	d.Bytes += sign * other.Bytes
}

// Index keeps the digest of every partition in memory (about 200 KiB), so that anti-entropy and `shoal ring` need no scan.
// It is safe for many goroutines.
type Index struct {
	mu      sync.RWMutex
	digests [ring.Partitions]Digest
}

// Digest returns the digest of one partition.
func (x *Index) Digest(p ring.Partition) Digest {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.digests[p%ring.Partitions]
}

// Total sums up all partitions.
func (x *Index) Total() (total Digest) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, d := range x.digests {
		total.merge(d, 1)
	}
	return total
}

func (x *Index) change(h Hash, size, sign int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.digests[PartitionOf(h)].merge(Digest{Sum: h, Count: 1, Bytes: size}, sign)
}

// load fills an empty index by one scan that reads no values.
func (x *Index) load(ctx context.Context, kv KV) error {
	var after []byte
	for {
		page, err := kv.Scan(ctx, []byte(objectPrefix), after, MaxScan, true)
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		for _, pair := range page {
			h, ok := objectOf(pair.Key)
			if !ok {
				return fmt.Errorf("index: %x is not the key of an object", pair.Key)
			}
			x.change(h, pair.Size, 1)
		}
		after = page[len(page)-1].Key
	}
}
