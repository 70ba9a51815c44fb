package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"shoal/ring"
	"shoal/store"
	"shoal/store/memory"
)

func openObjects(t *testing.T, kv store.KV) *store.Objects {
	t.Helper()
	o, err := store.OpenObjects(t.Context(), kv)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// wantTrueIndex compares the kept index with one made from what is there.
func wantTrueIndex(t *testing.T, o *store.Objects, kv store.KV) {
	t.Helper()
	fresh := openObjects(t, kv)
	for p := range ring.Partition(ring.Partitions) {
		if got, want := o.Index().Digest(p), fresh.Index().Digest(p); got != want {
			t.Fatalf("partition %d: the index says %+v, the store holds %+v", p, got, want)
		}
	}
	if got, want := o.Index().Total(), fresh.Index().Total(); got != want {
		t.Errorf("in total %+v, not %+v", got, want)
	}
}

func TestObjectsComeBack(t *testing.T) {
	kv := memory.New()
	o := openObjects(t, kv)
	big := make([]byte, store.MaxObject)
	objects := [][]byte{[]byte("a"), {}, nil, []byte("a"), big}
	for i := range 10 { // more than one batch
		big := bytes.Clone(big)
		big[0] = byte(i + 1)
		objects = append(objects, big)
	}
	for range 2 { // the second time changes nothing
		names, err := o.Put(t.Context(), objects)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			if got, err := o.Get(t.Context(), name); err != nil || !bytes.Equal(got, objects[i]) {
				t.Errorf("object %d comes back as %d bytes (%v)", i, len(got), err)
			}
		}
		if total := o.Index().Total(); total.Count != 13 || total.Bytes != 11*store.MaxObject+1 {
			t.Errorf("the index counts %d objects of %d bytes", total.Count, total.Bytes)
		}
	}
	wantTrueIndex(t, o, kv)
	if _, err := o.Put(t.Context(), [][]byte{make([]byte, store.MaxObject+1)}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("an object over the limit: %v", err)
	}
	none := store.HashOf([]byte("none"))
	if _, err := o.Get(t.Context(), none); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was never put: %v", err)
	}
	here, err := o.Has(t.Context(), []store.Hash{none, store.HashOf([]byte("a"))})
	if err != nil || !slices.Equal(here, []bool{false, true}) {
		t.Errorf("has: %v (%v)", here, err)
	}
}

func TestBadObjectIsMissingUntilPutAgain(t *testing.T) {
	kv := memory.New()
	o := openObjects(t, kv)
	good := []byte("as it was")
	names, _ := o.Put(t.Context(), [][]byte{good})
	if err := kv.Write(t.Context(), []store.Change{{Key: store.ObjectKey(names[0]), Value: []byte("rotten")}}); err != nil {
		t.Fatal(err)
	}
	o = openObjects(t, kv)
	if data, err := o.Get(t.Context(), names[0]); !errors.Is(err, store.ErrCorrupt) || data != nil {
		t.Fatalf("served %q (%v)", data, err)
	}
	if here, _ := o.Has(t.Context(), names); here[0] {
		t.Error("a bad object counts as here")
	}
	if list, _ := o.List(t.Context(), store.PartitionOf(names[0]), store.Hash{}, 10); len(list) != 0 {
		t.Error("a bad object is listed")
	}
	if _, err := o.Put(t.Context(), [][]byte{good}); err != nil {
		t.Fatal(err)
	}
	if data, err := o.Get(t.Context(), names[0]); err != nil || !bytes.Equal(data, good) {
		t.Errorf("after another put: %q (%v)", data, err)
	}
	wantTrueIndex(t, o, kv)
}

func TestListGoesThroughAPartition(t *testing.T) {
	o := openObjects(t, memory.New())
	var want []store.Hash
	var others [][]byte
	for i := 0; len(want) < 7; i++ {
		data := fmt.Appendf(nil, "%d", i)
		if store.PartitionOf(store.HashOf(data)) == 42 {
			want = append(want, store.HashOf(data))
			others = append(others, data)
		} else if i%100 == 0 {
			others = append(others, data)
		}
	}
	if _, err := o.Put(t.Context(), others); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(want, func(a, b store.Hash) int { return bytes.Compare(a[:], b[:]) })
	var got []store.Hash
	for after := (store.Hash{}); ; after = got[len(got)-1] {
		page, err := o.List(t.Context(), 42, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, not %v", got, want)
	}
	if d := o.Index().Digest(42); d.Count != 7 {
		t.Errorf("the index counts %d", d.Count)
	}
}

// Two nodes that got the same objects in different orders, at the same time as each other and with drops in between, have
// equal digests.
func TestIndexStaysTrueUnderConcurrency(t *testing.T) {
	kv := memory.New()
	o := openObjects(t, kv)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 300 {
				var batch [][]byte
				var names []store.Hash
				for range 1 + rng.IntN(4) {
					data := fmt.Appendf(nil, "object %d", rng.IntN(40))
					batch, names = append(batch, data), append(names, store.HashOf(data))
				}
				var err error
				if rng.IntN(3) == 0 {
					err = o.Drop(t.Context(), names)
				} else {
					_, err = o.Put(t.Context(), batch)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantTrueIndex(t, o, kv)
}

// failing is a KV whose writes fail.
type failing struct{ store.KV }

func (failing) Write(context.Context, []store.Change) error { return store.ErrReserve }

func TestFailedPutIsNotCounted(t *testing.T) {
	o := openObjects(t, failing{memory.New()})
	if _, err := o.Put(t.Context(), [][]byte{[]byte("a")}); !errors.Is(err, store.ErrReserve) {
		t.Errorf("put: %v", err)
	}
	if got := o.Index().Total(); got != (store.Digest{}) {
		t.Errorf("the index counts %+v", got)
	}
}

func TestForeignKeyIsNotCountedAsAnObject(t *testing.T) {
	kv := memory.New()
	h := store.HashOf([]byte("a"))
	wrong := store.ObjectKey(h)
	wrong[3]++ // of another partition
	if err := kv.Write(t.Context(), []store.Change{{Key: wrong, Value: []byte("a")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenObjects(t.Context(), kv); err == nil {
		t.Error("an object in the wrong partition was indexed")
	}
}

// unsynced writes, and then says that the sync failed: what it wrote can be read, and may be gone after a power cut.
type unsynced struct{ store.KV }

func (u unsynced) Write(ctx context.Context, changes []store.Change) error {
	if err := u.KV.Write(ctx, changes); err != nil {
		return err
	}
	return store.ErrBroken
}

func TestNothingIsKeptAfterAFailedSync(t *testing.T) {
	o := openObjects(t, unsynced{memory.New()})
	for range 2 {
		if _, err := o.Put(t.Context(), [][]byte{[]byte("a")}); !errors.Is(err, store.ErrBroken) {
			t.Errorf("put: %v", err)
		}
	}
}
