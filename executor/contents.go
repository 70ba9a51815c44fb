package executor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"slices"

	"shoal/states"
)

// ErrContents is returned for contents that are not what the plan says.
var ErrContents = errors.New("contents do not match the plan")

// TreeContents opens the sources that a plan names in its tree, and verifies them: a tree on disk may have been edited since
// the plan was made.
func TreeContents(tree fs.FS) Contents { return treeContents{tree} }

type treeContents struct{ tree fs.FS }

func (t treeContents) Bytes(_ context.Context, c states.Content) ([]byte, error) {
	if c.Source == "" {
		return nil, fmt.Errorf("%s: %w: it was not rendered", c.From, ErrContents)
	}
	data, err := fs.ReadFile(t.tree, c.Source)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if "sha256:"+hex.EncodeToString(sum[:]) != c.Hash {
		return nil, fmt.Errorf("%s: %w", c.From, ErrContents)
	}
	return data, nil
}

// Open implements Opener.
func (t treeContents) Open(_ context.Context, c states.Content) (io.ReadCloser, error) {
	if c.Source == "" {
		return nil, fmt.Errorf("%s: %w: it was not rendered", c.From, ErrContents)
	}
	file, err := t.tree.Open(c.Source)
	if err != nil {
		return nil, err
	}
	return &verified{ReadCloser: file, of: c, sum: sha256.New()}, nil
}

// verified ends with ErrContents in the place of io.EOF where the bytes were others than the plan names.
type verified struct {
	io.ReadCloser
	of  states.Content
	sum hash.Hash
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	_, _ = v.sum.Write(p[:n]) // never fails (hash.Hash)
	if errors.Is(err, io.EOF) && "sha256:"+hex.EncodeToString(v.sum.Sum(nil)) != v.of.Hash {
		err = fmt.Errorf("%s: %w", v.of.From, ErrContents)
	}
	return n, err
}

// OpenContents opens what c has: piece by piece where it can, else from memory.
func OpenContents(ctx context.Context, c Contents, content states.Content) (io.ReadCloser, error) {
	if opener, ok := c.(Opener); ok {
		return opener.Open(ctx, content)
	}
	data, err := c.Bytes(ctx, content)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// contentsOf lists the contents that a parameter's value holds, at any depth.
func contentsOf(v any) []states.Content {
	var all []states.Content
	switch v := v.(type) {
	case states.Content:
		all = append(all, v)
	case []any:
		for _, item := range v {
			all = append(all, contentsOf(item)...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, contentsOf(v[name])...)
		}
	}
	return all
}
