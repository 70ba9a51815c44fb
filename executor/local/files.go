package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"shoal/executor"
	"shoal/internal/staging"
)

// Files is the file system below a root folder.
type Files struct {
	resolver
	hashes *hashCache
	dirty  *dirty
	stages stages
	// making is held while a folder is made and given its mode: who found it there and gave it another mode would see that one
	// go again.
	making sync.Mutex
}

func newFiles(o Options) (*Files, error) {
	root := o.Root
	if root == "" {
		root = "/"
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("root folder: %w", err)
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, fmt.Errorf("root folder: %w", err)
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("root folder %s: %w", root, err)
	}
	return &Files{
		resolver: resolver{root: root, rootFD: fd, uid: uint32(os.Geteuid()), folders: map[string]folder{}},
		hashes:   newHashCache(o.DataDir),
		dirty:    &dirty{folders: map[uint64]int{}},
		stages:   stages{tag: staging.Tag(o.DataDir)},
	}, nil
}

// Root is the folder that stands for /.
func (f *Files) Root() string { return f.root }

// Self is the user and group of this process.
func (f *Files) Self() (uid, gid uint32) { return uint32(os.Geteuid()), uint32(os.Getegid()) }

// Flush writes the hash cache, where there is a data folder and something new in it.
func (f *Files) Flush() error { return f.hashes.flush() }

// Close releases the root folder. It does not flush: a plan leaves no trace.
func (f *Files) Close() error {
	f.dirty.close()
	return unix.Close(f.rootFD)
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Lstat is one call on the machine itself, and below a root whose folder was just resolved.
func (f *Files) Lstat(name string) (executor.Stat, error) {
	real, err := f.place(name)
	if err != nil {
		return executor.Stat{}, pathError("lstat", name, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(real, &st); err != nil {
		return executor.Stat{}, pathError("lstat", name, err)
	}
	return statOf(&st), nil
}

func statOf(st *unix.Stat_t) executor.Stat {
	return executor.Stat{
		Mode: modeOf(st.Mode), UID: st.Uid, GID: st.Gid, Size: st.Size, Dev: st.Dev, Inode: st.Ino,
		Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// openFile opens a regular file or folder for reading; a pipe or device is refused before it can block.
func (f *Files) openFile(name string, flags int) (*os.File, error) {
	if name == "/" {
		fd, err := unix.Openat(f.rootFD, ".", unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	dir, base, err := f.parent(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReadFile reads a regular file.
func (f *Files) ReadFile(name string) ([]byte, error) {
	file, err := f.openFile(name, 0)
	if err != nil {
		return nil, pathError("read", name, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, pathError("read", name, errors.New("not a regular file"))
	}
	// Files of the kernel say that they are empty, and many give all that they hold to the first read alone.
	data := make([]byte, 0, max(info.Size()+1, kernelFile))
	for {
		n, err := file.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
	}
}

// kernelFile is what one value of the kernel fits into, in bytes: a page, as sysfs has it.
const kernelFile = 4096

// Readlink returns what a symlink holds.
func (f *Files) Readlink(name string) (string, error) {
	dir, base, err := f.parent(name)
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	defer unix.Close(dir)
	target, err := readlinkat(dir, base)
	return target, pathError("readlink", name, err)
}

// ReadDir returns the sorted names in a folder.
func (f *Files) ReadDir(name string) ([]string, error) {
	file, err := f.openFile(name, unix.O_DIRECTORY)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	defer file.Close()
	names, err := file.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// Hash reads the file unless it is as it was when it was last read.
func (f *Files) Hash(name string, st executor.Stat) (string, error) {
	if hash, ok := f.hashes.get(name, st); ok {
		return hash, nil
	}
	file, err := f.openFile(name, 0)
	if err != nil {
		return "", pathError("hash", name, err)
	}
	defer file.Close()
	hash, err := f.hashes.read(name, st, file)
	if err != nil {
		return "", pathError("hash", name, err)
	}
	return hash, nil
}

// Symlink puts a link at name in one step, over a file or link that is there.
func (f *Files) Symlink(target, name string) error {
	dir, base, err := f.parent(name)
	if err != nil {
		return pathError("symlink", name, err)
	}
	defer unix.Close(dir)
	temporary, err := f.stages.create(func(temporary string) error { return unix.Symlinkat(target, dir, temporary) })
	if err != nil {
		return pathError("symlink", name, err)
	}
	f.changed(dir)
	if err := unix.Renameat(dir, temporary, dir, base); err != nil {
		return pathError("symlink", name, errors.Join(err, unix.Unlinkat(dir, temporary, 0)))
	}
	return nil
}

// Remove deletes a file, a symlink or an empty folder.
func (f *Files) Remove(name string) error {
	dir, base, err := f.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	defer unix.Close(dir)
	f.changed(dir)
	err = unix.Unlinkat(dir, base, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
	}
	return pathError("remove", name, err)
}

// Mkdir makes one folder.
func (f *Files) Mkdir(name string, meta executor.Meta) error {
	dir, base, err := f.parent(name)
	if err != nil {
		return pathError("mkdir", name, err)
	}
	defer unix.Close(dir)
	f.changed(dir)
	f.making.Lock()
	defer f.making.Unlock()
	// Whoever looks before its meta is set sees its own mode, and no other that might be the one that he wants.
	if err := unix.Mkdirat(dir, base, uint32(meta.Mode.Perm())); err != nil {
		return pathError("mkdir", name, err)
	}
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("mkdir", name, err)
	}
	defer unix.Close(fd)
	return pathError("mkdir", name, setMeta(fd, meta))
}

// The file systems of the kernel itself (statfs(2)).
const (
	procMagic  = 0x9fa0
	sysfsMagic = 0x62656572
)

// settings are what may be mounted over: a container's runtime may show it a /proc/sys of its own, made of files or by FUSE.
const settings = "/proc/sys/"

// WriteSetting writes to a file of the kernel in one call, as the kernel takes each call for a value.
func (f *Files) WriteSetting(name string, data []byte) error {
	dir, base, err := f.parent(name)
	if err != nil {
		return pathError("write", name, err)
	}
	defer unix.Close(dir)
	flags := unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	ours := f.root == "/" && strings.HasPrefix(name, settings)
	if ours {
		flags |= unix.O_TRUNC // the kernel takes no notice
	}
	fd, err := unix.Openat(dir, base, flags, 0)
	if err != nil {
		return pathError("write", name, err)
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return pathError("write", name, err)
	}
	if fs.Type != procMagic && fs.Type != sysfsMagic && !ours {
		return pathError("write", name, errors.New("not a file of the kernel"))
	}
	_, err = unix.Write(fd, data)
	return pathError("write", name, err)
}

// changed notes that the file system of an open folder has to be synced.
func (f *Files) changed(dir int) {
	f.forget()
	f.dirty.add(dir)
}

// SyncFiles makes all changes durable, with one call for each file system that was changed.
func (f *Files) SyncFiles() error { return f.dirty.sync() }
