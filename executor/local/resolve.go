package local

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"shoal/executor"
)

// maxLinks is how many symlinks one path may pass through, as in the kernel.
const maxLinks = 40

// resolvedFor is how long a read may trust that a folder is still the folder that its path named. Reads alone: a write
// walks its path each time.
const resolvedFor = 500 * time.Millisecond

// resolver turns paths of the host into open folders below its root. It never leaves the root: an absolute link and ".."
// end there.
type resolver struct {
	root   string
	rootFD int
	uid    uint32 // whose symlinks are trusted beside root's

	mu      sync.RWMutex
	folders map[string]folder
}

type folder struct {
	real string
	at   time.Time
}

func clean(name string) (string, error) {
	if !path.IsAbs(name) {
		return "", fmt.Errorf("path %q is not absolute", name)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("path %q holds a zero byte", name)
	}
	return path.Clean(name), nil
}

// parent opens the folder of name, and refuses to pass a symlink of an untrusted owner.
func (r *resolver) parent(name string) (fd int, base string, err error) {
	name, err = clean(name)
	if err != nil {
		return -1, "", err
	}
	if name == "/" {
		return -1, "", errors.New("the root folder is not managed")
	}
	dir, base := path.Split(name)
	fd, err = r.open(dir)
	return fd, base, err
}

// open opens a folder as a handle. A path without symlinks costs one call; one with symlinks is resolved link by link, and the
// result opened with no symlink allowed, so that a link swapped in between is refused.
func (r *resolver) open(dir string) (int, error) {
	fd, err := r.openPlain(dir, unix.O_DIRECTORY)
	if !errors.Is(err, unix.ELOOP) {
		return fd, err
	}
	real, err := r.follow(dir, true)
	if err != nil {
		return -1, err
	}
	return r.openPlain(real, unix.O_DIRECTORY)
}

func (r *resolver) openPlain(name string, flags uint64) (int, error) {
	rel := strings.TrimLeft(name, "/")
	if rel == "" {
		rel = "."
	}
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(r.rootFD, rel, &how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// follow returns the path that name has when every symlink in it is replaced by what it names, below the root.
func (r *resolver) follow(name string, strict bool) (string, error) {
	real, rest, links := "/", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			real = path.Dir(real)
			continue
		}
		next := path.Join(real, part)
		target, err := r.link(next, strict)
		if err != nil {
			return "", err
		}
		if target == "" {
			real = next
			continue
		}
		if links++; links > maxLinks {
			return "", unix.ELOOP
		}
		if path.IsAbs(target) {
			real = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return real, nil
}

// link returns what the symlink name holds, or nothing when name is no symlink.
func (r *resolver) link(name string, strict bool) (string, error) {
	fd, err := r.openPlain(name, unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", nil
	}
	if strict && st.Uid != 0 && st.Uid != r.uid {
		return "", fmt.Errorf("%w: %s belongs to uid %d", executor.ErrUnsafePath, name, st.Uid)
	}
	return readlinkat(fd, "")
}

func readlinkat(fd int, base string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, base, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// place returns the kernel's name for a path that is read. The machine itself needs no work; below a root, a symlink that
// starts at / must not lead out, so the folder is resolved, and remembered for a moment.
func (r *resolver) place(name string) (string, error) {
	name, err := clean(name)
	if err != nil {
		return "", err
	}
	if r.root == "/" {
		return name, nil
	}
	dir, base := path.Split(name)
	now := time.Now()
	r.mu.RLock()
	f, ok := r.folders[dir]
	r.mu.RUnlock()
	if ok && now.Sub(f.at) < resolvedFor {
		return f.real + base, nil
	}
	real, err := r.follow(dir, false)
	if err != nil {
		return "", err
	}
	real = strings.TrimSuffix(r.root+real, "/") + "/"
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.folders) > 10000 {
		clear(r.folders)
	}
	r.folders[dir] = folder{real: real, at: now}
	return real + base, nil
}

// forget drops what reads remember: a folder may have become something else.
func (r *resolver) forget() {
	r.mu.Lock()
	clear(r.folders)
	r.mu.Unlock()
}
