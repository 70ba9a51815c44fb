package node

import (
	"context"
	"errors"
	"fmt"

	"shoal/mesh"
	"shoal/store"
)

// keptObjects lists the objects of the disk for the Core.
func keptObjects(ctx context.Context, kv store.KV) ([]mesh.Kept, error) {
	var kept []mesh.Kept
	all := store.PartitionPrefix(0)
	all = all[:len(all)-2] // without the partition's number
	err := scan(ctx, kv, all, true, func(p store.Pair) {
		if len(p.Key) > 32 {
			kept = append(kept, mesh.Kept{Hash: store.Hash(p.Key[len(p.Key)-32:]), Size: int(p.Size)})
		}
	})
	return kept, err
}

// savedRecords reads what the Core saved, but for the reports.
func savedRecords(ctx context.Context, kv store.KV) ([]store.Pair, error) {
	var keys [][]byte
	if err := scan(ctx, kv, store.MetaKey(mesh.SavePrefix), true, func(p store.Pair) { keys = append(keys, p.Key) }); err != nil {
		return nil, err
	}
	var saved []store.Pair
	for _, key := range keys {
		name := store.Name(key)
		if !mesh.Loaded(name) {
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

func scan(ctx context.Context, kv store.KV, prefix []byte, keysOnly bool, each func(store.Pair)) error {
	var after []byte
	for {
		page, err := kv.Scan(ctx, prefix, after, store.MaxScan, keysOnly)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, p := range page {
			each(p)
		}
		after = page[len(page)-1].Key
	}
}
