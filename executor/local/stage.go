package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"shoal/executor"
	"shoal/internal/staging"
)

// stages names the temporary files of one data folder: another shoal on this machine, with another data folder, sweeps its
// own alone.
type stages struct {
	tag  string
	last atomic.Uint64
}

// create calls make with fresh names until one was free.
func (s *stages) create(make func(name string) error) (string, error) {
	for {
		name := fmt.Sprintf("%s%x", s.tag, s.last.Add(1))
		if err := make(name); !errors.Is(err, unix.EEXIST) {
			return name, err
		}
	}
}

// folder opens the nearest folder above name that is there.
func (f *Files) folder(name string) (fd int, dir string, err error) {
	name, err = clean(name)
	if err != nil {
		return -1, "", err
	}
	for dir = path.Dir(name); ; dir = path.Dir(dir) {
		fd, err = f.open(dir)
		if !errors.Is(err, unix.ENOENT) || dir == "/" {
			return fd, dir, err
		}
	}
}

// Stage writes a temporary file beside name, or in the nearest folder above it that is there.
func (f *Files) Stage(name string, data []byte, meta executor.Meta) (string, error) {
	fd, staged, err := f.temporary("stage", name)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := fill(fd, data, meta); err != nil {
		return "", errors.Join(pathError("stage", name, err), f.Remove(staged))
	}
	return staged, nil
}

// StageFrom implements executor.Stager.
func (f *Files) StageFrom(name string, in io.Reader, meta executor.Meta) (string, error) {
	staged, err := f.stageFrom("stage", in, name)
	if err == nil {
		err = f.SetMeta(staged, meta)
	}
	if err != nil && staged != "" {
		return "", errors.Join(err, f.Remove(staged))
	}
	return staged, err
}

// stageFrom fills a temporary file. A name beside an error is that of a file that is there.
func (f *Files) stageFrom(op string, body io.Reader, name string) (staged string, err error) {
	fd, staged, err := f.temporary(op, name)
	if err != nil {
		return "", err
	}
	file := os.NewFile(uintptr(fd), staged)
	_, err = io.Copy(file, body)
	return staged, pathError(op, name, errors.Join(err, file.Close()))
}

// temporary makes a file that nobody else may read, where Stage puts one.
func (f *Files) temporary(op, name string) (fd int, staged string, err error) {
	dirFD, dir, err := f.folder(name)
	if err != nil {
		return -1, "", pathError(op, name, err)
	}
	defer unix.Close(dirFD)
	temporary, err := f.stages.create(func(temporary string) (err error) {
		fd, err = unix.Openat(dirFD, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return -1, "", pathError(op, name, err)
	}
	f.dirty.add(dirFD)
	return fd, path.Join(dir, temporary), nil
}

func fill(fd int, data []byte, meta executor.Meta) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return setMeta(fd, meta)
}

// Rename moves a staged file to name, over what is there.
func (f *Files) Rename(staged, name string) error {
	from, fromBase, err := f.parent(staged)
	if err != nil {
		return pathError("rename", staged, err)
	}
	defer unix.Close(from)
	to, toBase := from, path.Base(name)
	if path.Dir(staged) != path.Dir(name) {
		if to, toBase, err = f.parent(name); err != nil {
			return pathError("rename", name, err)
		}
		defer unix.Close(to)
		f.changed(to)
	}
	f.changed(from)
	if err := unix.Renameat(from, fromBase, to, toBase); err != nil {
		return &os.LinkError{Op: "rename", Old: staged, New: name, Err: err}
	}
	return nil
}

// Unstage sweeps the folders where Stage would put the files of these paths.
func (f *Files) Unstage(paths []string) error {
	return staging.Sweeper{
		Folder: func(name string) (string, error) {
			fd, dir, err := f.folder(name)
			if err == nil {
				unix.Close(fd)
			}
			return dir, err
		},
		ReadDir: f.ReadDir, Remove: f.Remove,
		Ours: func(dir, name string) bool {
			return strings.HasPrefix(name, f.stages.tag) || dir == "/etc" && strings.HasPrefix(name, accountStage)
		},
	}.Sweep(paths)
}
