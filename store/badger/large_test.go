package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"shoal/store"
)

// largeObjects are n objects of 32 to 256 KiB.
func largeObjects(n int) (objects [][]byte) {
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range n {
		data := make([]byte, leastLarge+rng.IntN(store.MaxObject-leastLarge+1))
		rand.NewChaCha8([32]byte{9, byte(i), byte(i >> 8)}).Read(data)
		objects = append(objects, data)
	}
	return objects
}

func openObjects(t *testing.T, kv *KV) *store.Objects {
	t.Helper()
	o, err := store.OpenObjects(t.Context(), kv)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func putAll(t *testing.T, kv *KV, objects [][]byte) (*store.Objects, []store.Hash) {
	t.Helper()
	o := openObjects(t, kv)
	names, err := o.Put(t.Context(), objects)
	if err != nil {
		t.Fatal(err)
	}
	return o, names
}

// onDisk is what the files of the segments take of the disk, in bytes.
func onDisk(t *testing.T, dir string) (total int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, segmentsDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	return total
}

func readable(t *testing.T, kv *KV, objects [][]byte) (n int) {
	t.Helper()
	o := openObjects(t, kv)
	for i, data := range objects {
		got, err := o.Get(t.Context(), store.HashOf(data))
		switch {
		case err == nil && bytes.Equal(got, data):
			n++
		case err == nil:
			t.Fatalf("object %d is served wrong", i)
		case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt):
			t.Fatal(err)
		}
	}
	return n
}

// Large objects are not in the library's files, and what is dropped gives its place back, at once or, after a crash, at the next start.
func TestDroppedObjectsGiveTheirPlaceBack(t *testing.T) {
	dir := t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	objects := largeObjects(100)
	o, names := putAll(t, kv, objects)
	full := onDisk(t, dir)
	if err := o.Drop(t.Context(), names[:50]); err != nil {
		t.Fatal(err)
	}
	if now := onDisk(t, dir); now > full*6/10 {
		t.Errorf("of %d KiB on the disk %d are left when half of the objects was dropped", full>>10, now>>10)
	}
	// As a crash leaves it: the transaction is there, and the place was not given back.
	var places []place
	for _, h := range names[50:75] {
		err := kv.db.Update(func(txn *badger.Txn) error {
			item, err := txn.Get(store.ObjectKey(h))
			if err != nil {
				return err
			}
			p, large, err := placeOf(item)
			if !large || err != nil {
				return fmt.Errorf("not in a segment: %w", err)
			}
			places = append(places, p)
			return txn.Delete(store.ObjectKey(h))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	before := onDisk(t, dir)
	mustClose(t, kv)
	kv = openTest(t, Options{Dir: dir})
	if now := onDisk(t, dir); now > before*7/10 {
		t.Errorf("after a crash and a start %d of %d KiB are left", now>>10, before>>10)
	}
	if n := readable(t, kv, objects[75:]); n != 25 {
		t.Errorf("%d of 25 objects are left", n)
	}
	if err := openObjects(t, kv).Drop(t.Context(), names[75:]); err != nil {
		t.Fatal(err)
	}
	mustClose(t, kv)
	kv = openTest(t, Options{Dir: dir})
	if files, _ := filepath.Glob(filepath.Join(dir, segmentsDir, "*")); len(files) > 0 {
		t.Errorf("%v are left of no objects", files)
	}
	// A number that was used and is free again belongs to nobody.
	putAll(t, kv, objects[:3])
	if n := readable(t, kv, objects); n != 3 {
		t.Errorf("%d objects, not 3", n)
	}
}

// An object that is read while others drop it and put it again is there or not, and never damaged.
func TestReadersWhileObjectsAreDropped(t *testing.T) {
	kv := openTest(t, Options{})
	objects := largeObjects(4)
	o, names := putAll(t, kv, objects)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				got, err := kv.Get(t.Context(), store.ObjectKey(names[i%len(names)]))
				if err != nil && !errors.Is(err, store.ErrNotFound) || err == nil && !bytes.Equal(got, objects[i%len(names)]) {
					t.Errorf("a reader gets %d bytes: %v", len(got), err)
					return
				}
				if _, err := kv.Scan(t.Context(), store.ObjectPrefix(), nil, 10, false); err != nil {
					t.Errorf("a scan: %v", err)
					return
				}
			}
		})
	}
	for i := range 200 {
		at := i % len(names)
		if err := o.Drop(t.Context(), names[at:at+1]); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Put(t.Context(), objects[at:at+1]); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}

// What was acknowledged is there after the power fails: a segment that was not synced has nothing of what was appended.
func TestLargeObjectsAreSyncedBeforeTheyAreNamed(t *testing.T) {
	dir := t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	cut := &powerCut{t: t, synced: map[string][]byte{}}
	kv.logs.datasync, kv.large.datasync = cut.datasync, cut.datasync
	objects := largeObjects(30)
	o := openObjects(t, kv)
	for i, data := range objects {
		if _, err := o.Put(t.Context(), [][]byte{data}); err != nil {
			t.Fatal(err)
		}
		if i%10 != 9 {
			continue
		}
		image := cut.image(dir)
		if err := os.Mkdir(filepath.Join(image, segmentsDir), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range cut.synced {
			if filepath.Ext(name) == segmentSuffix {
				if err := os.WriteFile(filepath.Join(image, segmentsDir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		after := openTest(t, Options{Dir: image})
		if n := readable(t, after, objects[:i+1]); n != i+1 {
			t.Errorf("the power fails: of %d objects %d are left", i+1, n)
		}
		mustClose(t, after)
	}
}

// A segment that cannot be synced ends the store.
func TestFailedSyncOfASegmentStopsTheStore(t *testing.T) {
	kv := openTest(t, Options{})
	fail := errors.New("input/output error")
	kv.large.datasync = func(*os.File) error { return fail }
	o := openObjects(t, kv)
	objects := largeObjects(1)
	if _, err := o.Put(t.Context(), objects); !errors.Is(err, store.ErrBroken) || !errors.Is(err, fail) {
		t.Errorf("a failed sync: %v", err)
	}
	if err := kv.Write(t.Context(), []store.Change{put("a", "1")}); !errors.Is(err, store.ErrBroken) {
		t.Errorf("afterwards: %v", err)
	}
}

// One bit that turns in a segment costs one object, which is told to be damaged and whole again when it is put.
func TestOneBitInASegment(t *testing.T) {
	dir := t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	objects := largeObjects(20)
	putAll(t, kv, objects)
	mustClose(t, kv)
	dice := rand.New(rand.NewPCG(7, 8))
	files, err := filepath.Glob(filepath.Join(dir, segmentsDir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	hit := 0
	for range 40 {
		turn(t, files[0], dice.Int64N(info.Size()), 1<<dice.IntN(8))
		kv := openTest(t, Options{Dir: dir, Forgot: forgot})
		n := readable(t, kv, objects)
		if n < len(objects)-1 {
			t.Fatalf("one bit cost %d objects", len(objects)-n)
		}
		hit += len(objects) - n
		o := openObjects(t, kv)
		for _, data := range objects { // as a scrub and a peer do
			if _, err := o.Get(t.Context(), store.HashOf(data)); err != nil {
				if _, err := o.Put(t.Context(), [][]byte{data}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := readable(t, kv, objects); n != len(objects) {
			t.Fatalf("%d of %d objects after a repair", n, len(objects))
		}
		mustClose(t, kv)
	}
	if hit == 0 {
		t.Error("no object was hit")
	}
}

// A database that lost its tables, or a part of one, finds the large objects where they are.
func TestLargeObjectsOutliveTheirDatabase(t *testing.T) {
	for what, damage := range map[string]func(t *testing.T, dir string){
		"the list of tables": func(t *testing.T, dir string) { turn(t, filepath.Join(dir, badger.ManifestFilename), 20, 1) },
		"a table": func(t *testing.T, dir string) {
			tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatal(tables, err)
			}
			for _, name := range tables {
				turn(t, name, written(t, name)/3, 4)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			kv := openTest(t, Options{Dir: dir})
			objects := largeObjects(200)
			putAll(t, kv, objects)
			mustClose(t, kv)
			damage(t, dir)
			kv = openTest(t, Options{Dir: dir, Forgot: forgot})
			if n := readable(t, kv, objects); n != len(objects) {
				t.Errorf("%d of %d objects are left", n, len(objects))
			}
			if err := kv.db.Flatten(1); err != nil { // the library merges what is damaged
				t.Fatal(err)
			}
			mustClose(t, kv)
			kv = openTest(t, Options{Dir: dir})
			if n := readable(t, kv, objects); n != len(objects) {
				t.Errorf("%d of %d objects are left when it is opened again", n, len(objects))
			}
		})
	}
}

// A table of which only objects are damaged, places among them, is used on, and the library's merge leaves out what comes after the
// damage: the large objects are all there.
func TestPlacesInADamagedTable(t *testing.T) {
	var small [][]byte
	for i := range 100 {
		data := make([]byte, 16_000)
		rand.NewChaCha8([32]byte{11, byte(i)}).Read(data)
		small = append(small, data)
	}
	objects := largeObjects(40)
	for _, at := range []int64{35, 50, 70} { // of a hundred parts of the table
		dir := t.TempDir()
		kv := openTest(t, Options{Dir: dir})
		mustWrite(t, kv, put("m/record", "1"))
		putAll(t, kv, append(slices.Clone(small[:60]), objects...))
		mustClose(t, kv)
		tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if err != nil || len(tables) != 1 {
			t.Fatal(tables, err)
		}
		info, err := os.Stat(tables[0])
		if err != nil {
			t.Fatal(err)
		}
		turn(t, tables[0], info.Size()*at/100, 4)
		kv = openTest(t, Options{Dir: dir})
		if n := readable(t, kv, small[:60]); n == 0 || n == 60 {
			t.Errorf("at %d %%: %d of 60 small objects are left", at, n)
		}
		if n := readable(t, kv, objects); n != len(objects) {
			t.Errorf("at %d %%: %d of %d large objects are left", at, n, len(objects))
		}
		for _, data := range small[60:] { // so that there is something to merge it with
			putAll(t, kv, [][]byte{data})
		}
		if err := kv.db.Flatten(1); err != nil {
			t.Fatal(err)
		}
		mustClose(t, kv)
		kv = openTest(t, Options{Dir: dir})
		if n := readable(t, kv, objects); n != len(objects) {
			t.Errorf("at %d %%: %d of %d large objects are left after a merge", at, n, len(objects))
		}
		mustClose(t, kv)
	}
}

// What a version before kept in the database itself is read, dropped and put as before.
func TestLargeObjectsOfAVersionBefore(t *testing.T) {
	dir := t.TempDir()
	inline := func(store.Change) bool { return false }
	kv := openTest(t, Options{Dir: dir, large: inline})
	objects := largeObjects(10)
	_, names := putAll(t, kv, objects)
	mustClose(t, kv)
	if is(dir, segmentsDir) {
		t.Fatal("they are in segments")
	}
	kv = openTest(t, Options{Dir: dir})
	if n := readable(t, kv, objects); n != len(objects) {
		t.Errorf("%d of %d are read", n, len(objects))
	}
	o := openObjects(t, kv)
	if err := o.Drop(t.Context(), names[:5]); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Put(t.Context(), objects[:3]); err != nil {
		t.Fatal(err)
	}
	mustClose(t, kv)
	kv = openTest(t, Options{Dir: dir})
	if n := readable(t, kv, objects); n != 8 {
		t.Errorf("%d objects, not 8", n)
	}
}
