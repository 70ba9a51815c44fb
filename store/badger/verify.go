package badger

import (
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
// differs. The library could do that at start, but where a table is bad it crashes the process or goes on without it; and
// this way the pages that were read do not stay mapped.
func verifyTables(dir string) error {
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return nil // new
	}
	if err != nil {
		return err
	}
	defer manifest.Close()
	live, _, err := badger.ReplayManifestFile(manifest, 0, badger.DefaultOptions(dir))
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	for id, of := range live.Tables {
		if err := verifyTable(table.NewFilename(id, dir), of.Compression); err != nil {
			return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
	}
	return nil
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
