package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	plan, open, err := cache.Plan(dir, func() (*states.Plan, error) {
		return states.Compile(tree, in, functions())
	})
	if err != nil {
		return nil, nil, err
	}
	return plan, &lazyContents{sources: executor.TreeContents(tree), open: open}, nil
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

// lazyContents reads what templates rendered, one by one, only when somebody wants it.
type lazyContents struct {
	sources executor.Contents
	open    func(hash string) ([]byte, error) // nil: the plan has it
}

// Open implements executor.Opener.
func (l *lazyContents) Open(ctx context.Context, c states.Content) (io.ReadCloser, error) {
	if c.Source != "" || l.open == nil {
		return executor.OpenContents(ctx, l.sources, c)
	}
	data, err := l.Bytes(ctx, c)
	return io.NopCloser(bytes.NewReader(data)), err
}

func (l *lazyContents) Bytes(ctx context.Context, c states.Content) ([]byte, error) {
	if c.Source != "" || l.open == nil {
		return l.sources.Bytes(ctx, c)
	}
	data, err := l.open(c.Hash)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", c.From, executor.ErrContents, err)
	}
	return data, nil
}
