package badger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"

	"shoal/store"
)

// A damaged store is not opened as it is: the library would go on without what it cannot read, and nobody would know what that
// was. It is made anew of what can be read of it:
//
//	all files ─▶ damaged.moving ─▶ damaged.reading     a whole copy, whatever happens from here on
//	damaged.reading ─▶ a new store                     first the word that something was forgotten, then records, then objects
//	damaged.reading ─▶ damaged                         the files in which something was wrong stay there for people
//
// A crash anywhere is followed by the same steps again. Records may be older than those that were written last, so whoever opens
// the store must hear of it: Options.Forgot is written before all else. Objects prove themselves; those that are lost or do not
// fit any more come from peers.
const (
	movingDir  = "damaged.moving"
	readingDir = "damaged.reading"
	damagedDir = "damaged"
	guardName  = "guard"
	// PrivateDir is a folder in that of the store that belongs to whoever opens it, and stays as it is when the store is made anew.
	PrivateDir = "private"
)

// ours are the files of the folder that are not the library's.
func ours(name string) bool {
	return slices.Contains([]string{movingDir, readingDir, damagedDir, guardName, ballastName, PrivateDir, segmentsDir, "LOCK"}, name)
}

// libraryFiles lists the names of the library's files.
func libraryFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !ours(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// quarantine moves all files of the library aside; a crash in the middle of it is finished by the next call.
func quarantine(dir string) error {
	moving := filepath.Join(dir, movingDir)
	if err := os.MkdirAll(moving, 0o700); err != nil {
		return err
	}
	names, err := libraryFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(moving, name)); err != nil {
			return err
		}
	}
	if err := errors.Join(syncDir(moving), syncDir(dir)); err != nil {
		return err
	}
	if err := os.Rename(moving, filepath.Join(dir, readingDir)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// resumeSalvage goes on with what a crash cut short.
func (kv *KV) resumeSalvage() error {
	dir := kv.disk.dir
	if is(dir, movingDir) {
		if err := quarantine(dir); err != nil {
			return err
		}
	}
	if is(dir, readingDir) {
		return kv.rebuild()
	}
	return nil
}

// salvage makes the store anew of what can be read of it.
func (kv *KV) salvage(reason error) error {
	kv.log.Error("the store is damaged; it is made anew of what can be read", "reason", reason)
	if err := errors.Join(removeMark(filepath.Join(kv.disk.dir, markName)), quarantine(kv.disk.dir)); err != nil {
		return err
	}
	return kv.rebuild()
}

// rebuild makes a store of readingDir, in the place of whatever an earlier attempt has made.
func (kv *KV) rebuild() error {
	dir := kv.disk.dir
	from := filepath.Join(dir, readingDir)
	names, err := libraryFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	db, err := openDatabase(dir, false, kv.log)
	if err != nil {
		return err
	}
	bad, err := kv.copyReadable(db, from)
	if err = errors.Join(err, db.Close(), syncDir(dir)); err != nil {
		return err
	}
	return keepDamaged(dir, from, bad)
}

// keepDamaged leaves the files in which something was wrong where people can look at them, and forgets the others.
func keepDamaged(dir, from string, bad map[string]error) error {
	kept := filepath.Join(dir, damagedDir)
	if err := os.RemoveAll(kept); err != nil {
		return err
	}
	names, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range names {
		if bad[e.Name()] == nil {
			if err := os.RemoveAll(filepath.Join(from, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Rename(from, kept); err != nil {
		return err
	}
	return syncDir(dir)
}

// copyReadable copies what can be read, and names the files of which not all could be.
func (kv *KV) copyReadable(db *badger.DB, from string) (bad map[string]error, err error) {
	s := &salvager{db: db, dir: from, bad: map[string]error{}, records: map[string]record{}}
	if s.names, err = os.ReadDir(from); err != nil {
		return nil, err
	}
	if err := s.write(kv.forgot); err != nil {
		return nil, err
	}
	s.each(func(r record) error {
		if old, ok := s.records[string(r.key)]; !isObject(r.key) && (!ok || r.version > old.version) {
			s.records[string(r.key)] = r.clone()
		}
		return nil
	})
	for _, key := range slices.Sorted(maps.Keys(s.records)) {
		if r := s.records[key]; !r.deleted {
			if err := s.add(r); err != nil {
				return nil, err
			}
		}
	}
	objects := 0
	err = s.each(func(r record) error {
		if !r.proven() || r.meta == largeMeta { // those are found where they are
			return nil
		}
		if err := kv.disk.check(); err != nil {
			return err
		}
		objects++
		return s.add(r)
	})
	if errors.Is(err, store.ErrReserve) {
		kv.log.Warn("not all objects of the damaged store have room; peers have copies", "reason", err)
		err = nil
	}
	if err = errors.Join(err, s.flush()); err != nil {
		return nil, err
	}
	large, err := reindexAll(db, kv.disk.dir)
	if err != nil {
		return nil, err
	}
	if _, listErr := liveTables(from); listErr != nil {
		s.bad[badger.ManifestFilename] = listErr
	}
	kv.log.Warn("the store was made anew", "records", len(s.records), "objects", objects, "large", large, "damaged", slices.Sorted(maps.Keys(s.bad)))
	return s.bad, nil
}

func isObject(key []byte) bool { return bytes.HasPrefix(key, store.ObjectPrefix()) }

// record is one version of one key.
type record struct {
	key, value []byte
	version    uint64
	deleted    bool
	meta       byte // of the user
}

// proven tells whether a record is an object that is what its name says, as far as it can be seen without reading a segment.
func (r record) proven() bool {
	if !isObject(r.key) || r.deleted {
		return false
	}
	if r.meta == largeMeta {
		_, err := decodePlace(r.key, r.value)
		return err == nil
	}
	return bytes.Equal(store.ObjectKey(store.HashOf(r.value)), r.key)
}

func (r record) clone() record {
	r.key, r.value = bytes.Clone(r.key), append([]byte{}, r.value...)
	return r
}

// internalPrefix begins the keys that are the library's own.
const internalPrefix = "!badger!"

// salvager reads the files of a damaged store, and writes into a new one.
type salvager struct {
	db      *badger.DB
	dir     string
	names   []fs.DirEntry
	bad     map[string]error
	records map[string]record // of everything but objects
	batch   []store.Change
	size    int
}

// each calls do for everything that can be read, in no order.
func (s *salvager) each(do func(record) error) error {
	checked := func(r record) error {
		if bytes.HasPrefix(r.key, []byte(internalPrefix)) {
			return nil
		}
		return do(r)
	}
	for _, e := range s.names {
		name := filepath.Join(s.dir, e.Name())
		var whole bool
		var err error
		switch filepath.Ext(e.Name()) {
		case ".sst":
			whole, err = readTable(name, checked)
		case ".mem":
			whole, err = readLog(name, checked)
		default:
			continue
		}
		if err != nil {
			return err
		}
		if !whole {
			s.bad[e.Name()] = store.ErrCorrupt
		}
	}
	return nil
}

// add keeps to what the store itself writes at a time; a transaction takes little more.
func (s *salvager) add(r record) error {
	size := len(r.key) + len(r.value)
	if s.size+size > store.MaxBatch || len(s.batch) == store.MaxChanges {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.batch, s.size = append(s.batch, store.Change{Key: bytes.Clone(r.key), Value: append([]byte{}, r.value...)}), s.size+size
	return nil
}

func (s *salvager) flush() error {
	batch := s.batch
	s.batch, s.size = nil, 0
	return s.write(batch)
}

func (s *salvager) write(changes []store.Change) error {
	if len(changes) == 0 {
		return nil
	}
	return s.db.Update(func(txn *badger.Txn) error {
		for _, c := range changes {
			if err := set(txn, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// readTable calls do for what can be read of a table: from its beginning to the first block that is damaged, and from its end
// to the last. whole: nothing is damaged.
func readTable(name string, do func(record) error) (whole bool, err error) {
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return false, err
	}
	var failed error
	defer func() {
		if recover() != nil { // the library's reader panics on some kinds of rot
			whole, err = false, failed
		}
		_ = file.Close(-1) // it was only read
	}()
	whole = verifyTable(name, options.None) == nil
	t, openErr := table.OpenTable(file, table.Options{ReadOnly: true, ChkMode: options.OnBlockRead, Compression: options.None})
	if openErr != nil {
		return false, nil
	}
	directions := []int{0}
	if !whole {
		directions = append(directions, table.REVERSED)
	}
	for _, direction := range directions {
		it := t.NewIterator(direction)
		for it.Rewind(); it.Valid(); it.Next() {
			v := it.Value()
			failed = do(record{
				key: y.ParseKey(it.Key()), version: y.ParseTs(it.Key()), value: v.Value, deleted: v.Meta&deletedBit != 0, meta: v.UserMeta,
			})
			if failed != nil {
				return whole, errors.Join(failed, it.Close())
			}
		}
		if err := it.Close(); err != nil {
			return false, err
		}
	}
	return whole, nil
}

// deletedBit of the library marks a key that was deleted.
const deletedBit = 1

// discardHollow removes the files of a store that hold nothing of ours, and that the library makes again: the value log, of
// which no value is long enough, what is counted of it, and the list of keys of an encryption that is not used. Rot in them
// could only do harm.
func discardHollow(dir string) error {
	names, err := libraryFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".vlog") || name == "DISCARD" || name == badger.KeyRegistryFileName {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
	}
	return nil
}

func is(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.IsDir()
}
