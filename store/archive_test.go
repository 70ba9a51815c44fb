package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"shoal/store"
	"shoal/store/memory"
)

func filled(t *testing.T) (kv store.KV, names []store.Hash) {
	t.Helper()
	kv = memory.New()
	o, err := store.OpenObjects(t.Context(), kv)
	if err != nil {
		t.Fatal(err)
	}
	var objects [][]byte
	for i := range 50 {
		objects = append(objects, bytes.Repeat(fmt.Append(nil, i), 1000*i))
	}
	if names, err = o.Put(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	if err := kv.Write(t.Context(), []store.Change{{Key: store.MetaKey("mesh/a"), Value: []byte("1")}, {Key: store.MetaKey("empty"), Value: []byte{}}}); err != nil {
		t.Fatal(err)
	}
	return kv, names
}

func all(t *testing.T, kv store.KV) string {
	t.Helper()
	pairs, err := kv.Scan(t.Context(), nil, nil, store.MaxScan, false)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%v", pairs)
}

func TestArchiveComesBackWhole(t *testing.T) {
	kv, names := filled(t)
	var out bytes.Buffer
	n, damaged, err := store.Export(t.Context(), kv, &out)
	if err != nil || n != 52 || damaged != 0 {
		t.Fatalf("%d pairs, %d damaged, %v", n, damaged, err)
	}
	back := memory.New()
	if n, err := store.Import(t.Context(), back, bytes.NewReader(out.Bytes())); err != nil || n != 52 {
		t.Fatalf("%d pairs, %v", n, err)
	}
	if all(t, back) != all(t, kv) {
		t.Error("what came back differs")
	}
	if _, err := store.Import(t.Context(), back, bytes.NewReader(out.Bytes())); err == nil {
		t.Error("imported over what is there")
	}
	const want = "8c7bc0fc2e44" // an archive is kept for years: a change here is a new version
	if got := store.HashOf(out.Bytes()).Short(); got != want {
		t.Errorf("the format changed: %s, was %s", got, want)
	}

	if err := kv.Write(t.Context(), []store.Change{{Key: store.ObjectKey(names[7]), Value: []byte("rot")}}); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if n, damaged, err := store.Export(t.Context(), kv, &out); err != nil || n != 51 || damaged != 1 {
		t.Errorf("with a damaged object: %d pairs, %d damaged, %v", n, damaged, err)
	}
	if _, err := store.Import(t.Context(), memory.New(), bytes.NewReader(out.Bytes())); err != nil {
		t.Error(err)
	}
}

// Nothing is written from an archive with a bit turned or an end missing.
func TestDamagedArchiveIsRefused(t *testing.T) {
	kv, _ := filled(t)
	var out bytes.Buffer
	if _, _, err := store.Export(t.Context(), kv, &out); err != nil {
		t.Fatal(err)
	}
	try := func(what string, data []byte) {
		back := memory.New()
		if _, err := store.Import(t.Context(), back, bytes.NewReader(data)); !errors.Is(err, store.ErrArchive) {
			t.Errorf("%s: %v", what, err)
		}
		if all(t, back) != "[]" {
			t.Errorf("%s: something was written", what)
		}
	}
	for at := 0; at < out.Len(); at += 1 + out.Len()/200 {
		data := bytes.Clone(out.Bytes())
		data[at] ^= 4
		try(fmt.Sprint("a bit at ", at), data)
		try(fmt.Sprint("cut at ", at), out.Bytes()[:at])
	}
	try("something behind it", append(bytes.Clone(out.Bytes()), 0))
}
