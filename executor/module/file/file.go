// Package file holds the functions that make files, folders and symlinks what they should be: managed, directory, symlink
// and absent. None of them changes a file in place, and each puts back what was there.
package file

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"

	"shoal/executor"
	"shoal/states"
)

// Modules are all functions of this package.
func Modules() []executor.Module {
	return []executor.Module{Managed{}, Directory{}, Symlink{}, Absent{}}
}

// The modes of what is made and says nothing else.
const (
	fileMode   fs.FileMode = 0o644
	folderMode fs.FileMode = 0o755
)

// special are the bits of a mode beside type and permissions.
const special = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// The parameters that several functions have.
func pathParam(doc string) states.Param {
	return states.Param{Name: "path", Type: states.Path, Required: true, Provides: states.ResourcePath, Doc: doc}
}

func metaParams(mode string) []states.Param {
	return []states.Param{
		{Name: "mode", Type: states.Mode, Doc: "permissions, an octal string; " + mode},
		{Name: "owner", Type: states.String, Needs: states.ResourceUser, Doc: "user name or number; left as it is when not given, root's for what is new"},
		{Name: "group", Type: states.String, Needs: states.ResourceGroup, Doc: "group name or number; left as it is when not given, root's for what is new"},
	}
}

// wanted is the owner and mode that parameters ask for; nil is not asked for.
type wanted struct {
	mode     *fs.FileMode
	uid, gid *uint32
	missing  error // an owner or group that does not exist (yet)
	owner    string
	group    string
}

func wantedMeta(h executor.Host, p executor.Params) (wanted, error) {
	var w wanted
	if s, ok := p["mode"].(string); ok {
		mode, err := ParseMode(s)
		if err != nil {
			return w, err
		}
		w.mode = &mode
	}
	var err error
	w.owner, _ = p["owner"].(string)
	w.group, _ = p["group"].(string)
	if w.owner != "" {
		if w.uid, err = userID(h, w.owner); err != nil {
			return w, err
		}
		if w.uid == nil {
			w.missing = &executor.Missing{Kind: states.ResourceUser, Name: w.owner}
		}
	}
	if w.group != "" {
		if w.gid, err = groupID(h, w.group); err != nil {
			return w, err
		}
		if w.gid == nil && w.missing == nil {
			w.missing = &executor.Missing{Kind: states.ResourceGroup, Name: w.group}
		}
	}
	return w, nil
}

func userID(h executor.Host, name string) (*uint32, error) {
	if id, ok := number(name); ok {
		return &id, nil
	}
	u, ok, err := h.LookupUser(name)
	if err != nil || !ok {
		return nil, err
	}
	return &u.UID, nil
}

func groupID(h executor.Host, name string) (*uint32, error) {
	if id, ok := number(name); ok {
		return &id, nil
	}
	g, ok, err := h.LookupGroup(name)
	if err != nil || !ok {
		return nil, err
	}
	return &g.GID, nil
}

func number(s string) (uint32, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	id, err := strconv.ParseUint(s, 10, 32)
	return uint32(id), err == nil
}

// ParseMode reads an octal mode such as "0644" or "2755".
func ParseMode(s string) (fs.FileMode, error) {
	bits, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || bits > 0o7777 {
		return 0, fmt.Errorf("mode %q: not an octal mode", s)
	}
	mode := fs.FileMode(bits & 0o777)
	for i, bit := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if bits&(0o1000<<i) != 0 {
			mode |= bit
		}
	}
	return mode, nil
}

func formatMode(mode fs.FileMode) string {
	bits := uint32(mode.Perm())
	for i, bit := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if mode&bit != 0 {
			bits |= 0o1000 << i
		}
	}
	return fmt.Sprintf("%04o", bits)
}

// diff lists what is asked for and is not so.
func (w wanted) diff(st executor.Stat) string {
	var b strings.Builder
	if have := st.Mode & (fs.ModePerm | special); w.mode != nil && have != *w.mode {
		fmt.Fprintf(&b, "mode: %s -> %s\n", formatMode(have), formatMode(*w.mode))
	}
	if w.owner != "" && (w.uid == nil || *w.uid != st.UID) {
		fmt.Fprintf(&b, "owner: %d -> %s\n", st.UID, w.owner)
	}
	if w.group != "" && (w.gid == nil || *w.gid != st.GID) {
		fmt.Fprintf(&b, "group: %d -> %s\n", st.GID, w.group)
	}
	return b.String()
}

// created describes the meta of something new.
func (w wanted) created(what string, mode fs.FileMode) string {
	if w.mode != nil {
		mode = *w.mode
	}
	s := fmt.Sprintf("new %s, mode %s", what, formatMode(mode))
	if w.owner != "" {
		s += ", owner " + w.owner
	}
	if w.group != "" {
		s += ", group " + w.group
	}
	return s + "\n"
}

// over puts what is asked for over what is there; nil is nothing.
func (w wanted) over(st *executor.Stat, mode fs.FileMode, self ids) executor.Meta {
	meta := executor.Meta{Mode: mode, UID: self.uid, GID: self.gid}
	if st != nil {
		meta = executor.Meta{Mode: st.Mode & (fs.ModePerm | special), UID: st.UID, GID: st.GID}
	}
	if w.mode != nil {
		meta.Mode = *w.mode
	}
	if w.uid != nil {
		meta.UID = *w.uid
	}
	if w.gid != nil {
		meta.GID = *w.gid
	}
	return meta
}

// ids is who owns what is made: the user that the host works as.
type ids struct{ uid, gid uint32 }

func self(h executor.Host) ids {
	uid, gid := h.Self()
	return ids{uid, gid}
}

// look returns what is at a path; nil when nothing is.
func look(h executor.Host, name string) (*executor.Stat, error) {
	st, err := h.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &st, nil
}

// writable says why nothing may be written at name. It is part of Check: a plan must not promise what Apply will refuse.
func writable(h executor.Host, name string) error {
	if _, err := h.Readlink(name); errors.Is(err, executor.ErrUnsafePath) || errors.Is(err, syscall.ELOOP) {
		return err
	}
	return nil
}

// makeParents makes the folders above name.
func makeParents(h executor.Host, name string) error {
	missing, err := missingParents(h, name)
	if err != nil {
		return err
	}
	me := self(h)
	for i := len(missing) - 1; i >= 0; i-- {
		err := h.Mkdir(missing[i], executor.Meta{Mode: folderMode, UID: me.uid, GID: me.gid})
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// missingParents lists the folders above name that are not there, the deepest first. A symlink counts as being there:
// where it leads is the host's to follow or to refuse.
func missingParents(h executor.Host, name string) ([]string, error) {
	var missing []string
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		st, err := look(h, dir)
		if err != nil {
			return nil, err
		}
		if st != nil {
			break
		}
		missing = append(missing, dir)
	}
	return missing, nil
}

func kindName(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symlink"
	}
	return "a " + mode.Type().String() + " device, pipe or socket"
}

func pathOf(p executor.Params) (string, error) {
	name, _ := p["path"].(string)
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		return "", fmt.Errorf("path %q: not a clean absolute path of something below /", name)
	}
	return name, nil
}
