package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"shoal/store"
)

// known remembers the names of the few keys of which "not found" must not be said in error: an acceptor that takes an
// unreadable register for an empty one breaks its promise. The library does say it: when the checksum of a block is
// wrong, a search skips the block.
type known struct {
	mu   sync.RWMutex
	keys map[string]struct{}
	// commits counts those that may have added a key: after each is visible and before its keys are entered here.
	commits uint64
}

func precious(key []byte) bool {
	return bytes.HasPrefix(key, store.MetaPrefix())
}

// load reads the names right after all tables were verified.
func (k *known) load(kv *KV) error {
	k.keys = map[string]struct{}{}
	var after []byte
	for {
		page, err := kv.Scan(context.Background(), store.MetaPrefix(), after, store.MaxScan, true)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		for _, pair := range page {
			k.keys[string(pair.Key)] = struct{}{}
		}
		after = page[len(page)-1].Key
	}
}

// willWrite is called before changes are given to the disk: what is being deleted may be absent from now on.
func (k *known) willWrite(changes []store.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range changes {
		if c.Value == nil {
			delete(k.keys, string(c.Key))
		}
	}
}

// wrote is called when readers see the changes.
func (k *known) wrote(changes []store.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.commits++
	for _, c := range changes {
		if c.Value == nil {
			delete(k.keys, string(c.Key))
		} else if precious(c.Key) {
			k.keys[string(c.Key)] = struct{}{}
		}
	}
}

// read asks for a key, and says store.ErrCorrupt when a known one is not found.
func (k *known) read(key []byte, get func() ([]byte, error)) ([]byte, error) {
	for {
		_, before := k.state(key)
		value, err := get()
		if !errors.Is(err, store.ErrNotFound) {
			return value, err
		}
		here, now := k.state(key)
		if !here {
			return nil, err
		}
		if now == before { // not written meanwhile, so it was there all the time
			return nil, fmt.Errorf("%w: %q is in the store and cannot be read", store.ErrCorrupt, key)
		}
	}
}

// state says whether the key is in the store, and how many commits there were.
func (k *known) state(key []byte) (here bool, commits uint64) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	_, here = k.keys[string(key)]
	return here, k.commits
}

// Unreadable reads the next records, at most limit that are greater than after, and returns those that are in the store and cannot
// be read, with the last that it looked at; empty: there are no more. Of objects others know what should be here.
func (kv *KV) Unreadable(ctx context.Context, after string, limit int) (bad []string, last string, err error) {
	for _, key := range kv.known.next(after, limit) {
		if _, err := kv.Get(ctx, []byte(key)); errors.Is(err, store.ErrCorrupt) {
			bad = append(bad, key)
		} else if err != nil && !errors.Is(err, store.ErrNotFound) { // deleted meanwhile
			return bad, last, err
		}
		last = key
	}
	return bad, last, nil
}

// next are the known names after one, in order.
func (k *known) next(after string, limit int) []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var names []string
	for key := range k.keys {
		if key > after {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return names[:min(limit, len(names))]
}

// logger passes on what the library says from warnings up.
type logger struct{ log *slog.Logger }

func (l logger) Errorf(f string, args ...any)   { l.log.Error(message(f, args), "from", "badger") }
func (l logger) Warningf(f string, args ...any) { l.log.Warn(message(f, args), "from", "badger") }
func (l logger) Infof(string, ...any)           {}
func (l logger) Debugf(string, ...any)          {}

func message(f string, args []any) string { return strings.TrimSpace(fmt.Sprintf(f, args...)) }
