// Package lineage keeps, for each data folder of an agent, a file in memory that says how far its store is (store/badger/mark.go). A
// restart of the machine empties it, and a restart of the agent does not.
package lineage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	dir    = "/dev/shm" // in memory on every Linux, also in containers
	prefix = "shoal-"
	pathAt = 64 // from here on a file names its data folder
)

// Open opens the file of a data folder; where there can be none it returns one that keeps nothing, and why.
func Open(dataDir string) (*os.File, error) {
	f, err := openIn(dir, dataDir)
	if err == nil {
		return f, nil
	}
	none, openErr := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if openErr != nil {
		panic(openErr) // a machine without it runs nothing
	}
	return none, fmt.Errorf("lineage: %w", err)
}

// Forget deletes the file of a data folder, which is there still.
func Forget(dataDir string) error {
	path, err := canonical(dataDir)
	if err == nil {
		err = os.Remove(filepath.Join(dir, nameOf(path)))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func canonical(dataDir string) (string, error) {
	path, err := filepath.Abs(dataDir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// Sweep deletes the files of this user's data folders that are gone.
func Sweep() { sweep(dir) }

func openIn(dir, dataDir string) (*os.File, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if fs.Type != unix.TMPFS_MAGIC {
		return nil, fmt.Errorf("%s is not in memory", dir)
	}
	path, err := canonical(dataDir)
	if err != nil {
		return nil, err
	}
	sweep(dir)
	name := filepath.Join(dir, nameOf(path))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if !isOwn(f) {
		return nil, errors.Join(fmt.Errorf("%s belongs to somebody else", name), f.Close())
	}
	if _, err := f.WriteAt([]byte(path), pathAt); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func nameOf(path string) string {
	sum := sha256.Sum256([]byte(path))
	return prefix + hex.EncodeToString(sum[:8])
}

func isOwn(f *os.File) bool {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && int(st.Uid) == os.Geteuid() && st.Nlink == 1
}

func sweep(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, prefix+strings.Repeat("[0-9a-f]", 16)))
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		var path [unix.PathMax]byte
		if isOwn(f) {
			n, _ := f.ReadAt(path[:], pathAt)
			if n > 0 && filepath.Base(name) == nameOf(string(path[:n])) {
				if _, err := os.Stat(string(path[:n])); errors.Is(err, os.ErrNotExist) {
					_ = os.Remove(name) // another may have been faster
				}
			}
		}
		_ = f.Close() // it was read
	}
}
