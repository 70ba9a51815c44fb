package ssh

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"shoal/executor"
)

// firstUserID is the lowest number of a regular user, as the distributions have it in login.defs.
const firstUserID = 1000

// accounts reads the user and group database over there. To change it, with its locks, its shadows and its order, is for the
// machine itself.
type accounts struct {
	files *Files

	mu     sync.Mutex
	stamps [2]executor.Stat // of passwd and group
	users  []executor.User
	groups []executor.Group
}

// load costs one question while nothing has changed.
func (a *accounts) load() error {
	stats, errs, err := a.files.lstats([]string{a.files.real("/etc/passwd"), a.files.real("/etc/group")})
	if err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	stamps := [2]executor.Stat{stats[0], stats[1]}
	if a.users != nil && stamps == a.stamps {
		return nil
	}
	passwd, err := a.read("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
	if err != nil {
		return err
	}
	group, err := a.read("/etc/group", "root:x:0:\n")
	if err != nil {
		return err
	}
	a.stamps, a.users, a.groups = stamps, parseUsers(passwd), parseGroups(group)
	for i := range a.users {
		for _, g := range a.groups {
			if slices.Contains(g.Members, a.users[i].Name) {
				a.users[i].Groups = append(a.users[i].Groups, g.Name)
			}
		}
		slices.Sort(a.users[i].Groups)
	}
	return nil
}

// read takes a folder that has no such file for a machine with root alone.
func (a *accounts) read(name, alone string) (string, error) {
	data, err := a.files.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return alone, nil
	}
	return string(data), err
}

// rows of passwd(5) or group(5), split; of two with one name the first counts.
func rows(text string, fields int) [][]string {
	var all [][]string
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) >= fields && f[0] != "" && !strings.ContainsAny(f[0][:1], "+-#") && !seen[f[0]] {
			seen[f[0]] = true
			all = append(all, f)
		}
	}
	return all
}

func parseUsers(text string) []executor.User {
	users := []executor.User{}
	above := ""
	for _, f := range rows(text, 7) {
		uid, uidErr := strconv.ParseUint(f[2], 10, 32)
		gid, gidErr := strconv.ParseUint(f[3], 10, 32)
		if uidErr != nil || gidErr != nil {
			continue
		}
		users = append(users, executor.User{
			Name: f[0], UID: uint32(uid), GID: uint32(gid), Gecos: f[4], Home: f[5], Shell: f[6], System: uid < firstUserID, After: above,
		})
		above = f[0]
	}
	return users
}

func parseGroups(text string) []executor.Group {
	var groups []executor.Group
	above := ""
	for _, f := range rows(text, 4) {
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			continue
		}
		members := slices.DeleteFunc(strings.Split(f[3], ","), func(m string) bool { return m == "" })
		if len(members) == 0 {
			members = nil
		}
		groups = append(groups, executor.Group{Name: f[0], GID: uint32(gid), Members: members, System: gid < firstUserID, After: above})
		above = f[0]
	}
	return groups
}

func (a *accounts) user(name string) (executor.User, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return executor.User{}, false, err
	}
	i := slices.IndexFunc(a.users, func(u executor.User) bool { return u.Name == name })
	if i < 0 {
		return executor.User{}, false, nil
	}
	return a.users[i], true, nil
}

func (a *accounts) group(is func(executor.Group) bool) (executor.Group, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return executor.Group{}, false, err
	}
	i := slices.IndexFunc(a.groups, is)
	if i < 0 {
		return executor.Group{}, false, nil
	}
	return a.groups[i], true, nil
}

// LookupUser implements executor.Accounts.
func (a *accounts) LookupUser(name string) (executor.User, bool, error) {
	u, ok, err := a.user(name)
	if err != nil {
		err = fmt.Errorf("look up user %s: %w", name, err)
	}
	return u, ok, err
}

// LookupGroup implements executor.Accounts.
func (a *accounts) LookupGroup(name string) (executor.Group, bool, error) {
	g, ok, err := a.group(func(g executor.Group) bool { return g.Name == name })
	if err != nil {
		err = fmt.Errorf("look up group %s: %w", name, err)
	}
	return g, ok, err
}

// GroupByID implements executor.Accounts.
func (a *accounts) GroupByID(gid uint32) (executor.Group, bool, error) {
	g, ok, err := a.group(func(g executor.Group) bool { return g.GID == gid })
	if err != nil {
		err = fmt.Errorf("look up group %d: %w", gid, err)
	}
	return g, ok, err
}

// PutUser implements executor.Accounts as far as nothing has to be done: what is so already is put.
func (a *accounts) PutUser(_ context.Context, u executor.User) error {
	have, ok, err := a.user(u.Name)
	have.Shadow, have.After = u.Shadow, u.After // nobody can have changed them from here
	if err == nil && (!ok || !reflect.DeepEqual(have, u)) {
		err = ErrNeedsProgram
	}
	if err != nil {
		return fmt.Errorf("put user %s: %w", u.Name, err)
	}
	return nil
}

// RemoveUser implements executor.Accounts: one that is not there is removed already.
func (a *accounts) RemoveUser(_ context.Context, name string) error {
	_, ok, err := a.user(name)
	if err == nil && ok {
		err = ErrNeedsProgram
	}
	if err != nil {
		return fmt.Errorf("remove user %s: %w", name, err)
	}
	return nil
}

// PutGroup implements executor.Accounts as PutUser does.
func (a *accounts) PutGroup(_ context.Context, g executor.Group) error {
	have, ok, err := a.LookupGroup(g.Name)
	have.Shadow, have.After = g.Shadow, g.After
	if err == nil && (!ok || !reflect.DeepEqual(have, g)) {
		err = ErrNeedsProgram
	}
	if err != nil {
		return fmt.Errorf("put group %s: %w", g.Name, err)
	}
	return nil
}

// RemoveGroup implements executor.Accounts: one that is not there is removed already.
func (a *accounts) RemoveGroup(_ context.Context, name string) error {
	_, ok, err := a.LookupGroup(name)
	if err == nil && ok {
		err = ErrNeedsProgram
	}
	if err != nil {
		return fmt.Errorf("remove group %s: %w", name, err)
	}
	return nil
}
