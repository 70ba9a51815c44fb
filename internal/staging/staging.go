// Package staging is how the temporary files are named and swept that stand beside what they will replace.
package staging

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"shoal/executor"
)

// Tag begins the names of the temporary files of one data folder: another shoal on the machine, with another data folder,
// sweeps its own alone.
func Tag(dataDir string) string {
	sum := sha256.Sum256([]byte(dataDir))
	return ".shoal-" + hex.EncodeToString(sum[:4]) + "-"
}

// Sweeper removes what was staged and never moved into place.
type Sweeper struct {
	// Folder is where the file of a path would be staged: the nearest folder above it that is there.
	Folder  func(name string) (dir string, err error)
	ReadDir func(dir string) ([]string, error)
	Remove  func(name string) error
	// Ours tells the name of a temporary file in a folder from others.
	Ours func(dir, name string) bool
}

// Sweep looks in the folders where the files of these paths would be staged.
func (s Sweeper) Sweep(paths []string) error {
	asked, swept := map[string]bool{}, map[string]bool{}
	var errs []error
	for _, name := range paths {
		if asked[path.Dir(name)] {
			continue
		}
		asked[path.Dir(name)] = true
		dir, err := s.Folder(name)
		switch {
		case errors.Is(err, syscall.ENOTDIR), errors.Is(err, executor.ErrUnsafePath):
			continue // nothing was staged where nothing can be
		case err != nil:
			errs = append(errs, &fs.PathError{Op: "unstage", Path: name, Err: err})
		case !swept[dir]:
			swept[dir] = true
			errs = append(errs, s.folder(dir))
		}
	}
	return errors.Join(errs...)
}

func (s Sweeper) folder(dir string) error {
	names, err := s.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if s.Ours(dir, name) {
			errs = append(errs, s.Remove(path.Join(dir, name)))
		}
	}
	return errors.Join(errs...)
}

// HasTag is Ours for names that begin with a tag alone.
func HasTag(tag string) func(dir, name string) bool {
	return func(_, name string) bool { return strings.HasPrefix(name, tag) }
}
