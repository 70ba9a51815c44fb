package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"shoal/store"
)

// Objects of leastLarge bytes and more are in segments; the database has their places. Such a piece is synced before the transaction that
// names it, and given back after the transaction that does not any more, so a crash leaves at most a piece that nobody names.
//
// What a version before kept in the database is read from there as long as it is kept; such a version takes a place for a damaged object.
const leastLarge = 32 << 10

// largeMeta is the library's mark of a user, on the keys whose value is a place.
const largeMeta byte = 1

func isLarge(c store.Change) bool { return isObject(c.Key) && len(c.Value) >= leastLarge }

// placeOf returns the place of a key whose value is in a segment.
func placeOf(item *badger.Item) (p place, large bool, err error) {
	if item.UserMeta() != largeMeta {
		return p, false, nil
	}
	err = item.Value(func(data []byte) (err error) {
		p, err = decodePlace(item.Key(), data)
		return err
	})
	return p, true, err
}

// sizeOf is the length of a value, wherever it is.
func sizeOf(item *badger.Item) (int64, error) {
	p, large, err := placeOf(item)
	if large {
		return int64(p.size), err
	}
	return item.ValueSize(), err
}

// moved is what a transaction does to the segments.
type moved struct{ fresh, old []place }

// stage puts changes into a transaction, and large objects into a segment. A key that was large is so each time: it is named by its
// content. So only for those, and those that are deleted, it is looked what was there.
func (kv *KV) stage(txn *badger.Txn, changes []store.Change) (m moved, err error) {
	for _, c := range changes {
		large := kv.isLarge(c)
		if (large || c.Value == nil) && kv.large.any() {
			if item, err := txn.Get(c.Key); err == nil {
				if p, was, err := placeOf(item); was && err == nil {
					m.old = append(m.old, p)
				}
			} else if !errors.Is(err, badger.ErrKeyNotFound) {
				return m, err
			}
		}
		if !large {
			if err := set(txn, c); err != nil {
				return m, err
			}
			continue
		}
		p, err := kv.large.append(c.Key, c.Value)
		if err != nil {
			return m, err
		}
		m.fresh = append(m.fresh, p)
		if err := setPlace(txn, c.Key, p); err != nil {
			return m, err
		}
	}
	return m, nil
}

func setPlace(txn *badger.Txn, key []byte, p place) error {
	return txn.SetEntry(badger.NewEntry(key, p.encode()).WithMeta(largeMeta))
}

// get reads a key. What is in a segment may be given back while it is read: then the key has another place by now, or none.
func (kv *KV) get(ctx context.Context, key []byte) (value []byte, err error) {
	var bad place
	for {
		var p place
		var large bool
		err = kv.view(ctx, func(txn *badger.Txn) error {
			item, err := txn.Get(key)
			if errors.Is(err, badger.ErrKeyNotFound) {
				return store.ErrNotFound
			}
			if err == nil {
				p, large, err = placeOf(item)
			}
			if err != nil {
				return err
			}
			if large {
				value, err = kv.large.read(key, p)
			} else {
				value, err = item.ValueCopy([]byte{})
			}
			return err
		})
		if !large || !errors.Is(err, store.ErrCorrupt) || p == bad {
			return value, err
		}
		bad = p
	}
}

// fill reads the values of those pairs of a scan that are in segments; one that was deleted since is left out.
func (kv *KV) fill(ctx context.Context, pairs []store.Pair, large []int) ([]store.Pair, error) {
	gone := map[int]bool{}
	for _, i := range large {
		value, err := kv.get(ctx, pairs[i].Key)
		if gone[i] = errors.Is(err, store.ErrNotFound); !gone[i] && err != nil {
			return nil, err
		}
		pairs[i].Value, pairs[i].Size = value, int64(len(value))
	}
	i := -1
	return slices.DeleteFunc(pairs, func(store.Pair) bool { i++; return gone[i] }), nil
}

// countLarge finds out what is in use of the segments, and gives back what is not and was left by a crash.
func (kv *KV) countLarge(db *badger.DB, readOnly bool) error {
	if !kv.large.any() {
		return nil
	}
	err := eachPlace(db, func(_ []byte, p place) { kv.large.found(p) })
	if err != nil || readOnly {
		return err
	}
	kv.large.sweep()
	loose := kv.large.loose()
	if len(loose) == 0 {
		return nil
	}
	used := map[uint32][]place{}
	err = eachPlace(db, func(_ []byte, p place) {
		if loose[p.segment] {
			used[p.segment] = append(used[p.segment], p)
		}
	})
	if err != nil {
		return err
	}
	for number, places := range used {
		kv.large.punchBetween(number, places)
	}
	return nil
}

// eachPlace calls do for all that is in segments. A place that is damaged is left out: reading it will tell.
func eachPlace(db *badger.DB, do func(key []byte, p place)) error {
	return db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: store.ObjectPrefix()})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if p, large, err := placeOf(it.Item()); large && err == nil {
				do(it.Item().Key(), p)
			}
		}
		return nil
	})
}

// any tells whether there are segments.
func (s *segments) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live) > 0
}

// found counts a place that the database names.
func (s *segments) found(p place) {
	s.use(p, 1)
	s.number = max(s.number, p.segment)
}

// slack is how much of a segment may be on the disk without being in use before it is looked for.
const slack = 1 << 20

// loose are the files that take more of the disk than what is in use of them.
func (s *segments) loose() map[uint32]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[uint32]bool{}
	for number, used := range s.live {
		info, err := os.Stat(s.name(number))
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Blocks*512 > used+slack {
			out[number] = true
		}
	}
	return out
}

// punchBetween gives back what is between the places that are in use.
func (s *segments) punchBetween(number uint32, used []place) {
	f, err := os.OpenFile(s.name(number), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close() // it loses nothing
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return
	}
	slices.SortFunc(used, func(a, b place) int { return int(a.at - b.at) })
	at := int64(0)
	for _, p := range append(used, place{at: size}) {
		if p.at > at {
			_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, p.at-at)
		}
		at = max(at, p.at+p.blocks())
	}
}

// reindexAll is reindex for the segments of a store that is not open yet.
func reindexAll(db *badger.DB, dir string) (entered int, err error) {
	s, err := openSegments(dir)
	if err != nil {
		return 0, err
	}
	return s.reindex(db)
}

// reindex enters the whole pieces into a database that lost some of what it knew, or may lose it when it merges a damaged table: also
// those that it still finds, since who counts them later may not. Some may have been dropped: they are what their names say, and
// are collected again.
func (s *segments) reindex(db *badger.DB) (entered int, err error) {
	for _, number := range slices.Sorted(maps.Keys(s.live)) { // nobody else uses it yet
		err := s.walk(number, func(key []byte, p place) (whole bool, err error) {
			entry := bytes.Clone(key)
			known, err := s.known(db, entry)
			if err != nil {
				return false, err
			}
			if known != p {
				if _, err := s.read(entry, p); errors.Is(err, store.ErrCorrupt) {
					return false, nil
				} else if err != nil || known != (place{}) {
					return true, err
				}
			}
			entered++
			return true, db.Update(func(txn *badger.Txn) error { return setPlace(txn, entry, p) })
		})
		if err != nil {
			return entered, fmt.Errorf("large objects: %w", err)
		}
	}
	return entered, nil
}

// known is the place that the database has of a key, if what is there is whole.
func (s *segments) known(db *badger.DB, key []byte) (p place, err error) {
	err = db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err == nil {
			p, _, err = placeOf(item)
		}
		if err == nil && p == (place{}) { // it is in the database itself
			p.at = -1
		}
		return err
	})
	if err == nil && p.at >= 0 && p != (place{}) {
		_, err = s.read(key, p)
	}
	if errors.Is(err, store.ErrCorrupt) {
		return place{}, nil
	}
	return p, err
}
