package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/states"
	"shoal/states/disk"
)

// compileCached compiles a tree on disk for this machine, or takes the plan of the last time when nothing has changed
// since. The contents that come with it open what the plan names.
func compileCached(dir string, tree fs.FS, in states.Input, cacheDir string) (*states.Plan, executor.Contents, error) {
	salt, err := cacheSalt(in, dir)
	if err != nil {
		return nil, nil, err
	}
	cache := disk.Cache{Dir: cacheDir, Salt: salt, Now: time.Now}
	plan, rendered, err := cache.Plan(dir, func() (*states.Plan, error) {
		return states.Compile(tree, in, functions())
	})
	if err != nil {
		return nil, nil, err
	}
	if rendered == nil {
		rendered = func() (map[string][]byte, error) { return plan.Rendered, nil }
	}
	return plan, &lazyContents{sources: executor.TreeContents(tree), rendered: sync.OnceValues(rendered)}, nil
}

// cacheSalt is what a plan depends on beside its tree. The program is known by its file, since two builds may carry
// one version.
func cacheSalt(in states.Input, dir string) ([]byte, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	full, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return codec.Marshal([]any{version, program.Size(), program.ModTime().UnixNano(), full, string(in.Order), in.Node, in.Fleet})
}

// lazyContents reads what templates rendered only when somebody wants it: a run with nothing to do does not.
type lazyContents struct {
	sources  executor.Contents
	rendered func() (map[string][]byte, error) // read once
}

func (l *lazyContents) Bytes(ctx context.Context, c states.Content) ([]byte, error) {
	if c.Source != "" {
		return l.sources.Bytes(ctx, c)
	}
	rendered, err := l.rendered()
	if err != nil {
		return nil, err
	}
	data, ok := rendered[c.Hash]
	if !ok {
		return nil, fmt.Errorf("%s: %w", c.From, executor.ErrContents)
	}
	return data, nil
}
