package hostfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"shoal/executor"
	"shoal/internal/codec"
)

// Version is one state of a whole folder: a folder of its own, which the symlink Path points to. Going from one version to
// another is one rename of that symlink, in either direction:
//
//	/srv/app -> app.versions/3f2a91c04d77
//	/srv/app.versions/3f2a91c04d77/…
//
// A version is made under another name and takes its own when it is whole, so that one that is there is complete.
type Version struct {
	Path string
	ID   string // 16 to 64 hexadecimal digits
}

// Folder holds the version.
func (v Version) Folder() string { return path.Join(v.versions(), v.ID) }

// Partial is where it is made. One run at a time works on a machine, so that there is one.
func (v Version) Partial() string { return path.Join(v.versions(), partial) }

const partial = ".partial"

func (v Version) versions() string { return v.Path + ".versions" }

// target is what the symlink holds.
func (v Version) target() string { return path.Join(path.Base(v.versions()), v.ID) }

// State says what the symlink points to ("": there is none), and whether the version is there.
func (v Version) State(h executor.Host) (current string, made bool, err error) {
	st, err := Look(h, v.Path)
	switch {
	case err != nil:
		return "", false, err
	case st != nil && st.Mode&fs.ModeSymlink == 0:
		return "", false, fmt.Errorf("%s is %s, and has to be a symlink to its version: move it away first", v.Path, KindName(st.Mode))
	case st != nil:
		if current, err = h.Readlink(v.Path); err != nil {
			return "", false, err
		}
	}
	st, err = Look(h, v.Folder())
	return current, st != nil && st.Mode.IsDir(), err
}

// Change compares; source says where a version that is not there comes from.
func (v Version) Change(h executor.Host, source string) (executor.Change, error) {
	current, made, err := v.State(h)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Needed: current != v.target() || !made}
	change.Outputs = v.Outputs(change.Needed)
	if !change.Needed {
		return change, nil
	}
	if !made {
		change.Diff = source + "\n"
	}
	switch current {
	case v.target():
	case "":
		change.Diff += fmt.Sprintf("new symlink %s to %s\n", v.Path, v.target())
	default:
		change.Diff += fmt.Sprintf("%s: %s -> %s\n", v.Path, current, v.target())
	}
	return change, Writable(h, v.Path)
}

// Outputs of a module whose result is a version; the module declares them.
func (v Version) Outputs(changed bool) map[string]any {
	return map[string]any{"path": v.Path, "version": v.ID, "folder": v.Folder(), "changed": changed}
}

// versionUndo is what was there: the symlink, and the versions beside it. What a version is called may be known only when
// it is made (a branch moves), so that an undo goes by what was there before.
type versionUndo struct {
	Versions string   `cbor:"1,keyasint"` // the folder that holds them
	Names    []string `cbor:"2,keyasint"`
	Set      []byte   `cbor:"3,keyasint"` // of CaptureAll
}

// Capture keeps the symlink, and which versions there are.
func (v Version) Capture(h executor.Host) (executor.Undo, error) {
	if _, _, err := v.State(h); err != nil {
		return executor.Undo{}, err
	}
	names, err := versionNames(h, v.versions())
	if err != nil {
		return executor.Undo{}, err
	}
	u, err := CaptureAll(h, []Item{{Path: v.Path}, {Path: v.versions()}})
	if err != nil || !u.Reversible {
		return u, err
	}
	u.Data, err = codec.Marshal(versionUndo{Versions: v.versions(), Names: names, Set: u.Data})
	return u, err
}

var versionName = regexp.MustCompile(`^(\.partial|[0-9a-f]{16,64})$`)

// versionNames lists the versions of a folder, and nothing that somebody else put there.
func versionNames(h executor.Host, dir string) ([]string, error) {
	names, err := h.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return !versionName.MatchString(name) }), err
}

// RevertVersion puts the symlink back and removes the versions that came since.
func RevertVersion(h executor.Host, u executor.Undo) error {
	var old versionUndo
	if err := codec.Unmarshal(u.Data, &old); err != nil {
		return err
	}
	names, err := versionNames(h, old.Versions)
	if err != nil {
		return err
	}
	// The symlink first: a version that is in use goes after it.
	if err := RevertAll(h, executor.Undo{Data: old.Set, Old: u.Old}); err != nil {
		return err
	}
	for _, name := range names {
		if slices.Contains(old.Names, name) {
			continue
		}
		full := path.Join(old.Versions, name)
		st, err := Look(h, full)
		if err != nil || st == nil {
			return err
		}
		if err := RemoveTree(h, full, st); err != nil {
			return err
		}
	}
	return RevertAll(h, executor.Undo{Data: old.Set, Old: u.Old}) // the folders are empty now
}

// RevertVersionDiff says for a plan what RevertVersion would do.
func RevertVersionDiff(h executor.Host, u executor.Undo) string {
	var old versionUndo
	if codec.Unmarshal(u.Data, &old) != nil {
		return ""
	}
	diff := RevertAllDiff(h, executor.Undo{Data: old.Set})
	names, err := versionNames(h, old.Versions)
	if err != nil {
		return diff
	}
	for _, name := range names {
		if !slices.Contains(old.Names, name) {
			diff += fmt.Sprintf("remove %s\n", path.Join(old.Versions, name))
		}
	}
	return diff
}

// Owner gives all that is below a folder, and the folder, to somebody.
func Owner(h executor.Host, name string, uid, gid uint32) error {
	st, err := h.Lstat(name)
	if err != nil {
		return err
	}
	if st.UID != uid || st.GID != gid {
		if err := h.SetMeta(name, executor.Meta{Mode: st.Mode & (fs.ModePerm | special), UID: uid, GID: gid}); err != nil {
			return err
		}
	}
	if !st.Mode.IsDir() {
		return nil
	}
	names, err := h.ReadDir(name)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := Owner(h, path.Join(name, n), uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// Make has fill make the version in the folder that it is given, unless it is there, and points the symlink to it.
func (v Version) Make(h executor.Host, fill func(folder string) error) error {
	_, made, err := v.State(h)
	if err != nil {
		return err
	}
	if !made {
		if err := v.fill(h, fill); err != nil {
			return err
		}
	}
	if err := MakeParents(h, v.Path); err != nil {
		return err
	}
	return h.Symlink(v.target(), v.Path)
}

func (v Version) fill(h executor.Host, fill func(folder string) error) error {
	if st, err := Look(h, v.Partial()); err != nil {
		return err
	} else if st != nil { // of one that died, where nothing could be rolled back
		if err := RemoveTree(h, v.Partial(), st); err != nil {
			return err
		}
	}
	missing, err := MissingParents(h, v.Partial())
	if err != nil {
		return err
	}
	if err := MakeParents(h, v.Partial()); err != nil {
		return err
	}
	me := Self(h)
	if err := h.Mkdir(v.Partial(), executor.Meta{Mode: DefaultFolderMode, UID: me.UID, GID: me.GID}); err != nil {
		return err
	}
	if err := fill(v.Partial()); err != nil {
		return errors.Join(err, v.abandon(h, missing))
	}
	if err := h.SyncFiles(); err != nil {
		return err
	}
	return h.Rename(v.Partial(), v.Folder())
}

// abandon removes a version that could not be made, and the folders that were made for it.
func (v Version) abandon(h executor.Host, made []string) error {
	st, err := Look(h, v.Partial())
	if err != nil || st == nil {
		return err
	}
	if err := RemoveTree(h, v.Partial(), st); err != nil {
		return err
	}
	for _, dir := range made {
		if err := removeFolder(h, dir); err != nil {
			return err
		}
	}
	return nil
}

// ID makes the name of a version of what tells it from others.
func ID(parts ...string) string {
	return strings.TrimPrefix(HashOf([]byte(strings.Join(parts, "\x00"))), "sha256:")[:16]
}
