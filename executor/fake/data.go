package fake

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"shoal/executor"
)

// Data is what a run keeps on disk, in memory: journal, ledger, vault and lock. It outlives the engines that use it, as a disk
// outlives the process.
type Data struct {
	mu      sync.Mutex
	journal [][]byte
	ledger  []byte
	vault   map[string][]byte
	held    chan struct{}

	// What a power cut takes: the last so many records, what was put, and the Clear of a journal.
	loose   int
	put     map[string]bool
	cleared [][]byte
}

var (
	_ executor.Journal = (*Data)(nil)
	_ executor.Ledger  = (*Data)(nil)
	_ executor.Vault   = (*Data)(nil)
	_ executor.Lock    = (*Data)(nil)
)

// NewData is an empty disk.
func NewData() *Data {
	return &Data{vault: map[string][]byte{}, put: map[string]bool{}, held: make(chan struct{}, 1)}
}

// Append implements executor.Journal.
func (d *Data) Append(records ...[]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range records {
		d.journal = append(d.journal, bytes.Clone(r))
	}
	d.loose, d.cleared = 0, nil
	return nil
}

// Note implements executor.Journal.
func (d *Data) Note(record []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.journal = append(d.journal, bytes.Clone(record))
	d.loose++
	return nil
}

// PowerCut takes all that was written and not synced.
func (d *Data) PowerCut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.journal = d.journal[:len(d.journal)-d.loose]
	if d.cleared != nil {
		d.journal = d.cleared
	}
	for hash := range d.put {
		delete(d.vault, hash)
	}
	d.loose, d.cleared, d.put = 0, nil, map[string]bool{}
}

// Records implements executor.Journal.
func (d *Data) Records() ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.journal), nil
}

// Clear implements executor.Journal.
func (d *Data) Clear() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cleared == nil {
		d.cleared = d.journal[:len(d.journal)-d.loose]
	}
	d.journal, d.loose = nil, 0
	return nil
}

// Load implements executor.Ledger.
func (d *Data) Load() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.ledger), nil
}

// Store implements executor.Ledger.
func (d *Data) Store(data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ledger = bytes.Clone(data)
	return nil
}

// Put implements executor.Vault.
func (d *Data) Put(hash string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, kept := d.vault[hash]; !kept {
		d.put[hash] = true
	}
	d.vault[hash] = bytes.Clone(data)
	return nil
}

// Get implements executor.Vault.
func (d *Data) Get(hash string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data, ok := d.vault[hash]
	if !ok {
		return nil, fmt.Errorf("vault: %s: %w", hash, fs.ErrNotExist)
	}
	return bytes.Clone(data), nil
}

// Sync implements executor.Vault.
func (d *Data) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.put)
	return nil
}

// Collect implements executor.Vault.
func (d *Data) Collect(keep func(hash string) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for hash := range d.vault {
		if !keep(hash) {
			delete(d.vault, hash)
		}
	}
	return nil
}

// Lock implements executor.Lock.
func (d *Data) Lock(ctx context.Context) (unlock func(), err error) {
	select {
	case d.held <- struct{}{}:
		return func() { <-d.held }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("another run is under way: %w", context.Cause(ctx))
	}
}

// Release gives the lock back for a holder that has died.
func (d *Data) Release() {
	select {
	case <-d.held:
	default:
	}
}
