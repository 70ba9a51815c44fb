package local

import (
	"fmt"
	"os"
	"path/filepath"
)

// Files is the file system below a root folder.
type Files struct {
	root string // absolute, clean; "/" is the machine itself
	data string
}

func newFiles(o Options) (*Files, error) {
	root := o.Root
	if root == "" {
		root = "/"
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("root folder: %w", err)
	}
	info, err := os.Stat(root)
	if err != nil {
		return nil, fmt.Errorf("root folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("root folder %s is not a folder", root)
	}
	return &Files{root: root, data: o.DataDir}, nil
}

// Root is the folder that stands for /.
func (f *Files) Root() string { return f.root }

// Close releases the root folder.
func (f *Files) Close() error { return nil }
