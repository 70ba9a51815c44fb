package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"shoal/store"
)

// rotten is a closed store with objects and small records, and all that it holds.
func rotten(t *testing.T) (dir string, objects [][]byte) {
	t.Helper()
	dir = t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	for i := range 20 {
		mustWrite(t, kv, put(fmt.Sprintf("m/%d", i), fmt.Sprintf("record %d", i)))
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
	mustClose(t, kv)
	return dir, objects
}

// A bit that turns in any file of a closed store is found at the start, or when what it hit is read. Wrong bytes are never
// returned, no record is taken for one that never was, and an object that was hit is whole again once it is put.
func TestOneBitInAnyFile(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	refused, repaired, unharmed := map[string]int{}, map[string]int{}, map[string]int{}
	for round := range 60 {
		dir, objects := rotten(t)
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
			library := kind == ".vlog" || kind == "KEYREGISTRY"
			if library && round%5 != 0 {
				continue
			}
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			at := dice.Int64N(info.Size())
			turn(t, filepath.Join(copied, filepath.Base(name)), at, 1<<dice.IntN(8))
			what := fmt.Sprintf("%s at %d of %d", filepath.Base(name), at, info.Size())
			if library && !opens(copied) {
				refused[kind]++
				continue
			}
			kv, err := Open(Options{Dir: copied, Ballast: -1})
			if err != nil {
				refused[kind]++
				continue
			}
			if n := readAndRepair(t, kv, objects, what); n > 0 {
				repaired[kind]++
			} else {
				unharmed[kind]++
			}
			mustClose(t, kv)
		}
	}
	t.Logf("refused at the start: %v; objects lost and repaired: %v; nothing lost: %v", refused, repaired, unharmed)
	if repaired[".sst"] == 0 {
		t.Error("no table was repaired")
	}
}

// opens tries it in another process.
func opens(dir string) bool {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), openDir+"="+dir)
	return cmd.Run() == nil
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
func readAndRepair(t *testing.T, kv *KV, objects [][]byte, what string) (bad int) {
	t.Helper()
	for i := range 20 {
		want := fmt.Sprintf("record %d", i)
		got, err := kv.Get(t.Context(), fmt.Appendf(nil, "m/%d", i))
		if errors.Is(err, store.ErrNotFound) || (err == nil && string(got) != want) {
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
