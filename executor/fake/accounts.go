package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"shoal/executor"
)

// Accounts is a user and group database in memory. It begins with root.
type Accounts struct {
	mu     sync.Mutex
	users  map[string]executor.User // Groups is kept in the groups
	groups map[string]executor.Group
	// Fail, when set, is asked before each change, and its error is the answer.
	Fail func(operation, name string) error
}

// lockedRow is what shadow(5) has of a user without a password.
const lockedRow = "!:::::::"

// NewAccounts returns a database with root alone.
func NewAccounts() *Accounts {
	return &Accounts{
		users:  map[string]executor.User{"root": {Name: "root", Home: "/root", Shell: "/bin/bash", Shadow: "!:::::::"}},
		groups: map[string]executor.Group{"root": {Name: "root"}},
	}
}

// LookupUser implements executor.Accounts.
func (f *Accounts) LookupUser(name string) (executor.User, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok := f.users[name]
	if !ok {
		return executor.User{}, false, nil
	}
	for _, g := range slices.Sorted(maps.Keys(f.groups)) {
		if slices.Contains(f.groups[g].Members, name) {
			u.Groups = append(u.Groups, g)
		}
	}
	u.System = isSystem(u.UID)
	return u, true, nil
}

// LookupGroup implements executor.Accounts.
func (f *Accounts) LookupGroup(name string) (executor.Group, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.groups[name]
	g.Members = slices.Clone(g.Members)
	g.System = ok && isSystem(g.GID)
	return g, ok, nil
}

// GroupByID implements executor.Accounts.
func (f *Accounts) GroupByID(gid uint32) (executor.Group, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.groups)) {
		if g := f.groups[name]; g.GID == gid {
			g.Members, g.System = slices.Clone(g.Members), isSystem(gid)
			return g, true, nil
		}
	}
	return executor.Group{}, false, nil
}

func isSystem(id uint32) bool { return id < 1000 }

func (f *Accounts) failed(operation, name string) error {
	if f.Fail == nil {
		return nil
	}
	return f.Fail(operation, name)
}

// PutUser implements executor.Accounts.
func (f *Accounts) PutUser(_ context.Context, u executor.User) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.failed("put user", u.Name); err != nil {
		return err
	}
	for _, g := range u.Groups {
		if _, ok := f.groups[g]; !ok {
			return fmt.Errorf("put user %s: no group %s", u.Name, g)
		}
	}
	old, existed := f.users[u.Name]
	if !existed && u.UID == 0 && u.Name != "root" {
		u.UID = f.freeID(u.System)
	}
	for _, other := range f.users {
		if other.UID == u.UID && other.Name != u.Name && (!existed || old.UID != u.UID) {
			return fmt.Errorf("put user %s: uid %d belongs to %s", u.Name, u.UID, other.Name)
		}
	}
	if !existed && u.GID == 0 && u.Name != "root" {
		g, ok := f.groups[u.Name]
		if !ok {
			g = executor.Group{Name: u.Name, GID: f.freeID(u.System), Shadow: "!:"}
			f.groups[u.Name] = g
		}
		u.GID = g.GID
	}
	f.setMemberships(u.Name, u.Groups)
	u.Groups = nil
	if u.Shadow == "" {
		u.Shadow = old.Shadow
	}
	if u.Shadow == "" {
		u.Shadow = lockedRow
	}
	f.users[u.Name] = u
	return nil
}

func (f *Accounts) setMemberships(user string, groups []string) {
	for name, g := range f.groups {
		g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(m string) bool { return m == user })
		if slices.Contains(groups, name) {
			g.Members = append(g.Members, user)
		}
		if len(g.Members) == 0 {
			g.Members = nil
		}
		f.groups[name] = g
	}
}

// freeID is free as a user's and as a group's number.
func (f *Accounts) freeID(system bool) uint32 {
	taken := map[uint32]bool{}
	for _, u := range f.users {
		taken[u.UID] = true
	}
	for _, g := range f.groups {
		taken[g.GID] = true
	}
	id := uint32(1000)
	if system {
		id = 100
	}
	for taken[id] {
		id++
	}
	return id
}

// RemoveUser implements executor.Accounts.
func (f *Accounts) RemoveUser(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.failed("remove user", name); err != nil {
		return err
	}
	delete(f.users, name)
	f.setMemberships(name, nil)
	return nil
}

// PutGroup implements executor.Accounts.
func (f *Accounts) PutGroup(_ context.Context, g executor.Group) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.failed("put group", g.Name); err != nil {
		return err
	}
	old, existed := f.groups[g.Name]
	if !existed && g.GID == 0 && g.Name != "root" {
		g.GID = f.freeID(g.System)
	}
	for _, other := range f.groups {
		if other.GID == g.GID && other.Name != g.Name && (!existed || old.GID != g.GID) {
			return fmt.Errorf("put group %s: gid %d belongs to %s", g.Name, g.GID, other.Name)
		}
	}
	if g.Shadow == "" {
		g.Shadow = old.Shadow
	}
	if g.Shadow == "" {
		g.Shadow = "!:"
	}
	g.Members = slices.Clone(g.Members)
	f.groups[g.Name] = g
	return nil
}

// RemoveGroup implements executor.Accounts.
func (f *Accounts) RemoveGroup(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.failed("remove group", name); err != nil {
		return err
	}
	g, ok := f.groups[name]
	if !ok {
		return nil
	}
	for _, u := range f.users {
		if u.GID == g.GID {
			return fmt.Errorf("remove group %s: it is the primary group of %s", name, u.Name)
		}
	}
	delete(f.groups, name)
	return nil
}
