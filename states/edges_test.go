package states_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"shoal/states"
)

// TestEdges compiles each tree of testdata/edges and compares its invocations and edges as text.
func TestEdges(t *testing.T) {
	files, err := filepath.Glob("testdata/edges/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 15 {
		t.Errorf("only %d trees", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { edgesOf(t, file) })
	}
}

func edgesOf(t *testing.T, file string) {
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
		fsys[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	if _, ok := fsys["site.yaml"]; !ok {
		fsys["site.yaml"] = &fstest.MapFile{Data: []byte("targets:\n  - on: \"*\"\n    components: [app]\npolicy: {order: justdoit}\n")}
	}
	plan, err := states.Compile(fsys, states.Input{Node: web()}, functions())
	if err != nil {
		t.Fatalf("compile:\n%v", err)
	}
	if got := show(plan); *update {
		rewrite(t, file, archive, got)
	} else if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
