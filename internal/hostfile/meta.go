package hostfile

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

// The modes of what is made and says nothing else.
const (
	DefaultFileMode   fs.FileMode = 0o644
	DefaultFolderMode fs.FileMode = 0o755
)

// special are the bits of a mode beside type and permissions.
const special = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// PathParam is the parameter path of a function that looks after one.
func PathParam(doc string) states.Param {
	return states.Param{Name: "path", Type: states.Path, Required: true, Provides: states.ResourcePath, Doc: doc}
}

// MetaParams are the parameters mode, owner and group; mode says which mode is the default.
func MetaParams(mode string) []states.Param {
	return []states.Param{
		{Name: "mode", Type: states.Mode, Doc: "permissions, an octal string; " + mode},
		{Name: "owner", Type: states.String, Needs: states.ResourceUser, Doc: "user name or number; left as it is when not given, root's for what is new"},
		{Name: "group", Type: states.String, Needs: states.ResourceGroup, Doc: "group name or number; left as it is when not given, root's for what is new"},
	}
}

// Wanted is the owner and mode that parameters ask for; nil is not asked for.
type Wanted struct {
	Mode     *fs.FileMode
	UID, GID *uint32
	Missing  error // an owner or group that does not exist (yet)
	Owner    string
	Group    string
}

// WantedMeta reads what MetaParams describe.
func WantedMeta(h executor.Host, p executor.Params) (Wanted, error) {
	var w Wanted
	if s, ok := p["mode"].(string); ok {
		mode, err := ParseMode(s)
		if err != nil {
			return w, err
		}
		w.Mode = &mode
	}
	var err error
	w.Owner, _ = p["owner"].(string)
	w.Group, _ = p["group"].(string)
	if w.Owner != "" {
		if w.UID, err = userID(h, w.Owner); err != nil {
			return w, err
		}
		if w.UID == nil {
			w.Missing = &executor.Missing{Kind: states.ResourceUser, Name: w.Owner}
		}
	}
	if w.Group != "" {
		if w.GID, err = groupID(h, w.Group); err != nil {
			return w, err
		}
		if w.GID == nil && w.Missing == nil {
			w.Missing = &executor.Missing{Kind: states.ResourceGroup, Name: w.Group}
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

// FormatMode is the octal form that ParseMode reads.
func FormatMode(mode fs.FileMode) string {
	bits := uint32(mode.Perm())
	for i, bit := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if mode&bit != 0 {
			bits |= 0o1000 << i
		}
	}
	return fmt.Sprintf("%04o", bits)
}

// Diff lists what is asked for and is not so.
func (w Wanted) Diff(st executor.Stat) string {
	var b strings.Builder
	if have := st.Mode & (fs.ModePerm | special); w.Mode != nil && have != *w.Mode {
		fmt.Fprintf(&b, "mode: %s -> %s\n", FormatMode(have), FormatMode(*w.Mode))
	}
	if w.Owner != "" && (w.UID == nil || *w.UID != st.UID) {
		fmt.Fprintf(&b, "owner: %d -> %s\n", st.UID, w.Owner)
	}
	if w.Group != "" && (w.GID == nil || *w.GID != st.GID) {
		fmt.Fprintf(&b, "group: %d -> %s\n", st.GID, w.Group)
	}
	return b.String()
}

// Created describes the meta of something new.
func (w Wanted) Created(what string, mode fs.FileMode) string {
	if w.Mode != nil {
		mode = *w.Mode
	}
	s := fmt.Sprintf("new %s, mode %s", what, FormatMode(mode))
	if w.Owner != "" {
		s += ", owner " + w.Owner
	}
	if w.Group != "" {
		s += ", group " + w.Group
	}
	return s + "\n"
}

// Over puts what is asked for over what is there; nil is nothing.
func (w Wanted) Over(st *executor.Stat, mode fs.FileMode, self IDs) executor.Meta {
	meta := executor.Meta{Mode: mode, UID: self.UID, GID: self.GID}
	if st != nil {
		meta = executor.Meta{Mode: st.Mode & (fs.ModePerm | special), UID: st.UID, GID: st.GID}
	}
	if w.Mode != nil {
		meta.Mode = *w.Mode
	}
	if w.UID != nil {
		meta.UID = *w.UID
	}
	if w.GID != nil {
		meta.GID = *w.GID
	}
	return meta
}

// IDs is who owns what is made.
type IDs struct{ UID, GID uint32 }

// Self is the user that the host works as.
func Self(h executor.Host) IDs {
	uid, gid := h.Self()
	return IDs{uid, gid}
}

// Look returns what is at a path; nil when nothing is.
func Look(h executor.Host, name string) (*executor.Stat, error) {
	st, err := h.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &st, nil
}

// Writable says why nothing may be written at name. It is part of Check: a plan must not promise what Apply will refuse.
func Writable(h executor.Host, name string) error {
	if _, err := h.Readlink(name); errors.Is(err, executor.ErrUnsafePath) || errors.Is(err, syscall.ELOOP) {
		return err
	}
	return nil
}

// MakeParents makes the folders above name.
func MakeParents(h executor.Host, name string) error {
	missing, err := MissingParents(h, name)
	if err != nil {
		return err
	}
	me := Self(h)
	for i := len(missing) - 1; i >= 0; i-- {
		err := h.Mkdir(missing[i], executor.Meta{Mode: DefaultFolderMode, UID: me.UID, GID: me.GID})
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// MissingParents lists the folders above name that are not there, the deepest first. A symlink counts as being there:
// where it leads is the host's to follow or to refuse.
func MissingParents(h executor.Host, name string) ([]string, error) {
	var missing []string
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		st, err := Look(h, dir)
		if err != nil && !errors.Is(err, syscall.ENOTDIR) {
			return nil, err
		}
		if st != nil {
			break
		}
		missing = append(missing, dir) // where a file stands above it, it is not there either
	}
	return missing, nil
}

// KindName says what a mode is, for people.
func KindName(mode fs.FileMode) string {
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

// PathOf reads the parameter path.
func PathOf(p executor.Params) (string, error) {
	name, _ := p["path"].(string)
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		return "", fmt.Errorf("path %q: not a clean absolute path of something below /", name)
	}
	return name, nil
}
