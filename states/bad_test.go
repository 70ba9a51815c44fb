package states_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"shoal/states"
)

var update = flag.Bool("update", false, "rewrite the expected messages in testdata/bad")

const wantFile = "want"

// A WebAssembly module that is empty, and how it is written in an archive.
const (
	emptyModule     = "\x00asm\x01\x00\x00\x00"
	emptyModuleText = "(module)\n"
)

// TestBadTrees compiles each tree of testdata/bad, which must not compile, and compares all that it prints.
func TestBadTrees(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 150 {
		t.Errorf("only %d trees", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { badTree(t, file) })
	}
}

func badTree(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fsys, want := fstest.MapFS{}, ""
	for _, f := range archive.Files {
		if f.Name == wantFile {
			want = string(f.Data)
			continue
		}
		if strings.HasSuffix(f.Name, ".wasm") && string(f.Data) == emptyModuleText {
			f.Data = []byte(emptyModule)
		}
		fsys[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	if _, ok := fsys["site.yaml"]; !ok && fsys["site.json"] == nil {
		fsys["site.yaml"] = &fstest.MapFile{Data: []byte("targets:\n  - on: \"*\"\n    components: [app]\n")}
	}
	plan, err := states.Compile(fsys, states.Input{Node: web()}, functions())
	if err == nil {
		t.Fatalf("it compiles:\n%s", show(plan))
	}
	if _, ok := err.(states.Problems); !ok {
		t.Fatalf("not Problems: %v", err)
	}
	got := err.Error() + "\n"
	if *update {
		rewrite(t, file, archive, got)
		return
	}
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	for _, p := range states.Validate(fsys, []states.Node{web()}, nil, functions(), func(states.Node) *states.Secrets { return nil }) {
		if !strings.Contains(got, p.Message) {
			t.Errorf("validate says %q, compile does not", p.Message)
		}
	}
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, got string) {
	t.Helper()
	kept := archive.Files[:0]
	for _, f := range archive.Files {
		if f.Name != wantFile {
			kept = append(kept, f)
		}
	}
	archive.Files = append(kept, txtar.File{Name: wantFile, Data: []byte(got)})
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}
