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
)

// versionControl are the names that Pack leaves out wherever they are: a state tree usually is a working copy.
var versionControl = []string{".git", ".hg", ".svn", ".jj"}

// Pack reads a tree file by file and hands its objects to emit, those of the manifest last and its name at the very end;
// emit must not keep the bytes. The memory it takes grows with the number of files and not with their sizes.
//
// A symlink inside the tree becomes the file that it names. A symlink to a folder or out of the tree, a device, a file
// larger than MaxFile: each is an error.
func Pack(tree fs.FS, emit func(object []byte) error) (Hash, Manifest, error) {
	return PackWith(tree, func(m Manifest) Manifest { return m }, emit)
}

// PackWith is Pack, but for what amend makes of the manifest: files that are stored already may come to those of the tree.
func PackWith(tree fs.FS, amend func(Manifest) Manifest, emit func(object []byte) error) (Hash, Manifest, error) {
	p := packer{tree: tree, splitter: newSplitter(), emit: emit}
	if err := fs.WalkDir(tree, ".", p.visit); err != nil {
		return Hash{}, Manifest{}, err
	}
	// WalkDir goes by the parts of a path, where "a/b" is before "a-b".
	slices.SortFunc(p.m.Entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	m := amend(p.m)
	name, err := m.Encode(emit)
	return name, m, err
}

// PackFile hands the objects of one file to emit, and returns its entry in a manifest.
func PackFile(path string, data []byte, emit func(object []byte) error) (entry Entry, err error) {
	entry = Entry{Path: path, Mode: ModeFile}
	if entry.Chunks, entry.Size, err = emitPieces(newSplitter(), data, emit); err != nil {
		return Entry{}, err
	}
	return entry, entry.check()
}

type packer struct {
	tree     fs.FS
	splitter *splitter
	emit     func([]byte) error
	m        Manifest
}

func (p *packer) visit(name string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case slices.Contains(versionControl, d.Name()):
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	case d.IsDir():
		return nil
	case len(p.m.Entries) >= MaxEntries:
		return fmt.Errorf("the tree has more than %d files", MaxEntries)
	}
	if err := checkPath(name); err != nil {
		return err
	}
	if d.Type()&fs.ModeSymlink != 0 {
		if err := p.checkLink(name); err != nil {
			return err
		}
	}
	entry, err := p.file(name)
	if err != nil {
		return err
	}
	p.m.Entries = append(p.m.Entries, entry)
	return nil
}

// checkLink looks at the text of a symlink alone. That is enough: what it names is in the tree too, and when that is
// another symlink, it is looked at in its turn.
func (p *packer) checkLink(name string) error {
	target, err := fs.ReadLink(p.tree, name)
	if err != nil {
		return err
	}
	if path.IsAbs(target) || !fs.ValidPath(path.Join(path.Dir(name), target)) {
		return fmt.Errorf("%s: a symlink out of the tree, to %q", name, target)
	}
	return nil
}

func (p *packer) file(name string) (entry Entry, err error) {
	info, err := fs.Stat(p.tree, name)
	if err != nil {
		return entry, err
	}
	if !info.Mode().IsRegular() {
		return entry, fmt.Errorf("%s: neither a file nor a folder", name)
	}
	if info.Size() > MaxFile {
		return entry, fmt.Errorf("%s: %d bytes, more than %d", name, info.Size(), MaxFile)
	}
	f, err := p.tree.Open(name)
	if err != nil {
		return entry, err
	}
	defer f.Close()
	entry = Entry{Path: name, Mode: ModeFile}
	if info.Mode()&0o100 != 0 {
		entry.Mode = ModeExecutable
	}
	// The size is what was read, for the file may be changing; a byte more than the limit is enough to say so.
	entry.Chunks, entry.Size, err = emitPiecesOf(p.splitter, io.LimitReader(f, MaxFile+1), p.emit)
	if err == nil && entry.Size > MaxFile {
		err = errors.New("grew over the limit while it was read")
	}
	if err != nil {
		return entry, fmt.Errorf("%s: %w", name, err)
	}
	return entry, nil
}

func emitPieces(s *splitter, data []byte, emit func([]byte) error) ([]Chunk, int64, error) {
	return emitPiecesOf(s, bytes.NewReader(data), emit)
}

func emitPiecesOf(s *splitter, r io.Reader, emit func([]byte) error) (chunks []Chunk, size int64, err error) {
	err = s.split(r, func(piece []byte) error {
		chunks = append(chunks, Chunk{Hash: HashOf(piece), Size: int64(len(piece))})
		size += int64(len(piece))
		return emit(piece)
	})
	return chunks, size, err
}

// Missing says what to fetch next for the tree of the given name, given what is here: first the manifest, then its
// pieces, then the files' objects. Whoever fetched them asks again, until nothing is missing.
func Missing(ctx context.Context, name Hash, get Getter, has func(ctx context.Context, hashes []Hash) ([]bool, error)) ([]Hash, error) {
	root, err := getVerified(ctx, name, get)
	if absent(err) {
		return []Hash{name}, nil
	}
	if err != nil {
		return nil, err
	}
	pieces, err := Pieces(root)
	if err != nil {
		return nil, err
	}
	var names []Hash
	for _, p := range pieces {
		names = append(names, p.Hash)
	}
	if lacking, err := without(ctx, names, has); err != nil || len(lacking) > 0 {
		return lacking, err
	}
	m, err := OpenManifest(ctx, name, get)
	if err != nil {
		return nil, err
	}
	return without(ctx, m.Needed(), has)
}

func without(ctx context.Context, names []Hash, has func(context.Context, []Hash) ([]bool, error)) ([]Hash, error) {
	if len(names) == 0 {
		return nil, nil
	}
	here, err := has(ctx, names)
	if err != nil {
		return nil, err
	}
	var lacking []Hash
	for i, name := range names {
		if !here[i] {
			lacking = append(lacking, name)
		}
	}
	return lacking, nil
}

// absent is true when an object must be fetched: it is not here, or what is here is not it.
func absent(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) }
