package hostfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"shoal/executor"
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
	ID   string // letters and digits
}

// Folder holds the version.
func (v Version) Folder() string { return path.Join(v.versions(), v.ID) }

// Partial is where it is made.
func (v Version) Partial() string { return path.Join(v.versions(), "."+v.ID+".partial") }

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

// Capture keeps the symlink. A version that is not there yet goes with all that is in it.
func (v Version) Capture(h executor.Host) (executor.Undo, error) {
	_, made, err := v.State(h)
	if err != nil {
		return executor.Undo{}, err
	}
	items := []Item{{Path: v.Path}}
	if !made {
		items = append(items, Item{Path: v.Folder(), Whole: true, Deep: true}, Item{Path: v.Partial(), Whole: true, Deep: true})
	}
	return CaptureAll(h, items)
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
