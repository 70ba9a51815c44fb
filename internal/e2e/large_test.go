package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// A process that applies a large file holds a small part of it: beside the file's 128 MiB the binary and the start take about 40.
func TestLargeFileIsNotHeld(t *testing.T) {
	const size, most = 128 << 20, 96 << 20 // bytes
	w := emptyWorld(t)
	tree := w.tree("tree", "site.yaml", "targets:\n  - on: \"*\"\n    components: [c]\n",
		"components/c/states.yaml", "states:\n  f:\n    file.managed: {path: /large, source: large}\n")
	f, err := os.Create(filepath.Join(w.Dir, tree, "components/c/large"))
	if err != nil {
		t.Fatal(err)
	}
	if err = f.Truncate(size); err == nil {
		err = f.Close()
	}
	root := t.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	res := w.ok("apply", tree, "--root", root)
	if info, err := os.Stat(filepath.Join(root, "large")); err != nil || info.Size() != size {
		t.Errorf("the file: %v %v", info, err)
	}
	t.Logf("%d MiB at most", res.MaxRSS>>20)
	if res.MaxRSS > most {
		t.Errorf("it took %d MiB of memory, at most %d are wanted", res.MaxRSS>>20, most>>20)
	}
}
