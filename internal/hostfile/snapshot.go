package hostfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"syscall"
	"time"

	"shoal/executor"
	"shoal/internal/codec"
)

// Limits of what can be put back.
const (
	MaxKept        = 64 << 20 // bytes of one file, and of one tree
	MaxKeptEntries = 10000    // of one tree
)

// snapshot is what was at a path.
type snapshot struct {
	Kind    kind              `cbor:"1,keyasint"`
	Mode    uint32            `cbor:"2,keyasint,omitempty"` // fs.FileMode, without the type
	UID     uint32            `cbor:"3,keyasint,omitempty"`
	GID     uint32            `cbor:"4,keyasint,omitempty"`
	Mtime   int64             `cbor:"5,keyasint,omitempty"` // nanoseconds since 1970
	Xattrs  map[string][]byte `cbor:"6,keyasint,omitempty"`
	Hash    string            `cbor:"7,keyasint,omitempty"`  // of a file's contents; empty: they were left alone
	Target  string            `cbor:"8,keyasint,omitempty"`  // of a symlink
	Entries []named           `cbor:"9,keyasint,omitempty"`  // of a tree
	Missing []string          `cbor:"10,keyasint,omitempty"` // folders above it that were not there, the deepest first
	// Exact, of a tree: what was not in it goes.
	Exact bool `cbor:"11,keyasint,omitempty"`
}

// named is one entry of a tree. The list is flat: records do not nest as deep as folders do.
type named struct {
	Name string   `cbor:"1,keyasint"` // path from the tree's folder
	What snapshot `cbor:"2,keyasint"`
}

type kind uint8

const (
	absent kind = iota
	regular
	folder
	symlink
	tree // a folder with all that is in it
	other
	whole // nothing, and what comes is removed with all that is in it
)

// camera takes snapshots, and counts what they hold.
type camera struct {
	h        executor.Host
	contents map[string][]byte
	bytes    int64
	entries  int
	deep     bool // trees with their contents
	bare     bool // files without their contents
	stages   []string
}

var errTooMuch = fmt.Errorf("more than %d MiB or %d entries", MaxKept>>20, MaxKeptEntries)

// Capture reads what is at name: deep, with all that is in a folder; bare, a file without its contents, which are not to
// change.
func Capture(h executor.Host, name string, deep, bare bool) (executor.Undo, error) {
	c := camera{h: h, contents: map[string][]byte{}, deep: deep, bare: bare}
	s, err := c.take(name)
	if errors.Is(err, errTooMuch) {
		return executor.Undo{Why: fmt.Sprintf("%s holds %v: too much to be put back", name, errTooMuch)}, nil
	}
	if err != nil {
		return executor.Undo{}, err
	}
	if s.Missing, err = MissingParents(h, name); err != nil {
		return executor.Undo{}, err
	}
	if s.Kind == other {
		return executor.Undo{Why: name + " is a device, pipe or socket, which is not put back"}, nil
	}
	data, err := codec.Marshal(s)
	return executor.Undo{Reversible: true, Data: data, Contents: c.contents, Folders: s.Missing, Stages: c.stages}, err
}

func (c *camera) take(name string) (snapshot, error) {
	st, err := Look(c.h, name)
	if err != nil || st == nil {
		return snapshot{}, err
	}
	if c.entries++; c.entries > MaxKeptEntries {
		return snapshot{}, errTooMuch
	}
	s := snapshot{Mode: uint32(st.Mode & (fs.ModePerm | special)), UID: st.UID, GID: st.GID, Mtime: st.Mtime}
	switch {
	case st.Mode.IsRegular():
		s.Kind = regular
		err = c.file(name, st, &s)
	case st.Mode.IsDir():
		s.Kind = folder
		err = c.folder(name, &s)
	case st.Mode&fs.ModeSymlink != 0:
		s.Kind = symlink
		s.Target, err = c.h.Readlink(name)
	default:
		s.Kind = other
	}
	return s, err
}

func (c *camera) file(name string, st *executor.Stat, s *snapshot) (err error) {
	if s.Xattrs, err = c.h.Xattrs(name); err != nil || c.bare {
		return err
	}
	if c.bytes += st.Size; c.bytes > MaxKept {
		return errTooMuch
	}
	data, err := c.h.ReadFile(name)
	if err != nil {
		return err
	}
	s.Hash = HashOf(data)
	c.contents[s.Hash] = data
	return nil
}

func (c *camera) folder(name string, s *snapshot) (err error) {
	if s.Xattrs, err = c.h.Xattrs(name); err != nil || !c.deep {
		return err
	}
	s.Kind = tree
	shallow := *c
	shallow.deep = false
	defer func() { c.bytes, c.entries, c.stages = shallow.bytes, shallow.entries, shallow.stages }()
	return shallow.list(name, "", s)
}

// list adds what is in the folder rel of the tree at root.
func (c *camera) list(root, rel string, s *snapshot) error {
	names, err := c.h.ReadDir(path.Join(root, rel))
	if err != nil {
		return err
	}
	if len(names) > 0 { // what Revert puts back is staged beside it
		c.stages = append(c.stages, path.Join(root, rel, names[0]))
	}
	for _, n := range names {
		at := path.Join(rel, n)
		entry, err := c.take(path.Join(root, at))
		if err != nil {
			return err
		}
		if entry.Kind == other {
			return fmt.Errorf("%s: a device, pipe or socket in a folder that is to be removed", path.Join(root, at))
		}
		s.Entries = append(s.Entries, named{at, entry})
		if entry.Kind != folder {
			continue
		}
		if err := c.list(root, at, s); err != nil {
			return err
		}
	}
	return nil
}

// HashOf is "sha256:…" of data.
func HashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Revert puts back what Capture saw at name.
func Revert(h executor.Host, name string, u executor.Undo) error {
	var s snapshot
	if err := codec.Unmarshal(u.Data, &s); err != nil {
		return err
	}
	return s.putBack(h, name, u.Old)
}

func (s snapshot) putBack(h executor.Host, name string, old func(string) ([]byte, error)) error {
	if s.Kind != absent && len(s.Missing) == 0 {
		// Only where a removal is taken back can a folder above be gone.
		if err := MakeParents(h, name); err != nil {
			return err
		}
	}
	if err := s.restore(h, name, old); err != nil {
		return err
	}
	for _, dir := range s.Missing {
		if err := removeFolder(h, dir); err != nil {
			return err
		}
	}
	return nil
}

// removeFolder removes a folder that this run made, unless someone put something into it.
func removeFolder(h executor.Host, dir string) error {
	err := h.Remove(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}

func (s snapshot) restore(h executor.Host, name string, old func(string) ([]byte, error)) error {
	now, err := (&camera{h: h, contents: map[string][]byte{}, bare: true}).take(name)
	if errors.Is(err, syscall.ENOTDIR) {
		return nil // a folder above is something else: nothing of ours is here
	}
	if err != nil {
		return err
	}
	switch s.Kind {
	case absent:
		return s.clear(h, name, now)
	case whole:
		st, err := Look(h, name)
		if err != nil || st == nil {
			return err
		}
		return RemoveTree(h, name, st)
	case regular:
		return s.restoreFile(h, name, now, old)
	case symlink:
		return s.restoreLink(h, name, now)
	}
	if err := s.restoreFolder(h, name, now); err != nil || s.Kind == folder {
		return err
	}
	return s.restoreTree(h, name, old)
}

func (s snapshot) clear(h executor.Host, name string, now snapshot) error {
	switch now.Kind {
	case absent, other:
		return nil
	case folder:
		return removeFolder(h, name)
	}
	return h.Remove(name)
}

func (s snapshot) meta() executor.Meta {
	meta := executor.Meta{Mode: fs.FileMode(s.Mode), UID: s.UID, GID: s.GID, Xattrs: s.Xattrs}
	if s.Kind != folder {
		meta.Mtime = time.Unix(0, s.Mtime)
	}
	if meta.Xattrs == nil {
		meta.Xattrs = map[string][]byte{}
	}
	return meta
}

func (s snapshot) restoreFile(h executor.Host, name string, now snapshot, old func(string) ([]byte, error)) error {
	if now.Kind == regular {
		same, err := s.holds(h, name)
		if err != nil {
			return err
		}
		now.Hash = s.Hash
		switch {
		case same && reflect.DeepEqual(s.bare(), now.bare()):
			return nil
		case same:
			return h.SetMeta(name, s.meta())
		}
	}
	if s.Hash == "" {
		return fmt.Errorf("%s: its contents were not to change, and are gone", name)
	}
	if now.Kind == folder {
		if err := h.Remove(name); err != nil {
			return err
		}
	}
	data, err := old(s.Hash)
	if err != nil {
		return err
	}
	staged, err := h.Stage(name, data, s.meta())
	if err != nil {
		return err
	}
	return h.Rename(staged, name)
}

// bare is a snapshot without where it stood.
func (s snapshot) bare() snapshot {
	s.Missing = nil
	return s
}

// holds says whether the file has the contents of the snapshot.
func (s snapshot) holds(h executor.Host, name string) (bool, error) {
	if s.Hash == "" {
		return true, nil
	}
	st, err := h.Lstat(name)
	if err != nil {
		return false, err
	}
	hash, err := h.Hash(name, st)
	return hash == s.Hash, err
}

func (s snapshot) restoreLink(h executor.Host, name string, now snapshot) error {
	if now.Kind == folder {
		if err := h.Remove(name); err != nil {
			return err
		}
	}
	if now.Kind != symlink || now.Target != s.Target {
		if err := h.Symlink(s.Target, name); err != nil {
			return err
		}
	} else if now.Mtime == s.Mtime && now.UID == s.UID && now.GID == s.GID {
		return nil
	}
	return h.SetMeta(name, s.meta())
}

func (s snapshot) restoreFolder(h executor.Host, name string, now snapshot) error {
	if now.Kind == folder {
		if now.Mode == s.Mode && now.UID == s.UID && now.GID == s.GID && reflect.DeepEqual(now.Xattrs, s.Xattrs) {
			return nil
		}
		return h.SetMeta(name, s.meta())
	}
	if now.Kind != absent {
		if err := h.Remove(name); err != nil {
			return err
		}
	}
	return h.Mkdir(name, s.meta())
}

// restoreTree puts back what was in a folder, and then the times of the folders: what is put into one changes its time.
func (s snapshot) restoreTree(h executor.Host, name string, old func(string) ([]byte, error)) error {
	if s.Exact {
		if err := s.removeOthers(h, name, ""); err != nil {
			return err
		}
	}
	for _, e := range s.Entries {
		if err := e.What.restore(h, path.Join(name, e.Name), old); err != nil {
			return err
		}
	}
	for _, e := range slices.Backward(s.Entries) {
		if e.What.Kind != folder {
			continue
		}
		if err := e.What.restoreTime(h, path.Join(name, e.Name)); err != nil {
			return err
		}
	}
	return s.restoreTime(h, name)
}

// removeOthers removes what is in the folder rel of a tree and was not there.
func (s snapshot) removeOthers(h executor.Host, root, rel string) error {
	names, err := h.ReadDir(path.Join(root, rel))
	if err != nil {
		return err
	}
	for _, n := range names {
		at := path.Join(rel, n)
		st, err := Look(h, path.Join(root, at))
		if err != nil || st == nil {
			return err
		}
		known := slices.IndexFunc(s.Entries, func(e named) bool { return e.Name == at })
		switch {
		case known < 0 || st.Mode.IsDir() && s.Entries[known].What.Kind != folder:
			err = RemoveTree(h, path.Join(root, at), st)
		case st.Mode.IsDir():
			err = s.removeOthers(h, root, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s snapshot) restoreTime(h executor.Host, name string) error {
	st, err := h.Lstat(name)
	if err != nil || st.Mtime == s.Mtime {
		return err
	}
	meta := s.meta()
	meta.Mtime = time.Unix(0, s.Mtime)
	return h.SetMeta(name, meta)
}

// RemoveTree removes what is at name and below it.
func RemoveTree(h executor.Host, name string, st *executor.Stat) error {
	if st.Mode.IsDir() {
		names, err := h.ReadDir(name)
		if err != nil {
			return err
		}
		for _, n := range slices.Backward(names) {
			child := path.Join(name, n)
			st, err := Look(h, child)
			if err != nil {
				return err
			}
			if st == nil {
				continue
			}
			if err := RemoveTree(h, child, st); err != nil {
				return err
			}
		}
	}
	return h.Remove(name)
}

// RevertDiff says for a plan what Revert would put back.
func RevertDiff(h executor.Host, name string, u executor.Undo) string {
	var s snapshot
	if codec.Unmarshal(u.Data, &s) != nil {
		return ""
	}
	now, err := Look(h, name)
	if err != nil {
		return ""
	}
	if now == nil && s.Kind == absent {
		return name + " is gone already\n"
	}
	if s.Kind == absent {
		return fmt.Sprintf("remove %s %s\n", KindName(now.Mode), name)
	}
	if s.Kind != regular || s.Hash == "" || now == nil || !now.Mode.IsRegular() || now.Size > MaxKept {
		return fmt.Sprintf("put back what was at %s\n", name)
	}
	before, err := u.Old(s.Hash)
	if err != nil {
		return ""
	}
	data, err := h.ReadFile(name)
	if err != nil {
		return ""
	}
	diff := executor.TextDiff(name, data, before)
	mode := fs.FileMode(s.Mode)
	return diff + Wanted{Mode: &mode}.Diff(*now)
}
