package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// entry is what a path is, as far as somebody could notice a difference.
type entry struct {
	mode   fs.FileMode
	mtime  int64
	target string
	data   string
}

// snapshots reads all five machines, but for what shoal keeps for itself.
func (w *show) snapshots() (map[string]entry, error) {
	all := map[string]entry{}
	for _, n := range w.fleet.Nodes {
		err := filepath.WalkDir(n.Root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if path == n.Path("var/lib/shoal") {
				return fs.SkipDir
			}
			name := n.Name + strings.TrimPrefix(path, n.Root)
			all[name], err = readEntry(path)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readEntry(path string) (entry, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return entry{}, err
	}
	e := entry{mode: info.Mode()}
	switch {
	case info.Mode().IsRegular():
		data, err := os.ReadFile(path)
		e.data, e.mtime = string(data), info.ModTime().UnixNano()
		return e, err
	case info.Mode().Type() == fs.ModeSymlink:
		e.target, err = os.Readlink(path)
	}
	return e, err
}

func sameSnapshots(before, after map[string]entry) error {
	for path, e := range before {
		now, ok := after[path]
		if !ok {
			return fmt.Errorf("%s is gone", path)
		}
		if now != e {
			return fmt.Errorf("%s is not what it was", path)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			return fmt.Errorf("%s is new", path)
		}
	}
	return nil
}
