// Package memory is a store.KV in the memory of this process: for tests, and for nodes that keep nothing on disk.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/google/btree"

	"shoal/store"
)

// KV is an ordered map behind a lock. Its zero value is not usable; New makes one.
type KV struct {
	mu     sync.RWMutex
	tree   *btree.BTreeG[store.Pair]
	closed bool
}

var _ store.KV = (*KV)(nil)

// New returns an empty KV.
func New() *KV {
	return &KV{tree: btree.NewG(32, func(a, b store.Pair) bool { return bytes.Compare(a.Key, b.Key) < 0 })}
}

// Get implements store.KV.
func (m *KV) Get(ctx context.Context, key []byte) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.usable(ctx); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	pair, ok := m.tree.Get(store.Pair{Key: key})
	if !ok {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(pair.Value), nil
}

// Scan implements store.KV.
func (m *KV) Scan(ctx context.Context, prefix, after []byte, limit int, keysOnly bool) ([]store.Pair, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.usable(ctx); err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	limit = min(limit, store.MaxScan)
	from := prefix
	if bytes.Compare(after, from) > 0 {
		from = after
	}
	var out []store.Pair
	m.tree.AscendGreaterOrEqual(store.Pair{Key: from}, func(pair store.Pair) bool {
		if len(out) >= limit || !bytes.HasPrefix(pair.Key, prefix) {
			return false
		}
		if after != nil && bytes.Equal(pair.Key, after) {
			return true
		}
		found := store.Pair{Key: bytes.Clone(pair.Key), Size: pair.Size}
		if !keysOnly {
			found.Value = bytes.Clone(pair.Value)
		}
		out = append(out, found)
		return true
	})
	return out, nil
}

// Write implements store.KV.
func (m *KV) Write(ctx context.Context, changes []store.Change) error {
	if err := store.CheckBatch(changes); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	for _, c := range changes {
		if c.Value == nil {
			m.tree.Delete(store.Pair{Key: c.Key})
			continue
		}
		m.tree.ReplaceOrInsert(store.Pair{
			Key:   slices.Clone(c.Key),
			Value: append(make([]byte, 0, len(c.Value)), c.Value...),
			Size:  int64(len(c.Value)),
		})
	}
	return nil
}

// Volatile implements store.KV.
func (m *KV) Volatile() bool { return true }

// Lineage implements store.KV.
func (m *KV) Lineage() uint64 { return 0 }

// Close implements store.KV. It drops everything.
func (m *KV) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.tree.Clear(false)
	return nil
}

func (m *KV) usable(ctx context.Context) error {
	if m.closed {
		return store.ErrClosed
	}
	return ctx.Err()
}

// Clone returns a KV with the same content, from which on the two go apart. It copies nothing at once.
func (m *KV) Clone() *KV {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &KV{tree: m.tree.Clone(), closed: m.closed}
}
