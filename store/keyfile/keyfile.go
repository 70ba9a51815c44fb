// Package keyfile keeps some records of a store in a file of their own, for its owner alone: keys, which a database would keep in
// files that it makes readable, long after they were replaced, and which would be in every copy of it.
package keyfile

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"shoal/internal/codec"
	"shoal/internal/datafile"
	"shoal/internal/ownfile"
	"shoal/store"
)

// maxRecords bounds what is kept in the file. It is written as a whole each time.
const maxRecords = 64

// Disk is the store that has all the rest.
type Disk interface {
	store.KV
	store.Sizer
	// Unreadable lists the records that are there and cannot be read.
	Unreadable(ctx context.Context, after string, limit int) (bad []string, last string, err error)
}

// KV is a Disk of which the records under one prefix are in a file. Such a record is written before those that come with it, and is of
// worth without them: a power cut may leave it alone.
type KV struct {
	Disk
	prefix []byte
	path   string

	mu   sync.RWMutex
	own  []store.Pair // sorted by key
	shut bool
}

var (
	_ store.KV    = (*KV)(nil)
	_ store.Sizer = (*KV)(nil)
)

// Open reads the file, which may not be there yet. What the disk has under the prefix, for it is of a version that had no file, moves
// there. A file that others may read, or that is of another user, is an error, which says what to do; one that is damaged is
// forgotten, and the log says so.
func Open(ctx context.Context, disk Disk, path string, prefix []byte, log *slog.Logger) (*KV, error) {
	kv := &KV{Disk: disk, prefix: bytes.Clone(prefix), path: path}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("keys of the gossip: %w", err)
	}
	data, err := ownfile.Read(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("keys of the gossip: %w\n    whoever could read them may read the gossip until the next eviction (shoal evict)", err)
	}
	if err == nil {
		if kv.own, err = decode(data, prefix); err != nil {
			log.Warn("the file of the gossip's keys is damaged; peers tell them again", "file", path, "error", err)
		}
	}
	return kv, kv.takeOver(ctx)
}

// takeOver moves what an earlier version left on the disk.
func (kv *KV) takeOver(ctx context.Context) error {
	left, err := kv.Disk.Scan(ctx, kv.prefix, nil, maxRecords, false)
	if err != nil || len(left) == 0 {
		return err
	}
	var gone []store.Change
	for _, p := range left {
		kv.own = changed(kv.own, store.Change{Key: p.Key, Value: p.Value})
		gone = append(gone, store.Change{Key: p.Key})
	}
	if err := kv.save(kv.own); err != nil {
		return err
	}
	return kv.Disk.Write(ctx, gone)
}

func decode(data, prefix []byte) (own []store.Pair, err error) {
	frames, _ := datafile.Frames(data)
	if len(frames) != 1 {
		return nil, fmt.Errorf("%d whole frames in %d bytes", len(frames), len(data))
	}
	if err := codec.Unmarshal(frames[0], &own); err != nil {
		return nil, err
	}
	order := func(a, b store.Pair) int { return bytes.Compare(a.Key, b.Key) }
	if len(own) > maxRecords || !slices.IsSortedFunc(own, order) {
		return nil, fmt.Errorf("%d records, or in no order", len(own))
	}
	for _, p := range own {
		if !bytes.HasPrefix(p.Key, prefix) {
			return nil, fmt.Errorf("a record under another name")
		}
	}
	return own, nil
}

func (kv *KV) save(own []store.Pair) error {
	data, err := codec.Marshal(own)
	if err == nil {
		err = ownfile.Write(kv.path, datafile.AppendFrame(nil, data), 0o600)
	}
	return err
}

// changed is a copy with one record written.
func changed(own []store.Pair, c store.Change) []store.Pair {
	at, here := slices.BinarySearchFunc(own, c.Key, func(p store.Pair, key []byte) int { return bytes.Compare(p.Key, key) })
	own = slices.Clone(own)
	if here {
		own = slices.Delete(own, at, at+1)
	}
	if c.Value == nil {
		return own
	}
	return slices.Insert(own, at, store.Pair{Key: bytes.Clone(c.Key), Value: bytes.Clone(c.Value), Size: int64(len(c.Value))})
}

// Get implements store.KV.
func (kv *KV) Get(ctx context.Context, key []byte) ([]byte, error) {
	if !bytes.HasPrefix(key, kv.prefix) {
		return kv.Disk.Get(ctx, key)
	}
	p, err := kv.find(ctx, key)
	return bytes.Clone(p.Value), err
}

// Size implements store.Sizer.
func (kv *KV) Size(ctx context.Context, key []byte) (size int64, here bool, err error) {
	if !bytes.HasPrefix(key, kv.prefix) {
		return kv.Disk.Size(ctx, key)
	}
	p, err := kv.find(ctx, key)
	if err == store.ErrNotFound {
		return 0, false, nil
	}
	return p.Size, err == nil, err
}

func (kv *KV) find(ctx context.Context, key []byte) (store.Pair, error) {
	kv.mu.RLock()
	defer kv.mu.RUnlock()
	if err := kv.usable(ctx); err != nil {
		return store.Pair{}, err
	}
	for _, p := range kv.own {
		if bytes.Equal(p.Key, key) {
			return p, nil
		}
	}
	return store.Pair{}, store.ErrNotFound
}

func (kv *KV) usable(ctx context.Context) error {
	if kv.shut {
		return store.ErrClosed
	}
	return ctx.Err()
}

// Scan implements store.KV.
func (kv *KV) Scan(ctx context.Context, prefix, after []byte, limit int, keysOnly bool) ([]store.Pair, error) {
	kv.mu.RLock()
	defer kv.mu.RUnlock() // what the two have belongs together
	pairs, err := kv.Disk.Scan(ctx, prefix, after, limit, keysOnly)
	if err != nil {
		return nil, err
	}
	merged := false
	for _, p := range kv.own {
		if !bytes.HasPrefix(p.Key, prefix) || bytes.Compare(p.Key, after) <= 0 && after != nil {
			continue
		}
		p.Key, p.Value = bytes.Clone(p.Key), bytes.Clone(p.Value)
		if keysOnly {
			p.Value = nil
		}
		pairs, merged = append(pairs, p), true
	}
	if merged {
		slices.SortFunc(pairs, func(a, b store.Pair) int { return bytes.Compare(a.Key, b.Key) })
	}
	return pairs[:min(len(pairs), max(limit, 0), store.MaxScan)], nil
}

// Write implements store.KV.
func (kv *KV) Write(ctx context.Context, changes []store.Change) error {
	mine := func(c store.Change) bool { return bytes.HasPrefix(c.Key, kv.prefix) }
	if !slices.ContainsFunc(changes, mine) {
		return kv.Disk.Write(ctx, changes)
	}
	if err := store.CheckBatch(changes); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if err := kv.usable(ctx); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	own := kv.own
	for _, c := range changes {
		if mine(c) {
			own = changed(own, c)
		}
	}
	if len(own) > maxRecords {
		return fmt.Errorf("write: %w: %d records in %s", store.ErrBatch, len(own), kv.path)
	}
	if err := kv.save(own); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if rest := slices.DeleteFunc(slices.Clone(changes), mine); len(rest) > 0 {
		if err := kv.Disk.Write(ctx, rest); err != nil {
			_ = kv.save(kv.own) // nothing was written; a second error leaves the record, which is of worth alone
			return err
		}
	}
	kv.own = own
	return nil
}

// Close implements store.KV.
func (kv *KV) Close() error {
	kv.mu.Lock()
	kv.shut = true
	kv.mu.Unlock()
	return kv.Disk.Close()
}
