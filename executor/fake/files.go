package fake

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"shoal/executor"
)

// node is an inode.
type node struct {
	stat     executor.Stat
	data     []byte
	target   string
	xattrs   map[string][]byte
	children map[string]*node
}

// Files is a file system in memory. Its time is a counter: two changes never share one.
type Files struct {
	mu     sync.Mutex
	root   *node
	state  *counters
	prefix string
}

type counters struct {
	inode uint64
	time  int64
	stage int
}

// start is the time of the first change, in nanoseconds since 1970.
const start = int64(1e18)

// NewFiles makes an empty root folder.
func NewFiles() *Files {
	f := &Files{state: &counters{time: start}, prefix: ".shoal-fake-"}
	f.root = f.make(fs.ModeDir|0o755, executor.Meta{Mode: 0o755})
	return f
}

// make builds a node; the type comes from mode, the rest from meta.
func (f *Files) make(mode fs.FileMode, meta executor.Meta) *node {
	f.state.inode++
	n := &node{stat: executor.Stat{Inode: f.state.inode, Dev: 1}, xattrs: meta.Xattrs}
	if mode.IsDir() {
		n.children = map[string]*node{}
	}
	n.stat.Mode = mode.Type() | meta.Mode&^fs.ModeType
	n.stat.UID, n.stat.GID = meta.UID, meta.GID
	f.touch(n)
	if !meta.Mtime.IsZero() {
		n.stat.Mtime = meta.Mtime.UnixNano()
	}
	return n
}

func (f *Files) touch(n *node) {
	f.state.time += int64(20e6)
	n.stat.Mtime, n.stat.Ctime = f.state.time, f.state.time
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

const maxLinks = 40

// walk finds the folder of name, through symlinks, and refuses those of strangers when strict.
func (f *Files) walk(name string, strict bool) (dir *node, base string, err error) {
	if !path.IsAbs(name) {
		return nil, "", fmt.Errorf("path %q is not absolute", name)
	}
	if name = path.Clean(name); name == "/" {
		return nil, "", fmt.Errorf("the root folder is not managed")
	}
	parent, base := path.Split(name)
	dir, err = f.folder(parent, strict)
	return dir, base, err
}

func (f *Files) folder(name string, strict bool) (*node, error) {
	stack, rest, links := []*node{f.root}, strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			stack = stack[:max(len(stack)-1, 1)]
			continue
		}
		next, ok := stack[len(stack)-1].children[part]
		switch {
		case !ok:
			return nil, syscall.ENOENT
		case next.stat.Mode&fs.ModeSymlink != 0:
			if strict && next.stat.UID != 0 {
				return nil, fmt.Errorf("%w: %s belongs to uid %d", executor.ErrUnsafePath, part, next.stat.UID)
			}
			if links++; links > maxLinks {
				return nil, syscall.ELOOP
			}
			if path.IsAbs(next.target) {
				stack = stack[:1]
			}
			rest = append(strings.Split(next.target, "/"), rest...)
		case next.children == nil:
			return nil, syscall.ENOTDIR
		default:
			stack = append(stack, next)
		}
	}
	return stack[len(stack)-1], nil
}

func (f *Files) find(name string, strict bool) (*node, error) {
	if path.Clean(name) == "/" {
		return f.root, nil
	}
	dir, base, err := f.walk(name, strict)
	if err != nil {
		return nil, err
	}
	n, ok := dir.children[base]
	if !ok {
		return nil, syscall.ENOENT
	}
	return n, nil
}

// Self is root.
func (f *Files) Self() (uid, gid uint32) { return 0, 0 }

// Lstat tells what a path is.
func (f *Files) Lstat(name string) (executor.Stat, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(name, false)
	if err != nil {
		return executor.Stat{}, pathError("lstat", name, err)
	}
	st := n.stat
	st.Size = int64(len(n.data) + len(n.target))
	return st, nil
}

// ReadFile reads a regular file.
func (f *Files) ReadFile(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.regular(name)
	if err != nil {
		return nil, pathError("read", name, err)
	}
	return slices.Clone(n.data), nil
}

func (f *Files) regular(name string) (*node, error) {
	n, err := f.find(name, true)
	if err == nil && !n.stat.Mode.IsRegular() {
		return nil, syscall.EINVAL
	}
	return n, err
}

// Readlink returns what a symlink holds.
func (f *Files) Readlink(name string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(name, true)
	if err == nil && n.stat.Mode&fs.ModeSymlink == 0 {
		err = syscall.EINVAL
	}
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	return n.target, nil
}

// ReadDir returns the sorted names in a folder.
func (f *Files) ReadDir(name string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(name, true)
	if err == nil && n.children == nil {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	return slices.Sorted(maps.Keys(n.children)), nil
}

// Xattrs returns the extended attributes; nil when there are none.
func (f *Files) Xattrs(name string) (map[string][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(name, true)
	if err != nil || len(n.xattrs) == 0 {
		return nil, pathError("xattrs", name, err)
	}
	return maps.Clone(n.xattrs), nil
}

// Hash hashes a regular file.
func (f *Files) Hash(name string, _ executor.Stat) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.regular(name)
	if err != nil {
		return "", pathError("hash", name, err)
	}
	return hashOf(n.data), nil
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// nearest finds the nearest folder above name that is there.
func (f *Files) nearest(name string) (*node, string, error) {
	if !path.IsAbs(name) {
		return nil, "", fmt.Errorf("path %q is not absolute", name)
	}
	for dir := path.Dir(path.Clean(name)); ; dir = path.Dir(dir) {
		n, err := f.folder(dir, true)
		if err == nil || err != syscall.ENOENT {
			return n, dir, err
		}
	}
}

// Stage puts a temporary file beside name.
func (f *Files) Stage(name string, data []byte, meta executor.Meta) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, at, err := f.nearest(name)
	if err != nil {
		return "", pathError("stage", name, err)
	}
	f.state.stage++
	base := fmt.Sprintf("%s%d", f.prefix, f.state.stage)
	n := f.make(0, meta)
	n.data = slices.Clone(data)
	f.put(dir, base, n)
	return path.Join(at, base), nil
}

func (f *Files) put(dir *node, base string, n *node) {
	dir.children[base] = n
	f.touch(dir)
}

// Unstage removes temporary files.
func (f *Files) Unstage(paths []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range paths {
		dir, _, err := f.nearest(name)
		if err != nil {
			continue // nothing was staged where nothing can be
		}
		maps.DeleteFunc(dir.children, func(base string, _ *node) bool { return strings.HasPrefix(base, f.prefix) })
	}
	return nil
}

// SyncFiles has nothing to do.
func (f *Files) SyncFiles() error { return nil }

// Image is a file system as it was at a time.
type Image struct{ root *node }

// Image copies all files. The contents are shared: a file's are replaced, never changed.
func (f *Files) Image() *Image {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &Image{f.root.clone()}
}

// Restore makes the files what they were.
func (f *Files) Restore(i *Image) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.root = i.root.clone()
}

func (n *node) clone() *node {
	c := *n
	c.xattrs = maps.Clone(n.xattrs)
	if n.children != nil {
		c.children = make(map[string]*node, len(n.children))
		for name, child := range n.children {
			c.children[name] = child.clone()
		}
	}
	return &c
}

// Rename moves a staged file over name.
func (f *Files) Rename(staged, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, fromBase, err := f.walk(staged, true)
	if err != nil {
		return pathError("rename", staged, err)
	}
	n, ok := from.children[fromBase]
	if !ok {
		return pathError("rename", staged, syscall.ENOENT)
	}
	to, toBase, err := f.walk(name, true)
	if err != nil {
		return pathError("rename", name, err)
	}
	if old := to.children[toBase]; old != nil && old.children != nil {
		return pathError("rename", name, syscall.EISDIR)
	}
	delete(from.children, fromBase)
	f.touch(from)
	f.put(to, toBase, n)
	return nil
}

// Mkdir makes one folder.
func (f *Files) Mkdir(name string, meta executor.Meta) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.walk(name, true)
	if err == nil && dir.children[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return pathError("mkdir", name, err)
	}
	f.put(dir, base, f.make(fs.ModeDir, meta))
	return nil
}

// Symlink puts a link at name, over a file or link.
func (f *Files) Symlink(target, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.walk(name, true)
	if err == nil && dir.children[base] != nil && dir.children[base].children != nil {
		err = syscall.EISDIR
	}
	if err != nil {
		return pathError("symlink", name, err)
	}
	n := f.make(fs.ModeSymlink, executor.Meta{Mode: 0o777})
	n.target = target
	f.put(dir, base, n)
	return nil
}

// Remove deletes a file, a symlink or an empty folder.
func (f *Files) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.walk(name, true)
	if err != nil {
		return pathError("remove", name, err)
	}
	n, ok := dir.children[base]
	switch {
	case !ok:
		return pathError("remove", name, syscall.ENOENT)
	case len(n.children) > 0:
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	delete(dir.children, base)
	f.touch(dir)
	return nil
}

// SetMeta changes owner, mode and, where given, xattrs and time; of a symlink owner and time alone.
func (f *Files) SetMeta(name string, meta executor.Meta) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(name, true)
	if err != nil {
		return pathError("setmeta", name, err)
	}
	f.state.time += int64(20e6)
	n.stat.Ctime = f.state.time
	n.stat.UID, n.stat.GID = meta.UID, meta.GID
	if n.stat.Mode&fs.ModeSymlink == 0 {
		n.stat.Mode = n.stat.Mode.Type() | meta.Mode&^fs.ModeType
		if meta.Xattrs != nil {
			n.xattrs = maps.Clone(meta.Xattrs)
		}
	}
	if !meta.Mtime.IsZero() {
		n.stat.Mtime = meta.Mtime.UnixNano()
	}
	return nil
}

// WriteSetting replaces what a file of the kernel says. Here those are the files below /proc and /sys.
func (f *Files) WriteSetting(name string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.regular(name)
	if err == nil && !strings.HasPrefix(path.Clean(name), "/proc/") && !strings.HasPrefix(path.Clean(name), "/sys/") {
		err = syscall.EINVAL
	}
	if err != nil {
		return pathError("write", name, err)
	}
	n.data = slices.Clone(data)
	return nil
}
