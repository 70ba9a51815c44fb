package store_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/fstest"

	"shoal/store"
)

// What is signed, named by its hash or kept on disk must come out the same from every version of shoal: a change here is
// a new version of a format, and needs a way for old and new nodes to live in one mesh.
func TestFormatsStayAsTheyAre(t *testing.T) {
	tree := fstest.MapFS{"site.yaml": {Data: []byte("targets: []\n")}, "a/empty": {}, "a/run.sh": {Data: []byte("#!/bin/sh\n"), Mode: 0o755}}
	manifest, _, err := store.Pack(tree, func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	// A file in chunks: what cuts it, and how, is a part of the format.
	large := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{9}).Read(large)
	chunked, m, err := store.Pack(fstest.MapFS{"large": {Data: large}}, func([]byte) error { return nil })
	if err != nil || m.Cut != store.CutFastCDC || len(m.Entries[0].Chunks) < 10 {
		t.Fatalf("%d chunks, %v", len(m.Entries[0].Chunks), err)
	}
	m.Cut = 7 // of a later version
	objects := map[store.Hash][]byte{}
	later, err := m.Encode(func(o []byte) error { objects[store.HashOf(o)] = bytes.Clone(o); return nil })
	if err != nil || later == chunked {
		t.Fatalf("another way of cutting: %s, %v", later, err)
	}
	if back, err := store.OpenManifest(t.Context(), later, func(_ context.Context, h store.Hash) ([]byte, error) { return objects[h], nil }); err != nil || back.Cut != 7 {
		t.Errorf("a manifest that was cut another way: %d, %v", back.Cut, err)
	}
	revision, err := store.SealRevision(store.Revision{
		Env: "production", Version: 1, Manifest: manifest, Author: "a", Message: "m", Kind: store.KindPush, Time: 7,
	}, testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	entry, err := store.SealLogEntry(store.LogEntry{Node: idOf(testKey(1)), Seq: 1, Time: 7, Kind: "report", Body: []byte("b")}, testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ got, want string }{
		"manifest":   {manifest.Short(), "95551aaaf8a6"},
		"chunked":    {chunked.Short(), "8e53f3b62c22"},
		"revision":   {store.HashOf(revision).Short(), "3dde3a51d4cd"},
		"log entry":  {store.HashOf(entry.Raw).Short(), "f8f17caf8618"},
		"object key": {fmt.Sprintf("%x", store.ObjectKey(store.HashOf([]byte("a"))))[:14], "6f2f0ca9ca9781"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, was %s", what, c.got, c.want)
		}
	}
}
