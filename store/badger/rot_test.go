package badger

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"shoal/store"
)

// rotten is a store with objects and small records: one that was closed, or as SIGKILL leaves it.
func rotten(t *testing.T, killed bool) (dir string, objects [][]byte) {
	t.Helper()
	dir = t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	for i := range 20 {
		mustWrite(t, kv, put(fmt.Sprintf("m/%d", i), "older"), put(fmt.Sprintf("m/gone %d", i), "older"))
		mustWrite(t, kv, put(fmt.Sprintf("m/%d", i), fmt.Sprintf("record %d", i)), store.Change{Key: fmt.Appendf(nil, "m/gone %d", i)})
	}
	o, err := store.OpenObjects(t.Context(), kv)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		data := make([]byte, 20_000)
		rand.NewChaCha8([32]byte{byte(i)}).Read(data)
		objects = append(objects, data)
	}
	if _, err := o.Put(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	if killed {
		image := t.TempDir()
		if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		mustClose(t, kv)
		return image, objects
	}
	mustClose(t, kv)
	return dir, objects
}

// forgot is what a store has that was made anew.
var forgot = []store.Change{{Key: []byte("m/forgot"), Value: []byte("1")}}

// A bit that turns in any file of a store, closed or killed, does not keep it from opening. Wrong bytes are never returned, and
// objects that were hit are whole again once they are put. Where a record may be gone, or older than it was, the store says that
// something was forgotten.
func TestOneBitInAnyFile(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	anew, lost, unharmed := map[string]int{}, map[string]int{}, map[string]int{}
	for round := range 24 {
		dir, objects := rotten(t, round%2 == 1)
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files { // each file has its turn in a copy of the folder
			info, err := os.Stat(name)
			if err != nil || info.Size() == 0 || info.IsDir() {
				continue
			}
			kind := strings.TrimLeft(filepath.Base(name), "0123456789")
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			at := dice.Int64N(info.Size())
			if kind == ".mem" || round%4 > 1 { // mostly zeros: aim at what is written
				at = dice.Int64N(written(t, name))
			}
			turn(t, filepath.Join(copied, filepath.Base(name)), at, 1<<dice.IntN(8))
			what := fmt.Sprintf("round %d: %s at %d of %d", round, filepath.Base(name), at, info.Size())
			kv, err := Open(Options{Dir: copied, Ballast: -1, Forgot: forgot})
			if err != nil {
				t.Errorf("%s: does not open: %v", what, err)
				continue
			}
			_, err = kv.Get(t.Context(), forgot[0].Key)
			told := err == nil
			tail := kind == ".mem" && !told // as if the last write had been cut off: the fence is for that
			switch n := readAndRepair(t, kv, objects, what, told || tail); {
			case told:
				anew[kind]++
			case n > 0:
				lost[kind]++
			default:
				unharmed[kind]++
			}
			mustClose(t, kv)
			reopens(t, copied, told, what)
			if err := os.RemoveAll(copied); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("made anew: %v; only objects lost: %v; nothing lost: %v", anew, lost, unharmed)
	for _, kind := range []string{".sst", ".mem", "MANIFEST"} {
		if anew[kind] == 0 {
			t.Errorf("no store was made anew for its %s", kind)
		}
	}
}

// written is how much of a file there is before the zeros at its end.
func written(t *testing.T, name string) int64 {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return int64(max(1, len(bytes.TrimRight(data, "\x00"))))
}

// reopens: what was made anew is a whole store, and still says so.
func reopens(t *testing.T, dir string, told bool, what string) {
	kv, err := Open(Options{Dir: dir, Ballast: -1}) // without leave to make it anew
	if err != nil {
		t.Errorf("%s: does not open again: %v", what, err)
		return
	}
	if _, err := kv.Get(t.Context(), forgot[0].Key); (err == nil) != told {
		t.Errorf("%s: the mark: %v", what, err)
	}
	mustClose(t, kv)
}

// A crash at any step of making a store anew loses nothing that could be read: the next start does it again.
func TestSalvageSurvivesACrash(t *testing.T) {
	dir, objects := rotten(t, false)
	manifest := filepath.Join(dir, "MANIFEST")
	turn(t, manifest, 20, 1)
	for _, crash := range []string{"moving", "moved", "reading"} {
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		files, err := libraryFiles(copied)
		if err != nil {
			t.Fatal(err)
		}
		aside := filepath.Join(copied, movingDir)
		if crash == "reading" {
			aside = filepath.Join(copied, readingDir)
		}
		if err := os.Mkdir(aside, 0o700); err != nil {
			t.Fatal(err)
		}
		for i, name := range files {
			if crash == "moving" && i%2 == 0 {
				continue
			}
			if err := os.Rename(filepath.Join(copied, name), filepath.Join(aside, name)); err != nil {
				t.Fatal(err)
			}
		}
		if crash == "reading" { // and half of a new store
			kv, err := openDatabase(copied, false, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if err := kv.Close(); err != nil {
				t.Fatal(err)
			}
		}
		kv, err := Open(Options{Dir: copied, Ballast: -1, Forgot: forgot})
		if err != nil {
			t.Fatalf("%s: %v", crash, err)
		}
		if n := readAndRepair(t, kv, objects, crash, false); n != 0 {
			t.Errorf("%s: %d objects are lost", crash, n)
		}
		if _, err := kv.Get(t.Context(), forgot[0].Key); err != nil {
			t.Errorf("%s: it does not say that it forgot: %v", crash, err)
		}
		mustClose(t, kv)
	}
}

func turn(t *testing.T, name string, at int64, bit byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// readAndRepair reads all as a scrub does, puts what is bad again as one does that got it from a peer, and returns how many
// objects were bad.
func readAndRepair(t *testing.T, kv *KV, objects [][]byte, what string, mayForget bool) (bad int) {
	t.Helper()
	for i := range 20 {
		want := fmt.Sprintf("record %d", i)
		got, err := kv.Get(t.Context(), fmt.Appendf(nil, "m/%d", i))
		older := mayForget && (errors.Is(err, store.ErrNotFound) || string(got) == "older")
		if !older && (err != nil || string(got) != want) {
			t.Errorf("%s: record %d is %.40q, %v", what, i, got, err)
		}
	}
	o, err := store.OpenObjects(t.Context(), kv)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for round := range 2 {
		for i, data := range objects {
			got, err := o.Get(t.Context(), store.HashOf(data))
			switch {
			case err == nil && bytes.Equal(got, data):
			case err == nil:
				t.Fatalf("%s: object %d is served wrong", what, i)
			case round == 1:
				t.Fatalf("%s: object %d is still bad: %v", what, i, err)
			case errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt):
				bad++
				if _, err := o.Put(t.Context(), [][]byte{data}); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			default:
				t.Fatalf("%s: object %d: %v", what, i, err)
			}
		}
	}
	return bad
}

// Records that rot while the store is open are named, and whole again once they are written.
func TestUnreadableRecords(t *testing.T) {
	dir := withTable(t)
	kv := openTest(t, Options{Dir: dir})
	mustWrite(t, kv, put("m/other", "1"), put("m/z", "2"))
	if bad, last, err := kv.Unreadable(t.Context(), "", 2); len(bad) > 0 || last != "m/other" || err != nil {
		t.Errorf("%v, %q, %v", bad, last, err)
	}
	rot(t, dir, promise, 0)
	if bad, last, err := kv.Unreadable(t.Context(), "", 10); len(bad) != 1 || bad[0] != "m/head" || last != "m/z" || err != nil {
		t.Errorf("%v, %q, %v", bad, last, err)
	}
	mustWrite(t, kv, put("m/head", promise))
	if bad, last, err := kv.Unreadable(t.Context(), "m/a", 10); len(bad) > 0 || last != "m/z" || err != nil {
		t.Errorf("%v, %q, %v", bad, last, err)
	}
	wantGet(t, kv, "m/head", promise)
	if _, last, err := kv.Unreadable(t.Context(), "m/z", 10); last != "" || err != nil {
		t.Errorf("%q, %v", last, err)
	}
}

// TestSalvageOfLargeObjects: whatever the sizes of what follows upon each other, each transaction takes it.
func TestSalvageOfLargeObjects(t *testing.T) {
	dir := t.TempDir()
	db, err := openDatabase(dir, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := &salvager{db: db, bad: map[string]error{}}
	largest := store.MaxBatch - len("key-0")
	sizes := []int{140 << 10, largest, 1, largest, store.MaxBatch/2 - 8, largest / 2, 0, largest}
	for i, size := range sizes {
		if err := s.add(record{key: fmt.Appendf(nil, "key-%d", i), value: make([]byte, size)}); err != nil {
			t.Fatalf("%d bytes after %v: %v", size, sizes[:i], err)
		}
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	err = db.View(func(txn *badger.Txn) error {
		for i, size := range sizes {
			item, err := txn.Get(fmt.Appendf(nil, "key-%d", i))
			if err != nil || item.ValueSize() != int64(size) {
				return fmt.Errorf("key %d: %v, %w", i, item, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
