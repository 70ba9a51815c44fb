package badger

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"shoal/store"
)

// marked opens a store beside its mark, which stands for a file in memory.
func marked(t *testing.T, dir string) *KV {
	t.Helper()
	f, err := os.OpenFile(dir+".mark", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return openTest(t, Options{Dir: dir, Mark: f, Forgot: forgot})
}

func putBack(t *testing.T, image, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(image)); err != nil {
		t.Fatal(err)
	}
}

func imageOf(t *testing.T, dir string) string {
	t.Helper()
	image := t.TempDir()
	putBack(t, dir, image)
	return image
}

// TestLineageStaysWhileNothingIsForgotten: over ends in order, and over kills in the middle of writes that fill tables and move them down.
func TestLineageStaysWhileNothingIsForgotten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	kv := marked(t, dir)
	first := kv.Lineage()
	mustClose(t, kv)
	for round := range 4 {
		kv := marked(t, dir)
		if got := kv.Lineage(); got != first || got == 0 {
			t.Fatalf("round %d: lineage %x, not %x", round, got, first)
		}
		for i := range 300 {
			key := fmt.Sprintf("%d/%d", round, i%40)
			if mustWrite(t, kv, put(key, string(crashValue(key)))); i%3 == 0 {
				mustWrite(t, kv, store.Change{Key: []byte(key)})
			}
		}
		if round%2 == 0 {
			mustClose(t, kv)
			continue
		}
		killed := imageOf(t, dir) // as a kill leaves it: the memory of the process is gone, the machine's is not
		mustClose(t, kv)
		putBack(t, killed, dir)
	}
}

// TestLineageEndsWhereSomethingMayBeForgotten: else an acceptor would not ask what it promised.
func TestLineageEndsWhereSomethingMayBeForgotten(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir, image string){
		"the last write is gone":         func(t *testing.T, dir, image string) { putBack(t, image, dir) },
		"the machine started again":      func(t *testing.T, dir, _ string) { truncate(t, dir+".mark") },
		"it was opened without its mark": func(t *testing.T, dir, _ string) { mustClose(t, openTest(t, Options{Dir: dir})) },
		"an older one was opened elsewhere, and written to": func(t *testing.T, dir, image string) {
			elsewhere := marked(t, image)
			for range 9 {
				mustWrite(t, elsewhere, put("k", "elsewhere"))
			}
			mustClose(t, elsewhere)
			putBack(t, image, dir)
		},
		"the end of a log is gone": func(t *testing.T, dir, _ string) {
			logs, err := filepath.Glob(filepath.Join(dir, "*"+logSuffix))
			if err != nil || len(logs) != 1 {
				t.Fatal(logs, err)
			}
			turn(t, logs[0], written(t, logs[0])-1, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			kv := marked(t, dir)
			lineage := kv.Lineage()
			mustWrite(t, kv, put("k", "1"))
			image := imageOf(t, dir)
			mustWrite(t, kv, put("k", "2"))
			killed := imageOf(t, dir)
			mustClose(t, kv)
			putBack(t, killed, dir)
			spoil(t, dir, image)
			if got := marked(t, dir).Lineage(); got == lineage || got == 0 {
				t.Errorf("lineage %x after %x", got, lineage)
			}
		})
	}
}

func truncate(t *testing.T, name string) {
	t.Helper()
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
}
