package disk

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"shoal/states"
)

// grain is more than the coarsest clock that a kernel stamps files with (10 ms at HZ=100): a file written that shortly
// before the fingerprint may be written again without a trace.
const grain = 20 * time.Millisecond

// Cache keeps the plan that was compiled last in two files of a folder: the plan, and what its templates rendered, which
// is only read when something has to be written. A cache that cannot be read or written costs time, never correctness.
type Cache struct {
	// Dir is the folder; only its owner may write there. Where it does not exist, nothing is kept.
	Dir string
	// Salt is whatever else the plan depends on: the program, the node, the ordering mode.
	Salt []byte
	// Now is the clock that files are stamped by.
	Now func() time.Time
}

const (
	planFile     = "plan.cache"
	renderedFile = "rendered.cache"
)

// Plan returns the plan of the tree in dir. From the cache it comes without Rendered, and rendered opens that; nil when
// the plan has it.
func (c Cache) Plan(dir string, compile func() (*states.Plan, error)) (plan *states.Plan, rendered func() (map[string][]byte, error), err error) {
	key, fresh, err := c.key(dir)
	if err != nil {
		return nil, nil, err
	}
	if plan, ok := c.load(key); ok {
		return plan, func() (map[string][]byte, error) { return c.loadRendered(key) }, nil
	}
	plan, err = compile()
	if err != nil {
		return nil, nil, err
	}
	if !fresh {
		c.keep(key, plan)
	}
	return plan, nil, nil
}

// key names a plan by all that it depends on; fresh says that the tree was written too shortly ago to tell.
func (c Cache) key(dir string) (key []byte, fresh bool, err error) {
	sum, newest, err := Fingerprint(dir)
	if err != nil {
		return nil, false, err
	}
	full := sha256.Sum256(append(sum[:], c.Salt...))
	return full[:], c.Now().Sub(newest) < grain, nil
}

func (c Cache) load(key []byte) (*states.Plan, bool) {
	body, err := c.read(planFile, key)
	if err != nil {
		return nil, false
	}
	plan, err := states.DecodePlan(body)
	return plan, err == nil
}

func (c Cache) loadRendered(key []byte) (map[string][]byte, error) {
	body, err := c.read(renderedFile, key)
	if err != nil {
		return nil, fmt.Errorf("the plan's cache: %w", err)
	}
	return states.DecodeRendered(body)
}

// read returns what follows the key and the checksum of a cache file.
func (c Cache) read(name string, key []byte) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(c.Dir, name))
	if err != nil {
		return nil, err
	}
	head := len(key) + sha256.Size
	if len(data) < head || !bytes.Equal(data[:len(key)], key) {
		return nil, errors.New("is of another plan")
	}
	if sum := sha256.Sum256(data[head:]); !bytes.Equal(sum[:], data[len(key):head]) {
		return nil, errors.New("is damaged")
	}
	return data[head:], nil
}

// keep writes the rendered bytes first, so that a plan that is found has them.
func (c Cache) keep(key []byte, plan *states.Plan) {
	rendered, err := states.EncodeRendered(plan.Rendered)
	if err != nil || c.write(renderedFile, key, rendered) != nil {
		return
	}
	if body, err := states.EncodePlan(plan); err == nil {
		_ = c.write(planFile, key, body) // compiled again next time
	}
}

func (c Cache) write(name string, key, body []byte) error {
	f, err := os.CreateTemp(c.Dir, ".cache-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	sum := sha256.Sum256(body)
	for _, part := range [][]byte{key, sum[:], body} {
		if _, err := f.Write(part); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(c.Dir, name))
}
