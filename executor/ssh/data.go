package ssh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"shoal/internal/datafile"
)

// Data is the data folder over there, in the same form as the machine itself would keep it, so that an agent can take it over.
// Nothing is made before the first write.
type Data struct {
	machine  *Machine
	commands *Commands
	talk     *talk
	sftp     *sftp.Client
	dir      string

	mu      sync.Mutex
	journal *sftp.File
	end     int64 // of the journal
	put     bool  // something that Sync has not seen
}

func (d *Data) path(name string) string { return path.Join(d.dir, name) }

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

func (d *Data) ensure() error {
	if _, err := d.talk.must("umask 077; mkdir -p " + quote(d.path(datafile.Undo))); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

// open opens the journal behind its last whole frame.
func (d *Data) open() error {
	if d.journal != nil {
		return nil
	}
	if err := d.ensure(); err != nil {
		return err
	}
	name := d.path(datafile.Journal)
	if _, err := d.talk.must("umask 077; : >> " + quote(name)); err != nil {
		return err
	}
	data, err := readAll(d.sftp, name)
	if err != nil {
		return err
	}
	_, valid := datafile.Frames(data)
	f, err := d.sftp.OpenFile(name, os.O_RDWR)
	if err != nil {
		return err
	}
	if err = f.Truncate(int64(valid)); err == nil {
		err = d.syncFolder(d.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	d.journal, d.end = f, int64(valid)
	return nil
}

// syncFolder makes the names in a folder durable.
func (d *Data) syncFolder(dir string) error {
	_, err := d.talk.must("sync " + quote(dir) + " 2>/dev/null || sync")
	return err
}

func (d *Data) write(records [][]byte) error {
	if err := d.open(); err != nil {
		return err
	}
	buf, err := datafile.Pack(records)
	if err != nil {
		return err
	}
	n, err := d.journal.WriteAt(buf, d.end)
	d.end += int64(n)
	return err
}

// Append writes records and syncs them.
func (d *Data) Append(records ...[]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.write(records); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := d.journal.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

// Note writes a record and does not sync it.
func (d *Data) Note(record []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.write([][]byte{record})
}

// Records reads the journal up to where a crash cut it off.
func (d *Data) Records() ([][]byte, error) {
	return datafile.RecordsOf(readAll(d.sftp, d.path(datafile.Journal)))
}

// Clear empties the journal.
func (d *Data) Clear() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.open(); err != nil {
		return err
	}
	d.end = 0
	return d.journal.Truncate(0)
}

// Load reads the ledger; nil when there is none.
func (d *Data) Load() ([]byte, error) {
	name := d.path(datafile.Ledger)
	data, err := readAll(d.sftp, name)
	return datafile.LedgerOf(name, data, err)
}

// Store replaces the ledger in one step.
func (d *Data) Store(data []byte) error {
	if err := d.ensure(); err != nil {
		return err
	}
	if err := d.replace(d.path(datafile.Ledger), datafile.AppendFrame(nil, data), true); err != nil {
		return err
	}
	return d.syncFolder(d.dir)
}

func (d *Data) replace(name string, data []byte, sync bool) error {
	if _, err := d.talk.must("umask 077; : > " + quote(name+".new")); err != nil {
		return err
	}
	f, err := d.sftp.OpenFile(name+".new", os.O_WRONLY)
	if err != nil {
		return err
	}
	if len(data) > 0 {
		_, err = f.Write(data)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return d.sftp.PosixRename(name+".new", name)
}

func (d *Data) undoPath(hash string) (string, error) {
	name, err := datafile.UndoName(hash)
	return d.path(path.Join(datafile.Undo, name)), err
}

// Put keeps old contents. It is durable after Sync.
func (d *Data) Put(hash string, data []byte) error {
	name, err := d.undoPath(hash)
	if err != nil {
		return err
	}
	if info, err := d.sftp.Stat(name); err == nil && info.Size() == int64(len(data)) {
		return nil
	}
	if err := d.ensure(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put = true
	return d.replace(name, data, false)
}

// Get reads kept contents.
func (d *Data) Get(hash string) ([]byte, error) {
	name, err := d.undoPath(hash)
	if err != nil {
		return nil, err
	}
	data, err := readAll(d.sftp, name)
	return datafile.KeptOf(hash, data, err)
}

// Sync makes what was put durable.
func (d *Data) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.put {
		return nil
	}
	if _, err := d.talk.must("sync -f " + quote(d.path(datafile.Undo)) + " 2>/dev/null || sync"); err != nil {
		return err
	}
	d.put = false
	return nil
}

// Collect removes what keep does not want.
func (d *Data) Collect(keep func(hash string) bool) error {
	names, err := d.talk.names(d.path(datafile.Undo))
	if err != nil {
		return err
	}
	var script strings.Builder
	for _, name := range names {
		if keep("sha256:" + name) {
			continue
		}
		script.WriteString("rm -f -- " + quote(d.path(path.Join(datafile.Undo, name))) + "\n")
		if script.Len() > maxScript/2 {
			if _, err := d.talk.must(script.String()); err != nil {
				return err
			}
			script.Reset()
		}
	}
	_, err = d.talk.must(script.String())
	return err
}

// lockScript holds the lock of the data folder for as long as its standard input is open: it ends with the connection. Commands
// that are still running then are ended first, so that whoever gets the lock finds nobody at work; those that an earlier holder
// could not end are ended at the beginning.
const lockScript = `umask 077; d=%s; mkdir -p "$d/running" && exec 9>>"$d/lock" || exit 1
flock -n 9 || { echo busy; exit 0; }
sweep() { for f in "$d"/running/*; do
	[ -f "$f" ] || continue; p=${f##*/}
	set -- $(cat "/proc/$p/stat" 2>/dev/null)
	[ "${22}" != "$(cat "$f")" ] || kill -KILL "-$p"
	rm -f "$f"
done; }
sweep; echo locked
cat >/dev/null 9>&-
sweep`

// lockPoll is how often a waiting run looks whether the lock is free.
const lockPoll = 200 * time.Millisecond

// Lock takes the lock of the data folder, the very one that a run on the machine itself takes.
func (d *Data) Lock(ctx context.Context) (func(), error) {
	for {
		unlock, err := d.tryLock(ctx)
		if unlock != nil || err != nil {
			return unlock, err
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("another run is at work on this machine (it holds %s): %w", d.path(datafile.Lock), context.Cause(ctx))
		case <-timer.C:
		}
	}
}

func (d *Data) tryLock(ctx context.Context) (func(), error) {
	unlock, _, err := d.machine.holdLock(ctx, fmt.Sprintf(lockScript, quote(d.dir)))
	if unlock == nil {
		return nil, err
	}
	d.commands.writeDown(d.path("running"))
	return func() {
		d.commands.writeDown("")
		unlock()
	}, nil
}
