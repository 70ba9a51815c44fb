package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"shoal/internal/datafile"
)

// Data is the data folder: what a run keeps on disk. Nothing is made before the first write, so that a plan leaves no trace.
type Data struct {
	dir string

	mu      sync.Mutex
	journal *os.File
	put     bool // something that Sync has not seen
}

// OpenData names the data folder.
func OpenData(dir string) *Data { return &Data{dir: dir} }

// Close releases the journal.
func (d *Data) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.journal == nil {
		return nil
	}
	err := d.journal.Close()
	d.journal = nil
	return err
}

func (d *Data) path(name string) string { return filepath.Join(d.dir, name) }

func (d *Data) ensure() error {
	if err := os.MkdirAll(d.path(datafile.Undo), 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// open opens the journal for appending, behind its last whole frame.
func (d *Data) open() (*os.File, error) {
	if d.journal != nil {
		return d.journal, nil
	}
	if err := d.ensure(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path(datafile.Journal), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(d.path(datafile.Journal))
	if err == nil {
		_, valid := datafile.Frames(data)
		if err = f.Truncate(int64(valid)); err == nil {
			_, err = f.Seek(int64(valid), 0)
		}
	}
	if err == nil {
		err = syncDir(d.dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d.journal = f
	return f, nil
}

func (d *Data) write(records [][]byte) (*os.File, error) {
	f, err := d.open()
	if err != nil {
		return nil, err
	}
	buf, err := datafile.Pack(records)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(buf)
	return f, err
}

// Append writes records and syncs them.
func (d *Data) Append(records ...[]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.write(records)
	if err != nil {
		return err
	}
	return unix.Fdatasync(int(f.Fd()))
}

// Note writes a record and does not sync it.
func (d *Data) Note(record []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.write([][]byte{record})
	return err
}

// Records reads the journal up to where a crash cut it off.
func (d *Data) Records() ([][]byte, error) {
	return datafile.RecordsOf(os.ReadFile(d.path(datafile.Journal)))
}

// Clear empties the journal.
func (d *Data) Clear() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.open()
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.Seek(0, 0)
	return err
}

// Load reads the ledger; nil when there is none.
func (d *Data) Load() ([]byte, error) {
	name := d.path(datafile.Ledger)
	data, err := os.ReadFile(name)
	return datafile.LedgerOf(name, data, err)
}

// Store replaces the ledger in one step.
func (d *Data) Store(data []byte) error {
	if err := d.ensure(); err != nil {
		return err
	}
	return replace(d.path(datafile.Ledger), datafile.AppendFrame(nil, data), true)
}

func replace(name string, data []byte, sync bool) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil || !sync {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// Put keeps old contents. It is durable after Sync.
func (d *Data) Put(hash string, data []byte) error {
	name, err := d.undoPath(hash)
	if err != nil {
		return err
	}
	if info, err := os.Stat(name); err == nil && info.Size() == int64(len(data)) {
		return nil
	}
	if err := d.ensure(); err != nil {
		return err
	}
	d.mu.Lock()
	d.put = true
	d.mu.Unlock()
	return replace(name, data, false)
}

func (d *Data) undoPath(hash string) (string, error) {
	name, err := datafile.UndoName(hash)
	return d.path(filepath.Join(datafile.Undo, name)), err
}

// Get reads kept contents.
func (d *Data) Get(hash string) ([]byte, error) {
	name, err := d.undoPath(hash)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	return datafile.KeptOf(hash, data, err)
}

// Sync makes what was put durable.
func (d *Data) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.put {
		return nil
	}
	f, err := os.Open(d.path(datafile.Undo))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return err
	}
	d.put = false
	return nil
}

// Collect removes what keep does not want.
func (d *Data) Collect(keep func(hash string) bool) error {
	names, err := os.ReadDir(d.path(datafile.Undo))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range names {
		if !keep("sha256:" + e.Name()) {
			errs = append(errs, os.Remove(d.path(filepath.Join(datafile.Undo, e.Name()))))
		}
	}
	return errors.Join(errs...)
}

// runLockPoll is how often a waiting run looks whether the lock is free.
const runLockPoll = 50 * time.Millisecond

// Lock takes the lock of the data folder. The kernel gives it back when its holder dies, however it does.
func (d *Data) Lock(ctx context.Context) (func(), error) {
	if err := d.ensure(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path(datafile.Lock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
		}
		select {
		case <-ctx.Done():
			holder := lockHolder(f)
			_ = f.Close()
			return nil, fmt.Errorf("another run is at work on this machine (%s holds %s): %w", holder, d.path(datafile.Lock), context.Cause(ctx))
		case <-time.After(runLockPoll):
		}
	}
}

// lockHolder asks the kernel, so that taking the lock writes nothing: a run that changes nothing waits for no disk.
func lockHolder(f *os.File) string {
	var st unix.Stat_t
	data, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Fstat(int(f.Fd()), &st) != nil {
		return "another process"
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line) // 1: FLOCK ADVISORY WRITE pid major:minor:inode start end
		if len(fields) >= 6 && fields[1] == "FLOCK" && strings.HasSuffix(fields[5], fmt.Sprintf(":%d", st.Ino)) {
			return "process " + fields[4]
		}
	}
	return "another process"
}

// Clock is the machine's own time.
type Clock struct{}

// Now is the time.
func (Clock) Now() time.Time { return time.Now() }

// Sleep waits for d or until ctx ends.
func (Clock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Timeout ends the context after d.
func (Clock) Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("timed out after %s", d))
}
