package keyfile

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/internal/ownfile"
	"shoal/store"
	"shoal/store/badger"
	"shoal/store/kvtest"
)

var quiet = slog.New(slog.DiscardHandler)

func openDisk(t *testing.T, dir string) *badger.KV {
	t.Helper()
	kv, err := badger.Open(badger.Options{Dir: dir, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kv.Close() })
	return kv
}

func openAt(t *testing.T, dir, prefix string) (*KV, error) {
	t.Helper()
	return Open(t.Context(), openDisk(t, dir), filepath.Join(dir, badger.PrivateDir, "keys"), []byte(prefix), quiet)
}

// TestKV: with any part of the records in the file it is a store like the others.
func TestKV(t *testing.T) {
	for _, prefix := range []string{"nothing of it/", "a", "k"} {
		t.Run(prefix, func(t *testing.T) {
			kvtest.Run(t, func(t *testing.T) store.KV {
				kv, err := openAt(t, t.TempDir(), prefix)
				if err != nil {
					t.Fatal(err)
				}
				return kv
			})
		})
	}
}

var secret = bytes.Repeat([]byte("a key of the gossip "), 3)

// TestTheKeysAreInTheFileAlone: also those that an earlier version kept in the database.
func TestTheKeysAreInTheFileAlone(t *testing.T) {
	dir := t.TempDir()
	disk := openDisk(t, dir)
	if err := disk.Write(t.Context(), []store.Change{{Key: []byte("keys/old"), Value: []byte("old")}, {Key: []byte("other"), Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, badger.PrivateDir, "keys")
	kv, err := Open(t.Context(), disk, path, []byte("keys/"), quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Write(t.Context(), []store.Change{{Key: []byte("keys/new"), Value: secret}, {Key: []byte("more"), Value: []byte("y")}}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"keys/old": "old", "keys/new": string(secret), "other": "x", "more": "y"} {
		if got, err := kv.Get(t.Context(), []byte(name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if left, err := disk.Scan(t.Context(), []byte("keys/"), nil, 10, true); err != nil || len(left) > 0 {
		t.Errorf("on the disk is %v, %v", left, err)
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	found := 0
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, secret) {
			if found++; name != path {
				t.Errorf("the key is in %s", name)
			}
		}
		return err
	})
	info, errStat := os.Stat(path)
	if err != nil || found != 1 || errStat != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("found %d times, %v, %v %v", found, err, info, errStat)
	}
	again, err := openAt(t, dir, "keys/")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Get(t.Context(), []byte("keys/new")); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("after a restart: %q, %v", got, err)
	}
}

// TestAFileOfOthers: it is read when it is its owner's alone, and the error says what to do.
func TestAFileOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(path string) error
		want  error
		says  string
	}{
		"others may read it": {func(p string) error { return os.Chmod(p, 0o644) }, ownfile.ErrMode, "chmod 600"},
		"its group may":      {func(p string) error { return os.Chmod(p, 0o640) }, ownfile.ErrMode, "chmod 600"},
		"it is another's": {func(p string) error {
			if os.Getuid() != 0 {
				t.Skip("only root gives files away")
			}
			return os.Chown(p, 64321, 64321)
		}, ownfile.ErrOwner, "chown"},
		"it is a symlink":  {func(p string) error { return errors.Join(os.Rename(p, p+"2"), os.Symlink(p+"2", p)) }, ownfile.ErrForm, "plain file"},
		"it has two names": {func(p string) error { return os.Link(p, p+"2") }, ownfile.ErrForm, "plain file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			kv, err := openAt(t, dir, "keys/")
			if err == nil {
				err = errors.Join(kv.Write(t.Context(), []store.Change{{Key: []byte("keys/a"), Value: secret}}), kv.Close(), c.spoil(kv.path))
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := openAt(t, dir, "keys/"); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), kv.path) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestADamagedFile is forgotten: peers tell the keys again.
func TestADamagedFile(t *testing.T) {
	dir := t.TempDir()
	kv, err := openAt(t, dir, "keys/")
	if err == nil {
		err = errors.Join(kv.Write(t.Context(), []store.Change{{Key: []byte("keys/a"), Value: secret}}), kv.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(kv.path)
	data[len(data)-1] ^= 1
	if err := os.WriteFile(kv.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := openAt(t, dir, "keys/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Get(t.Context(), []byte("keys/a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	dir := f.TempDir()
	kv := &KV{path: filepath.Join(dir, "keys")}
	if err := kv.save([]store.Pair{{Key: []byte("keys/a"), Value: secret, Size: int64(len(secret))}}); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(kv.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		own, err := decode(data, []byte("keys/"))
		if err == nil && len(own) > maxRecords {
			t.Fatalf("%d records", len(own))
		}
	})
}
