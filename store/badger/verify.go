package badger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"

	"shoal/store"
)

// verifyTables compares all tables of the database in dir with their checksums, and returns store.ErrCorrupt when one
// differs. Of a table in which only objects are damaged it tells spared, and goes on, unless that is nil. The library could do that at start, but where a table is bad it crashes the process or goes on without it; and
// this way the pages that were read do not stay mapped.
func verifyTables(dir string, spared func(table string, err error)) error {
	live, err := liveTables(dir)
	if err != nil {
		return err
	}
	for id, of := range live {
		name := table.NewFilename(id, dir)
		err := verifyTable(name, of.Compression)
		if err != nil && spared != nil && onlyObjects(name, of.Compression) {
			spared(name, err)
			err = nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
	}
	return nil
}

// liveTables reads the list of tables. It is nil for a new store, and store.ErrCorrupt for a list that cannot be read, or that names
// tables which are not there.
func liveTables(dir string) (live map[uint64]badger.TableManifest, err error) {
	defer func() {
		if bad := recover(); bad != nil { // the library's reader panics on some kinds of rot
			err = fmt.Errorf("%w: the list of tables: %.200v", store.ErrCorrupt, bad)
		}
	}()
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if len(tables) > 0 {
			err = fmt.Errorf("%w: there are tables, and no list of them", store.ErrCorrupt)
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	defer manifest.Close()
	read, end, err := badger.ReplayManifestFile(manifest, 0, badger.DefaultOptions(dir))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	// The library takes a list of tables that it cannot read to its end for one that a crash cut off, and deletes the tables that
	// it has not heard of. A crash leaves less than the library writes at a time; the rest is rot.
	if info, err := manifest.Stat(); err != nil || info.Size() != end {
		return nil, errors.Join(err, fmt.Errorf("%w: %s ends at byte %d", store.ErrCorrupt, manifest.Name(), end))
	}
	for id := range read.Tables {
		if !exists(dir, filepath.Base(table.NewFilename(id, dir))) {
			return nil, fmt.Errorf("%w: table %d is not there", store.ErrCorrupt, id)
		}
	}
	return read.Tables, nil
}

// onlyObjects tells whether all that a damaged table can have lost are objects: its index is whole, and all before its first
// object can be read. Blocks are checked one by one when they are read, so what is bad in such a table is never returned. Who
// looks after objects knows which there should be, and gets them from a peer.
func onlyObjects(name string, compression options.CompressionType) (only bool) {
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer func() {
		if recover() != nil {
			only = false
		}
		_ = file.Close(-1) // it was only read
	}()
	t, err := table.OpenTable(file, table.Options{ReadOnly: true, ChkMode: options.OnBlockRead, Compression: compression})
	if err != nil {
		return false
	}
	it := t.NewIterator(0)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if bytes.HasPrefix(it.Key(), store.ObjectPrefix()) {
			return true // keys are sorted, and objects come last
		}
	}
	return false
}

func verifyTable(name string, compression options.CompressionType) (err error) {
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if bad := recover(); bad != nil { // the library's reader panics on some kinds of rot
			err = fmt.Errorf("unreadable table %s: %.200v", name, bad)
		}
		err = errors.Join(err, file.Close(-1))
	}()
	// The table is not released by its count of references, since that would delete the file.
	_, err = table.OpenTable(file, table.Options{
		ReadOnly: true, ChkMode: options.OnTableRead, Compression: compression,
	})
	if err != nil {
		return fmt.Errorf("table %s: %w", name, err)
	}
	return nil
}
