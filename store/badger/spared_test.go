package badger

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4/table"

	"shoal/store"
)

// A table of which only objects are damaged is used on. What can be read of it is still there when the library has merged it
// with others, which goes on without all that comes after the damage; and what the index counts can be read.
func TestMergeOfADamagedTable(t *testing.T) {
	for _, at := range []int64{45, 70, 90} { // of a hundred parts of the table
		dir, objects := rotten(t, false)
		tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if err != nil || len(tables) != 1 {
			t.Fatal(tables, err)
		}
		dropped := store.HashOf(objects[0])
		drop(t, dir, dropped)
		info, err := os.Stat(tables[0])
		if err != nil {
			t.Fatal(err)
		}
		turn(t, tables[0], info.Size()*at/100, 4)
		kv := openTest(t, Options{Dir: dir})
		readable := 0
		o, err := store.OpenObjects(t.Context(), kv)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range objects {
			if _, err := o.Get(t.Context(), store.HashOf(data)); err == nil {
				readable++
			} else if !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
		}
		if n := o.Index().Total().Count; n != int64(readable) {
			t.Errorf("at %d %%: the index has %d objects; %d can be read", at, n, readable)
		}
		if _, err := o.Get(t.Context(), dropped); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("at %d %%: what was dropped is here again: %v", at, err)
		}
		if lost := len(objects) - 1 - readable; lost == 0 || lost > 15 {
			t.Errorf("at %d %%: one bit cost %d of %d objects", at, lost, len(objects))
		}
		for i := range byte(100) { // so that there is something to merge it with
			filler := make([]byte, 100<<10)
			rand.NewChaCha8([32]byte{200, i}).Read(filler)
			if _, err := o.Put(t.Context(), [][]byte{filler}); err != nil {
				t.Fatal(err)
			}
		}
		if err := kv.db.Flatten(1); err != nil {
			t.Fatal(err)
		}
		id, _ := table.ParseFileID(tables[0])
		for _, left := range kv.db.Tables() {
			if left.ID == id {
				t.Fatalf("table %d was not merged: %+v", id, left)
			}
		}
		merged := 0
		for _, data := range objects {
			if _, err := o.Get(t.Context(), store.HashOf(data)); err == nil {
				merged++
			}
		}
		if merged != readable {
			t.Errorf("at %d %%: of %d objects %d are left after a merge", at, readable, merged)
		}
		mustClose(t, kv)
	}
}

func drop(t *testing.T, dir string, name store.Hash) {
	t.Helper()
	kv := openTest(t, Options{Dir: dir})
	o, err := store.OpenObjects(t.Context(), kv)
	if err == nil {
		err = o.Drop(t.Context(), []store.Hash{name})
	}
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, kv)
}
