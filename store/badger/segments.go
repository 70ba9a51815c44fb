package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sys/unix"

	"shoal/store"
)

// Segments are the files in which large objects are. A piece is appended to the newest, and stays where it is: a file of 1 GiB is
// written once, where the library's tables would rewrite it on each level, and build tables of it in memory.
//
//	piece    magic (4 bytes), length of the key (2), length of the value (4), CRC-32C of key and value (4), key, value
//
// Numbers are big endian. Each piece begins on a block of segmentBlock bytes, so that the disk gets its place back when it is dropped.
// What is in use says the database alone; the keys are there for a database that lost some of its own.
const (
	segmentsDir   = "large"
	segmentSuffix = ".segment"
	segmentSize   = 64 << 20 // beyond it another one is begun
	segmentBlock  = 4 << 10
	pieceMagic    = "shl1" // with the version of the format
	pieceHeader   = 14
)

// place is where a piece is.
type place struct {
	segment uint32
	at      int64
	key     int // its length, and that of the value, in bytes
	size    int
	sum     uint32
}

const placeSize = 20

// encode is what the database has in the place of the value.
func (p place) encode() []byte {
	out := binary.BigEndian.AppendUint32(make([]byte, 0, placeSize), p.segment)
	out = binary.BigEndian.AppendUint64(out, uint64(p.at))
	out = binary.BigEndian.AppendUint32(out, uint32(p.size))
	return binary.BigEndian.AppendUint32(out, p.sum)
}

func decodePlace(key, data []byte) (p place, err error) {
	if len(data) != placeSize {
		return p, fmt.Errorf("%w: a place of %d bytes", store.ErrCorrupt, len(data))
	}
	p = place{
		segment: binary.BigEndian.Uint32(data), at: int64(binary.BigEndian.Uint64(data[4:])),
		key: len(key), size: int(binary.BigEndian.Uint32(data[12:])), sum: binary.BigEndian.Uint32(data[16:]),
	}
	if p.at < 0 || p.at%segmentBlock != 0 || p.size > store.MaxBatch {
		return p, fmt.Errorf("%w: a place of %d bytes at %d", store.ErrCorrupt, p.size, p.at)
	}
	return p, nil
}

// blocks is what the piece takes on the disk, in bytes.
func (p place) blocks() int64 {
	used := int64(pieceHeader + p.key + p.size)
	return (used + segmentBlock - 1) / segmentBlock * segmentBlock
}

func sumOf(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, y.CastagnoliCrcTable), y.CastagnoliCrcTable, value)
}

// segments are the files of a folder. Appending, syncing and giving back are for one goroutine at a time; reading is for any.
type segments struct {
	dir string
	// datasync makes durable what was written into a file; a test puts another here.
	datasync func(*os.File) error

	newest *os.File // nil: the next piece begins a file
	number uint32   // of the newest
	end    int64    // of what is in it
	dirty  bool

	mu   sync.Mutex
	live map[uint32]int64 // bytes in use of each file
}

// openSegments finds the files. Whatever comes is appended to a new one: what a crash left at the end of the last is in nobody's way.
func openSegments(dir string) (*segments, error) {
	s := &segments{
		dir: filepath.Join(dir, segmentsDir), live: map[uint32]int64{},
		datasync: func(f *os.File) error { return unix.Fdatasync(int(f.Fd())) },
	}
	names, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("large objects: %w", err)
	}
	for _, e := range names {
		text, ours := strings.CutSuffix(e.Name(), segmentSuffix)
		number, err := strconv.ParseUint(text, 10, 32)
		if !ours || err != nil {
			continue
		}
		s.live[uint32(number)] = 0
		s.number = max(s.number, uint32(number))
	}
	return s, nil
}

func (s *segments) name(number uint32) string {
	return filepath.Join(s.dir, fmt.Sprintf("%08d%s", number, segmentSuffix))
}

// append writes a piece, which is durable after the next sync.
func (s *segments) append(key, value []byte) (place, error) {
	if s.newest == nil || s.end >= segmentSize {
		if err := s.begin(); err != nil {
			return place{}, fmt.Errorf("large object: %w", err)
		}
	}
	p := place{segment: s.number, at: s.end, key: len(key), size: len(value), sum: sumOf(key, value)}
	head := append(make([]byte, 0, pieceHeader+len(key)), pieceMagic...)
	head = binary.BigEndian.AppendUint16(head, uint16(len(key)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(value)))
	head = append(binary.BigEndian.AppendUint32(head, p.sum), key...)
	if _, err := s.newest.WriteAt(head, p.at); err != nil {
		return place{}, fmt.Errorf("large object: %w", err)
	}
	if _, err := s.newest.WriteAt(value, p.at+int64(len(head))); err != nil {
		return place{}, fmt.Errorf("large object: %w", err)
	}
	s.end, s.dirty = s.end+p.blocks(), true
	s.use(p, 1)
	return p, nil
}

// begin makes the next file, with a durable name.
func (s *segments) begin() error {
	if err := s.finish(); err != nil {
		return err
	}
	if err := os.Mkdir(s.dir, 0o700); err == nil {
		err = syncDir(filepath.Dir(s.dir))
		if err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := os.OpenFile(s.name(s.number+1), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	s.number++
	s.newest, s.end = f, 0
	s.mu.Lock()
	s.live[s.number] = 0
	s.mu.Unlock()
	return syncDir(s.dir)
}

// finish closes the newest file, when it has all that it gets.
func (s *segments) finish() error {
	if s.newest == nil {
		return nil
	}
	err := s.sync()
	f := s.newest
	s.newest = nil
	return errors.Join(err, f.Close())
}

// sync makes durable what was appended.
func (s *segments) sync() error {
	if !s.dirty {
		return nil
	}
	if err := s.datasync(s.newest); err != nil {
		return fmt.Errorf("sync %s: %w", s.newest.Name(), err)
	}
	s.dirty = false
	return nil
}

// read returns the value of a piece, or store.ErrCorrupt where it is not what was written.
func (s *segments) read(key []byte, p place) ([]byte, error) {
	f, err := os.Open(s.name(p.segment))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	value := make([]byte, p.size)
	_, err = f.ReadAt(value, p.at+int64(pieceHeader+len(key)))
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EIO) {
		return nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if err == nil && sumOf(key, value) != p.sum {
		err = fmt.Errorf("%w: %s at %d", store.ErrCorrupt, f.Name(), p.at)
	}
	if err != nil {
		return nil, err
	}
	return value, nil
}

// use counts what is in use of a file, and returns how much that is now.
func (s *segments) use(p place, sign int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[p.segment] += sign * p.blocks()
	return s.live[p.segment]
}

// free gives the place of pieces back to the disk that nothing durable names any more. What cannot be given back now is when the file is
// in use no more.
func (s *segments) free(places []place) {
	for _, p := range places {
		left := s.use(p, -1)
		if left <= 0 && (s.newest == nil || p.segment != s.number) {
			s.remove(p.segment)
			continue
		}
		if f, err := os.OpenFile(s.name(p.segment), os.O_RDWR, 0); err == nil {
			_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, p.at, p.blocks()) // not every file system can
			_ = f.Close()
		}
	}
}

func (s *segments) remove(number uint32) {
	if err := os.Remove(s.name(number)); err == nil {
		s.mu.Lock()
		delete(s.live, number)
		s.mu.Unlock()
	}
}

// sweep removes the files of which nothing is in use.
func (s *segments) sweep() {
	s.mu.Lock()
	var unused []uint32
	for number, bytes := range s.live {
		if bytes == 0 && (s.newest == nil || number != s.number) {
			unused = append(unused, number)
		}
	}
	s.mu.Unlock()
	for _, number := range unused {
		s.remove(number)
	}
}

// walk calls do for what may be a piece, also for those that were dropped and are still there. It tells whether it is whole: only then its
// length is believed.
func (s *segments) walk(number uint32, do func(key []byte, p place) (whole bool, err error)) error {
	f, err := os.Open(s.name(number))
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	head := make([]byte, pieceHeader+store.MaxKey)
	for at := int64(0); ; {
		if at, err = unix.Seek(int(f.Fd()), at, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			return nil // only a hole follows
		} else if err != nil {
			return err
		}
		at = at / segmentBlock * segmentBlock
		n, err := f.ReadAt(head, at)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, unix.EIO) {
			return err
		}
		key, p, ok := parsePiece(head[:n], number, at)
		if ok {
			if ok, err = do(key, p); err != nil {
				return err
			}
		}
		if ok {
			at += p.blocks()
		} else {
			at += segmentBlock
		}
	}
}

func parsePiece(head []byte, number uint32, at int64) (key []byte, p place, ok bool) {
	if len(head) < pieceHeader || string(head[:len(pieceMagic)]) != pieceMagic {
		return nil, p, false
	}
	p = place{
		segment: number, at: at, key: int(binary.BigEndian.Uint16(head[4:])),
		size: int(binary.BigEndian.Uint32(head[6:])), sum: binary.BigEndian.Uint32(head[10:]),
	}
	if p.key == 0 || p.key > store.MaxKey || p.size > store.MaxBatch || pieceHeader+p.key > len(head) {
		return nil, p, false
	}
	return head[pieceHeader : pieceHeader+p.key], p, true
}
