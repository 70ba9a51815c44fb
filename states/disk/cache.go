package disk

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
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

// Plan returns the plan of the tree in dir. Where it is in the cache, also since just now, it comes without Rendered, and open
// reads one of these by its hash; nil when the plan has them.
func (c Cache) Plan(dir string, compile func() (*states.Plan, error)) (plan *states.Plan, open func(hash string) ([]byte, error), err error) {
	key, fresh, err := c.key(dir)
	if err != nil {
		return nil, nil, err
	}
	if plan, ok := c.load(key); ok {
		return plan, c.rendered(key, compile).open, nil
	}
	plan, err = compile()
	if err != nil {
		return nil, nil, err
	}
	if fresh || c.keep(key, plan) != nil {
		return plan, nil, nil
	}
	r := c.rendered(key, compile)
	if r.ready() != nil { // somebody else's plan may be there by now
		return plan, nil, nil
	}
	plan.Rendered = nil
	return plan, r.open, nil
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
func (c Cache) keep(key []byte, plan *states.Plan) error {
	if err := c.keepRendered(key, plan.Rendered); err != nil {
		return err
	}
	body, err := states.EncodePlan(plan)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	return c.write(planFile, func(w io.Writer) error {
		for _, part := range [][]byte{key, sum[:], body} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c Cache) write(name string, to func(io.Writer) error) error {
	f, err := os.CreateTemp(c.Dir, ".cache-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(to(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(c.Dir, name))
}
