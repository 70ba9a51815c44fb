package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Tree is a manifest as a file system. Reading a file fetches its objects, one at a time and verified; an error of the
// holder or a wrong hash is the error of the read. Times are zero. It is safe for many goroutines.
type Tree struct {
	// fs.FS has no room for a context in its methods; this one ends the fetching of all files.
	ctx   context.Context
	get   Getter
	nodes map[string]*treeNode
}

var (
	_ fs.ReadDirFS  = (*Tree)(nil)
	_ fs.ReadFileFS = (*Tree)(nil)
	_ fs.StatFS     = (*Tree)(nil)
)

// OpenTree returns the files of a manifest that has been checked, as OpenManifest does. Nothing is fetched until it is
// read.
func OpenTree(ctx context.Context, m Manifest, get Getter) *Tree {
	t := &Tree{ctx: ctx, get: get, nodes: map[string]*treeNode{".": {name: ".", dir: true}}}
	for i := range m.Entries {
		e := &m.Entries[i]
		t.nodes[e.Path] = &treeNode{name: path.Base(e.Path), entry: e}
		t.attach(e.Path)
	}
	for _, n := range t.nodes {
		slices.SortFunc(n.children, func(a, b *treeNode) int { return strings.Compare(a.name, b.name) })
	}
	return t
}

// attach enters a node into its folder, and the folder into its own when it is new.
func (t *Tree) attach(name string) {
	for child := t.nodes[name]; name != "."; {
		name = path.Dir(name)
		parent, known := t.nodes[name]
		if !known {
			parent = &treeNode{name: path.Base(name), dir: true}
			t.nodes[name] = parent
		}
		parent.children = append(parent.children, child)
		if known {
			return
		}
		child = parent
	}
}

func (t *Tree) find(op, name string) (*treeNode, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, ok := t.nodes[name]
	if !ok {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	n, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return &openDir{treeNode: n, path: name}, nil
	}
	return &openFile{treeNode: n, tree: t, path: name}, nil
}

// Stat implements fs.StatFS.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	n, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a folder")}
	}
	return n.list(n.children), nil
}

// ReadFile implements fs.ReadFileFS.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	n, err := t.find("read", name)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, errIsFolder(name)
	}
	out := bytes.NewBuffer(make([]byte, 0, n.entry.Size))
	for _, c := range n.entry.Chunks {
		data, err := getChunk(t.ctx, c, t.get)
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		out.Write(data)
	}
	return out.Bytes(), nil
}

func errIsFolder(name string) error {
	return &fs.PathError{Op: "read", Path: name, Err: errors.New("is a folder")}
}

// treeNode is a file or folder, and all that there is to know of it.
type treeNode struct {
	name     string
	dir      bool
	entry    *Entry      // of a file
	children []*treeNode // of a folder
}

func (n *treeNode) list(nodes []*treeNode) []fs.DirEntry {
	out := make([]fs.DirEntry, len(nodes))
	for i, child := range nodes {
		out[i] = fs.FileInfoToDirEntry(child)
	}
	return out
}

func (n *treeNode) Name() string       { return n.name }
func (n *treeNode) ModTime() time.Time { return time.Time{} }
func (n *treeNode) IsDir() bool        { return n.dir }
func (n *treeNode) Sys() any           { return nil }

func (n *treeNode) Size() int64 {
	if n.dir {
		return 0
	}
	return n.entry.Size
}

func (n *treeNode) Mode() fs.FileMode {
	if n.dir {
		return fs.ModeDir | 0o755
	}
	return n.entry.Mode
}

// openDir is an open folder.
type openDir struct {
	*treeNode
	path string
	read int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.treeNode, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error)   { return 0, errIsFolder(d.path) }

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := d.children[d.read:]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	d.read += len(rest)
	return d.list(rest), nil
}

// openFile is an open file; it holds one chunk at a time.
type openFile struct {
	*treeNode
	tree   *Tree
	path   string
	next   int    // index of the chunk after held
	held   []byte // what is left of the chunk that is being read
	closed bool
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.treeNode, nil }

func (f *openFile) Close() error {
	f.closed, f.held = true, nil
	return nil
}

func (f *openFile) Read(p []byte) (int, error) {
	if f.closed {
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: fs.ErrClosed}
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(f.held) == 0 {
		if f.next == len(f.entry.Chunks) {
			return 0, io.EOF
		}
		data, err := getChunk(f.tree.ctx, f.entry.Chunks[f.next], f.tree.get)
		if err != nil {
			return 0, &fs.PathError{Op: "read", Path: f.path, Err: fmt.Errorf("chunk %d: %w", f.next, err)}
		}
		f.held = data
		f.next++
	}
	n := copy(p, f.held)
	f.held = f.held[n:]
	return n, nil
}
