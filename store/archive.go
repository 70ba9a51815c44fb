package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// The archive of a KV: a line that names the format, then each pair as two lengths (4 bytes, big endian, key and value) and
// the bytes of both, in the order of the keys, then two zero lengths and the SHA-256 of all before it.
const archiveHeader = "shoal store archive 1\n"

// ErrArchive is returned for what is not a whole archive.
var ErrArchive = errors.New("not a whole archive of a store")

// Export writes all of a KV. Objects that are damaged are left out: peers have them, and a copy that is wrong is worth nothing;
// damaged is how many. A record that cannot be read is an error.
func Export(ctx context.Context, kv KV, w io.Writer) (pairs, damaged int, err error) {
	sum := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
	if _, err := buffered.WriteString(archiveHeader); err != nil {
		return 0, 0, fmt.Errorf("export: %w", err)
	}
	var after []byte
	for {
		page, err := kv.Scan(ctx, nil, after, MaxScan, true)
		if err != nil {
			return pairs, damaged, fmt.Errorf("export: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for _, p := range page {
			value, bad, err := archived(ctx, kv, p.Key)
			if err != nil {
				return pairs, damaged, fmt.Errorf("export %q: %w", p.Key, err)
			}
			if bad {
				damaged++
				continue
			}
			pairs++
			if err := writePair(buffered, p.Key, value); err != nil {
				return pairs, damaged, fmt.Errorf("export: %w", err)
			}
		}
		after = page[len(page)-1].Key
	}
	if err := writePair(buffered, nil, nil); err != nil {
		return pairs, damaged, fmt.Errorf("export: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return pairs, damaged, fmt.Errorf("export: %w", err)
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return pairs, damaged, fmt.Errorf("export: %w", err)
	}
	return pairs, damaged, nil
}

// archived reads a pair's value; bad, when it is an object that is not what its name says.
func archived(ctx context.Context, kv KV, key []byte) (value []byte, bad bool, err error) {
	value, err = kv.Get(ctx, key)
	name, isObject := objectOf(key)
	if isObject && (absent(err) || err == nil && HashOf(value) != name) {
		return nil, true, nil
	}
	return value, false, err
}

func writePair(w io.Writer, key, value []byte) error {
	var sizes [8]byte
	binary.BigEndian.PutUint32(sizes[:4], uint32(len(key)))
	binary.BigEndian.PutUint32(sizes[4:], uint32(len(value)))
	for _, part := range [][]byte{sizes[:], key, value} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// Import fills an empty KV from an archive. The archive is read twice: nothing is written before it is known to be whole.
func Import(ctx context.Context, kv KV, r io.ReadSeeker) (pairs int, err error) {
	first, err := kv.Scan(ctx, nil, nil, 1, true)
	if err != nil {
		return 0, fmt.Errorf("import: %w", err)
	}
	if len(first) > 0 {
		return 0, errors.New("import: the store is not empty")
	}
	if err := readArchive(r, func(key, value []byte) error {
		if name, isObject := objectOf(key); isObject && HashOf(value) != name {
			return fmt.Errorf("%w: object %s is damaged", ErrArchive, name.Short())
		}
		return nil
	}); err != nil {
		return 0, fmt.Errorf("import: %w", err)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("import: %w", err)
	}
	in := importer{ctx: ctx, kv: kv}
	err = readArchive(r, in.add)
	if err == nil {
		err = in.flush()
	}
	if err != nil {
		return in.pairs, fmt.Errorf("import: %w", err)
	}
	return in.pairs, nil
}

// readArchive hands each pair to each, which may keep it, and then compares the checksum.
func readArchive(r io.Reader, each func(key, value []byte) error) error {
	sum := sha256.New()
	in := &archiveReader{r: bufio.NewReaderSize(r, 1<<20), sum: sum}
	if header := in.take(len(archiveHeader)); string(header) != archiveHeader {
		return fmt.Errorf("%w: its first line is not that of version 1", ErrArchive)
	}
	for in.err == nil {
		sizes := in.take(8)
		if in.err != nil {
			break
		}
		key, value := binary.BigEndian.Uint32(sizes), binary.BigEndian.Uint32(sizes[4:])
		if key == 0 && value == 0 {
			return in.end()
		}
		if key == 0 || key > MaxKey || value > MaxBatch {
			return fmt.Errorf("%w: a pair of %d and %d bytes", ErrArchive, key, value)
		}
		k, v := in.take(int(key)), in.take(int(value))
		if in.err != nil {
			break
		}
		if err := each(k, v); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: it is cut off: %w", ErrArchive, in.err)
}

type archiveReader struct {
	r   *bufio.Reader
	sum hash.Hash
	err error
}

func (a *archiveReader) take(n int) []byte {
	out := make([]byte, n)
	if a.err == nil {
		_, a.err = io.ReadFull(a.r, out)
		a.sum.Write(out)
	}
	return out
}

func (a *archiveReader) end() error {
	want := a.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(a.r, got); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("%w: its checksum is wrong", ErrArchive)
	}
	if _, err := a.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrArchive)
	}
	return nil
}

// importer writes pairs in batches.
type importer struct {
	ctx   context.Context // of the one import that this value lives for
	kv    KV
	batch []Change
	size  int
	pairs int
}

func (i *importer) add(key, value []byte) error {
	if n := len(key) + len(value); i.size+n > MaxBatch || len(i.batch) == MaxChanges {
		if err := i.flush(); err != nil {
			return err
		}
	}
	i.batch, i.size, i.pairs = append(i.batch, Change{Key: key, Value: value}), i.size+len(key)+len(value), i.pairs+1
	return nil
}

func (i *importer) flush() error {
	if len(i.batch) == 0 {
		return nil
	}
	err := i.kv.Write(i.ctx, i.batch)
	i.batch, i.size = nil, 0
	return err
}
