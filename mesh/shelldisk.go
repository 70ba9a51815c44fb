package mesh

import (
	"context"
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

// Persist makes the Saves among actions durable. They come before all else that the actions say: a promise that was made must
// not be forgotten, nor news spread that a restart would take back. After an error nothing of the actions may be done, and the
// Core must not be stepped again.
func Persist(ctx context.Context, kv store.KV, actions []Action) error {
	var batch []store.Change
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := kv.Write(ctx, batch)
		batch, size = nil, 0
		return err
	}
	for _, a := range actions {
		s, ok := a.(Save)
		if !ok {
			continue
		}
		change := store.Change{Key: store.MetaKey(s.Key), Value: s.Value}
		if n := len(change.Key) + len(change.Value); size+n > store.MaxBatch || len(batch) == store.MaxChanges {
			if err := flush(); err != nil {
				return err
			}
		}
		size += len(change.Key) + len(change.Value)
		batch = append(batch, change)
	}
	return flush()
}
