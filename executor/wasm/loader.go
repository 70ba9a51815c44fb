package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"shoal/executor"
	"shoal/states"
)

// maxPrograms is how many compiled modules are kept: the least used one that is not running goes.
const maxPrograms = 16

// pagesPerMB is how many pages of WebAssembly (64 KiB) are a MiB.
const pagesPerMB = 16

// Loader opens extension modules, and keeps them compiled, by their hash. It is an executor.Loader.
type Loader struct {
	// CacheDir keeps compiled modules from one process to the next; empty: none are kept. It is machine code: whoever can
	// write there runs as shoal does.
	CacheDir string

	mu       sync.Mutex
	cache    wazero.CompilationCache
	programs map[programKey]*program
	uses     int
}

type programKey struct {
	hash     string
	memoryMB int
}

// program is a compiled module, with a runtime of its own, since that is what a limit of memory is of.
type program struct {
	once     sync.Once
	err      error
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	running  int
	used     int // when it was last used, in calls of the loader
}

// Load implements executor.Loader.
func (l *Loader) Load(x states.Extension, binary []byte) ([]executor.Module, error) {
	sum := sha256.Sum256(binary)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != x.Binary.Hash {
		return nil, fmt.Errorf("its hash is %s, not %s", got, x.Binary.Hash)
	}
	all := make([]executor.Module, len(x.Functions))
	for i, f := range x.Functions {
		all[i] = &function{loader: l, extension: x, binary: binary, about: f}
	}
	return all, nil
}

// program returns a module compiled, and a function to call when it is not needed any more.
func (l *Loader) program(ctx context.Context, x states.Extension, binary []byte) (*program, func(), error) {
	key := programKey{x.Binary.Hash, x.Limits.MemoryMB}
	l.mu.Lock()
	p, ok := l.programs[key]
	if !ok {
		l.evict(ctx)
		p = &program{}
		if l.programs == nil {
			l.programs = map[programKey]*program{}
		}
		l.programs[key] = p
	}
	l.uses++
	p.used = l.uses
	p.running++
	l.mu.Unlock()
	done := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		p.running--
	}
	p.once.Do(func() { p.err = l.compile(context.WithoutCancel(ctx), p, x, binary) })
	if p.err != nil {
		done()
		return nil, nil, p.err
	}
	return p, done, nil
}

// evict makes room for one more. The lock is held.
func (l *Loader) evict(ctx context.Context) {
	for len(l.programs) >= maxPrograms {
		var oldest *program
		var at programKey
		for key, p := range l.programs {
			if p.running == 0 && (oldest == nil || p.used < oldest.used) {
				oldest, at = p, key
			}
		}
		if oldest == nil {
			return
		}
		delete(l.programs, at)
		if oldest.runtime != nil {
			_ = oldest.runtime.Close(ctx)
		}
	}
}

// Close frees all that is compiled.
func (l *Loader) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx := context.Background()
	var errs []error
	for _, p := range l.programs {
		if p.runtime != nil {
			errs = append(errs, p.runtime.Close(ctx))
		}
	}
	if l.cache != nil {
		errs = append(errs, l.cache.Close(ctx))
	}
	l.programs, l.cache = nil, nil
	return errors.Join(errs...)
}

func (l *Loader) compile(ctx context.Context, p *program, x states.Extension, binary []byte) error {
	config := wazero.NewRuntimeConfig().WithCloseOnContextDone(true).
		WithMemoryLimitPages(uint32(x.Limits.MemoryMB * pagesPerMB)).WithDebugInfoEnabled(false)
	cache, err := l.compilationCache()
	if err != nil {
		return err
	}
	p.runtime = wazero.NewRuntimeWithConfig(ctx, config.WithCompilationCache(cache))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, p.runtime); err != nil {
		return err
	}
	if err := offer(ctx, p.runtime); err != nil {
		return err
	}
	if binary, err = measured(binary); err == nil {
		p.compiled, err = p.runtime.CompileModule(ctx, binary)
	}
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	return fits(p.compiled)
}

func (l *Loader) compilationCache() (wazero.CompilationCache, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cache != nil {
		return l.cache, nil
	}
	cache := wazero.NewCompilationCache()
	if l.CacheDir != "" {
		if err := trim(l.CacheDir, maxCacheBytes); err != nil {
			return nil, err
		}
		var err error
		if cache, err = wazero.NewCompilationCacheWithDir(l.CacheDir); err != nil {
			return nil, fmt.Errorf("cache of compiled modules: %w", err)
		}
	}
	l.cache = cache
	return cache, nil
}

// fits says, before anything of it runs, whether a module is made for this interface.
func fits(m wazero.CompiledModule) error {
	for _, f := range m.ImportedFunctions() {
		module, name, _ := f.Import()
		switch {
		case module == wasi_snapshot_preview1.ModuleName:
		case module != hostModule:
			return fmt.Errorf("it imports %s.%s: this shoal offers %s and %s", module, name, hostModule, wasi_snapshot_preview1.ModuleName)
		}
	}
	if len(m.ImportedMemories()) > 0 {
		return errors.New("it imports a memory: it must export one")
	}
	if _, ok := m.ExportedMemories()["memory"]; !ok {
		return errors.New(`it exports no memory named "memory"`)
	}
	f, ok := m.ExportedFunctions()[entryPoint]
	if !ok {
		return fmt.Errorf("it exports no function %s", entryPoint)
	}
	if p := f.ParamTypes(); len(p) != 1 || p[0] != api.ValueTypeI32 || len(f.ResultTypes()) != 0 {
		return fmt.Errorf("its function %s must take one i32 and return nothing", entryPoint)
	}
	return nil
}
