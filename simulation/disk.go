package simulation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"

	"shoal/store"
	"shoal/store/memory"
)

// Disk is a store.KV that fails as disks do. What is written lies in an unsynced tail until its sync is over: a power cut loses
// the tail, or leaves any first part of it; a record of which only a piece came to the platter is found by its checksum and
// dropped, with all that follow.
type Disk struct {
	mu     sync.Mutex
	medium *memory.KV // as a reader sees it
	synced *memory.KV // without the tail; nil: there is none
	// What was spoilt there: the tail may have written it anew.
	syncedRotten, syncedDamaged map[string]bool
	tail                        [][]store.Change
	dice                        *rand.Rand
	rotten                      map[string]bool // records whose checksum does not fit
	broken                      bool
	closed                      bool
	lineage                     uint64

	// Full refuses writes, as with no more than the reserve left. Lies says that what is acknowledged was not synced.
	Full, Lies bool
	// FailSync is how many syncs from now one fails, and CutIn how many writes from now the power goes in the middle of one;
	// 0: none. Cut is called then.
	FailSync, CutIn int
	Cut             func()

	// Damaged are the objects whose bytes a fault has changed.
	Damaged map[string]bool
	// Failed tells that a sync failed since the disk was opened.
	Failed bool
}

var _ store.KV = (*Disk)(nil)

var errPower = errors.New("the power is gone")

// NewDisk makes an empty disk.
func NewDisk(dice *rand.Rand) *Disk {
	return &Disk{medium: memory.New(), dice: dice, rotten: map[string]bool{}, Damaged: map[string]bool{}}
}

// Get implements store.KV.
func (d *Disk) Get(ctx context.Context, key []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if len(d.rotten) > 0 && d.rotten[string(key)] {
		return nil, fmt.Errorf("get: %w", store.ErrCorrupt)
	}
	return d.medium.Get(ctx, key)
}

// Scan implements store.KV.
func (d *Disk) Scan(ctx context.Context, prefix, after []byte, limit int, keysOnly bool) ([]store.Pair, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	pairs, err := d.medium.Scan(ctx, prefix, after, limit, keysOnly)
	if keysOnly || err != nil || len(d.rotten) == 0 {
		return pairs, err
	}
	for _, p := range pairs {
		if d.rotten[string(p.Key)] {
			return nil, fmt.Errorf("scan: %w", store.ErrCorrupt)
		}
	}
	return pairs, nil
}

// Write implements store.KV.
func (d *Disk) Write(ctx context.Context, changes []store.Change) error {
	err := d.write(ctx, changes)
	if errors.Is(err, errPower) {
		d.Cut()
	}
	return err
}

func (d *Disk) write(ctx context.Context, changes []store.Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch err := d.usable(); {
	case err != nil:
		return fmt.Errorf("write: %w", err)
	case ctx.Err() != nil:
		return fmt.Errorf("write: %w", ctx.Err())
	case d.broken:
		return fmt.Errorf("write: %w", store.ErrBroken)
	case d.Full:
		return fmt.Errorf("write: %w", store.ErrReserve)
	}
	if err := store.CheckBatch(changes); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	cut, fails := due(&d.CutIn), due(&d.FailSync)
	if (cut || fails || d.Lies) && d.synced == nil {
		d.synced = d.medium.Clone()
		d.syncedRotten, d.syncedDamaged = maps.Clone(d.rotten), maps.Clone(d.Damaged)
	}
	if err := d.put(changes); err != nil {
		return err
	}
	if d.synced != nil {
		d.tail = append(d.tail, cloneChanges(changes))
	}
	switch {
	case cut:
		return fmt.Errorf("write: %w", errPower)
	case fails:
		d.broken, d.Failed = true, true
		return fmt.Errorf("write: %w", store.ErrBroken)
	}
	return nil
}

// due counts down to the fault that n stands for.
func due(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return *n == 0
}

func cloneChanges(changes []store.Change) []store.Change {
	out := make([]store.Change, len(changes))
	for i, c := range changes {
		out[i] = store.Change{Key: bytes.Clone(c.Key), Value: bytes.Clone(c.Value)}
	}
	return out
}

func (d *Disk) put(changes []store.Change) error {
	if err := d.medium.Write(context.Background(), changes); err != nil {
		return err
	}
	if len(d.rotten)+len(d.Damaged) > 0 {
		for _, c := range changes {
			delete(d.rotten, string(c.Key))
			delete(d.Damaged, string(c.Key))
		}
	}
	return nil
}

// Volatile implements store.KV.
func (d *Disk) Volatile() bool { return false }

// Open gives a disk that has none a lineage.
func (d *Disk) Open(lineage uint64) {
	if d.lineage == 0 {
		d.lineage = lineage
	}
}

// Lineage implements store.KV.
func (d *Disk) Lineage() uint64 { return d.lineage }

// Close implements store.KV.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

func (d *Disk) usable() error {
	if d.closed {
		return store.ErrClosed
	}
	return nil
}

// Stop leaves what a disk has when the process ended alone: all that it was given. Where that was not synced at once it is what a
// power cut leaves.
func (d *Disk) Stop() {
	lineage, kept := d.lineage, d.synced == nil
	d.PowerCut()
	if kept {
		d.lineage = lineage
	}
}

// PowerCut leaves what a disk has after the power went: of the tail any first part, in whole records.
func (d *Disk) PowerCut() {
	d.lineage = 0
	if d.synced != nil {
		d.medium, d.rotten, d.Damaged = d.synced, d.syncedRotten, d.syncedDamaged
		for _, changes := range d.tail[:d.dice.IntN(len(d.tail)+1)] {
			_ = d.put(changes) // the medium is memory
		}
	}
	d.synced, d.tail = nil, nil
	d.broken, d.Failed, d.FailSync, d.CutIn = false, false, 0, 0
}

// Image is the disk as it is, for Restore.
func (d *Disk) Image() *Disk {
	out := NewDisk(d.dice)
	out.medium = d.medium.Clone()
	for key := range d.rotten {
		out.rotten[key] = true
	}
	for key := range d.Damaged {
		out.Damaged[key] = true
	}
	return out
}

// Rot spoils a record, so that its checksum does not fit.
func (d *Disk) Rot(key []byte) { d.rotten[string(key)] = true }

// Flip changes a bit of a value, and whoever reads it is not told.
func (d *Disk) Flip(key []byte) {
	value, err := d.medium.Get(context.Background(), key)
	if err != nil || len(value) == 0 {
		return
	}
	value[d.dice.IntN(len(value))] ^= 1 << d.dice.IntN(8)
	_ = d.medium.Write(context.Background(), []store.Change{{Key: key, Value: value}})
	d.Damaged[string(key)] = true
}

// some draws at most n keys that begin with prefix.
func (d *Disk) some(prefix []byte, n int) (keys [][]byte) {
	all, err := d.medium.Scan(context.Background(), prefix, nil, store.MaxScan, true)
	if err != nil || len(all) == 0 {
		return nil
	}
	for range n {
		keys = append(keys, all[d.dice.IntN(len(all))].Key)
	}
	return keys
}

// Synced reads what would be here after a power cut.
func (d *Disk) Synced(key []byte) ([]byte, bool) {
	medium := d.medium
	if d.synced != nil {
		medium = d.synced
	}
	value, err := medium.Get(context.Background(), key)
	return value, err == nil
}
