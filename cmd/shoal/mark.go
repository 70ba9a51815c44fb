package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	markDir    = "/dev/shm" // in memory on every Linux, also in containers
	markPrefix = "shoal-"
	markPath   = 64 // from here on a mark names its data folder
)

// openMark opens the file in memory that says how far a data folder's store is (store/badger/mark.go); where there can be none,
// one that keeps nothing.
func openMark(dataDir string, log *slog.Logger) *os.File {
	f, err := openMarkIn(markDir, dataDir)
	if err == nil {
		return f
	}
	log.Warn("after each restart this node asks the others what it has promised: nothing on this machine can show that its disk kept it", "reason", err)
	f, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		panic(err) // a machine without it runs nothing
	}
	return f
}

func openMarkIn(dir, dataDir string) (*os.File, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if fs.Type != unix.TMPFS_MAGIC {
		return nil, fmt.Errorf("%s is not in memory", dir)
	}
	path, err := filepath.Abs(dataDir)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil, err
	}
	sweepMarks(dir)
	name := filepath.Join(dir, markName(path))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if !ownMark(f) {
		return nil, errors.Join(fmt.Errorf("%s belongs to somebody else", name), f.Close())
	}
	if _, err := f.WriteAt([]byte(path), markPath); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func markName(path string) string {
	sum := sha256.Sum256([]byte(path))
	return markPrefix + hex.EncodeToString(sum[:8])
}

func ownMark(f *os.File) bool {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && int(st.Uid) == os.Geteuid() && st.Nlink == 1
}

// sweepMarks deletes the marks of data folders that are gone.
func sweepMarks(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, markPrefix+strings.Repeat("[0-9a-f]", 16)))
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		var path [unix.PathMax]byte
		if ownMark(f) {
			n, _ := f.ReadAt(path[:], markPath)
			if n > 0 && filepath.Base(name) == markName(string(path[:n])) {
				if _, err := os.Stat(string(path[:n])); errors.Is(err, os.ErrNotExist) {
					_ = os.Remove(name) // another may have been faster
				}
			}
		}
		_ = f.Close() // it was read
	}
}
