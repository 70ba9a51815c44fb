package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const logSuffix = ".mem"

// logSync makes what a transaction has written durable. It stands in for the library's SyncWrites, which syncs the value log at
// each write too, where this store has nothing: with three agents on one disk that was half of the time that a head took.
//
// A transaction is in one log as a whole, the newest, since one writes at a time, and the library begins another log before a
// transaction and not in it. What is in older logs was synced with the transactions that wrote it, and the library syncs tables before
// it deletes the logs that they are made of.
type logSync struct {
	dir    string
	newest *os.File
	number int
	// datasync is fdatasync, by which pages are written too that are mapped; a test puts another here.
	datasync func(*os.File) error
}

func newLogSync(dir string) *logSync {
	return &logSync{dir: dir, datasync: func(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }}
}

// sync is called after each transaction; changed: there may be a newer log than before.
func (l *logSync) sync(changed bool) error {
	if changed || l.newest == nil {
		if err := l.find(); err != nil {
			return fmt.Errorf("find the newest log: %w", err)
		}
	}
	if err := l.datasync(l.newest); err != nil {
		return fmt.Errorf("sync %s: %w", l.newest.Name(), err)
	}
	return nil
}

// find opens the log with the highest number: a new one has one more than any before.
func (l *logSync) find() error {
	names, err := filepath.Glob(filepath.Join(l.dir, "*"+logSuffix))
	if err != nil {
		return err
	}
	newest, highest := "", 0
	for _, name := range names {
		number, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), logSuffix))
		if err == nil && number > highest {
			newest, highest = name, number
		}
	}
	if newest == "" {
		return os.ErrNotExist
	}
	if l.newest != nil && highest == l.number {
		return nil
	}
	f, err := os.OpenFile(newest, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := l.close(); err != nil {
		return errors.Join(err, f.Close())
	}
	l.newest, l.number = f, highest
	return nil
}

// close is for when the database is closed or opened again: its logs are others then.
func (l *logSync) close() error {
	if l.newest == nil {
		return nil
	}
	f := l.newest
	l.newest = nil
	return f.Close()
}
