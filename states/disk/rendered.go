package disk

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"shoal/states"
)

// The file of rendered contents: the key, their count, an index of hash, offset and size of each, the checksum of all that, and the
// contents. So one is read when it is wanted, and checked by its own hash: a run that writes ten thousand files holds one at a time.
const (
	indexEntry    = sha256.Size + 8 + 8
	maxIndexed    = 1 << 20
	renderedBytes = 64 << 10 // that are written at a time
)

func (c Cache) keepRendered(key []byte, rendered map[string][]byte) error {
	hashes := slices.Sorted(maps.Keys(rendered))
	index := binary.LittleEndian.AppendUint32(bytes.Clone(key), uint32(len(hashes)))
	at := uint64(len(index)+len(hashes)*indexEntry) + sha256.Size
	for _, hash := range hashes {
		sum, err := sumOf(hash)
		if err != nil {
			return err
		}
		index = append(index, sum...)
		index = binary.LittleEndian.AppendUint64(index, at)
		index = binary.LittleEndian.AppendUint64(index, uint64(len(rendered[hash])))
		at += uint64(len(rendered[hash]))
	}
	check := sha256.Sum256(index)
	return c.write(renderedFile, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, renderedBytes)
		_, _ = out.Write(index) // Flush tells
		_, _ = out.Write(check[:])
		for _, hash := range hashes {
			_, _ = out.Write(rendered[hash])
		}
		return out.Flush()
	})
}

func sumOf(hash string) ([]byte, error) {
	sum, err := hex.DecodeString(strings.TrimPrefix(hash, "sha256:"))
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("%q is no hash", hash)
	}
	return sum, nil
}

// place is where one content lies in the file.
type place struct{ at, size int64 }

// rendered reads single contents of a plan's file. It is opened when the first is asked for, and closed by nobody: it ends with
// its plan, of which a process has one.
type rendered struct {
	path string
	key  []byte
	// again compiles the plan, once. The two files may not belong together: who wrote them died between them, or another command
	// has kept another plan since this one was read.
	again func() (map[string][]byte, error)

	once  sync.Once
	file  *os.File
	err   error
	index map[string]place
}

func (c Cache) rendered(key []byte, compile func() (*states.Plan, error)) *rendered {
	return &rendered{path: filepath.Join(c.Dir, renderedFile), key: key, again: sync.OnceValues(func() (map[string][]byte, error) {
		_ = os.Remove(filepath.Join(c.Dir, planFile)) // it would be found, and this with it, each time
		plan, err := compile()
		if err != nil {
			return nil, err
		}
		return plan.Rendered, nil
	})}
}

// open returns one content by its hash, "sha256:…". Several may be asked for at a time.
func (r *rendered) open(hash string) ([]byte, error) {
	data, err := r.read(hash)
	if err == nil {
		return data, nil
	}
	contents, compileErr := r.again()
	if data, ok := contents[hash]; ok {
		return data, nil
	}
	return nil, errors.Join(fmt.Errorf("the plan's cache: %w", err), compileErr)
}

func (r *rendered) read(hash string) ([]byte, error) {
	if err := r.ready(); err != nil {
		return nil, err
	}
	p, ok := r.index[hash]
	if !ok {
		return nil, fmt.Errorf("no contents %s", hash)
	}
	data := make([]byte, p.size)
	if _, err := r.file.ReadAt(data, p.at); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hash != "sha256:"+hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("%s is damaged", hash)
	}
	return data, nil
}

// ready opens the file, once.
func (r *rendered) ready() error {
	r.once.Do(func() { r.err = r.load() })
	return r.err
}

var errDamaged = errors.New("is damaged")

func (r *rendered) load() error {
	f, err := os.Open(r.path)
	if err != nil {
		return err
	}
	head := make([]byte, len(r.key)+4)
	if _, err := io.ReadFull(f, head); err != nil || !bytes.Equal(head[:len(r.key)], r.key) {
		return errors.Join(errors.New("is of another plan"), f.Close())
	}
	count := binary.LittleEndian.Uint32(head[len(r.key):])
	st, err := f.Stat()
	if err != nil || count > maxIndexed || int64(count)*indexEntry > st.Size() {
		return errors.Join(errDamaged, err, f.Close())
	}
	rest := make([]byte, int(count)*indexEntry+sha256.Size)
	if _, err := io.ReadFull(f, rest); err != nil {
		return errors.Join(errDamaged, f.Close())
	}
	entries := rest[:int(count)*indexEntry]
	if sum := sha256.Sum256(append(head, entries...)); !bytes.Equal(sum[:], rest[len(entries):]) {
		return errors.Join(errDamaged, f.Close())
	}
	r.index = make(map[string]place, count)
	for ; len(entries) > 0; entries = entries[indexEntry:] {
		p := place{int64(binary.LittleEndian.Uint64(entries[sha256.Size:])), int64(binary.LittleEndian.Uint64(entries[sha256.Size+8:]))}
		if p.at < 0 || p.size < 0 || p.at > st.Size() || p.size > st.Size()-p.at {
			return errors.Join(errDamaged, f.Close())
		}
		r.index["sha256:"+hex.EncodeToString(entries[:sha256.Size])] = p
	}
	r.file = f
	return nil
}
