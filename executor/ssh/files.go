package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pkg/sftp"

	"shoal/executor"
)

// maxRead is the most bytes of a file that is read as a whole.
const maxRead = 256 << 20

// Files is the file system over there. Contents go over SFTP; what that protocol cannot say (owners and times to the
// nanosecond, extended attributes, which file system to sync) goes through the tools of the machine.
type Files struct {
	talk     *talk
	sftp     *sftp.Client
	root     string
	uid, gid uint32
	tag      string // begins the names of staged files
	attrs    bool   // getfattr and setfattr are there

	mu    sync.Mutex
	dirty map[uint64]string // a folder of each file system that was changed since the last sync
}

// Self is the user that the machine lets us be.
func (f *Files) Self() (uid, gid uint32) { return f.uid, f.gid }

// Lstat implements executor.Files.
func (f *Files) Lstat(name string) (executor.Stat, error) {
	w, err := f.walk(name, false)
	if err == nil {
		err = w.err
	}
	return w.stat, pathError("lstat", name, err)
}

// ReadFile reads a regular file.
func (f *Files) ReadFile(name string) ([]byte, error) {
	p, err := f.there(name)
	if err == nil && !p.stat.Mode.IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, pathError("read", name, err)
	}
	data, err := readAll(f.sftp, f.real(p.name))
	return data, pathError("read", name, err)
}

func readAll(client *sftp.Client, name string) ([]byte, error) {
	file, err := client.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data := capped{limit: maxRead}
	_, err = io.Copy(&data, file)
	return data.Bytes(), err
}

// capped is a buffer with an end.
type capped struct {
	bytes.Buffer
	limit int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > c.limit {
		return 0, fmt.Errorf("it has more than %d bytes", c.limit)
	}
	return c.Buffer.Write(p)
}

// ReadFrom of the buffer knows no limit.
func (c *capped) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// Readlink returns what a symlink holds.
func (f *Files) Readlink(name string) (string, error) {
	p, err := f.there(name)
	if err == nil && p.stat.Mode.Type() != fs.ModeSymlink {
		err = syscall.EINVAL
	}
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	target, err := f.sftp.ReadLink(f.real(p.name))
	return target, pathError("readlink", name, err)
}

// ReadDir returns the sorted names in a folder.
func (f *Files) ReadDir(name string) ([]string, error) {
	w, err := f.walk(name, true)
	if err == nil {
		err = w.err
	}
	if err == nil && !w.stat.Mode.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	names, err := f.talk.names(f.real(w.name))
	return names, pathError("readdir", name, err)
}

// names in a folder, sorted.
func (t *talk) names(dir string) ([]string, error) {
	said, err := t.must("cd " + quote(dir) + " && find . -mindepth 1 -maxdepth 1 -print0")
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range strings.SplitSeq(said, "\x00") {
		if name = strings.TrimPrefix(name, "./"); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Hash reads the file over there.
func (f *Files) Hash(name string, _ executor.Stat) (string, error) {
	p, err := f.there(name)
	if err == nil && !p.stat.Mode.IsRegular() {
		err = errors.New("not a regular file")
	}
	var said string
	if err == nil {
		said, err = f.talk.must("sha256sum < " + quote(f.real(p.name)))
	}
	if err != nil {
		return "", pathError("hash", name, err)
	}
	sum, _, _ := strings.Cut(said, " ")
	if len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
		return "", pathError("hash", name, fmt.Errorf("the machine says %.80q", said))
	}
	return "sha256:" + sum, nil
}

// changed notes that the file system of a path has to be synced.
func (f *Files) changed(p place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.dirty[p.device]; !ok {
		f.dirty[p.device] = f.real(p.dir)
	}
}

// SyncFiles makes all changes durable, with one call for each file system that was changed.
func (f *Files) SyncFiles() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for device, dir := range f.dirty {
		// The folder itself may be gone; its file system is not.
		if _, err := f.talk.must("sync -f " + quote(dir) + " 2>/dev/null || sync"); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		delete(f.dirty, device)
	}
	return nil
}

// change does one thing to a path whose folder is there.
func (f *Files) change(op, name string, do func(p place) error) error {
	p, err := f.parent(name)
	if err == nil {
		f.changed(p)
		err = do(p)
	}
	return pathError(op, name, err)
}

// Mkdir makes one folder.
func (f *Files) Mkdir(name string, meta executor.Meta) error {
	return f.change("mkdir", name, func(p place) error {
		real := f.real(p.name)
		if _, err := f.talk.must("mkdir -m 700 -- " + quote(real)); err != nil {
			return err
		}
		return f.setMeta(real, meta, false)
	})
}

// Symlink puts a link at name in one step, over a file or link that is there.
func (f *Files) Symlink(target, name string) error {
	return f.change("symlink", name, func(p place) error {
		temporary := f.real(path.Join(p.dir, f.stageName()))
		if _, err := f.talk.must("ln -s -- " + quote(target) + " " + quote(temporary)); err != nil {
			return err
		}
		if err := f.sftp.PosixRename(temporary, f.real(p.name)); err != nil {
			_, removeErr := f.talk.must("rm -f -- " + quote(temporary))
			return errors.Join(err, removeErr)
		}
		return nil
	})
}

// Remove deletes a file, a symlink or an empty folder.
func (f *Files) Remove(name string) error {
	return f.change("remove", name, func(p place) error {
		switch {
		case p.err != nil:
			return p.err
		case p.stat.Mode.IsDir():
			_, err := f.talk.must("rmdir -- " + quote(f.real(p.name)))
			return err
		}
		_, err := f.talk.must("rm -f -- " + quote(f.real(p.name)))
		return err
	})
}

// Rename moves a staged file to name, over what is there.
func (f *Files) Rename(staged, name string) error {
	from, err := f.there(staged)
	if err != nil {
		return pathError("rename", staged, err)
	}
	to, err := f.parent(name)
	if err == nil {
		f.changed(from)
		f.changed(to)
		err = f.sftp.PosixRename(f.real(from.name), f.real(to.name))
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: staged, New: name, Err: err}
	}
	return nil
}

// SetMeta changes owner, mode and, where given, xattrs and time of what is there. Of a symlink, owner and time alone.
func (f *Files) SetMeta(name string, meta executor.Meta) error {
	return f.change("setmeta", name, func(p place) error {
		if p.err != nil {
			return p.err
		}
		return f.setMeta(f.real(p.name), meta, p.stat.Mode.Type() == fs.ModeSymlink)
	})
}

// The file systems of the kernel itself (statfs(2)), as stat -f says them.
const kernelSystems = `case "$(stat -f -c %%t %[1]s)" in 9fa0|62656572) ;; *) echo "not a file of the kernel"; exit 1;; esac
printf %%s %[2]s > %[1]s`

// WriteSetting writes to a file of the kernel.
func (f *Files) WriteSetting(name string, data []byte) error {
	p, err := f.there(name)
	if err == nil && !p.stat.Mode.IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil {
		_, err = f.talk.must(fmt.Sprintf(kernelSystems, quote(f.real(p.name)), quote(string(data))))
	}
	return pathError("write", name, err)
}

// sftpClient opens SFTP as this user, or, as root through sudo, with the server program that the machine has.
func (m *Machine) sftpClient(ctx context.Context) (*sftp.Client, error) {
	client, err := m.anySFTP(ctx)
	if err != nil {
		return nil, fmt.Errorf("SFTP: %w", err)
	}
	for _, wanted := range []string{"posix-rename@openssh.com", "fsync@openssh.com"} {
		if _, ok := client.HasExtension(wanted); !ok {
			return nil, errors.Join(fmt.Errorf("SFTP: the server has no %s, without which nothing can be replaced in one step and kept", wanted), client.Close())
		}
	}
	return client, nil
}

// sftpServers are where the distributions have the program.
const sftpServers = `for p in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server /usr/libexec/sftp-server /usr/lib/sftp-server; do
[ -x "$p" ] && exec "$p"; done; echo "no sftp-server" >&2; exit 127`

func (m *Machine) anySFTP(ctx context.Context) (*sftp.Client, error) {
	if m.prefix == "" {
		return sftp.NewClient(m.client)
	}
	p, err := m.start(ctx, sftpServers)
	if err != nil {
		return nil, err
	}
	client, err := sftp.NewClientPipe(p.stdout, p.stdin)
	if err != nil {
		return nil, errors.Join(err, errors.New(strings.TrimSpace(p.stderr.String())))
	}
	return client, nil
}
