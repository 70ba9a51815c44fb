package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The files of the user and group database, below the root folder.
const (
	passwdFile  = "etc/passwd"
	groupFile   = "etc/group"
	shadowFile  = "etc/shadow"
	gshadowFile = "etc/gshadow"
	lockFile    = "etc/.pwd.lock"
)

// The order in which the files of one change are put into place. A user shows in passwd last, when its groups are there,
// and goes from it first, so that a crash between two leaves rows that nothing refers to, and doing it again mends them.
var (
	addOrder    = []string{groupFile, gshadowFile, shadowFile, passwdFile}
	removeOrder = []string{passwdFile, shadowFile, gshadowFile, groupFile}
)

// lockWait is how long to wait for another program that changes accounts, as lckpwdf(3) does; recordPoll how often to ask.
const (
	lockWait   = 15 * time.Second
	recordPoll = 20 * time.Millisecond
)

// stamp tells one version of a file from every other: each is a new inode.
type stamp struct {
	dev, inode   uint64
	size         int64
	mtime, ctime syscall.Timespec
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

// stamps of passwd, group, shadow and gshadow; zero for one that is not there.
func (f *accountFiles) stamps() (all [4]stamp, err error) {
	dir, err := f.open()
	if err != nil {
		return all, err
	}
	for i, name := range []string{passwdFile, groupFile, shadowFile, gshadowFile} {
		info, err := dir.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return all, err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			all[i] = stamp{dev: st.Dev, inode: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
		}
	}
	return all, nil
}

// read returns the rows of a file, or those of a machine with root alone when it is not there.
func (f *accountFiles) read(name string) (rows, error) {
	data, err := f.bytes(name)
	if errors.Is(err, fs.ErrNotExist) {
		return rootRows(name), nil
	}
	return parseRows(data), err
}

func (f *accountFiles) bytes(name string) ([]byte, error) {
	dir, err := f.open()
	if err != nil {
		return nil, err
	}
	file, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

func rootRows(name string) rows {
	return map[string]rows{
		passwdFile:  {"root:x:0:0:root:/root:/bin/sh"},
		groupFile:   {"root:x:0:"},
		shadowFile:  {"root:*:::::::"},
		gshadowFile: {"root:*::"},
	}[name]
}

// change reads all files under the lock that every account tool takes, lets edit change them, and replaces those that
// differ. On an error nothing has changed, but for a crash or a failing disk between two renames.
func (f *accountFiles) change(ctx context.Context, order []string, edit func(*accountTables) error) error {
	dir, err := f.open()
	if err != nil {
		return err
	}
	if err := dir.MkdirAll("etc", 0o755); err != nil {
		return err
	}
	unlock, err := lockAccounts(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	before, tables, err := f.load()
	if err != nil {
		return err
	}
	if err := edit(tables); err != nil {
		return err
	}
	after := map[string]rows{passwdFile: tables.passwd, groupFile: tables.group}
	if tables.hasShadow {
		after[shadowFile] = tables.shadow
	}
	if tables.hasGshadow {
		after[gshadowFile] = tables.gshadow
	}
	var changed []string
	for _, name := range order {
		if rows, kept := after[name]; kept && !bytes.Equal(rows.bytes(), before[name]) {
			changed = append(changed, name)
		}
	}
	return replaceAll(dir, changed, func(name string) []byte { return after[name].bytes() })
}

// load reads the four files. A machine without shadow or gshadow is kept without, unless all is yet to be made.
func (f *accountFiles) load() (before map[string][]byte, d *accountTables, err error) {
	before = map[string][]byte{}
	absent := map[string]bool{}
	tables := map[string]rows{}
	for _, name := range addOrder {
		data, err := f.bytes(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			absent[name], tables[name] = true, rootRows(name)
		case err != nil:
			return nil, nil, err
		default:
			before[name], tables[name] = data, parseRows(data)
		}
	}
	return before, &accountTables{
		passwd: tables[passwdFile], group: tables[groupFile], shadow: tables[shadowFile], gshadow: tables[gshadowFile],
		hasShadow: !absent[shadowFile] || absent[passwdFile], hasGshadow: !absent[gshadowFile] || absent[groupFile],
		today: int(time.Now().Unix() / (24 * 60 * 60)),
	}, nil
}

// lockAccounts takes the lock of lckpwdf(3).
func lockAccounts(ctx context.Context, dir *os.Root) (unlock func(), err error) {
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

// lockRecord waits for the whole of a file. The lock is one of the open file description, which excludes both the tools of
// the system, whose lock is one of the process, and other goroutines here; closing the file gives it back.
func lockRecord(ctx context.Context, file *os.File) error {
	tick := time.NewTicker(recordPoll)
	defer tick.Stop()
	for {
		err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another program holds it: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// replaceAll writes all new files beside the old ones, syncs them, and only then renames them in order.
func replaceAll(dir *os.Root, names []string, data func(string) []byte) error {
	for i, name := range names {
		if err := stageAccounts(dir, name, data(name)); err != nil {
			for _, staged := range names[:i+1] {
				_ = dir.Remove(stagedName(staged)) // the error that matters is the first
			}
			return err
		}
	}
	for _, name := range names {
		if err := dir.Rename(stagedName(name), name); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	etc, err := dir.Open("etc")
	if err != nil {
		return err
	}
	defer etc.Close()
	return etc.Sync()
}

// stagedName is the same each time, so that what a crash leaves is overwritten by the next change.
func stagedName(name string) string { return "etc/" + accountStage + path.Base(name) }

// accountStage is how their names begin. Files sweeps them with its own: a crash may leave what no change overwrites.
const accountStage = ".shoal-new-"

// stageAccounts gives the new file the owner, mode and xattrs of the old one.
func stageAccounts(dir *os.Root, name string, data []byte) error {
	if info, err := dir.Lstat(name); err == nil && !info.Mode().IsRegular() {
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
	old, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return file.Chmod(newMode(name))
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

// newMode: nobody but root reads what holds passwords.
func newMode(name string) fs.FileMode {
	if name == shadowFile || name == gshadowFile {
		return 0o600
	}
	return 0o644
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
