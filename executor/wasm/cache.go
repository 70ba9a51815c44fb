package wasm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// maxCacheBytes is how large the compiled modules on disk may grow before the oldest go.
const maxCacheBytes = 256 << 20

// trim removes the oldest files of a folder until the rest has at most limit bytes. There may be no such folder.
func trim(dir string, limit int64) error {
	type file struct {
		path string
		info fs.FileInfo
	}
	var files []file
	total := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files = append(files, file{path, info})
			total += info.Size()
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b file) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	for _, f := range files {
		if total <= limit {
			break
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= f.info.Size()
	}
	return nil
}
