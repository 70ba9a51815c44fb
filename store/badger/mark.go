package badger

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mark is a second witness, on the same machine, of how far the store is: a file in memory, which a restart of the machine
// empties and a restart of the process does not. Before a write is acknowledged its number is there. A store that is opened
// again with at least that number holds all that it ever acknowledged, and need not ask anybody whether it does; one whose disk
// was put back to an earlier image, while the machine ran on, has a lower one. After a restart of the machine nobody can tell
// here: a disk may have lost what it said it had synced.
//
// The number is the library's of the last transaction. The lineage is drawn anew where the store is not as far as its mark: a copy
// that was opened elsewhere, or by an importer, has another too.
type mark struct {
	file    *os.File // nil: there is none
	lineage uint64
	version uint64
}

const markName = "lineage" // in the store's folder

// meet finds out whether the store in dir, which is at version, is as far as the mark says. On an error it has no lineage.
func (m *mark) meet(dir string, version uint64) error {
	name := filepath.Join(dir, markName)
	if m.file == nil {
		return removeMark(name)
	}
	m.version = version
	var last [16]byte
	kept, _ := os.ReadFile(name)
	n, _ := m.file.ReadAt(last[:], 0)
	if n == len(last) && bytes.Equal(kept, last[:8]) && version >= binary.BigEndian.Uint64(last[8:]) {
		m.lineage = binary.BigEndian.Uint64(kept)
		return m.put()
	}
	if _, err := rand.Read(last[:8]); err != nil {
		return err
	}
	if err := replaceSynced(name, last[:8]); err != nil {
		m.file = nil
		return err
	}
	m.lineage = binary.BigEndian.Uint64(last[:8])
	return m.put()
}

// wrote notes that one more transaction is on the disk.
func (m *mark) wrote() error {
	if m.file == nil {
		return nil
	}
	m.version++
	return m.put()
}

func (m *mark) put() error {
	var now [16]byte
	binary.BigEndian.PutUint64(now[:], m.lineage)
	binary.BigEndian.PutUint64(now[8:], m.version)
	if _, err := m.file.WriteAt(now[:], 0); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	return nil
}

func removeMark(name string) error {
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// replaceSynced writes a small file beside its name and renames it: after a power cut it is the old one or the new one.
func replaceSynced(name string, data []byte) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
