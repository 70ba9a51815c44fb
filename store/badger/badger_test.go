package badger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shoal/store"
	"shoal/store/kvtest"
)

func openTest(t *testing.T, opt Options) *KV {
	t.Helper()
	if opt.Dir == "" {
		opt.Dir = t.TempDir()
	}
	if opt.Ballast == 0 {
		opt.Ballast = -1
	}
	kv, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kv.Close() })
	return kv
}

func TestKV(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) store.KV { return openTest(t, Options{}) })
}

// The same laws hold where all values are in segments, and where some are.
func TestKVOfLargeObjects(t *testing.T) {
	for name, rule := range map[string]func(store.Change) bool{
		"all":         func(c store.Change) bool { return c.Value != nil },
		"every other": func(c store.Change) bool { return len(c.Value)%2 == 1 },
	} {
		t.Run(name, func(t *testing.T) {
			kvtest.Run(t, func(t *testing.T) store.KV { return openTest(t, Options{large: rule}) })
		})
	}
}

func put(key, value string) store.Change {
	return store.Change{Key: []byte(key), Value: []byte(value)}
}

func mustWrite(t *testing.T, kv *KV, changes ...store.Change) {
	t.Helper()
	if err := kv.Write(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
}

func wantGet(t *testing.T, kv *KV, key, want string) {
	t.Helper()
	if got, err := kv.Get(t.Context(), []byte(key)); err != nil || string(got) != want {
		t.Errorf("get %q: %.40q, %v, not %.40q", key, got, err, want)
	}
}

func mustClose(t *testing.T, kv *KV) {
	t.Helper()
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestComesBackAfterClose(t *testing.T) {
	dir := t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	mustWrite(t, kv, put("m/head", "1"), put("a", "x"))
	mustWrite(t, kv, store.Change{Key: []byte("a")})
	mustClose(t, kv)
	kv = openTest(t, Options{Dir: dir})
	wantGet(t, kv, "m/head", "1")
	if _, err := kv.Get(t.Context(), []byte("a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was deleted: %v", err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	if second, err := Open(Options{Dir: dir, Ballast: -1}); err == nil {
		second.Close()
		t.Fatal("opened twice")
	}
	mustWrite(t, kv, put("a", "1"))
	wantGet(t, kv, "a", "1")
}

// After one failed sync nothing is acknowledged any more, whatever the disk says later; reads go on.
func TestFailedSyncStopsTheStore(t *testing.T) {
	dir := t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	mustWrite(t, kv, put("a", "1"))
	fail := errors.New("input/output error")
	kv.apply = func(txn *badger.Txn) error { return errors.Join(txn.Commit(), fail) }
	if err := kv.Write(t.Context(), []store.Change{put("b", "1")}); !errors.Is(err, store.ErrBroken) || !errors.Is(err, fail) {
		t.Errorf("a failed sync: %v", err)
	}
	kv.apply = (*badger.Txn).Commit
	if err := kv.Write(t.Context(), []store.Change{put("c", "1")}); !errors.Is(err, store.ErrBroken) {
		t.Errorf("after a failed sync: %v", err)
	}
	wantGet(t, kv, "a", "1")
	mustClose(t, kv)
	kv = openTest(t, Options{Dir: dir})
	wantGet(t, kv, "a", "1")
	mustWrite(t, kv, put("c", "1"))
}

// fakeDisk is a file system with a settable amount of free bytes.
type fakeDisk struct{ bytes atomic.Int64 }

func (f *fakeDisk) free(string) (free, total uint64, err error) {
	return uint64(f.bytes.Load()), 1 << 30, nil
}

func TestReserveEndsWritesAndNotReads(t *testing.T) {
	var disk fakeDisk
	disk.bytes.Store(minReserve)
	dir := t.TempDir()
	kv := openTest(t, Options{Dir: dir, Free: disk.free})
	mustWrite(t, kv, put("a", "1"))
	disk.bytes.Store(minReserve - 1)
	err := kv.Write(t.Context(), []store.Change{put("b", "1")})
	if !errors.Is(err, store.ErrReserve) || errors.Is(err, store.ErrBroken) {
		t.Errorf("below the reserve: %v", err)
	}
	t.Log(err)
	wantGet(t, kv, "a", "1")
	disk.bytes.Store(minReserve)
	mustWrite(t, kv, put("b", "1"))
	mustClose(t, kv)

	disk.bytes.Store(minReserve - 1) // opened on a full disk: it reads, and writes when there is room again
	before := names(t, dir)
	kv = openTest(t, Options{Dir: dir, Free: disk.free})
	wantGet(t, kv, "a", "1")
	if err := kv.Write(t.Context(), []store.Change{put("c", "1")}); !errors.Is(err, store.ErrReserve) {
		t.Errorf("opened below the reserve: %v", err)
	}
	if after := names(t, dir); !slices.Equal(before, after) {
		t.Errorf("reading changed the folder: %v, was %v", after, before)
	}
	disk.bytes.Store(minReserve)
	mustWrite(t, kv, put("c", "1"))
	wantGet(t, kv, "b", "1")
	wantGet(t, kv, "c", "1")
}

// A store that was killed cannot be opened for reading alone; the ballast gives the room to open it all the same.
func TestBallastOpensAKilledStoreOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	keys := runAndKill(t, dir, "0", 20)
	kv, err := Open(Options{Dir: dir, Ballast: 1 << 20}) // lays the ballast down
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, kv)
	ballast := filepath.Join(dir, ballastName)
	if info, err := os.Stat(ballast); err != nil || info.Size() != 1<<20 {
		t.Fatalf("ballast: %v", err)
	}
	keys = append(keys, runAndKill(t, dir, "1", 20)...)

	var disk fakeDisk
	full := func(dir string) (uint64, uint64, error) {
		if exists(dir, ballastName) {
			return 0, 1 << 30, nil
		}
		return disk.free(dir)
	}
	disk.bytes.Store(openNeed)
	kv = openTest(t, Options{Dir: dir, Free: full})
	for _, key := range keys {
		wantGet(t, kv, key, string(crashValue(key)))
	}
	if err := kv.Write(t.Context(), []store.Change{put("x", "1")}); !errors.Is(err, store.ErrReserve) {
		t.Errorf("write on a full disk: %v", err)
	}
	mustClose(t, kv)

	runAndKill(t, dir, "2", 20)
	disk.bytes.Store(openNeed - 1)
	kv, err = Open(Options{Dir: dir, Free: disk.free, Ballast: -1})
	if !errors.Is(err, store.ErrReserve) {
		t.Errorf("a killed store without any room: %v", err)
	}
	t.Log(err)
	if err == nil {
		kv.Close()
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// rot turns one bit in the tables on disk: at the place of the text, or at an offset from the end.
func rot(t *testing.T, dir, text string, fromEnd int) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("%d tables, not one (%v)", len(tables), err)
	}
	data, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	at := len(data) - fromEnd
	if text != "" {
		at = bytes.Index(data, []byte(text))
	}
	f, err := os.OpenFile(tables[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{data[at] ^ 1}, int64(at))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

const promise = "the promise of ballot 7"

// withTable returns a folder with a store that was closed, so that what it holds is in a table.
func withTable(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	kv := openTest(t, Options{Dir: dir})
	mustWrite(t, kv, put("m/head", promise))
	mustClose(t, kv)
	return dir
}

// A register that rotted on disk must not be taken for one that never was.
func TestRotIsNeverNotFound(t *testing.T) {
	dir := withTable(t)
	kv := openTest(t, Options{Dir: dir})
	if err := kv.Verify(t.Context()); err != nil {
		t.Errorf("verify: %v", err)
	}
	rot(t, dir, promise, 0)
	if got, err := kv.Get(t.Context(), []byte("m/head")); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("rot while open: %q, %v", got, err)
	}
	if err := kv.Verify(t.Context()); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("verify: %v", err)
	}
}

// Rot anywhere in a table is found before anything is read from it, and is an error rather than a crash.
func TestRotIsFoundAtOpen(t *testing.T) {
	dir := withTable(t)
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	info, err := os.Stat(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	for fromEnd := 1; fromEnd <= int(info.Size()); fromEnd += 3 {
		dir := withTable(t)
		rot(t, dir, "", fromEnd)
		kv, err := Open(Options{Dir: dir, Ballast: -1})
		if err == nil { // a bit that no checksum covers may turn, as long as nothing is lost
			wantGet(t, kv, "m/head", promise)
			mustClose(t, kv)
		} else if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("a bit turned %d bytes from the end: %v", fromEnd, err)
		}
	}
	dir = withTable(t)
	if tables, _ = filepath.Glob(filepath.Join(dir, "*.sst")); os.Remove(tables[0]) != nil {
		t.Fatal("no table removed")
	}
	if kv, err := Open(Options{Dir: dir, Ballast: -1}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a table is gone: %v", err)
		if err == nil {
			kv.Close()
		}
	}
}

// A register that is written between the look and the question whether it is known is not lost; it is looked for again.
func TestKnownKeyWrittenWhileReading(t *testing.T) {
	k := known{keys: map[string]struct{}{}}
	looks := 0
	value, err := k.read([]byte("m/a"), func() ([]byte, error) {
		if looks++; looks > 1 {
			return []byte("1"), nil
		}
		k.wrote([]store.Change{put("m/a", "1")})
		return nil, store.ErrNotFound
	})
	if err != nil || string(value) != "1" || looks != 2 {
		t.Errorf("%q, %v after %d looks", value, err, looks)
	}
	k.willWrite([]store.Change{{Key: []byte("m/a")}})
	if _, err := k.read([]byte("m/a"), func() ([]byte, error) { return nil, store.ErrNotFound }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("while it is being deleted: %v", err)
	}
}

func TestBatcherSharesSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers = 64
		started, release := make(chan int), make(chan struct{})
		b := newBatcher(func(changes []store.Change) error {
			started <- len(changes)
			<-release
			return nil
		}, isLarge, 1<<20)
		write := func(n int) {
			for range n {
				go func() {
					if err := b.do(t.Context(), []store.Change{put("a", "1")}); err != nil {
						t.Error(err)
					}
				}()
			}
			synctest.Wait()
		}
		begin := time.Now()
		write(1)
		if got := <-started; got != 1 || time.Since(begin) != 0 {
			t.Errorf("a writer alone shares with %d and waits %v", got, time.Since(begin))
		}
		write(writers) // while the first is at the disk
		release <- struct{}{}
		if got := <-started; got != writers {
			t.Errorf("of %d waiting writers %d share a sync", writers, got)
		}
		release <- struct{}{}
		synctest.Wait()
		write(2) // fewer than before: they wait for the others, but not for long
		if got := <-started; got != 2 || time.Since(begin) != groupWait {
			t.Errorf("%d share after %v", got, time.Since(begin))
		}
		release <- struct{}{}
		b.close()
	})
}

func TestBatcherKeepsGroupsInBounds(t *testing.T) {
	const maxBytes = 1000
	b := newBatcher(func(changes []store.Change) error {
		r := &request{changes: changes}
		if r.count(isLarge); r.bytes >= maxBytes && len(changes) > 1 {
			t.Errorf("a group of %d bytes", r.bytes)
		}
		return nil
	}, isLarge, maxBytes)
	defer b.close()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := b.do(t.Context(), []store.Change{put("a", strings.Repeat("x", 200))}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkWrite(b *testing.B) {
	value := make([]byte, 256)
	for _, writers := range []int{1, 64} {
		for _, mode := range []string{"batched", "one sync each"} {
			b.Run(fmt.Sprintf("%s/%d writers", mode, writers), func(b *testing.B) {
				kv, err := Open(Options{Dir: b.TempDir(), Ballast: -1})
				if err != nil {
					b.Fatal(err)
				}
				defer kv.Close()
				var mu sync.Mutex
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range writers {
					wg.Go(func() {
						for {
							i := next.Add(1)
							if i > int64(b.N) {
								return
							}
							changes := []store.Change{{Key: fmt.Appendf(nil, "%d", i), Value: value}}
							var err error
							if mode == "batched" {
								err = kv.Write(b.Context(), changes)
							} else {
								mu.Lock()
								err = kv.commit(changes)
								mu.Unlock()
							}
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			})
		}
	}
}
