package store_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

func testKey(seed byte) ed25519.PrivateKey {
	raw := make([]byte, ed25519.SeedSize)
	raw[0] = seed
	return ed25519.NewKeyFromSeed(raw)
}

func idOf(key ed25519.PrivateKey) membership.NodeID {
	return membership.IDOf(key.Public().(ed25519.PublicKey))
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
