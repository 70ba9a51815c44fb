package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"shoal/states"
)

// Loader opens extension modules. executor/wasm is it.
type Loader interface {
	// Load verifies a module's bytes against the hash of the extension and returns its functions. It runs nothing of it.
	Load(x states.Extension, binary []byte) ([]Module, error)
}

// extension is an extension module that is open. Its declaration and its bytes go to the vault before it changes anything, so
// that what it did can be undone by the very module that did it, also when the tree has another one, or none, by then.
type extension struct {
	declaration []byte
	hash        string // of the declaration
	binary      []byte
	binaryHash  string
	modules     map[string]Module // by full name
}

// extensions are those that were opened, by the hash of their declaration.
type extensions struct {
	mu   sync.Mutex
	open map[string]*extension
}

// maxExtensions is how many an engine keeps open; those of one plan are fewer (states.MaxModules).
const maxExtensions = 4 * states.MaxModules

// use returns an extension, opened once. binary is asked for only then.
func (e *Engine) use(x states.Extension, binary func() ([]byte, error)) (*extension, error) {
	declaration, err := states.EncodeExtension(x)
	if err != nil {
		return nil, err
	}
	hash := hashOf(declaration)
	e.extensions.mu.Lock()
	defer e.extensions.mu.Unlock()
	if ext, ok := e.extensions.open[hash]; ok {
		return ext, nil
	}
	if e.Loader == nil {
		return nil, errors.New("this machine runs no extension modules")
	}
	data, err := binary()
	if err != nil {
		return nil, err
	}
	modules, err := e.Loader.Load(x, data)
	if err != nil {
		return nil, err
	}
	ext := &extension{declaration: declaration, hash: hash, binary: data, binaryHash: x.Binary.Hash, modules: Catalogue(modules...)}
	if e.extensions.open == nil || len(e.extensions.open) >= maxExtensions {
		e.extensions.open = map[string]*extension{}
	}
	e.extensions.open[hash] = ext
	return ext, nil
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// openExtensions opens those of the plan.
func (r *run) openExtensions(ctx context.Context) error {
	for _, x := range r.plan.Extensions {
		ext, err := r.e.use(x, func() ([]byte, error) { return r.contents.Bytes(ctx, x.Binary) })
		if err != nil {
			return fmt.Errorf("extension module %s: %w", x.Name, err)
		}
		for name := range ext.modules {
			if r.extended == nil {
				r.extended = map[string]*extension{}
			}
			r.extended[name] = ext
		}
	}
	return nil
}

// module returns a function by its full name, and the extension that it is of; nil: it is built in.
func (r *run) module(name string) (Module, *extension, error) {
	if ext, ok := r.extended[name]; ok {
		return ext.modules[name], ext, nil
	}
	m, err := r.e.module(name)
	return m, nil, err
}

// callOf is a task's function and parameters as they go to disk, with the extension that the function is of.
func (r *run) callOf(t *task) (call, error) {
	c, err := newCall(t.name, t.params)
	if err != nil || t.extension == nil {
		return c, err
	}
	x := t.extension
	c.Extension, c.Binary = x.hash, x.binaryHash
	if err := r.e.Vault.Put(x.hash, x.declaration); err != nil {
		return call{}, fmt.Errorf("keep extension module: %w", err)
	}
	if err := r.e.Vault.Put(x.binaryHash, x.binary); err != nil {
		return call{}, fmt.Errorf("keep extension module: %w", err)
	}
	return c, nil
}

// extensions lists what the vault has to keep for a call to be possible later.
func (c call) extensions() []string {
	if c.Extension == "" {
		return nil
	}
	return []string{c.Extension, c.Binary}
}

// kept opens the extension that a call on disk is of.
func (e *Engine) kept(c call) (Module, error) {
	data, err := e.Vault.Get(c.Extension)
	if err != nil {
		return nil, fmt.Errorf("extension module of %s: %w", c.Function, err)
	}
	x, err := states.DecodeExtension(data)
	if err != nil {
		return nil, err
	}
	ext, err := e.use(x, func() ([]byte, error) { return e.Vault.Get(x.Binary.Hash) })
	if err != nil {
		return nil, fmt.Errorf("extension module of %s: %w", c.Function, err)
	}
	m, ok := ext.modules[c.Function]
	if !ok {
		return nil, fmt.Errorf("extension module %s has no function %s", x.Name, c.Function)
	}
	return m, nil
}
