// Package disk opens a state tree that lies in a folder. It lets nothing out of the folder: a symlink that leaves it, a
// device or a pipe is refused, as is a file over the limit of the language.
package disk

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"shoal/states"
)

// versionControl names the folders that a checkout keeps for itself.
var versionControl = []string{".git", ".hg", ".svn", ".jj"}

// MaxEntries of a tree that Fingerprint walks.
const MaxEntries = 1_000_000

// Tree is an open state tree. Close it when done.
type Tree struct {
	root *os.Root
}

// Open opens a folder as a state tree. The folder stays the same one even when it is renamed meanwhile.
func Open(dir string) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open state tree: %w", err)
	}
	return &Tree{root: root}, nil
}

// Close releases the folder.
func (t *Tree) Close() error { return t.root.Close() }

// Open opens a regular file or a folder of the tree. Symlinks are followed as long as they stay in the tree.
func (t *Tree) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	// O_NONBLOCK: opening a pipe must not wait for a writer.
	f, err := t.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, explain(name, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.Mode().IsRegular() && info.Size() > states.MaxFileBytes:
		err = &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("is larger than %d GiB", states.MaxFileBytes>>30)}
	case !info.Mode().IsRegular() && !info.IsDir():
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("is neither a regular file nor a folder")}
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

// ReadDir lists a folder of the tree, sorted by name.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(t.root.FS(), name)
	if err != nil {
		return nil, explain(name, err)
	}
	return entries, nil
}

// Stat describes what a name leads to.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	info, err := t.root.Stat(name)
	if err != nil {
		return nil, explain(name, err)
	}
	return info, nil
}

// explain says in words why a path was refused; os.Root has no sentinel for one that escapes.
func explain(name string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) && strings.Contains(pe.Err.Error(), "escapes from parent") {
		return &fs.PathError{Op: "open", Path: name, Err: errors.New("is a symlink that leaves the tree")}
	}
	return err
}

// Fingerprint hashes what lstat says of everything in a tree: path, mode, size, mtime, ctime and inode, in the order of the
// paths. Equal fingerprints of one folder mean that nothing was written between them, as far as the kernel's clock tells:
// ctime cannot be set back by a program that is not root. Reading the contents is not needed. newest is the latest ctime:
// what was written within the clock's grain of it may not show. Version control's own folders are not of the tree.
func Fingerprint(dir string) (sum [32]byte, newest time.Time, err error) {
	hash := sha256.New()
	entries, latest := 0, int64(0)
	var record []byte
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains(versionControl, d.Name()) {
			return fs.SkipDir
		}
		if entries++; entries > MaxEntries {
			return fmt.Errorf("more than %d files", MaxEntries)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		record = binary.AppendUvarint(record[:0], uint64(len(name)))
		record = append(record, name...)
		for _, n := range []uint64{uint64(st.Mode), uint64(st.Size), uint64(st.Mtim.Nano()), uint64(st.Ctim.Nano()), st.Ino, st.Dev} {
			record = binary.BigEndian.AppendUint64(record, n)
		}
		hash.Write(record)
		latest = max(latest, st.Ctim.Nano())
		return nil
	})
	if err != nil {
		return sum, newest, fmt.Errorf("fingerprint state tree: %w", err)
	}
	return [32]byte(hash.Sum(nil)), time.Unix(0, latest), nil
}
