package executor

import (
	"context"
	"io"
	"sync"
)

// accountCache answers who a user is once per run: a thousand files have few owners. It is emptied whenever something but a
// file was changed.
type accountCache struct {
	Host

	mu     sync.Mutex
	users  map[string]found[User]
	groups map[string]found[Group]
}

type found[T any] struct {
	row T
	ok  bool
}

func newAccountCache(h Host) *accountCache {
	return &accountCache{Host: h, users: map[string]found[User]{}, groups: map[string]found[Group]{}}
}

func (c *accountCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.users)
	clear(c.groups)
}

func (c *accountCache) LookupUser(name string) (User, bool, error) {
	return lookup(c, c.users, name, c.Host.LookupUser)
}

func (c *accountCache) LookupGroup(name string) (Group, bool, error) {
	return lookup(c, c.groups, name, c.Host.LookupGroup)
}

func (c *accountCache) PutUser(ctx context.Context, u User) error {
	defer c.forget()
	return c.Host.PutUser(ctx, u)
}

func (c *accountCache) RemoveUser(ctx context.Context, name string) error {
	defer c.forget()
	return c.Host.RemoveUser(ctx, name)
}

func (c *accountCache) PutGroup(ctx context.Context, g Group) error {
	defer c.forget()
	return c.Host.PutGroup(ctx, g)
}

func (c *accountCache) RemoveGroup(ctx context.Context, name string) error {
	defer c.forget()
	return c.Host.RemoveGroup(ctx, name)
}

func lookup[T any](c *accountCache, known map[string]found[T], name string, ask func(string) (T, bool, error)) (T, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := known[name]; ok {
		return f.row, f.ok, nil
	}
	row, ok, err := ask(name)
	if err == nil {
		known[name] = found[T]{row, ok}
	}
	return row, ok, err
}

var _ Stager = (*accountCache)(nil)

// StageFrom implements Stager: what the host can do is not hidden by what stands before it.
func (c *accountCache) StageFrom(path string, in io.Reader, meta Meta) (string, error) {
	return StageFrom(c.Host, path, in, meta)
}
