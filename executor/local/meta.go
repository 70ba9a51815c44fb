package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"shoal/executor"
)

var modeBits = []struct {
	kernel uint32
	mode   fs.FileMode
}{
	{unix.S_ISUID, fs.ModeSetuid}, {unix.S_ISGID, fs.ModeSetgid}, {unix.S_ISVTX, fs.ModeSticky},
}

func modeOf(kernel uint32) fs.FileMode {
	mode := fs.FileMode(kernel & 0o777)
	for _, b := range modeBits {
		if kernel&b.kernel != 0 {
			mode |= b.mode
		}
	}
	switch kernel & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	return mode
}

func kernelMode(mode fs.FileMode) uint32 {
	kernel := uint32(mode.Perm())
	for _, b := range modeBits {
		if mode&b.mode != 0 {
			kernel |= b.kernel
		}
	}
	return kernel
}

// setMeta gives an open file or folder its owner, mode, xattrs and time, in the order in which one does not undo another:
// chown drops setuid, and every one of them changes nothing of the time.
func setMeta(fd int, meta executor.Meta) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Uid != meta.UID || st.Gid != meta.GID {
		if err := unix.Fchown(fd, int(meta.UID), int(meta.GID)); err != nil {
			return fmt.Errorf("owner %d:%d: %w", meta.UID, meta.GID, err)
		}
		st.Mode = 0
	}
	if mode := kernelMode(meta.Mode); st.Mode&0o7777 != mode || st.Mode == 0 {
		if err := unix.Fchmod(fd, mode); err != nil {
			return fmt.Errorf("mode: %w", err)
		}
	}
	if meta.Xattrs != nil {
		if err := setXattrs(fd, meta.Xattrs); err != nil {
			return err
		}
	}
	if !meta.Mtime.IsZero() {
		return setTime(fd, meta.Mtime)
	}
	return nil
}

func setTime(fd int, mtime time.Time) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(mtime.UnixNano())}
	return unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), times, 0)
}

// SetMeta changes owner, mode and, where given, xattrs and time of what is there. Of a symlink, owner and time alone.
func (f *Files) SetMeta(name string, meta executor.Meta) error {
	dir, base, err := f.parent(name)
	if err != nil {
		return pathError("setmeta", name, err)
	}
	defer unix.Close(dir)
	f.changed(dir)
	f.making.Lock()
	defer f.making.Unlock()
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("setmeta", name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return pathError("setmeta", name, linkMeta(dir, base, &st, meta))
	}
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("setmeta", name, err)
	}
	defer unix.Close(fd)
	return pathError("setmeta", name, setMeta(fd, meta))
}

func linkMeta(dir int, base string, st *unix.Stat_t, meta executor.Meta) error {
	if st.Uid != meta.UID || st.Gid != meta.GID {
		if err := unix.Fchownat(dir, base, int(meta.UID), int(meta.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	if meta.Mtime.IsZero() {
		return nil
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(meta.Mtime.UnixNano())}
	return unix.UtimesNanoAt(dir, base, times, unix.AT_SYMLINK_NOFOLLOW)
}

// Xattrs returns the extended attributes of a file or folder; nil when it has none, or is something else.
func (f *Files) Xattrs(name string) (map[string][]byte, error) {
	st, err := f.Lstat(name)
	if err != nil || !(st.Mode.IsRegular() || st.Mode.IsDir()) {
		return nil, err
	}
	file, err := f.openFile(name, 0)
	if err != nil {
		return nil, pathError("xattrs", name, err)
	}
	defer file.Close()
	attrs, err := xattrs(int(file.Fd()))
	return attrs, pathError("xattrs", name, err)
}

func xattrs(fd int) (map[string][]byte, error) {
	buf := make([]byte, 256)
	n, err := unix.Flistxattr(fd, buf)
	if errors.Is(err, unix.ERANGE) {
		buf = make([]byte, 64<<10) // the kernel's limit of a list
		n, err = unix.Flistxattr(fd, buf)
	}
	if errors.Is(err, unix.ENOTSUP) || (err == nil && n == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	attrs := map[string][]byte{}
	for start := 0; start < n; {
		end := start
		for buf[end] != 0 {
			end++
		}
		name := string(buf[start:end])
		start = end + 1
		value := make([]byte, 64<<10)
		size, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		attrs[name] = append([]byte{}, value[:size]...)
	}
	return attrs, nil
}

// setXattrs makes the attributes exactly those of want.
func setXattrs(fd int, want map[string][]byte) error {
	have, err := xattrs(fd)
	if err != nil {
		return err
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			if err := unix.Fremovexattr(fd, name); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
	}
	for name, value := range want {
		if old, ok := have[name]; ok && string(old) == string(value) {
			continue
		}
		if err := unix.Fsetxattr(fd, name, value, 0); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// dirty holds one open folder of each file system that was changed since the last sync.
type dirty struct {
	mu      sync.Mutex
	folders map[uint64]int
}

func (d *dirty) add(folder int) {
	var st unix.Stat_t
	if unix.Fstat(folder, &st) != nil {
		return // a folder that is open can be asked
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.folders[st.Dev]; ok {
		return
	}
	// A handle that syncfs takes: the one of a walk is a path only.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", folder), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		d.folders[st.Dev] = -1
		return
	}
	d.folders[st.Dev] = fd
}

func (d *dirty) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for dev, fd := range d.folders {
		if fd < 0 {
			unix.Sync() // a folder that cannot be read can be written to all the same
			delete(d.folders, dev)
			continue
		}
		if err := unix.Syncfs(fd); err != nil {
			errs = append(errs, os.NewSyscallError("syncfs", err))
		}
		unix.Close(fd)
		delete(d.folders, dev)
	}
	return errors.Join(errs...)
}

func (d *dirty) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for dev, fd := range d.folders {
		unix.Close(fd)
		delete(d.folders, dev)
	}
}
