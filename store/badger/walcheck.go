package badger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/y"

	"shoal/store"
)

// The library's log of a table that is still in memory: a header, then records of meta, user meta, the lengths of key and value
// and an expiry as varints, key with version, value, and a CRC-32C of all that. After the last come zeros.
const (
	logHeader  = 20
	maxKeySize = 1 << 16
)

// logRecord reads the record at the beginning of data; n is its size, 0 where there is none.
func logRecord(data []byte) (r record, n int) {
	if len(data) < 2 {
		return r, 0
	}
	at := 2
	var lengths [3]uint64
	for i := range lengths {
		v, size := binary.Uvarint(data[at:])
		if size <= 0 {
			return r, 0
		}
		lengths[i], at = v, at+size
	}
	klen, vlen := lengths[0], lengths[1]
	if klen <= 8 || klen > maxKeySize || vlen > uint64(len(data)) || uint64(at)+klen+vlen+4 > uint64(len(data)) {
		return r, 0
	}
	end := at + int(klen+vlen)
	if crc32.Checksum(data[:end], y.CastagnoliCrcTable) != binary.BigEndian.Uint32(data[end:]) {
		return r, 0
	}
	key := data[at : at+int(klen)]
	return record{
		key: y.ParseKey(key), version: y.ParseTs(key), value: data[at+int(klen) : end], deleted: data[0]&deletedBit != 0, meta: data[1],
	}, end + 4
}

// readLog calls do for the records of a log. The library ends it at the first record that it cannot read, as at one that a
// crash cut off; where others follow, that was rot: then whole is false, and those are read too.
func readLog(name string, do func(record) error) (whole bool, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	whole = true
	at := min(logHeader, len(data))
	for at < len(data) {
		r, n := logRecord(data[at:])
		if n == 0 {
			next := nextRecord(data[at:])
			if next < 0 {
				return whole, nil
			}
			whole, at = false, at+next
			continue
		}
		if err := do(r); err != nil {
			return whole, err
		}
		at += n
	}
	return whole, nil
}

// nextRecord searches for a record after one that cannot be read; -1: there is none. It knows one by its key, so that not each
// place needs a checksum.
func nextRecord(data []byte) int {
	data = bytes.TrimRight(data, "\x00")
	for at := 1; at < len(data); at++ {
		if !mayBegin(data[at:]) {
			continue
		}
		// Some zeros may have been the end of the last record's checksum.
		if _, n := logRecord(append(data[at:len(data):len(data)], 0, 0, 0, 0)); n > 0 {
			return at
		}
	}
	return -1
}

// mayBegin tells whether a record with one of our keys, or one of the library's own, may begin here.
func mayBegin(data []byte) bool {
	head := data[:min(len(data), 2+3*binary.MaxVarintLen64+len(internalPrefix))]
	at := 2
	for range 3 {
		if at >= len(head) {
			return false
		}
		_, size := binary.Uvarint(head[at:])
		if size <= 0 {
			return false
		}
		at += size
	}
	for _, prefix := range [][]byte{store.ObjectPrefix(), store.MetaPrefix(), []byte(internalPrefix)} {
		if bytes.HasPrefix(data[at:], prefix) {
			return true
		}
	}
	return false
}

// checkLogs returns store.ErrCorrupt when there is rot in the middle of a log.
func checkLogs(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return err
	}
	for _, name := range logs {
		whole, err := readLog(name, func(record) error { return nil })
		if err != nil {
			return err
		}
		if !whole {
			return fmt.Errorf("%w: %s", store.ErrCorrupt, name)
		}
	}
	return nil
}

// perNode is what the library's table in memory takes beside a key and its value, rounded up.
const perNode = 128

// largestLog is how many bytes of a table in memory what is in one of the logs takes.
func largestLog(dir string) (most int64, err error) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return 0, err
	}
	for _, name := range logs {
		size := int64(0)
		_, err := readLog(name, func(r record) error {
			size += int64(len(r.key)+len(r.value)) + perNode
			return nil
		})
		if err != nil {
			return 0, err
		}
		most = max(most, size)
	}
	return most, nil
}
