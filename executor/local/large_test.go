package local_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/module/file"
	"shoal/states"
)

const largeFile = 64 << 20

// writeNoise makes a large file and returns its hash.
func writeNoise(t *testing.T, name string, size int64) string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	sum, out := sha256.New(), bufio.NewWriter(f)
	_, err = io.CopyN(io.MultiWriter(sum, out), rand.NewChaCha8([32]byte{7}), size)
	if err = errors.Join(err, out.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// A large source is checked, staged and put into its place without ever being in memory.
func TestLargeSource(t *testing.T) {
	tree, root := t.TempDir(), t.TempDir()
	hash := writeNoise(t, filepath.Join(tree, "large"), largeFile)
	h := newHost(t, root, t.TempDir())
	contents := executor.TreeContents(os.DirFS(tree))
	p := executor.Params{"path": "/large", "contents": states.Content{Hash: hash, Size: largeFile, Source: "large", From: "source large"}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	change, err := file.Managed{}.Check(t.Context(), h, contents, p)
	if err != nil || !change.Needed || !strings.Contains(change.Diff, "0 -> 67108864 bytes, too long to show") {
		t.Fatalf("%+v %v", change, err)
	}
	staged, err := file.Managed{}.Prepare(t.Context(), h, contents, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = (file.Managed{}).ApplyStaged(t.Context(), h, contents, p, staged); err != nil {
		t.Fatal(err)
	}
	if change, err = (file.Managed{}).Check(t.Context(), h, contents, p); err != nil || change.Needed {
		t.Fatalf("afterwards: %+v %v", change, err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", got, largeFile)
	}
}

// What is not what the plan says is never put into its place, and leaves nothing.
func TestLargeSourceThatChanged(t *testing.T) {
	tree, root := t.TempDir(), t.TempDir()
	hash := writeNoise(t, filepath.Join(tree, "large"), 1<<20)
	f, err := os.OpenFile(filepath.Join(tree, "large"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("edited since"), 1000)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, root, t.TempDir())
	p := executor.Params{"path": "/large", "contents": states.Content{Hash: hash, Size: 1 << 20, Source: "large", From: "source large"}}
	if _, err := (file.Managed{}).Prepare(t.Context(), h, executor.TreeContents(os.DirFS(tree)), p); !errors.Is(err, executor.ErrContents) {
		t.Errorf("staged: %v", err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
