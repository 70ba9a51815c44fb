package badger

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"shoal/store"
)

// pieces are objects of least to most bytes.
func pieces(seed uint64, total, least, most int, each func(store.Change)) {
	rng, noise := rand.New(rand.NewPCG(seed, 2)), rand.NewChaCha8([32]byte{byte(seed)})
	for total > 0 {
		data := make([]byte, least+rng.IntN(most-least))
		_, _ = noise.Read(data) // never fails
		h := store.HashOf(data)
		total -= len(data)
		each(store.Change{Key: store.ObjectKey(h), Value: data})
	}
}

// What a store may keep alive while it takes the pieces of a large file, and as much of small files, in bytes. Where large objects too go
// through the library's tables it is 44 to 47 MiB; with tables that outgrow the buffers that they are built in it was 102 to 137 MiB, by
// larger compactions 59 to 105.
func TestMemoryWhileALargeFileComes(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 160 MiB")
	}
	t.Run("a large file", func(t *testing.T) { bounded(t, 64<<10, 194<<10, 96<<20, 8<<20) })
	t.Run("small files", func(t *testing.T) { bounded(t, 8<<10, 32<<10, 64<<20, 64<<20) })
}

func bounded(t *testing.T, least, most, total int, mostAlive uint64) {
	kv, err := Open(Options{Dir: t.TempDir(), Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	live := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	idle, peak, stop := live(), uint64(0), make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak = max(peak, live())
			case <-stop:
				return
			}
		}
	})
	pieces(1, total, least, most, func(c store.Change) {
		if err == nil {
			err = kv.Write(context.Background(), []store.Change{c})
		}
	})
	close(stop)
	watching.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("alive at most: %d MiB above the %d MiB before", (peak-idle)>>20, idle>>20)
	if peak-idle > mostAlive {
		t.Errorf("%d MiB were alive above the %d MiB before, at most %d are wanted", (peak-idle)>>20, idle>>20, mostAlive>>20)
	}
}

// A store that was killed under a version with larger tables in memory has more in its log than one of now has room for.
func TestOpensALogOfALargerTable(t *testing.T) {
	const formerly = 4 << 20
	dir, killed := t.TempDir(), t.TempDir()
	log := slog.New(slog.DiscardHandler)
	db, err := openWith(libraryOptions(dir, false, formerly, log))
	if err != nil {
		t.Fatal(err)
	}
	var want []store.Change
	pieces(2, formerly-1<<20, 64<<10, 194<<10, func(c store.Change) {
		txn := db.NewTransaction(true)
		defer txn.Discard()
		if err := set(txn, c); err != nil {
			t.Fatal(err)
		}
		if err := txn.Commit(); err != nil {
			t.Fatal(err)
		}
		want = append(want, c)
	})
	names, err := os.ReadDir(dir) // as the kill leaves it: the copy is made while it is open
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(killed, e.Name()), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if size, err := largestLog(killed); err != nil || size <= memTable {
		t.Fatalf("the log has %d bytes, which fit: %v", size, err)
	}
	kv, err := Open(Options{Dir: killed, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	for _, c := range want {
		if got, err := kv.Get(context.Background(), c.Key); err != nil || store.HashOf(got) != store.HashOf(c.Value) {
			t.Fatalf("%x: %v", c.Key, err)
		}
	}
}
