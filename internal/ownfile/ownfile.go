// Package ownfile reads and writes the small files that a process keeps for itself: keys above all.
package ownfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxFile bounds what Read reads, in bytes.
const MaxFile = 1 << 20

// What is wrong with a file that is not its owner's alone, and what to do.
var (
	ErrMode  = errors.New("others than its owner may read it; chmod 600 it")
	ErrOwner = errors.New("it belongs to somebody else; chown it to who runs this")
	ErrForm  = errors.New("it is no plain file with one name; put one in its place")
)

// Read reads a file that its owner alone may read, who must be who runs this, or whose folder it is in: root reads the files of others
// there.
func Read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, opened(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := check(path, info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = fmt.Errorf("%s: more than %d bytes", path, MaxFile)
	}
	return data, err
}

// opened says of a file that cannot be opened what to do about it.
func opened(path string, err error) error {
	switch {
	case errors.Is(err, unix.ELOOP):
		return fmt.Errorf("%s: %w", path, ErrForm)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", err, ErrOwner)
	}
	return err
}

func check(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Nlink != 1 {
		return fmt.Errorf("%s: %w", path, ErrForm)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o: %w", path, info.Mode().Perm(), ErrMode)
	}
	if int(st.Uid) == os.Geteuid() {
		return nil
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if of, ok := folder.Sys().(*syscall.Stat_t); !ok || of.Uid != st.Uid {
		return fmt.Errorf("%s is of user %d: %w", path, st.Uid, ErrOwner)
	}
	return nil
}

// Write makes a file whole or not at all: beside, synced, renamed.
func Write(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
