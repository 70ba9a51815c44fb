package local

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"shoal/executor"
)

// racy is the time within which a file can change twice and show one ctime: the kernel's clock ticks no slower than this.
// A hash that was read so soon after a change is not believed again (the "racy git" problem).
const racy = 10 * time.Millisecond

// maxHashes is how many files the cache holds.
const maxHashes = 1 << 20

// hashBuffers spares an allocation of the buffer's size for each small file.
var hashBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// hashCache remembers the sha256 of files by all that lstat tells of them.
type hashCache struct {
	file string // empty: in memory alone

	mu      sync.RWMutex // several goroutines ask at a time
	changed bool
	entries map[string]hashEntry
}

type hashEntry struct {
	stat executor.Stat
	at   int64 // when it was read, nanoseconds since 1970
	sum  [sha256.Size]byte
}

func newHashCache(dataDir string) *hashCache {
	c := &hashCache{entries: map[string]hashEntry{}}
	if dataDir != "" {
		c.file = filepath.Join(dataDir, "hashes")
		c.mu.Lock()
		go func() { // while the run takes its lock and looks at its plan; who asks before waits
			defer c.mu.Unlock()
			c.load()
		}()
	}
	return c
}

func (c *hashCache) get(name string, st executor.Stat) (string, bool) {
	c.mu.RLock()
	e, ok := c.entries[name]
	c.mu.RUnlock()
	if !ok || e.stat != st || e.at-st.Ctime < int64(racy) {
		return "", false
	}
	return hashName(e.sum[:]), true
}

func hashName(sum []byte) string {
	var buf [7 + 2*sha256.Size]byte
	copy(buf[:], "sha256:")
	hex.Encode(buf[7:], sum)
	return string(buf[:])
}

// read hashes an open file, and remembers the hash when the file was the same before and after.
func (c *hashCache) read(name string, st executor.Stat, file *os.File) (string, error) {
	at := time.Now().UnixNano()
	var before, after unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &before); err != nil {
		return "", err
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", errors.New("not a regular file")
	}
	h := sha256.New()
	buf := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{file}, *buf); err != nil {
		return "", err
	}
	if err := unix.Fstat(int(file.Fd()), &after); err != nil {
		return "", err
	}
	e := hashEntry{stat: st, at: at}
	h.Sum(e.sum[:0])
	if statOf(&before) == st && statOf(&after) == st {
		c.put(name, e)
	}
	return hashName(e.sum[:]), nil
}

func (c *hashCache) put(name string, e hashEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxHashes {
		clear(c.entries)
	}
	c.entries[name] = e
	c.changed = true
}

// load reads the cache file. A broken one is no error: it is a cache.
func (c *hashCache) load() {
	if data, err := os.ReadFile(c.file); err == nil {
		if entries, err := decodeHashes(data); err == nil {
			c.entries = entries
		}
	}
}

// flush writes the cache file in one step, with no sync: what a power cut takes is read again.
func (c *hashCache) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.changed || c.file == "" {
		return nil
	}
	c.changed = false
	temporary := c.file + ".new"
	if err := os.WriteFile(temporary, encodeHashes(c.entries), 0o600); err != nil {
		return fmt.Errorf("hash cache: %w", err)
	}
	if err := os.Rename(temporary, c.file); err != nil {
		return fmt.Errorf("hash cache: %w", err)
	}
	return nil
}

// The file of the cache: a head, then for each file its name's length and bytes and a fixed part, then a CRC of all. It is read
// on every run, so it is flat: a thousand entries decode in less time than one fsync takes.
const (
	hashHead  = "shoal hashes 1\n"
	hashFixed = 3*4 + 6*8 + sha256.Size
)

func encodeHashes(entries map[string]hashEntry) []byte {
	b := []byte(hashHead)
	for name, e := range entries {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
		b = append(b, name...)
		b = binary.LittleEndian.AppendUint32(b, uint32(e.stat.Mode))
		b = binary.LittleEndian.AppendUint32(b, e.stat.UID)
		b = binary.LittleEndian.AppendUint32(b, e.stat.GID)
		for _, v := range []uint64{uint64(e.stat.Size), e.stat.Dev, e.stat.Inode, uint64(e.stat.Mtime), uint64(e.stat.Ctime), uint64(e.at)} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		b = append(b, e.sum[:]...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errHashes = errors.New("damaged hash cache")

func decodeHashes(data []byte) (map[string]hashEntry, error) {
	if len(data) < len(hashHead)+4 || string(data[:len(hashHead)]) != hashHead {
		return nil, errHashes
	}
	body, sum := data[:len(data)-4], binary.LittleEndian.Uint32(data[len(data)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, errHashes
	}
	b := body[len(hashHead):]
	text := string(b) // names are cut out of one string
	entries := make(map[string]hashEntry, len(b)/(hashFixed+40))
	for at := 0; at < len(b); {
		if len(b)-at < 4 {
			return nil, errHashes
		}
		n := int(binary.LittleEndian.Uint32(b[at:]))
		at += 4
		if n > len(b)-at-hashFixed {
			return nil, errHashes
		}
		name := text[at : at+n]
		at += n
		entries[name] = decodeEntry(b[at : at+hashFixed])
		at += hashFixed
	}
	return entries, nil
}

func decodeEntry(b []byte) (e hashEntry) {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[12+8*i:]) }
	e.stat = executor.Stat{
		Mode: fs.FileMode(binary.LittleEndian.Uint32(b)), UID: binary.LittleEndian.Uint32(b[4:]), GID: binary.LittleEndian.Uint32(b[8:]),
		Size: int64(word(0)), Dev: word(1), Inode: word(2), Mtime: int64(word(3)), Ctime: int64(word(4)),
	}
	e.at = int64(word(5))
	copy(e.sum[:], b[60:])
	return e
}
