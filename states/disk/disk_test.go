package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"shoal/states"
	"shoal/states/disk"
)

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *disk.Tree {
	t.Helper()
	tree, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

func TestIsAFileSystem(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "site.yaml"), "targets: []\n")
	write(t, filepath.Join(dir, "components/app/states.yaml"), "states: {}\n")
	if err := fstest.TestFS(open(t, dir), "site.yaml", "components/app/states.yaml"); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "x")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "real"), "x")
	for name, target := range map[string]string{
		"inside": "real", "out-absolute": filepath.Join(outside, "secret"), "folder-out": outside,
		"out-relative": "../" + filepath.Base(outside) + "/secret", "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(big.Truncate(states.MaxFileBytes+1), big.Close()); err != nil {
		t.Fatal(err)
	}
	tree := open(t, dir)
	for name, want := range map[string]string{
		"inside": "", "out-absolute": "leaves the tree", "out-relative": "leaves the tree", "folder-out/secret": "leaves the tree",
		"loop": "too many", "pipe": "neither a regular file", "big": "larger than 1 GiB", "../x": "invalid", "none": "no such file",
	} {
		f, err := tree.Open(name)
		if err == nil {
			err = f.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if _, err := fs.Stat(tree, "out-absolute"); err == nil {
		t.Error("stat followed a symlink out of the tree")
	}
}

func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a/b")
	write(t, file, "one")
	last := fingerprint(t, dir)
	if fingerprint(t, dir) != last {
		t.Fatal("two fingerprints of an unchanged tree differ")
	}
	steps := map[string]func() error{
		"chmod":   func() error { return os.Chmod(file, 0o600) },
		"size":    func() error { return os.WriteFile(file, []byte("three"), 0o600) },
		"mtime":   func() error { return os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)) },
		"add":     func() error { return os.WriteFile(filepath.Join(dir, "c"), nil, 0o600) },
		"rename":  func() error { return os.Rename(filepath.Join(dir, "c"), filepath.Join(dir, "d")) },
		"replace": func() error { return os.Rename(filepath.Join(dir, "d"), file) },
		"link":    func() error { return os.Symlink("a", filepath.Join(dir, "l")) },
	}
	for _, name := range []string{"chmod", "size", "mtime", "add", "rename", "replace", "link"} {
		if err := steps[name](); err != nil {
			t.Fatal(err)
		}
		now := fingerprint(t, dir)
		if now == last {
			t.Errorf("%s is not seen", name)
		}
		last = now
	}
}

func fingerprint(t *testing.T, dir string) [32]byte {
	t.Helper()
	f, _, err := disk.Fingerprint(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
