package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"shoal/store"
)

// Reserved is the folder of a tree that only shoal writes; Folder, in it, has the secrets.
const (
	Reserved = ".shoal"
	Folder   = Reserved + "/secrets"
	suffix   = ".sealed"
)

// PathOf is where a secret lies in a tree.
func PathOf(name string) string { return path.Join(Folder, name+suffix) }

// nameOf is the inverse of PathOf; empty for a path that is not of a secret.
func nameOf(file string) string {
	name, ok := strings.CutPrefix(file, Folder+"/")
	if !ok {
		return ""
	}
	name, ok = strings.CutSuffix(name, suffix)
	if !ok || CheckName(name) != nil {
		return ""
	}
	return name
}

// Read reads the secrets of an environment from its tree, sorted by name. A tree with a file in Folder that is not one is refused
// whole: half of what a publisher signed is not what it signed.
func Read(tree fs.FS, env string) ([]Sealed, error) {
	var all []Sealed
	err := fs.WalkDir(tree, Folder, func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && file == Folder {
			return fs.SkipAll
		}
		if err != nil || d.IsDir() {
			return err
		}
		if len(all) >= MaxSecrets {
			return fmt.Errorf("%w: more than %d in one environment", ErrSecret, MaxSecrets)
		}
		s, err := readOne(tree, file, env)
		all = append(all, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	slices.SortFunc(all, func(a, b Sealed) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func readOne(tree fs.FS, file, env string) (s Sealed, err error) {
	info, err := fs.Stat(tree, file)
	if err != nil {
		return s, err
	}
	if info.Size() > MaxSealed {
		return s, fmt.Errorf("%w: %s has %d bytes", ErrSecret, file, info.Size())
	}
	data, err := fs.ReadFile(tree, file)
	if err != nil {
		return s, err
	}
	if s, err = Decode(data); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	if s.Env != env || s.Name != nameOf(file) {
		return s, fmt.Errorf("%w: %s is said to be %s of %s", ErrSecret, file, s.Name, s.Env)
	}
	return s, nil
}

// Carry puts the reserved files of one manifest in the place of those of another: the tree of the second with the secrets of the
// first.
func Carry(from, into store.Manifest) store.Manifest {
	out := store.Manifest{Cut: into.Cut}
	for _, e := range into.Entries {
		if !IsReserved(e.Path) {
			out.Entries = append(out.Entries, e)
		}
	}
	for _, e := range from.Entries {
		if IsReserved(e.Path) {
			out.Entries = append(out.Entries, e)
		}
	}
	sortEntries(out.Entries)
	return out
}

// IsReserved tells whether a path of a tree belongs to shoal.
func IsReserved(file string) bool { return file == Reserved || strings.HasPrefix(file, Reserved+"/") }

// Replace puts a file into a manifest, or takes it out when it has no path.
func Replace(m store.Manifest, file string, entry store.Entry) store.Manifest {
	out := store.Manifest{Cut: m.Cut}
	for _, e := range m.Entries {
		if e.Path != file {
			out.Entries = append(out.Entries, e)
		}
	}
	if entry.Path != "" {
		out.Entries = append(out.Entries, entry)
	}
	sortEntries(out.Entries)
	return out
}

func sortEntries(entries []store.Entry) {
	slices.SortFunc(entries, func(a, b store.Entry) int { return strings.Compare(a.Path, b.Path) })
}
