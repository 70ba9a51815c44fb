package lineage

import (
	"os"
	"path/filepath"
	"testing"
)

// memory is a folder in memory that is gone at the end.
func memory(t *testing.T) string {
	t.Helper()
	shm, err := os.MkdirTemp(dir, t.Name())
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(shm) })
	return shm
}

func mustOpen(t *testing.T, shm, dataDir string) *os.File {
	t.Helper()
	f, err := openIn(shm, dataDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestFilesOfFoldersThatAreGoneAreSwept(t *testing.T) {
	shm, here, gone := memory(t), t.TempDir(), filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	kept, swept := mustOpen(t, shm, here), mustOpen(t, shm, gone)
	if kept.Name() == swept.Name() {
		t.Fatal("two folders have one file")
	}
	if _, err := kept.WriteAt([]byte("how far it is"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	sweep(shm)
	if _, err := os.Stat(swept.Name()); !os.IsNotExist(err) {
		t.Errorf("the file of a folder that is gone: %v", err)
	}
	var said [13]byte
	if _, err := mustOpen(t, shm, here).ReadAt(said[:], 0); err != nil || string(said[:]) != "how far it is" {
		t.Errorf("opened again it says %q (%v)", said, err)
	}
}

// TestAFileOfSomebodyElseIsNotTrusted: the folder is everybody's.
func TestAFileOfSomebodyElseIsNotTrusted(t *testing.T) {
	shm, here := memory(t), t.TempDir()
	name := mustOpen(t, shm, here).Name()
	target := filepath.Join(t.TempDir(), "target")
	for what, spoil := range map[string]func() error{
		"a link": func() error { return os.Symlink(target, name) },
		"a second name": func() error {
			return firstError(os.WriteFile(name, nil, 0o600), os.Link(name, name+"2"))
		},
		"a folder": func() error { return os.Mkdir(name, 0o700) },
	} {
		if err := firstError(os.RemoveAll(name), spoil()); err != nil {
			t.Fatal(err)
		}
		if f, err := openIn(shm, here); err == nil {
			t.Errorf("%s is opened: %s", what, f.Name())
		}
		if _, err := os.Stat(target); !os.IsNotExist(err) {
			t.Errorf("%s: the target of a link was made", what)
		}
	}
	if os.Geteuid() != 0 {
		return // only root makes files of others
	}
	if err := firstError(os.RemoveAll(name), os.WriteFile(name, nil, 0o666), os.Chown(name, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if _, err := openIn(shm, here); err == nil {
		t.Error("another user's is opened")
	}
}

func TestAFolderOnADiskIsNone(t *testing.T) {
	if _, err := openIn("/proc", t.TempDir()); err == nil {
		t.Error("a folder that is not in memory is taken")
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
