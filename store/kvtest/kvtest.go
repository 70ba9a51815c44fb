// Package kvtest is the suite that every store.KV passes.
package kvtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"shoal/store"
)

// Run checks the laws of store.KV. open returns an empty one; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) store.KV) {
	for _, law := range []struct {
		name  string
		check func(*testing.T, store.KV)
	}{
		{"get what was written", getWritten},
		{"slices belong to their callers", noAliasing},
		{"scan in the order of keys", scanOrder},
		{"scan by pages", scanPages},
		{"scan is bounded", scanBounded},
		{"batch is all or nothing", batches},
		{"a batch is seen whole", seenWhole},
		{"the last change of a key wins", lastWins},
		{"limits", limits},
		{"largest object and largest batch", largest},
		{"concurrent writers", writers},
		{"context", contexts},
		{"closed", closed},
	} {
		t.Run(law.name, func(t *testing.T) {
			kv := open(t)
			law.check(t, kv)
			if err := kv.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	t.Run("as a map would", func(t *testing.T) {
		kv := open(t)
		likeMap(t, kv)
		if err := kv.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func put(key, value string) store.Change {
	return store.Change{Key: []byte(key), Value: []byte(value)}
}

func del(key string) store.Change { return store.Change{Key: []byte(key)} }

func write(t *testing.T, kv store.KV, changes ...store.Change) {
	t.Helper()
	if err := kv.Write(t.Context(), changes); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func scan(t *testing.T, kv store.KV, prefix, after string, limit int) string {
	t.Helper()
	var from []byte
	if after != "" {
		from = []byte(after)
	}
	full, err := kv.Scan(t.Context(), []byte(prefix), from, limit, false)
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	keys, err := kv.Scan(t.Context(), []byte(prefix), from, limit, true)
	if err != nil || len(keys) != len(full) {
		t.Fatalf("scan of keys only: %d, not %d pairs (%v)", len(keys), len(full), err)
	}
	var out string
	for i, p := range full {
		if !bytes.Equal(p.Key, keys[i].Key) || keys[i].Value != nil {
			t.Fatalf("scan of keys only: %q with %d bytes, not %q without", keys[i].Key, len(keys[i].Value), p.Key)
		}
		if p.Size != int64(len(p.Value)) || keys[i].Size != p.Size {
			t.Fatalf("scan: sizes %d and %d of a value of %d bytes", p.Size, keys[i].Size, len(p.Value))
		}
		out += fmt.Sprintf("%s=%s ", p.Key, p.Value)
	}
	return out
}

func wantScan(t *testing.T, kv store.KV, prefix, after string, limit int, want string) {
	t.Helper()
	if got := scan(t, kv, prefix, after, limit); got != want {
		t.Errorf("scan %q after %q limit %d: %q, not %q", prefix, after, limit, got, want)
	}
}

func wantGet(t *testing.T, kv store.KV, key, want string) {
	t.Helper()
	got, err := kv.Get(t.Context(), []byte(key))
	if err != nil || string(got) != want {
		t.Errorf("get %q: %q, %v, not %q", key, got, err, want)
	}
}

func wantAbsent(t *testing.T, kv store.KV, key string) {
	t.Helper()
	if got, err := kv.Get(t.Context(), []byte(key)); !errors.Is(err, store.ErrNotFound) || got != nil {
		t.Errorf("get %q: %q, %v, not ErrNotFound", key, got, err)
	}
}

func getWritten(t *testing.T, kv store.KV) {
	wantAbsent(t, kv, "a")
	write(t, kv, put("a", "1"), put("b", ""), put("\x00\xff", "\x00"))
	wantGet(t, kv, "a", "1")
	wantGet(t, kv, "b", "")
	wantGet(t, kv, "\x00\xff", "\x00")
	write(t, kv, put("a", "2"))
	wantGet(t, kv, "a", "2")
	write(t, kv, del("a"), del("never there"))
	wantAbsent(t, kv, "a")
	write(t, kv)
	write(t, kv, put("a", "3"))
	wantGet(t, kv, "a", "3")
}

func noAliasing(t *testing.T, kv store.KV) {
	changes := []store.Change{put("a", "1")}
	write(t, kv, changes...)
	changes[0].Key[0], changes[0].Value[0] = 'x', 'x'
	got, _ := kv.Get(t.Context(), []byte("a"))
	got[0] = 'y'
	pairs, _ := kv.Scan(t.Context(), nil, nil, 1, false)
	pairs[0].Key[0], pairs[0].Value[0] = 'z', 'z'
	wantGet(t, kv, "a", "1")
	wantAbsent(t, kv, "x")
}

func scanOrder(t *testing.T, kv store.KV) {
	wantScan(t, kv, "", "", 10, "")
	write(t, kv, put("b/2", "4"), put("a", "1"), put("b", "2"), put("b0", "5"), put("b/1", "3"), put("c", "6"))
	wantScan(t, kv, "", "", 10, "a=1 b=2 b/1=3 b/2=4 b0=5 c=6 ")
	wantScan(t, kv, "b/", "", 10, "b/1=3 b/2=4 ")
	wantScan(t, kv, "b/1", "", 10, "b/1=3 ")
	wantScan(t, kv, "d", "", 10, "")
	write(t, kv, del("b/1"), put("b/2", "new"))
	wantScan(t, kv, "b", "", 10, "b=2 b/2=new b0=5 ")
	write(t, kv, put("\xff\xff", "e"), put("\xff", "d"))
	wantScan(t, kv, "\xff", "", 10, "\xff=d \xff\xff=e ")
}

func scanPages(t *testing.T, kv store.KV) {
	write(t, kv, put("a/1", "1"), put("a/2", "2"), put("a/3", "3"), put("b", "4"))
	wantScan(t, kv, "a/", "", 2, "a/1=1 a/2=2 ")
	wantScan(t, kv, "a/", "a/2", 2, "a/3=3 ")
	wantScan(t, kv, "a/", "a/3", 2, "")
	wantScan(t, kv, "a/", "a/15", 1, "a/2=2 ")
	wantScan(t, kv, "a/", "a", 1, "a/1=1 ")
	wantScan(t, kv, "a/", "z", 9, "")
	wantScan(t, kv, "a/", "", 0, "")
	wantScan(t, kv, "a/", "", -1, "")
}

func scanBounded(t *testing.T, kv store.KV) {
	var changes []store.Change
	for i := range store.MaxScan + 10 {
		changes = append(changes, put(fmt.Sprintf("%05d", i), "x"))
	}
	for batch := range slices.Chunk(changes, store.MaxChanges) {
		write(t, kv, batch...)
	}
	pairs, err := kv.Scan(t.Context(), nil, nil, 1<<30, true)
	if err != nil || len(pairs) != store.MaxScan {
		t.Fatalf("a scan without a limit returns %d pairs, not %d (%v)", len(pairs), store.MaxScan, err)
	}
	pairs, err = kv.Scan(t.Context(), nil, pairs[len(pairs)-1].Key, 1<<30, true)
	if err != nil || len(pairs) != 10 {
		t.Fatalf("its second page has %d pairs, not 10 (%v)", len(pairs), err)
	}
}

func batches(t *testing.T, kv store.KV) {
	write(t, kv, put("a", "1"))
	err := kv.Write(t.Context(), []store.Change{put("a", "2"), put("b", "2"), put("", "no such key")})
	if !errors.Is(err, store.ErrBatch) {
		t.Errorf("an empty key: %v", err)
	}
	wantGet(t, kv, "a", "1")
	wantAbsent(t, kv, "b")
}

// seenWhole lets readers look while writers move a token from key to key: there always is exactly one.
func seenWhole(t *testing.T, kv store.KV) {
	write(t, kv, put("at/0", "token"))
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range 200 {
			err := kv.Write(t.Context(), []store.Change{del(fmt.Sprintf("at/%d", i)), put(fmt.Sprintf("at/%d", i+1), "token")})
			if err != nil {
				t.Errorf("write: %v", err)
				return
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				pairs, err := kv.Scan(t.Context(), []byte("at/"), nil, 10, true)
				if err != nil || len(pairs) != 1 {
					t.Errorf("a reader sees half of a batch: %d tokens (%v)", len(pairs), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func lastWins(t *testing.T, kv store.KV) {
	write(t, kv, put("a", "1"), put("a", "2"), put("b", "1"), del("b"), del("c"), put("c", "1"))
	wantScan(t, kv, "", "", 10, "a=2 c=1 ")
}

func limits(t *testing.T, kv store.KV) {
	for why, changes := range map[string][]store.Change{
		"key":     {{Key: make([]byte, store.MaxKey+1), Value: []byte{1}}},
		"changes": slices.Repeat([]store.Change{put("a", "1")}, store.MaxChanges+1),
		"bytes":   {{Key: []byte("a"), Value: make([]byte, store.MaxBatch)}},
	} {
		if err := kv.Write(t.Context(), changes); !errors.Is(err, store.ErrBatch) {
			t.Errorf("a batch over the limit of %s: %v", why, err)
		}
	}
	wantScan(t, kv, "", "", 10, "")
}

func largest(t *testing.T, kv store.KV) {
	key := bytes.Repeat([]byte("k"), store.MaxKey)
	value := make([]byte, store.MaxBatch-store.MaxKey)
	for i := range value {
		value[i] = byte(i >> 8)
	}
	write(t, kv, store.Change{Key: key, Value: value})
	if got, err := kv.Get(t.Context(), key); err != nil || !bytes.Equal(got, value) {
		t.Fatalf("the largest value comes back as %d bytes (%v)", len(got), err)
	}
	var many []store.Change
	for i := range store.MaxChanges {
		many = append(many, put(fmt.Sprintf("many/%04d", i), string(value[:store.MaxBatch/store.MaxChanges-len("many/0000")])))
	}
	write(t, kv, many...)
	pairs, err := kv.Scan(t.Context(), []byte("many/"), nil, store.MaxScan, true)
	if err != nil || len(pairs) != store.MaxChanges {
		t.Fatalf("of %d changes %d are there (%v)", store.MaxChanges, len(pairs), err)
	}
	var wg sync.WaitGroup // more at once than fits into one transaction of any store
	for i := range 24 {
		wg.Go(func() {
			err := kv.Write(t.Context(), []store.Change{{Key: fmt.Appendf(nil, "big/%d", i), Value: value[:store.MaxObject]}})
			if err != nil {
				t.Errorf("write: %v", err)
			}
		})
	}
	wg.Wait()
	for i := range 24 {
		if got, err := kv.Get(t.Context(), fmt.Appendf(nil, "big/%d", i)); err != nil || len(got) != store.MaxObject {
			t.Errorf("object %d has %d bytes (%v)", i, len(got), err)
		}
	}
}

// writers has several goroutines write what they then read at once, and nothing of another.
func writers(t *testing.T, kv store.KV) {
	const goroutines, each = 8, 100
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				key := binary.BigEndian.AppendUint32([]byte{byte(g)}, uint32(i))
				value := fmt.Appendf(nil, "%d of %d", i, g)
				if err := kv.Write(t.Context(), []store.Change{{Key: key, Value: value}}); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if got, err := kv.Get(t.Context(), key); err != nil || !bytes.Equal(got, value) {
					t.Errorf("a writer reads %q, not its %q (%v)", got, value, err)
					return
				}
			}
		})
	}
	wg.Wait()
	pairs, err := kv.Scan(t.Context(), nil, nil, store.MaxScan, true)
	if err != nil || len(pairs) != goroutines*each {
		t.Errorf("%d of %d writes are there (%v)", len(pairs), goroutines*each, err)
	}
}

func contexts(t *testing.T, kv store.KV) {
	write(t, kv, put("a", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := kv.Get(ctx, []byte("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if _, err := kv.Scan(ctx, nil, nil, 1, false); !errors.Is(err, context.Canceled) {
		t.Errorf("scan: %v", err)
	}
	if err := kv.Write(ctx, []store.Change{put("b", "1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("write: %v", err)
	}
	wantAbsent(t, kv, "b")
}

func closed(t *testing.T, kv store.KV) {
	var wg sync.WaitGroup
	for g := range 4 { // those that are under way end one way or the other, but end
		wg.Go(func() {
			for i := range 1000 {
				err := kv.Write(t.Context(), []store.Change{put(fmt.Sprintf("%d/%d", g, i), "x")})
				if err != nil && !errors.Is(err, store.ErrClosed) {
					t.Errorf("write while closing: %v", err)
				}
				if err != nil {
					return
				}
			}
		})
	}
	if err := kv.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	wg.Wait()
	if _, err := kv.Get(t.Context(), []byte("a")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
	if _, err := kv.Scan(t.Context(), nil, nil, 1, false); !errors.Is(err, store.ErrClosed) {
		t.Errorf("scan after close: %v", err)
	}
	if err := kv.Write(t.Context(), []store.Change{put("a", "1")}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}

// likeMap runs random batches against the KV and a map, its dumb twin.
func likeMap(t *testing.T, kv store.KV) {
	ctx := t.Context()
	keys := rapid.StringMatching(`[ab/]{1,4}`)
	twin := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		var changes []store.Change
		for range rapid.IntRange(0, 5).Draw(t, "changes") {
			key := keys.Draw(t, "key")
			if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
				changes = append(changes, del(key))
				delete(twin, key)
				continue
			}
			value := rapid.String().Draw(t, "value")
			changes = append(changes, put(key, value))
			twin[key] = value
		}
		if err := kv.Write(ctx, changes); err != nil {
			t.Fatalf("write: %v", err)
		}
		prefix := rapid.SampledFrom([]string{"", "a", "b/", "//"}).Draw(t, "prefix")
		after := keys.Draw(t, "after")
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		pairs, err := kv.Scan(ctx, []byte(prefix), []byte(after), limit, false)
		if err != nil {
			t.Fatalf("scan: %v", err)
		}
		var want []string
		for _, key := range slices.Sorted(maps.Keys(twin)) {
			if key > after && len(want) < limit && len(key) >= len(prefix) && key[:len(prefix)] == prefix {
				want = append(want, key+"="+twin[key])
			}
		}
		var got []string
		for _, p := range pairs {
			got = append(got, string(p.Key)+"="+string(p.Value))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("scan %q after %q limit %d: %q, not %q", prefix, after, limit, got, want)
		}
	})
}
