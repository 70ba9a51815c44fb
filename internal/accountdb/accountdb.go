// Package accountdb is the user and group database in its four files (passwd(5), group(5), shadow(5), gshadow(5)): how they
// are read, what a change makes of them, and in which order they are replaced. Where they lie, and how they are read and
// written there, is behind Files.
package accountdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"shoal/executor"
)

// The ranges from which numbers are chosen, as the distributions have them in login.defs. The last regular one leaves
// those above to containers and to nobody.
const (
	firstSystemID, lastSystemID = 100, 999
	firstUserID, lastUserID     = 1000, 59999
)

// Accounts is an executor.Accounts on the four files: not through useradd, which wants a whole system there, and keeps
// neither the place of a row nor its password when a user comes back. Each change is whole new files, so that no reader ever
// sees half of one. Users of a directory service (LDAP) are not seen. It is safe for use by several goroutines.
type Accounts struct {
	files Files

	mu     sync.Mutex
	stamps [4]executor.Stat // of the four files as cached
	cache  *accountIndex
}

// accountIndex is what is in passwd and group. It is never changed once made.
type accountIndex struct {
	users  map[string]executor.User
	groups map[string]executor.Group
	byGID  map[uint32]string
}

// New returns the accounts of some files. Those that are not there count as those of a machine with root alone, and are made
// with the first change.
func New(files Files) *Accounts { return &Accounts{files: files} }

// LookupUser implements executor.Accounts.
func (a *Accounts) LookupUser(name string) (executor.User, bool, error) {
	ix, err := a.index()
	if err != nil {
		return executor.User{}, false, fmt.Errorf("look up user %s: %w", name, err)
	}
	u, ok := ix.users[name]
	u.Groups = slices.Clone(u.Groups)
	return u, ok, nil
}

// LookupGroup implements executor.Accounts.
func (a *Accounts) LookupGroup(name string) (executor.Group, bool, error) {
	ix, err := a.index()
	if err != nil {
		return executor.Group{}, false, fmt.Errorf("look up group %s: %w", name, err)
	}
	g, ok := ix.groups[name]
	g.Members = slices.Clone(g.Members)
	return g, ok, nil
}

// GroupByID implements executor.Accounts.
func (a *Accounts) GroupByID(gid uint32) (executor.Group, bool, error) {
	ix, err := a.index()
	if err != nil {
		return executor.Group{}, false, fmt.Errorf("look up group %d: %w", gid, err)
	}
	name, ok := ix.byGID[gid]
	if !ok {
		return executor.Group{}, false, nil
	}
	return a.LookupGroup(name)
}

// index costs four lstats while nothing has changed.
func (a *Accounts) index() (*accountIndex, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stamps, err := a.files.Stamps()
	if err != nil {
		return nil, err
	}
	if a.cache != nil && stamps == a.stamps {
		return a.cache, nil
	}
	passwd, err := a.read(Passwd)
	if err != nil {
		return nil, err
	}
	group, err := a.read(Group)
	if err != nil {
		return nil, err
	}
	shadow, err := a.secret(Shadow)
	if err != nil {
		return nil, err
	}
	gshadow, err := a.secret(Gshadow)
	if err != nil {
		return nil, err
	}
	a.cache, a.stamps = newAccountIndex(passwd, group, shadow, gshadow), stamps
	return a.cache, nil
}

// secret reads a file that is for root; anyone else sees nothing of it.
func (a *Accounts) secret(name string) (rows, error) {
	r, err := a.read(name)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	return r, err
}

func newAccountIndex(passwd, group, shadow, gshadow rows) *accountIndex {
	ix := &accountIndex{users: passwd.users(), groups: map[string]executor.Group{}, byGID: map[uint32]string{}}
	groupPasswords := gshadow.passwords(gshadowFields)
	for _, g := range group.groups() {
		// Without the members, which the group itself has.
		if fields := strings.Split(groupPasswords[g.Name], ":"); len(fields) == gshadowFields-1 {
			g.Shadow = strings.Join(fields[:gshadowFields-2], ":")
		}
		ix.groups[g.Name] = g
		if _, taken := ix.byGID[g.GID]; !taken {
			ix.byGID[g.GID] = g.Name
		}
		for _, m := range g.Members {
			if u, ok := ix.users[m]; ok && !slices.Contains(u.Groups, g.Name) {
				u.Groups = append(u.Groups, g.Name)
				ix.users[m] = u
			}
		}
	}
	passwords := shadow.passwords(shadowFields)
	for name, u := range ix.users {
		slices.Sort(u.Groups)
		u.Shadow = passwords[name]
		ix.users[name] = u
	}
	return ix
}

// accountTables is all four files as one change sees and writes them.
type accountTables struct {
	passwd, group, shadow, gshadow rows
	hasShadow, hasGshadow          bool
	today                          int // days since 1970
}

func (d *accountTables) index() *accountIndex {
	return newAccountIndex(d.passwd, d.group, d.shadow, d.gshadow)
}

// PutUser implements executor.Accounts.
func (a *Accounts) PutUser(ctx context.Context, u executor.User) error {
	err := checkUser(u)
	if err == nil {
		err = a.change(ctx, addOrder, func(d *accountTables) error { return d.putUser(u) })
	}
	if err != nil {
		return fmt.Errorf("put user %s: %w", u.Name, err)
	}
	return nil
}

func (d *accountTables) putUser(u executor.User) error {
	ix := d.index()
	old, existed := ix.users[u.Name]
	for _, g := range u.Groups {
		if _, ok := ix.groups[g]; !ok {
			return fmt.Errorf("no group %s", g)
		}
	}
	if err := d.chooseUserIDs(ix, &u, existed); err != nil {
		return err
	}
	if !existed || old.UID != u.UID {
		for _, other := range ix.users {
			if other.UID == u.UID && other.Name != u.Name {
				return fmt.Errorf("uid %d belongs to %s", u.UID, other.Name)
			}
		}
	}
	d.putPasswd(u)
	d.group = d.group.setMember(u.Name, u.Groups, groupMembers)
	d.gshadow = d.gshadow.setMember(u.Name, u.Groups, gshadowMembers)
	return nil
}

// chooseUserIDs fills in the numbers of a new user, and makes the group of its own name.
func (d *accountTables) chooseUserIDs(ix *accountIndex, u *executor.User, existed bool) error {
	if existed || u.Name == "root" {
		return nil
	}
	var err error
	if u.UID == 0 {
		if u.UID, err = freeID(u.System, ix.uids(), ix.gids()); err != nil {
			return err
		}
	}
	if u.GID != 0 {
		return nil
	}
	if own, ok := ix.groups[u.Name]; ok {
		u.GID = own.GID
		return nil
	}
	// The number of its user, where that is free: people expect the two to be equal.
	u.GID = u.UID
	if ix.gids()[u.GID] {
		if u.GID, err = freeID(u.System, ix.gids()); err != nil {
			return err
		}
	}
	d.putGroup(executor.Group{Name: u.Name, GID: u.GID})
	return nil
}

// putPasswd writes the rows of passwd and shadow. A password that is there stays.
func (d *accountTables) putPasswd(u executor.User) {
	row := d.passwd.fields(u.Name, passwdFields)
	if row == nil {
		row = pad([]string{u.Name}, passwdFields)
		row[passwdPassword] = "!"
		if d.hasShadow {
			row[passwdPassword] = "x"
		}
	}
	row[passwdUID], row[passwdGID] = formatID(u.UID), formatID(u.GID)
	row[passwdGecos], row[passwdHome], row[passwdShell] = u.Gecos, u.Home, u.Shell
	d.passwd = d.passwd.put(row, u.After)
	switch {
	case !d.hasShadow:
	case u.Shadow != "":
		d.shadow = d.shadow.put(append([]string{u.Name}, strings.Split(u.Shadow, ":")...), u.After)
	case d.shadow.index(u.Name) < 0:
		locked := pad([]string{u.Name}, shadowFields)
		locked[shadowPassword], locked[shadowChanged] = "!", strconv.Itoa(d.today)
		locked[shadowMin], locked[shadowMax], locked[shadowWarn] = "0", "99999", "7"
		d.shadow = d.shadow.put(locked, u.After)
	}
}

func formatID(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

// RemoveUser implements executor.Accounts.
func (a *Accounts) RemoveUser(ctx context.Context, name string) error {
	err := checkName(name)
	if name == "root" {
		err = errors.New("the machine needs it")
	}
	if err == nil {
		err = a.change(ctx, removeOrder, func(d *accountTables) error {
			d.passwd, d.shadow = d.passwd.remove(name), d.shadow.remove(name)
			d.group = d.group.setMember(name, nil, groupMembers)
			d.gshadow = d.gshadow.setMember(name, nil, gshadowMembers).setMember(name, nil, gshadowAdmins)
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("remove user %s: %w", name, err)
	}
	return nil
}

// PutGroup implements executor.Accounts.
func (a *Accounts) PutGroup(ctx context.Context, g executor.Group) error {
	err := checkGroup(g)
	for _, m := range g.Members {
		err = errors.Join(err, checkName(m))
	}
	if err == nil {
		err = a.change(ctx, addOrder, func(d *accountTables) error { return d.putNewGroup(g) })
	}
	if err != nil {
		return fmt.Errorf("put group %s: %w", g.Name, err)
	}
	return nil
}

func (d *accountTables) putNewGroup(g executor.Group) error {
	ix := d.index()
	old, existed := ix.groups[g.Name]
	if !existed && g.GID == 0 && g.Name != "root" {
		gid, err := freeID(g.System, ix.gids(), ix.uids())
		if err != nil {
			return err
		}
		g.GID = gid
	}
	if owner, taken := ix.byGID[g.GID]; taken && owner != g.Name && (!existed || old.GID != g.GID) {
		return fmt.Errorf("gid %d belongs to %s", g.GID, owner)
	}
	d.putGroup(g)
	return nil
}

// putGroup writes the rows of group and gshadow.
func (d *accountTables) putGroup(g executor.Group) {
	members := strings.Join(g.Members, ",")
	row := d.group.fields(g.Name, groupFields)
	if row == nil {
		row = pad([]string{g.Name, "x"}, groupFields)
	}
	row[groupGID], row[groupMembers] = formatID(g.GID), members
	d.group = d.group.put(row, g.After)
	if !d.hasGshadow {
		return
	}
	row = d.gshadow.fields(g.Name, gshadowFields)
	if row == nil {
		row = pad([]string{g.Name, "!"}, gshadowFields)
	}
	if g.Shadow != "" {
		copy(row[1:gshadowMembers], strings.Split(g.Shadow, ":"))
	}
	row[gshadowMembers] = members
	d.gshadow = d.gshadow.put(row, g.After)
}

// RemoveGroup implements executor.Accounts.
func (a *Accounts) RemoveGroup(ctx context.Context, name string) error {
	err := checkName(name)
	if err == nil {
		err = a.change(ctx, removeOrder, func(d *accountTables) error { return d.removeGroup(name) })
	}
	if err != nil {
		return fmt.Errorf("remove group %s: %w", name, err)
	}
	return nil
}

func (d *accountTables) removeGroup(name string) error {
	ix := d.index()
	if g, ok := ix.groups[name]; ok {
		for _, u := range slices.Sorted(maps.Keys(ix.users)) {
			if ix.users[u].GID == g.GID {
				return fmt.Errorf("it is the primary group of %s", u)
			}
		}
	}
	d.group, d.gshadow = d.group.remove(name), d.gshadow.remove(name)
	return nil
}

func (ix *accountIndex) uids() map[uint32]bool {
	ids := make(map[uint32]bool, len(ix.users))
	for _, u := range ix.users {
		ids[u.UID] = true
	}
	return ids
}

func (ix *accountIndex) gids() map[uint32]bool {
	ids := make(map[uint32]bool, len(ix.groups))
	for _, g := range ix.groups {
		ids[g.GID] = true
	}
	return ids
}

// freeID is a number that none of the sets holds. A regular one is above all that are there: the files of a user who was
// removed may lie about, and are not to belong to the next. One of the system is searched from the top, as the low ones
// are given out by the distribution.
func freeID(system bool, taken ...map[uint32]bool) (uint32, error) {
	used := func(id uint32) bool {
		return slices.ContainsFunc(taken, func(ids map[uint32]bool) bool { return ids[id] })
	}
	if system {
		for id := uint32(lastSystemID); id >= firstSystemID; id-- {
			if !used(id) {
				return id, nil
			}
		}
		return 0, fmt.Errorf("no number between %d and %d is free", firstSystemID, lastSystemID)
	}
	next := uint32(firstUserID)
	for _, ids := range taken {
		for id := range ids {
			if id <= lastUserID {
				next = max(next, id+1)
			}
		}
	}
	for tried := 0; tried <= lastUserID-firstUserID; tried++ {
		if next > lastUserID {
			next = firstUserID
		}
		if !used(next) {
			return next, nil
		}
		next++
	}
	return 0, fmt.Errorf("no number between %d and %d is free", firstUserID, lastUserID)
}
