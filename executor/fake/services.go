package fake

import (
	"context"
	"fmt"
	"sync"

	"shoal/executor"
)

// Services is a service manager in memory.
type Services struct {
	mu      sync.Mutex
	units   map[string]*unit
	clock   uint64 // grows with each start; no time is in it
	reloads map[string]int
	// Fail, when set, is asked before each change, and its error is the answer.
	Fail func(operation, name string) error
	// UnitFiles, when set, lists the unit files that ReloadManager finds, beside those of Add.
	UnitFiles func() []string
}

type unit struct {
	file            bool // there is a unit file
	found           bool // by ReloadManager
	active, enabled bool
	masked          bool
	since           uint64
}

// NewServices returns a service manager that knows no unit.
func NewServices() *Services {
	return &Services{units: map[string]*unit{}, reloads: map[string]int{}}
}

// Add makes a unit known: stopped and disabled.
func (f *Services) Add(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.get(name).file = true
}

// Reloads is how often a unit was reloaded.
func (f *Services) Reloads(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reloads[executor.UnitName(name)]
}

func (f *Services) get(name string) *unit {
	name = executor.UnitName(name)
	if f.units[name] == nil {
		f.units[name] = &unit{}
	}
	return f.units[name]
}

// Unit implements executor.Services.
func (f *Services) Unit(_ context.Context, name string) (executor.Unit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.get(name)
	return executor.Unit{
		Exists: u.file || u.masked, Active: u.active, Enabled: u.enabled && !u.masked, Masked: u.masked, Since: u.since,
	}, nil
}

// change runs do on a unit that exists and, unless masked is allowed, is not masked.
func (f *Services) change(operation, name string, maskedToo bool, do func(*unit) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.get(name)
	if f.Fail != nil {
		if err := f.Fail(operation, executor.UnitName(name)); err != nil {
			return err
		}
	}
	if !u.file && !u.masked && !maskedToo {
		return fmt.Errorf("%s %s: no such unit", operation, executor.UnitName(name))
	}
	if u.masked && !maskedToo {
		return fmt.Errorf("%s %s: the unit is masked", operation, executor.UnitName(name))
	}
	return do(u)
}

func (f *Services) start(u *unit) {
	f.clock++
	u.active, u.since = true, f.clock
}

// StartUnit implements executor.Services.
func (f *Services) StartUnit(_ context.Context, name string) error {
	return f.change("start", name, false, func(u *unit) error {
		if !u.active {
			f.start(u)
		}
		return nil
	})
}

// StopUnit implements executor.Services. A masked unit can be stopped.
func (f *Services) StopUnit(_ context.Context, name string) error {
	return f.change("stop", name, true, func(u *unit) error {
		if !u.file && !u.masked {
			return fmt.Errorf("stop %s: no such unit", executor.UnitName(name))
		}
		u.active, u.since = false, 0
		return nil
	})
}

// RestartUnit implements executor.Services.
func (f *Services) RestartUnit(_ context.Context, name string) error {
	return f.change("restart", name, false, func(u *unit) error {
		f.start(u)
		return nil
	})
}

// ReloadUnit implements executor.Services.
func (f *Services) ReloadUnit(_ context.Context, name string) error {
	return f.change("reload", name, false, func(u *unit) error {
		if !u.active {
			return fmt.Errorf("reload %s: not active", executor.UnitName(name))
		}
		f.reloads[executor.UnitName(name)]++
		return nil
	})
}

// EnableUnit implements executor.Services.
func (f *Services) EnableUnit(_ context.Context, name string, enabled bool) error {
	return f.change("enable", name, false, func(u *unit) error {
		u.enabled = enabled
		return nil
	})
}

// MaskUnit implements executor.Services. A unit without a file can be masked.
func (f *Services) MaskUnit(_ context.Context, name string, masked bool) error {
	return f.change("mask", name, true, func(u *unit) error {
		u.masked = masked
		return nil
	})
}

// ReloadManager implements executor.Services.
func (f *Services) ReloadManager(context.Context) error {
	if f.UnitFiles == nil {
		return nil
	}
	names := f.UnitFiles()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Fail != nil {
		if err := f.Fail("reload manager", ""); err != nil {
			return err
		}
	}
	for _, u := range f.units {
		if u.found {
			u.file, u.found = false, false
		}
	}
	for _, name := range names {
		if u := f.get(name); !u.file {
			u.file, u.found = true, true
		}
	}
	return nil
}
