package store

import (
	"context"
	"errors"
	"fmt"
)

// Limits of a KV, so that any batch fits into one transaction of any implementation.
const (
	MaxKey     = 1 << 10   // bytes
	MaxBatch   = 288 << 10 // bytes of the keys and values of one Write
	MaxChanges = 1024      // of one Write
	MaxScan    = 4096      // pairs that one Scan returns, whatever was asked for
)

// Errors of a KV that callers branch on.
var (
	ErrNotFound = errors.New("not found")
	// ErrReserve: the disk has less free space than the reserve; reads still work, writes are refused.
	ErrReserve = errors.New("disk reserve reached")
	// ErrBroken: a sync failed once; nothing is acknowledged any more until the store is opened again.
	ErrBroken = errors.New("store stopped after a failed sync")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("store closed")
	// ErrBatch: a batch outside the limits of a KV; nothing of it was written.
	ErrBatch = errors.New("batch outside the limits of the store")
)

// Pair is one key and its value. Size is the length of the value in bytes, also where the value was left out.
type Pair struct {
	Key, Value []byte
	Size       int64
}

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
	// in the order of their keys, and never more than MaxScan. keysOnly leaves the values out.
	Scan(ctx context.Context, prefix, after []byte, limit int, keysOnly bool) ([]Pair, error)
	// Write applies all changes or none, the last of those with one key. ctx can only keep it from beginning: the outcome
	// is always known. An error says that nothing was written, but for ErrBroken, after which nobody knows; it fails with
	// ErrReserve or ErrBroken when nothing may be acknowledged. It keeps no slice of the changes after it returned.
	Write(ctx context.Context, changes []Change) error
	// Volatile says that nothing here survives the process.
	Volatile() bool
	// Lineage is a number that stays from one opening to the next only where all that was ever acknowledged is known to be there
	// still: where nobody can tell it is another. 0: it has none.
	Lineage() uint64
	// Close waits for the writes that are under way. To close again does nothing.
	Close() error
}

// Sizer is a KV that looks for one key faster than by a Scan.
type Sizer interface {
	// Size is the length of a key's value in bytes; here is false when there is none.
	Size(ctx context.Context, key []byte) (size int64, here bool, err error)
}

// CheckBatch is what every KV does first with the changes it is given.
func CheckBatch(changes []Change) error {
	if len(changes) > MaxChanges {
		return fmt.Errorf("%w: %d changes, more than %d", ErrBatch, len(changes), MaxChanges)
	}
	total := 0
	for _, c := range changes {
		if len(c.Key) == 0 || len(c.Key) > MaxKey {
			return fmt.Errorf("%w: a key of %d bytes", ErrBatch, len(c.Key))
		}
		if total += len(c.Key) + len(c.Value); total > MaxBatch {
			return fmt.Errorf("%w: more than %d bytes", ErrBatch, MaxBatch)
		}
	}
	return nil
}
