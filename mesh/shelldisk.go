package mesh

import (
	"context"
	"errors"
	"fmt"

	"shoal/store"
)

// How a Core's records and objects lie on a disk: every shell has them in the same way.

// KeptObjects lists the objects of a disk for New.
func KeptObjects(ctx context.Context, kv store.KV) ([]Kept, error) {
	var kept []Kept
	all := store.PartitionPrefix(0)
	all = all[:len(all)-2] // without the partition's number
	err := scan(ctx, kv, all, func(p store.Pair) {
		if len(p.Key) > 32 {
			kept = append(kept, Kept{Hash: store.Hash(p.Key[len(p.Key)-32:]), Size: int(p.Size)})
		}
	})
	return kept, err
}

// SavedRecords reads what the Core saved, but for the reports.
func SavedRecords(ctx context.Context, kv store.KV) ([]store.Pair, error) {
	var keys [][]byte
	if err := scan(ctx, kv, store.MetaKey(SavePrefix), func(p store.Pair) { keys = append(keys, p.Key) }); err != nil {
		return nil, err
	}
	var saved []store.Pair
	for _, key := range keys {
		name := store.Name(key)
		if !Loaded(name) {
			continue
		}
		value, err := kv.Get(ctx, key)
		if errors.Is(err, store.ErrCorrupt) {
			value, err = nil, nil // it does not decode: the Core knows what that means for it
		}
		if err != nil {
			return nil, fmt.Errorf("saved record %q: %w", name, err)
		}
		saved = append(saved, store.Pair{Key: []byte(name), Value: value})
	}
	return saved, nil
}

// scan goes over all keys of a prefix in order, without their values.
func scan(ctx context.Context, kv store.KV, prefix []byte, each func(store.Pair)) error {
	var after []byte
	for {
		page, err := kv.Scan(ctx, prefix, after, store.MaxScan, true)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, p := range page {
			each(p)
		}
		after = page[len(page)-1].Key
	}
}

// Persist makes changes durable, in as few batches as they fit in. After an error nobody knows which.
func Persist(ctx context.Context, kv store.KV, all []store.Change) error {
	for from := 0; from < len(all); {
		to, size := from, 0
		for to < len(all) && to-from < store.MaxChanges {
			if size += len(all[to].Key) + len(all[to].Value); to > from && size > store.MaxBatch {
				break
			}
			to++
		}
		if err := kv.Write(ctx, all[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}
