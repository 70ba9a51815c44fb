package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"shoal/store"
)

// The library maps its files into memory, and so dies of SIGBUS on a full disk, and again whenever it is opened. So the
// disk must never be full: writes end well before.
const (
	minReserve     = 256 << 20 // bytes
	reserveShare   = 20        // one in so many bytes of the file system
	openNeed       = 4 * memTable
	defaultBallast = 64 << 20
	ballastName    = "ballast"
	// freshNames is how long ago names in the folder must have changed to be sure to see a later change in its time: the
	// kernel's clock for it ticks every few milliseconds.
	freshNames = 50 * time.Millisecond
)

// disk looks after the folder of a store.
type disk struct {
	dir     string
	free    func(dir string) (free, total uint64, err error)
	ballast int64
	names   *nameSync
}

func newDisk(opt Options) disk {
	d := disk{dir: opt.Dir, free: opt.Free, ballast: opt.Ballast, names: &nameSync{}}
	if d.free == nil {
		d.free = statfs
	}
	if d.ballast == 0 {
		d.ballast = defaultBallast
	}
	return d
}

func statfs(dir string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}

// reserve is how many bytes must stay free.
func reserve(total uint64) uint64 { return max(minReserve, openNeed, total/reserveShare) }

// check fails with store.ErrReserve when there is less than the reserve.
func (d disk) check() error {
	free, total, err := d.free(d.dir)
	if err != nil {
		return err
	}
	if free < reserve(total) {
		return fmt.Errorf("%w: %d MiB free in %s, writes stop below %d MiB; reads go on",
			store.ErrReserve, free>>20, d.dir, reserve(total)>>20)
	}
	return nil
}

// afterOpen lays the ballast down when it costs nothing of the reserve, and makes the names of new files durable.
func (d disk) afterOpen() error {
	if err := d.layBallast(); err != nil {
		return err
	}
	_, err := d.syncNames()
	return err
}

func (d disk) layBallast() error {
	free, total, err := d.free(d.dir)
	if err != nil || d.ballast < 0 || exists(d.dir, ballastName) || free < reserve(total)+uint64(d.ballast) {
		return err
	}
	f, err := os.OpenFile(filepath.Join(d.dir, ballastName), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("ballast: %w", err)
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, d.ballast)
	if err = errors.Join(err, f.Close()); err != nil {
		// Without it the store works; only a full disk would be worse.
		return os.Remove(f.Name())
	}
	return nil
}

// releaseBallast makes the room that is needed to open a store that was not closed, or says that there is none.
func (d disk) releaseBallast() error {
	if err := os.Remove(filepath.Join(d.dir, ballastName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	free, _, err := d.free(d.dir)
	if err == nil && free < openNeed {
		err = fmt.Errorf("only %d MiB are free", free>>20)
	}
	return err
}

// syncNames makes the names of new files durable. The library syncs what it writes into a new log, but not the folder
// that the log is in, and without its name an acknowledged write would be lost with the power. changed is false when the names are
// surely those of the last time.
func (d disk) syncNames() (changed bool, err error) { return d.names.sync(d.dir) }

// nameSync syncs a folder when its names changed since it last did.
type nameSync struct {
	mu     sync.Mutex
	synced time.Time // modification time of the folder that is known to be durable
}

func (n *nameSync) sync(dir string) (changed bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	info, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	if info.ModTime().Equal(n.synced) {
		return false, nil
	}
	now := time.Now()
	f, err := os.Open(dir)
	if err != nil {
		return true, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return true, fmt.Errorf("sync %s: %w", dir, err)
	}
	if age := now.Sub(info.ModTime()); age > freshNames || age < -freshNames {
		n.synced = info.ModTime()
	}
	return true, nil
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}
