// Package fake is a machine in memory: a Host for simulations and for tests of modules. It passes the suite that the real
// one passes.
package fake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"shoal/executor"
)

// Host is a machine in memory. Its fields may be set before it is used.
type Host struct {
	Files
	// Exec runs a command; nil: every command ends with status 0, but false with 1 and sh -c by its last word.
	Exec   func(executor.Command) (executor.Exit, error)
	Users  map[string]executor.User
	Groups map[string]executor.Group
	// Archive are the versions that can be installed.
	Archive map[string]string
	// Units are the services; Started counts how often each was started, restarted or reloaded.
	Units map[string]executor.Unit

	mu       sync.Mutex
	packages map[string]executor.Package
	clock    uint64
}

var _ executor.Host = (*Host)(nil)

// New makes an empty machine: the root folder and root.
func New() *Host {
	return &Host{
		Files:    newFiles(),
		Users:    map[string]executor.User{"root": {Name: "root", Home: "/root", Shell: "/bin/sh"}},
		Groups:   map[string]executor.Group{"root": {Name: "root"}},
		Archive:  map[string]string{},
		Units:    map[string]executor.Unit{},
		packages: map[string]executor.Package{},
	}
}

// Path is the same: commands see what files see.
func (h *Host) Path(name string) string { return name }

// Run calls Exec.
func (h *Host) Run(ctx context.Context, cmd executor.Command) (executor.Exit, error) {
	if err := ctx.Err(); err != nil {
		return executor.Exit{}, context.Cause(ctx)
	}
	if len(cmd.Argv) == 0 {
		return executor.Exit{}, errors.New("run: empty command")
	}
	if h.Exec == nil {
		return exec(cmd), nil
	}
	return h.Exec(cmd)
}

// Installed lists packages.
func (h *Host) Installed(_ context.Context, names []string) ([]executor.Package, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(h.packages))
	}
	var out []executor.Package
	for _, name := range names {
		if p, ok := h.packages[name]; ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// Available tells the one version of the archive.
func (h *Host) Available(_ context.Context, name, version string) (string, bool, error) {
	candidate, ok := h.Archive[name]
	return candidate, ok && (version == "" || version == candidate), nil
}

// ChangePackages installs and removes all or nothing.
func (h *Host) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range install {
		if _, ok, _ := h.Available(ctx, p.Name, p.Version); !ok {
			return fmt.Errorf("install %s: no such package or version", p.Name)
		}
	}
	for _, p := range install {
		p.Version = h.Archive[p.Name]
		h.packages[p.Name] = p
	}
	for _, name := range remove {
		delete(h.packages, name)
	}
	return nil
}

// SetHold marks a package.
func (h *Host) SetHold(_ context.Context, name string, hold bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.packages[name]
	if !ok {
		return fmt.Errorf("hold %s: %w", name, fs.ErrNotExist)
	}
	p.Hold = hold
	h.packages[name] = p
	return nil
}

// Unit returns a service; one that was never set does not exist.
func (h *Host) Unit(_ context.Context, name string) (executor.Unit, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Units[name], nil
}

func (h *Host) unit(name string, change func(*executor.Unit) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	u, ok := h.Units[name]
	if !ok || !u.Exists {
		return fmt.Errorf("service %s: %w", name, fs.ErrNotExist)
	}
	if err := change(&u); err != nil {
		return fmt.Errorf("service %s: %w", name, err)
	}
	h.Units[name] = u
	return nil
}

func (h *Host) start(u *executor.Unit) error {
	if u.Masked {
		return errors.New("is masked")
	}
	h.clock++
	u.Active, u.Since = true, h.clock
	return nil
}

// StartUnit starts a service that does not run.
func (h *Host) StartUnit(_ context.Context, name string) error {
	return h.unit(name, func(u *executor.Unit) error {
		if u.Active {
			return nil
		}
		return h.start(u)
	})
}

// StopUnit stops a service.
func (h *Host) StopUnit(_ context.Context, name string) error {
	return h.unit(name, func(u *executor.Unit) error { u.Active = false; return nil })
}

// RestartUnit starts a service anew.
func (h *Host) RestartUnit(_ context.Context, name string) error { return h.unit(name, h.start) }

// ReloadUnit needs a service that runs.
func (h *Host) ReloadUnit(_ context.Context, name string) error {
	return h.unit(name, func(u *executor.Unit) error {
		if !u.Active {
			return errors.New("does not run")
		}
		return nil
	})
}

// EnableUnit has it started at boot, or not.
func (h *Host) EnableUnit(_ context.Context, name string, enabled bool) error {
	return h.unit(name, func(u *executor.Unit) error { u.Enabled = enabled; return nil })
}

// MaskUnit forbids starting it, or allows it again.
func (h *Host) MaskUnit(_ context.Context, name string, masked bool) error {
	return h.unit(name, func(u *executor.Unit) error { u.Masked = masked; return nil })
}

// ReloadManager has nothing to read.
func (h *Host) ReloadManager(context.Context) error { return nil }

// LookupUser finds a user by name.
func (h *Host) LookupUser(name string) (executor.User, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u, ok := h.Users[name]
	return u, ok, nil
}

// LookupGroup finds a group by name.
func (h *Host) LookupGroup(name string) (executor.Group, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g, ok := h.Groups[name]
	return g, ok, nil
}

// PutUser makes or changes a user, and chooses numbers where none are given.
func (h *Host) PutUser(_ context.Context, u executor.User) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.Users[u.Name]; !ok && u.UID == 0 && u.Name != "root" {
		u.UID = h.freeID()
	} else if ok && u.UID == 0 {
		u.UID = old.UID
	}
	if u.GID == 0 && u.Name != "root" {
		u.GID = u.UID
	}
	h.Users[u.Name] = u
	return nil
}

// PutGroup makes or changes a group.
func (h *Host) PutGroup(_ context.Context, g executor.Group) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g.GID == 0 && g.Name != "root" {
		g.GID = h.freeID()
	}
	h.Groups[g.Name] = g
	return nil
}

func (h *Host) freeID() uint32 {
	id := uint32(1000)
	for _, u := range h.Users {
		id = max(id, u.UID+1)
	}
	for _, g := range h.Groups {
		id = max(id, g.GID+1)
	}
	return id
}

// RemoveUser removes the row.
func (h *Host) RemoveUser(_ context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.Users, name)
	return nil
}

// RemoveGroup removes the row.
func (h *Host) RemoveGroup(_ context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.Groups, name)
	return nil
}
