package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"shoal/executor"
	"shoal/internal/accountdb"
)

// lockWait is how long to wait for another program that changes accounts, as lckpwdf(3) does; recordPoll how often to ask.
const (
	lockWait   = 15 * time.Second
	recordPoll = 20 * time.Millisecond
)

// lockFile is that of lckpwdf(3), below the root folder.
const lockFile = "etc/.pwd.lock"

// NewAccounts returns the accounts of the machine whose root folder that is; "" is "/".
func NewAccounts(root string) executor.Accounts {
	if root == "" {
		root = "/"
	}
	return accountdb.New(&accountFiles{root: root})
}

// accountFiles reads and replaces the files. os.Root keeps every path below the root folder.
type accountFiles struct {
	root string

	mu  sync.Mutex
	dir *os.Root
}

// open keeps the root folder open once it is there.
func (f *accountFiles) open() (*os.Root, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir != nil {
		return f.dir, nil
	}
	dir, err := os.OpenRoot(f.root)
	f.dir = dir
	return dir, err
}

// Stamps implements accountdb.Files.
func (f *accountFiles) Stamps() (all [4]executor.Stat, err error) {
	dir, err := f.open()
	if err != nil {
		return all, err
	}
	for i, name := range accountdb.Names {
		info, err := dir.Lstat(etc(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return all, err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			all[i] = executor.Stat{Dev: st.Dev, Inode: st.Ino, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}
		}
	}
	return all, nil
}

func etc(name string) string { return "etc/" + name }

// Read implements accountdb.Files.
func (f *accountFiles) Read(name string) ([]byte, error) {
	dir, err := f.open()
	if err != nil {
		return nil, err
	}
	file, err := dir.Open(etc(name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

// Lock implements accountdb.Files: the lock of lckpwdf(3), which every account tool takes.
func (f *accountFiles) Lock(ctx context.Context) (unlock func(), err error) {
	dir, err := f.open()
	if err != nil {
		return nil, err
	}
	if err := dir.MkdirAll("etc", 0o755); err != nil {
		return nil, err
	}
	file, err := dir.OpenFile(lockFile, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	if err := lockRecord(ctx, file); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", lockFile, err)
	}
	return func() { file.Close() }, nil
}

// lockRecord waits for the whole of a file.
func lockRecord(ctx context.Context, file *os.File) error {
	tick := time.NewTicker(recordPoll)
	defer tick.Stop()
	for {
		held, pid, err := tryRecord(file)
		if held || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another program holds it%s: %w", holderText(pid), ctx.Err())
		case <-tick.C:
		}
	}
}

// tryRecord takes the whole of a file, or says who has it. The lock is one of the open file description, which excludes both
// the tools of the system, whose lock is one of the process, and other goroutines here; closing the file gives it back.
func tryRecord(file *os.File) (held bool, pid string, err error) {
	err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err == nil {
		return true, "", nil
	}
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
		return false, "", err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	// A lock of an open file description belongs to no process: its number is -1.
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock); err == nil && lock.Type != unix.F_UNLCK && lock.Pid > 0 {
		pid = strconv.Itoa(int(lock.Pid))
	}
	return false, pid, nil
}

func holderText(pid string) string {
	if pid == "" {
		return ""
	}
	command, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return " (pid " + pid + ")"
	}
	return fmt.Sprintf(" (pid %s, %s)", pid, bytes.TrimSpace(command))
}

// Replace implements accountdb.Files.
func (f *accountFiles) Replace(names []string, data func(string) []byte) error {
	dir, err := f.open()
	if err != nil {
		return err
	}
	for i, name := range names {
		if err := stageAccounts(dir, name, data(name)); err != nil {
			for _, staged := range names[:i+1] {
				_ = dir.Remove(stagedName(staged)) // the error that matters is the first
			}
			return err
		}
	}
	for _, name := range names {
		if err := dir.Rename(stagedName(name), etc(name)); err != nil {
			return err
		}
	}
	folder, err := dir.Open("etc")
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// stagedName is the same each time, so that what a crash leaves is overwritten by the next change.
func stagedName(name string) string { return etc(accountStage + name) }

// accountStage is how their names begin. Files sweeps them with its own: a crash may leave what no change overwrites.
const accountStage = ".shoal-new-"

// stageAccounts gives the new file the owner, mode and xattrs of the old one.
func stageAccounts(dir *os.Root, name string, data []byte) error {
	if info, err := dir.Lstat(etc(name)); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("replace %s: it is %s, not a file", name, info.Mode().Type())
	}
	if err := dir.Remove(stagedName(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := dir.OpenFile(stagedName(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := likeOld(dir, name, file); err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}

func likeOld(dir *os.Root, name string, file *os.File) error {
	old, err := dir.Open(etc(name))
	if errors.Is(err, fs.ErrNotExist) {
		return file.Chmod(accountdb.NewMode(name))
	}
	if err != nil {
		return err
	}
	defer old.Close()
	info, err := old.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && (os.Geteuid() == 0 || int(st.Uid) != os.Geteuid()) {
		if err := file.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	if err := file.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	return copyXattrs(old, file)
}

func copyXattrs(from, to *os.File) error {
	size, err := unix.Flistxattr(int(from.Fd()), nil)
	if errors.Is(err, unix.ENOTSUP) || (err == nil && size == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(int(from.Fd()), list); err != nil {
		return err
	}
	for _, attr := range bytes.Split(bytes.TrimSuffix(list[:size], []byte{0}), []byte{0}) {
		value := make([]byte, 64<<10) // the most that Linux lets one hold
		n, err := unix.Fgetxattr(int(from.Fd()), string(attr), value)
		if err != nil {
			return err
		}
		if err := unix.Fsetxattr(int(to.Fd()), string(attr), value[:n], 0); err != nil {
			return err
		}
	}
	return nil
}
