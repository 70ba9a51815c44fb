// Package user is the module user: rows of the user database, and the home of a new one.
package user

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/states"
)

// homeMode is that of a home made here: what a person keeps there is theirs.
const homeMode = fs.ModeDir | 0o700

// noHome is the home of a user that is to have none, by the convention of the distributions.
const noHome = "/nonexistent"

// Modules are the functions of this package.
func Modules() []executor.Module { return []executor.Module{present{}, absent{}} }

type present struct{}

func (present) Function() states.Function {
	return states.Function{
		Module: "user", Name: "present",
		Doc: "A user exists as described. What is not given is chosen for a new user, and left alone for an old one. A new user has no password and cannot log in with one, unless password says so.",
		Params: []states.Param{
			{Name: "name", Type: states.String, Required: true, Provides: states.ResourceUser, Doc: "Name of the user."},
			{Name: "uid", Type: states.Int, Doc: "Its number. Files that it owned keep the old one."},
			{Name: "gid", Type: states.Int, Doc: "Number of its primary group, which has to exist. Without gid and group, a new user gets the group of its own name, made when there is none."},
			{Name: "group", Type: states.String, Needs: states.ResourceGroup, Doc: "Name of its primary group, in place of gid."},
			{Name: "groups", Type: states.Strings, Needs: states.ResourceGroup, Doc: "Its other groups: these and no more, unless remove_groups is false."},
			{Name: "remove_groups", Type: states.Bool, Default: true, Doc: "Take it out of groups that groups does not name."},
			{Name: "home", Type: states.Path, Doc: "Its home. For a new user: /home/NAME, or " + noHome + " for a system user."},
			{Name: "create_home", Type: states.Bool, Default: true, Doc: "Make the home when it is missing: empty, the user's own, mode 0700."},
			{Name: "shell", Type: states.Path, Doc: "Its shell. For a new user: /bin/bash, or /usr/sbin/nologin for a system user."},
			{Name: "gecos", Type: states.String, Doc: "Its full name, or what else is to stand in that field."},
			{Name: "password", Type: states.String, Doc: "The hash of its password, as openssl passwd -6 prints it; \"!\" for none. A plan shows that it changes, not what it is."},
			{Name: "locked", Type: states.Bool, Doc: "Whether its password is locked: no one logs in with it, and keys still work. One without a password stays without."},
			{Name: "expires", Type: states.String, Doc: "The day from which it cannot log in any more, such as 2030-12-31, or never."},
			{Name: "system", Type: states.Bool, Default: false, Doc: "Choose a new user's number from the range of the system (100 to 999)."},
		},
		Outputs: []states.Output{
			{Name: "uid", Type: states.Int, Doc: "The number of the user."},
			{Name: "gid", Type: states.Int, Doc: "The number of its primary group."},
			{Name: "home", Type: states.Path, Doc: "Its home."},
		},
		Example: `ann:
  user.present: {name: ann, groups: [sudo, adm], shell: /bin/bash}`,
		CheckDoc: "Reads the user and group databases and compares what is given; one lstat for the home.",
		UndoDoc:  "A user that was made is removed, and its own group where that was made with it; rows that were changed are put back. A home is never deleted.",
		Validate: validate,
	}
}

func validate(params map[string]any) error {
	p := executor.Params(params)
	for _, field := range []string{"uid", "gid"} {
		if id, ok := p.Int(field); ok && (id < 0 || id >= math.MaxUint32) {
			return fmt.Errorf("%s %d is not between 0 and %d", field, id, uint32(math.MaxUint32)-1)
		}
	}
	if uid, ok := p.Int("uid"); ok && uid == 0 && p.String("name") != "root" {
		return errors.New("uid 0 belongs to root")
	}
	if _, ok := p.Int("gid"); ok && p.String("group") != "" {
		return errors.New("give gid or group, not both")
	}
	return validatePassword(p)
}

func (present) Check(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	old, existed, err := h.LookupUser(p.String("name"))
	if err != nil {
		return executor.Change{}, err
	}
	want, missing, err := wanted(h, old, existed, p)
	if err != nil {
		return executor.Change{}, err
	}
	diff := rowDiff(old, want, existed, p)
	if managesShadow(p) {
		if existed && old.Shadow == "" {
			return executor.Change{}, fmt.Errorf("user %s: its password cannot be read here", old.Name)
		}
		shadow, err := wantedShadow(old.Shadow, p)
		if err != nil {
			return executor.Change{}, err
		}
		diff += shadowDiff(old.Shadow, shadow)
	}
	home, err := homeMissing(h, want.Home, p)
	if err != nil {
		return executor.Change{}, err
	}
	if home {
		diff += fmt.Sprintf("home %s: absent -> made\n", want.Home)
	}
	if missing != nil {
		diff += fmt.Sprintf("%s yet\n", missing)
	}
	change := executor.Change{Needed: diff != "", Diff: diff}
	if existed {
		change.Outputs = outputs(want)
	}
	return change, missing
}

// wanted is the row as it is to be. Ids of a new user that are to be chosen stay 0. missing names a group that is not
// there.
func wanted(h executor.Host, old executor.User, existed bool, p executor.Params) (want executor.User, missing error, err error) {
	want = old
	want.Name = p.String("name")
	want.System, _ = p.Bool("system")
	if !existed {
		setDefaults(&want)
	}
	if uid, ok := p.Int("uid"); ok {
		want.UID = uint32(uid)
	}
	setString(&want.Home, p.String("home"))
	setString(&want.Shell, p.String("shell"))
	if gecos, ok := p["gecos"].(string); ok {
		want.Gecos = gecos
	}
	missing, err = setGroups(h, &want, p)
	return want, missing, err
}

func setDefaults(u *executor.User) {
	u.Home, u.Shell = "/home/"+u.Name, "/bin/bash"
	if u.System {
		u.Home, u.Shell = noHome, "/usr/sbin/nologin"
	}
}

func setString(field *string, value string) {
	if value != "" {
		*field = value
	}
}

// setGroups fills in the primary group and the others, and returns a Missing for the first that does not exist.
func setGroups(h executor.Host, u *executor.User, p executor.Params) (missing, err error) {
	if gid, ok := p.Int("gid"); ok {
		u.GID = uint32(gid)
		_, there, err := h.GroupByID(u.GID)
		if err != nil {
			return nil, err
		}
		if !there {
			missing = &executor.Missing{Kind: states.ResourceGroup, Name: fmt.Sprint(gid)}
		}
	}
	if name := p.String("group"); name != "" {
		g, there, err := h.LookupGroup(name)
		if err != nil {
			return nil, err
		}
		if there {
			u.GID = g.GID
		} else {
			missing = &executor.Missing{Kind: states.ResourceGroup, Name: name}
		}
	}
	groups, given := p.Strings("groups")
	if !given {
		return missing, nil
	}
	for _, name := range groups {
		_, there, err := h.LookupGroup(name)
		if err != nil {
			return nil, err
		}
		if !there && missing == nil {
			missing = &executor.Missing{Kind: states.ResourceGroup, Name: name}
		}
	}
	if remove, ok := p.Bool("remove_groups"); ok && !remove {
		groups = append(slices.Clone(groups), u.Groups...)
	}
	u.Groups = slices.Clone(groups)
	slices.Sort(u.Groups)
	u.Groups = slices.Compact(u.Groups)
	return missing, nil
}

func homeMissing(h executor.Host, home string, p executor.Params) (bool, error) {
	if create, ok := p.Bool("create_home"); (ok && !create) || home == "" || home == noHome {
		return false, nil
	}
	_, err := h.Lstat(home)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

func (present) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	old, existed, err := h.LookupUser(p.String("name"))
	if err != nil {
		return nil, err
	}
	want, missing, err := wanted(h, old, existed, p)
	if err == nil {
		err = missing
	}
	if err != nil {
		return nil, err
	}
	if rowDiff(old, want, existed, p) != "" {
		if err := put(ctx, h, want, existed, p); err != nil {
			return nil, err
		}
	}
	row, ok, err := h.LookupUser(want.Name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("user %s is not there after it was written", want.Name)
	}
	if err := putShadow(ctx, h, row, p); err != nil {
		return nil, err
	}
	if home, err := homeMissing(h, row.Home, p); err != nil || !home {
		return outputs(row), err
	}
	return outputs(row), makeHome(h, row)
}

// put writes the row. A zero gid of a new user asks Accounts to choose, so that one of the primary group 0 takes a second
// write.
func put(ctx context.Context, h executor.Host, want executor.User, existed bool, p executor.Params) error {
	if err := h.PutUser(ctx, want); err != nil {
		return err
	}
	if existed || want.GID != 0 || !primaryGiven(p) {
		return nil
	}
	made, _, err := h.LookupUser(want.Name)
	if err != nil {
		return err
	}
	made.GID = 0
	return h.PutUser(ctx, made)
}

// putShadow is a second write, because a new user's row of shadow is the host's to begin. Until then it has no password.
func putShadow(ctx context.Context, h executor.Host, row executor.User, p executor.Params) error {
	if !managesShadow(p) {
		return nil
	}
	if row.Shadow == "" {
		return fmt.Errorf("user %s: this machine keeps no password for it", row.Name)
	}
	shadow, err := wantedShadow(row.Shadow, p)
	if err != nil || shadow == row.Shadow {
		return err
	}
	row.Shadow = shadow
	return h.PutUser(ctx, row)
}

func primaryGiven(p executor.Params) bool {
	_, gid := p.Int("gid")
	return gid || p.String("group") != ""
}

// makeHome makes the folders above the home as root's, and the home as the user's own.
func makeHome(h executor.Host, u executor.User) error {
	var above []string
	for dir := path.Dir(u.Home); dir != "/" && dir != "."; dir = path.Dir(dir) {
		_, err := h.Lstat(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		above = append(above, dir)
	}
	slices.Reverse(above)
	for _, dir := range above {
		if err := h.Mkdir(dir, executor.Meta{Mode: fs.ModeDir | 0o755}); err != nil {
			return err
		}
	}
	return h.Mkdir(u.Home, executor.Meta{Mode: homeMode, UID: u.UID, GID: u.GID})
}

// before is what Revert needs. Undo never touches the home.
type before struct {
	Existed      bool     `cbor:"1,keyasint"`
	GroupExisted bool     `cbor:"2,keyasint"` // the group of the user's own name
	GroupGID     uint32   `cbor:"9,keyasint"`
	UID          uint32   `cbor:"3,keyasint"`
	GID          uint32   `cbor:"4,keyasint"`
	Gecos        string   `cbor:"5,keyasint"`
	Home         string   `cbor:"6,keyasint"`
	Shell        string   `cbor:"7,keyasint"`
	Groups       []string `cbor:"8,keyasint"`
	Shadow       string   `cbor:"10,keyasint"`
	After        string   `cbor:"11,keyasint,omitempty"`
	GroupAfter   string   `cbor:"12,keyasint,omitempty"`
	// Memberships are Groups with their rows, should the user have to be made again.
	Memberships []membership `cbor:"13,keyasint,omitempty"`
}

func (present) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(h, p.String("name"))
}

func capture(h executor.Host, name string) (executor.Undo, error) {
	u, existed, err := h.LookupUser(name)
	if err != nil {
		return executor.Undo{}, err
	}
	g, groupExisted, err := h.LookupGroup(name)
	if err != nil {
		return executor.Undo{}, err
	}
	memberships, err := membershipsOf(h, u)
	if err != nil {
		return executor.Undo{}, err
	}
	data, err := codec.Marshal(before{
		Existed: existed, GroupExisted: groupExisted, GroupGID: g.GID,
		UID: u.UID, GID: u.GID, Gecos: u.Gecos, Home: u.Home, Shell: u.Shell, Groups: u.Groups, Shadow: u.Shadow,
		After: u.After, GroupAfter: g.After, Memberships: memberships,
	})
	return executor.Undo{Reversible: true, Data: data, Stages: []string{"/etc/passwd"}}, err
}

func (present) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	var old before
	if err := codec.Unmarshal(u.Data, &old); err != nil {
		return err
	}
	name := p.String("name")
	if old.Existed {
		return restore(ctx, h, p, old)
	}
	if err := h.RemoveUser(ctx, name); err != nil {
		return err
	}
	if old.GroupExisted || primaryGiven(p) {
		return nil
	}
	return h.RemoveGroup(ctx, name)
}

func restore(ctx context.Context, h executor.Host, p executor.Params, old before) error {
	name := p.String("name")
	was := executor.User{
		Name: name, After: old.After, UID: old.UID, GID: old.GID, Gecos: old.Gecos, Home: old.Home, Shell: old.Shell, Groups: old.Groups,
	}
	now, ok, err := h.LookupUser(name)
	if err != nil {
		return err
	}
	if ok {
		was.Shadow = oldShadow(now.Shadow, old.Shadow, p)
	}
	if ok && now.Shadow == was.Shadow && now.UID == was.UID && now.GID == was.GID && now.Gecos == was.Gecos && now.Home == was.Home &&
		now.Shell == was.Shell && slices.Equal(now.Groups, was.Groups) {
		return restoreMemberships(ctx, h, old.Memberships)
	}
	if ok {
		err = h.PutUser(ctx, was)
	} else {
		err = remake(ctx, h, was, old)
	}
	if err != nil {
		return err
	}
	return restoreMemberships(ctx, h, old.Memberships)
}

// remake brings back a user who is gone altogether: its own group first, and its password.
func remake(ctx context.Context, h executor.Host, was executor.User, old before) error {
	_, there, err := h.LookupGroup(was.Name)
	if err != nil {
		return err
	}
	if old.GroupExisted && !there {
		if err := h.PutGroup(ctx, executor.Group{Name: was.Name, GID: old.GroupGID, After: old.GroupAfter}); err != nil {
			return err
		}
	}
	was.Shadow = old.Shadow
	return h.PutUser(ctx, was)
}

func outputs(u executor.User) map[string]any {
	return map[string]any{"uid": int64(u.UID), "gid": int64(u.GID), "home": u.Home}
}
