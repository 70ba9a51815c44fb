package pair

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"shoal/store"
)

// kept are the objects of the applied revision on the executor's own disk: it enforces from them alone, also while the mesh's
// side is down, and nobody else can write there.
type kept struct{ dir string }

// reserve is how much of the disk stays free, in bytes; the store of the mesh's side has a larger one.
const reserve = 128 << 20

func (k kept) path(h store.Hash) string { return filepath.Join(k.dir, hex.EncodeToString(h[:])) }

// get reads an object; one that is damaged is as one that is not there.
func (k kept) get(h store.Hash) ([]byte, error) {
	data, err := os.ReadFile(k.path(h))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, store.ErrNotFound
	case err == nil && store.HashOf(data) != h:
		return nil, store.ErrCorrupt
	}
	return data, err
}

func (k kept) has(h store.Hash, size int64) bool {
	info, err := os.Lstat(k.path(h))
	return err == nil && (size < 0 || info.Size() == size)
}

// put keeps an object whose bytes are verified; it is durable after sync.
func (k kept) put(h store.Hash, data []byte) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("keep an object: %w", err)
	}
	name := k.path(h)
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return fmt.Errorf("keep an object: %w", err)
	}
	return os.Rename(name+".new", name)
}

// sync makes what was put durable, all at once.
func (k kept) sync() error {
	f, err := os.Open(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was put
	}
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// room refuses what would fill the disk.
func (k kept) room(bytes int64) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("keep a tree: %w", err)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(k.dir, &s); err != nil {
		return fmt.Errorf("statfs %s: %w", k.dir, err)
	}
	if free := int64(s.Bavail) * int64(s.Bsize); free < bytes+reserve {
		return fmt.Errorf("keep a tree of %d MiB: %w: %d MiB are free in %s", bytes>>20, store.ErrReserve, free>>20, k.dir)
	}
	return nil
}

// only removes all but some.
func (k kept) only(needed map[store.Hash]bool) error {
	entries, err := os.ReadDir(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	names := make(map[string]bool, len(needed))
	for h := range needed {
		names[hex.EncodeToString(h[:])] = true
	}
	for _, e := range entries {
		if !names[e.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(k.dir, e.Name())))
		}
	}
	return err
}

// needed are all objects of a tree, with the sizes of those where it says them.
func needed(ctx context.Context, manifest store.Hash, get store.Getter) (map[store.Hash]int64, error) {
	root, err := get(ctx, manifest)
	if err != nil {
		return nil, err
	}
	if store.HashOf(root) != manifest {
		return nil, store.ErrCorrupt
	}
	pieces, err := store.Pieces(root)
	if err != nil {
		return nil, err
	}
	m, err := store.OpenManifest(ctx, manifest, get)
	if err != nil {
		return nil, err
	}
	all := map[store.Hash]int64{manifest: int64(len(root))}
	for _, p := range pieces {
		all[p.Hash] = p.Size
	}
	for _, e := range m.Entries {
		for _, c := range e.Chunks {
			all[c.Hash] = c.Size
		}
	}
	return all, nil
}
