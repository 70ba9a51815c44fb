package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/internal/codec"
)

// shelf is a holder of objects in a map.
type shelf map[Hash][]byte

func (s shelf) put(object []byte) error { s[HashOf(object)] = bytes.Clone(object); return nil }

func (s shelf) get(_ context.Context, h Hash) ([]byte, error) {
	if data, ok := s[h]; ok {
		return bytes.Clone(data), nil
	}
	return nil, ErrNotFound
}

func (s shelf) has(_ context.Context, hashes []Hash) ([]bool, error) {
	out := make([]bool, len(hashes))
	for i, h := range hashes {
		_, out[i] = s[h]
	}
	return out, nil
}

func someTree() fstest.MapFS {
	return fstest.MapFS{
		"site.yaml":                {Data: []byte("targets: []\n"), Mode: 0o600},
		"components/a/states.yaml": {Data: []byte("states: {}\n"), Mode: 0o664},
		"components/a-b/x.sh":      {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"components/a/files/big":   {Data: noise(7, 3<<20), Mode: 0o644},
		"components/a/files/empty": {Mode: 0o644},
		".git/config":              {Data: []byte("not for the ring")},
	}
}

func pack(t *testing.T, tree fs.FS) (Hash, Manifest, shelf) {
	t.Helper()
	s := shelf{}
	name, m, err := Pack(tree, s.put)
	if err != nil {
		t.Fatal(err)
	}
	return name, m, s
}

func TestPackedTreeOpensAsItWas(t *testing.T) {
	source := someTree()
	name, packed, s := pack(t, source)
	m, err := OpenManifest(t.Context(), name, s.get)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(m) != fmt.Sprint(packed) {
		t.Fatal("the manifest comes back changed")
	}
	tree := OpenTree(t.Context(), m, s.get)
	delete(source, ".git/config")
	var names []string
	for path, file := range source {
		names = append(names, path)
		got, err := fs.ReadFile(tree, path)
		if err != nil || !bytes.Equal(got, file.Data) {
			t.Errorf("%s comes back changed (%v)", path, err)
		}
		info, err := fs.Stat(tree, path)
		if err != nil || (info.Mode() == ModeExecutable) != (file.Mode == 0o755) {
			t.Errorf("%s has the mode %v (%v)", path, info.Mode(), err)
		}
	}
	if err := fstest.TestFS(tree, names...); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat(tree, ".git"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf(".git was packed (%v)", err)
	}
	again, _, _ := pack(t, source)
	if again != name {
		t.Error("packing the same tree again gives another name")
	}
}

// A small tree is one round of fetching after its manifest, a large one two; both end, and then nothing is missing.
func TestMissingEndsWhenAllIsHere(t *testing.T) {
	many := someTree()
	for i := range 5000 {
		many[fmt.Sprintf("files/%04d", i)] = &fstest.MapFile{Data: []byte(fmt.Sprint(i))}
	}
	for _, c := range []struct {
		tree   fs.FS
		rounds int
	}{{fstest.MapFS{}, 1}, {someTree(), 2}, {many, 3}} {
		name, m, all := pack(t, c.tree)
		here, rounds := shelf{}, 0
		for ; ; rounds++ {
			missing, err := Missing(t.Context(), name, here.get, here.has)
			if err != nil {
				t.Fatal(err)
			}
			if len(missing) == 0 {
				break
			}
			for _, h := range missing {
				here[h] = all[h]
			}
		}
		if rounds != c.rounds {
			t.Errorf("%d files: %d rounds, not %d", len(m.Entries), rounds, c.rounds)
		}
		if len(here) != len(all) {
			t.Errorf("%d files: fetched %d of %d objects", len(m.Entries), len(here), len(all))
		}
		got, err := OpenManifest(t.Context(), name, here.get)
		if err != nil || len(got.Entries) != len(m.Entries) {
			t.Errorf("after fetching all: %d of %d files (%v)", len(got.Entries), len(m.Entries), err)
		}
	}
}

func TestTreeServesNoWrongBytes(t *testing.T) {
	name, m, s := pack(t, someTree())
	e := m.Entries[slices.IndexFunc(m.Entries, func(e Entry) bool { return len(e.Chunks) > 2 })]
	tree := OpenTree(t.Context(), m, s.get)
	good := s[e.Chunks[1].Hash]
	for want, broken := range map[error][]byte{ErrCorrupt: []byte("other"), ErrNotFound: nil} {
		s[e.Chunks[1].Hash] = broken
		if broken == nil {
			delete(s, e.Chunks[1].Hash)
		}
		if data, err := tree.ReadFile(e.Path); !errors.Is(err, want) || data != nil {
			t.Errorf("got %d bytes and %v, not %v", len(data), err, want)
		}
		f, _ := tree.Open(e.Path)
		data := make([]byte, 8<<20)
		n, err := fill(f, data)
		if !errors.Is(err, want) || int64(n) != e.Chunks[0].Size {
			t.Errorf("a stream gave %d bytes and %v, not %v", n, err, want)
		}
	}
	s[e.Chunks[1].Hash] = good
	s[name] = []byte{0xa0}
	if _, err := OpenManifest(t.Context(), name, s.get); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another manifest under the name: %v", err)
	}
	if missing, err := Missing(t.Context(), name, s.get, s.has); err != nil || !slices.Equal(missing, []Hash{name}) {
		t.Errorf("a manifest gone bad is not fetched anew: %v %v", missing, err)
	}
}

func TestManifestRefuses(t *testing.T) {
	chunk := []Chunk{{Hash: HashOf([]byte("x")), Size: 1}}
	entry := func(path string) Entry { return Entry{Path: path, Mode: ModeFile, Size: 1, Chunks: chunk} }
	with := func(change func(*Entry)) []Entry {
		e := entry("a")
		change(&e)
		return []Entry{e}
	}
	long := strings.Repeat("a/", MaxPath/2)
	deep := func() (out []Entry) {
		for i := range 400 {
			out = append(out, entry(fmt.Sprintf("%03d/%sx", i, strings.Repeat("a/", 400))))
		}
		return out
	}
	for why, entries := range map[string][]Entry{
		"empty path":           {entry("")},
		"the root":             {entry(".")},
		"parent":               {entry("../a")},
		"parent inside":        {entry("a/../b")},
		"absolute":             {entry("/etc/passwd")},
		"not clean":            {entry("a//b")},
		"trailing slash":       {entry("a/")},
		"not utf-8":            {entry("a\xff")},
		"control character":    {entry("a\x1b[2J")},
		"backslash":            {entry(`a\..\b`)},
		"too long":             {entry(long + "x")},
		"unsorted":             {entry("b"), entry("a")},
		"twice":                {entry("a"), entry("a")},
		"file and folder":      {entry("a"), entry("a-b"), entry("a/b")},
		"file above folder":    {entry("a"), entry("a/b/c/d")},
		"too many folders":     deep(),
		"setuid":               with(func(e *Entry) { e.Mode = 0o4755 }),
		"a symlink":            with(func(e *Entry) { e.Mode = fs.ModeSymlink | 0o777 }),
		"size too small":       with(func(e *Entry) { e.Size = 0 }),
		"size too large":       with(func(e *Entry) { e.Size = 2 }),
		"negative size":        with(func(e *Entry) { e.Size = -1 }),
		"chunk of nothing":     with(func(e *Entry) { e.Chunks, e.Size = []Chunk{{Size: 0}}, 0 }),
		"chunk over the limit": with(func(e *Entry) { e.Chunks, e.Size = []Chunk{{Size: MaxObject + 1}}, MaxObject+1 }),
		"negative chunk":       with(func(e *Entry) { e.Chunks, e.Size = []Chunk{{Size: 2}, {Size: -1}}, 1 }),
		"file over the limit": with(func(e *Entry) {
			e.Chunks, e.Size = slices.Repeat([]Chunk{{Size: MaxObject}}, MaxFile/MaxObject+1), MaxFile+MaxObject
		}),
	} {
		if err := (Manifest{Entries: entries}).Check(); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", why, err)
		}
		s := shelf{}
		if _, err := (Manifest{Entries: entries}).Encode(s.put); err == nil || len(s) > 0 {
			t.Errorf("%s was encoded", why)
		}
		raw, _ := codec.Marshal(manifestObject{Entries: entries})
		s.put(raw)
		if len(raw) <= MaxObject {
			if _, err := OpenManifest(t.Context(), HashOf(raw), s.get); !errors.Is(err, ErrManifest) {
				t.Errorf("%s was opened: %v", why, err)
			}
		}
	}
	if err := (Manifest{Entries: []Entry{entry("a"), entry("a-b"), entry("ab/c")}}).Check(); err != nil {
		t.Errorf("a good manifest: %v", err)
	}
}

func TestOpenManifestRefuses(t *testing.T) {
	s := shelf{}
	object := func(o manifestObject) []byte { raw, _ := codec.Marshal(o); s.put(raw); return raw }
	inner := object(manifestObject{Pieces: []Chunk{{Hash: HashOf([]byte{0xa0}), Size: 1}}})
	for why, raw := range map[string][]byte{
		"nothing":           {},
		"text":              []byte("states: {}"),
		"trailing bytes":    {0xa0, 0},
		"not canonical":     {0xa1, 0x18, 0x01, 0x80},
		"short hash":        {0xa1, 0x02, 0x81, 0x82, 0x41, 0x00, 0x01},
		"entries and piece": object(manifestObject{Entries: []Entry{{}}, Pieces: []Chunk{{Size: 1}}}),
		"pieces too large":  object(manifestObject{Pieces: slices.Repeat([]Chunk{{Size: MaxObject}}, 129)}),
		"pieces of pieces":  object(manifestObject{Pieces: []Chunk{{Hash: HashOf(inner), Size: int64(len(inner))}}}),
		"wrong piece size":  object(manifestObject{Pieces: []Chunk{{Hash: HashOf(inner), Size: 7}}}),
		"an object too big": make([]byte, MaxObject+1),
	} {
		s.put(raw)
		if _, err := OpenManifest(t.Context(), HashOf(raw), s.get); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	link := func(target string) func(dir string) error {
		return func(dir string) error { return os.Symlink(target, filepath.Join(dir, "sub", "link")) }
	}
	for why, build := range map[string]func(dir string) error{
		"absolute symlink":     link("/etc/hostname"),
		"symlink out":          link("../../outside"),
		"symlink to a folder":  link("../sub"),
		"symlink to nothing":   link("nothing"),
		"file over the limit":  func(dir string) error { return sparse(filepath.Join(dir, "big"), MaxFile+1) },
		"name with a newline":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o644) },
		"folder that is a lie": func(dir string) error { return os.Symlink("sub", filepath.Join(dir, "alias")) },
	} {
		dir := filepath.Join(t.TempDir(), "tree")
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "sub"), 0o755),
			os.WriteFile(filepath.Join(dir, "..", "outside"), []byte("secret"), 0o644), build(dir)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Pack(os.DirFS(dir), func([]byte) error { return nil }); err == nil {
			t.Errorf("%s was packed", why)
		}
	}
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "sub"), 0o755), link("../file")(dir),
		os.WriteFile(filepath.Join(dir, "file"), []byte("here"), 0o644)); err != nil {
		t.Fatal(err)
	}
	_, m, s := pack(t, os.DirFS(dir))
	if got, err := OpenTree(t.Context(), m, s.get).ReadFile("sub/link"); string(got) != "here" {
		t.Errorf("a symlink inside the tree: %q %v", got, err)
	}
}

func sparse(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func FuzzManifest(f *testing.F) {
	s := shelf{}
	if _, _, err := Pack(someTree(), s.put); err != nil {
		f.Fatal(err)
	}
	for _, object := range s {
		if len(object) < 4096 {
			f.Add(object)
		}
	}
	index, _ := codec.Marshal(manifestObject{Pieces: []Chunk{{Hash: HashOf(nil), Size: 5}}})
	f.Add(index)
	f.Fuzz(func(t *testing.T, raw []byte) {
		here := shelf{}
		here.put(raw)
		m, err := OpenManifest(t.Context(), HashOf(raw), here.get)
		if err != nil {
			return
		}
		again := shelf{}
		name, err := m.Encode(again.put)
		if err != nil || name != HashOf(raw) {
			t.Fatalf("a manifest that opens encodes to another: %v", err)
		}
		if err := fs.WalkDir(OpenTree(t.Context(), m, here.get), ".", func(_ string, _ fs.DirEntry, err error) error {
			return err
		}); err != nil {
			t.Fatalf("a manifest that opens cannot be walked: %v", err)
		}
	})
}
