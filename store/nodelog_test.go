package store_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
	"shoal/store/memory"
)

func testKey(seed byte) ed25519.PrivateKey {
	raw := make([]byte, ed25519.SeedSize)
	raw[0] = seed
	return ed25519.NewKeyFromSeed(raw)
}

func idOf(key ed25519.PrivateKey) membership.NodeID {
	return membership.IDOf(key.Public().(ed25519.PublicKey))
}

// written returns the raw entries of a log with n entries.
func written(t *testing.T, key ed25519.PrivateKey, n int, text string) [][]byte {
	t.Helper()
	logs := store.NewLogs(memory.New())
	var out [][]byte
	for i := range n {
		w, err := store.OpenLogWriter(t.Context(), logs, key) // each time as after a restart
		if err != nil {
			t.Fatal(err)
		}
		e, err := w.Append(t.Context(), int64(i), "report", fmt.Appendf(nil, "%s %d", text, i))
		if err != nil || e.Seq != uint64(i+1) {
			t.Fatalf("entry %d: number %d (%v)", i+1, e.Seq, err)
		}
		out = append(out, e.Raw)
	}
	return out
}

func dump(t *testing.T, kv store.KV) string {
	t.Helper()
	pairs, err := kv.Scan(t.Context(), nil, nil, store.MaxScan, false)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(pairs)
}

func TestLogsMergeAsSets(t *testing.T) {
	all := append(written(t, testKey(1), 6, "a"), written(t, testKey(2), 4, "b")...)
	one := memory.New()
	if err := store.NewLogs(one).Merge(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		other := memory.New()
		logs := store.NewLogs(other)
		shuffled := append(slices.Clone(all), all[:3]...)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for part := range slices.Chunk(shuffled, 1+rng.IntN(5)) {
			if err := logs.Merge(t.Context(), part); err != nil {
				t.Fatal(err)
			}
		}
		if dump(t, one) != dump(t, other) {
			t.Fatal("the result of merging depends on the order")
		}
	}
	got, err := store.NewLogs(one).After(t.Context(), idOf(testKey(1)), 2, 3)
	if err != nil || len(got) != 3 || got[0].Seq != 3 || string(got[2].Body) != "a 4" {
		t.Errorf("three after the second: %v (%v)", got, err)
	}
}

func TestLogsRefuseAFork(t *testing.T) {
	key := testKey(1)
	kept, forked := written(t, key, 5, "kept"), written(t, key, 5, "forked")
	for why, c := range map[string]struct{ first, second [][]byte }{
		"same number":      {kept[:3], forked[1:2]},
		"wrong parent":     {kept[:3], forked[3:4]},
		"wrong child":      {kept[3:], forked[2:3]},
		"in one message":   {nil, [][]byte{kept[0], forked[1]}},
		"good and then it": {kept[:2], [][]byte{kept[2], forked[3]}},
	} {
		kv := memory.New()
		logs := store.NewLogs(kv)
		if err := logs.Merge(t.Context(), c.first); err != nil {
			t.Fatal(err)
		}
		before := dump(t, kv)
		if err := logs.Merge(t.Context(), c.second); !errors.Is(err, store.ErrFork) {
			t.Errorf("%s: %v", why, err)
		}
		if dump(t, kv) != before {
			t.Errorf("%s: something of it was kept", why)
		}
	}
}

func TestLogEntryRefuses(t *testing.T) {
	key := testKey(1)
	good := store.LogEntry{Node: idOf(key), Seq: 1, Kind: "report"}
	with := func(change func(*store.LogEntry)) store.LogEntry {
		e := good
		change(&e)
		return e
	}
	for why, e := range map[string]store.LogEntry{
		"another node":          with(func(e *store.LogEntry) { e.Node = idOf(testKey(2)) }),
		"number 0":              with(func(e *store.LogEntry) { e.Seq = 0 }),
		"first with a parent":   with(func(e *store.LogEntry) { e.Prev[0] = 1 }),
		"second without parent": with(func(e *store.LogEntry) { e.Seq = 2 }),
		"no kind":               with(func(e *store.LogEntry) { e.Kind = "" }),
		"long kind":             with(func(e *store.LogEntry) { e.Kind = string(make([]byte, store.MaxLogKind+1)) }),
		"long body":             with(func(e *store.LogEntry) { e.Body = make([]byte, store.MaxLogBody+1) }),
	} {
		if _, err := store.SealLogEntry(e, key); !errors.Is(err, store.ErrLogEntry) {
			t.Errorf("%s: %v", why, err)
		}
	}
	twice, _ := membership.Sign(membership.DomainNodeLog, good, key, testKey(2))
	other, _ := membership.Sign(membership.DomainRevision, good, key)
	for why, signed := range map[string]membership.Signed{"two keys": twice, "another domain": other} {
		raw, _ := codec.Marshal(signed)
		if _, err := store.OpenLogEntry(raw); !errors.Is(err, store.ErrLogEntry) {
			t.Errorf("%s: %v", why, err)
		}
	}
	e, err := store.SealLogEntry(with(func(e *store.LogEntry) { e.Body = make([]byte, store.MaxLogBody) }), key)
	if err != nil {
		t.Fatal(err)
	}
	for at := range e.Raw {
		if at%1000 == 0 || at > len(e.Raw)-100 || at < 100 {
			bad := slices.Clone(e.Raw)
			bad[at] ^= 1
			if _, err := store.OpenLogEntry(bad); err == nil {
				t.Errorf("a bit turned at %d goes unnoticed", at)
			}
		}
	}
}

func FuzzLogEntry(f *testing.F) {
	e, err := store.SealLogEntry(store.LogEntry{Node: idOf(testKey(1)), Seq: 1, Kind: "report"}, testKey(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e, err := store.OpenLogEntry(raw); err == nil {
			key, err := e.Node.Key()
			if err != nil || e.Seq == 0 || len(key) == 0 {
				t.Fatalf("an entry that no node can have written: %+v", e)
			}
		}
	})
}
