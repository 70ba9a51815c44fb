package store

import (
	"context"
	"errors"
)

// Errors of a KV that callers branch on.
var (
	ErrNotFound = errors.New("not found")
	// ErrReserve: the disk has less free space than the reserve; reads still work, writes are refused.
	ErrReserve = errors.New("disk reserve reached")
	// ErrBroken: a sync failed once; nothing is acknowledged any more until the store is opened again.
	ErrBroken = errors.New("store stopped after a failed sync")
)

// Pair is one key and its value.
type Pair struct{ Key, Value []byte }

// Change is one write of a batch; a nil Value deletes the key.
type Change struct{ Key, Value []byte }

// KV is the ordered map of bytes below everything that a node keeps. Write is atomic, and what it acknowledged survives
// a power cut unless the KV says Volatile. All methods may be called from many goroutines.
//
// Two batches commute unless they share a key; a batch repeated changes nothing.
type KV interface {
	// Get returns the value or ErrNotFound. The caller owns the slice.
	Get(ctx context.Context, key []byte) ([]byte, error)
	// Scan returns at most limit pairs whose keys begin with prefix and are greater than after (nil: from the first),
	// in the order of their keys. keysOnly leaves the values out.
	Scan(ctx context.Context, prefix, after []byte, limit int, keysOnly bool) ([]Pair, error)
	// Write applies all changes or none. It fails with ErrReserve or ErrBroken when nothing may be acknowledged.
	Write(ctx context.Context, changes []Change) error
	// Volatile says that nothing here survives the process.
	Volatile() bool
	Close() error
}
