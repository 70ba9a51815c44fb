package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"shoal/executor"
)

// Packages is a package manager in memory. A package installs the newest of its versions and brings what it depends on;
// one that goes takes with it what depends on it.
type Packages struct {
	mu        sync.Mutex
	versions  map[string][]string // oldest first
	depends   map[string][]string
	installed map[string]executor.Package
	left      map[string]bool // what is gone but for its configuration
	refreshes []string
	// Fail, when set, is asked before each change, and its error is the answer.
	Fail func(operation string) error
}

// NewPackages returns a package manager that knows no package.
func NewPackages() *Packages {
	return &Packages{versions: map[string][]string{}, depends: map[string][]string{}, installed: map[string]executor.Package{}, left: map[string]bool{}}
}

// Offer makes versions of a package available, oldest first, in place of those offered before.
func (f *Packages) Offer(name string, versions []string, depends ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.versions[name], f.depends[name] = versions, depends
}

// Withdraw takes all versions of a package off the repository; what is installed stays.
func (f *Packages) Withdraw(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.versions, name)
}

// Installed implements executor.Packages.
func (f *Packages) Installed(_ context.Context, names []string) ([]executor.Package, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(f.installed))
	}
	var list []executor.Package
	for _, name := range names {
		if p, ok := f.installed[name]; ok {
			list = append(list, p)
		}
	}
	return list, nil
}

// Available implements executor.Packages.
func (f *Packages) Available(_ context.Context, name, version string) (string, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	candidate := f.candidate(name)
	return candidate, candidate != "" && (version == "" || slices.Contains(f.versions[name], version)), nil
}

func (f *Packages) candidate(name string) string {
	if v := f.versions[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// SimulatePackages implements executor.Packages.
func (f *Packages) SimulatePackages(_ context.Context, install []executor.Package, remove []string) ([]executor.PackageChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	after, err := f.after(install, remove)
	if err != nil {
		return nil, err
	}
	var changes []executor.PackageChange
	for _, name := range slices.Sorted(maps.Keys(f.versionsOf(after))) {
		c := executor.PackageChange{Name: name, Before: f.installed[name].Version, After: after[name].Version}
		if c.Before != c.After {
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// versionsOf is the union of what is and what will be installed.
func (f *Packages) versionsOf(after map[string]executor.Package) map[string]executor.Package {
	union := maps.Clone(f.installed)
	maps.Copy(union, after)
	return union
}

// ChangePackages implements executor.Packages.
func (f *Packages) ChangePackages(_ context.Context, install []executor.Package, remove []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	after, err := f.after(install, remove)
	if err == nil && f.Fail != nil {
		err = f.Fail("change packages")
	}
	if err != nil {
		return err
	}
	for _, p := range install {
		stays := after[p.Name]
		stays.Leaving = false
		after[p.Name] = stays
	}
	for name := range f.installed {
		if _, stays := after[name]; !stays {
			f.left[name] = true
		}
	}
	for name := range after {
		delete(f.left, name)
	}
	f.installed = after
	return nil
}

// Choose marks an installed package as one that is to go, as a removal that is killed at once leaves it.
func (f *Packages) Choose(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.installed[name]
	p.Leaving = true
	f.installed[name] = p
}

// Leftovers implements executor.Packages: every package that goes leaves something.
func (f *Packages) Leftovers(_ context.Context, names []string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []string
	for _, name := range names {
		if f.left[name] {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	return left, nil
}

// PurgePackages implements executor.Packages.
func (f *Packages) PurgePackages(_ context.Context, names []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		delete(f.left, name)
	}
	return nil
}

func (f *Packages) after(install []executor.Package, remove []string) (map[string]executor.Package, error) {
	after := maps.Clone(f.installed)
	for _, name := range append(namesOf(install), remove...) {
		if p, ok := after[name]; ok {
			p.Hold = false
			after[name] = p
		}
	}
	for _, p := range install {
		if err := f.add(after, p.Name, p.Version); err != nil {
			return nil, err
		}
	}
	for _, name := range remove {
		if err := f.drop(after, name); err != nil {
			return nil, err
		}
	}
	return after, nil
}

func namesOf(packages []executor.Package) []string {
	names := make([]string, len(packages))
	for i, p := range packages {
		names[i] = p.Name
	}
	return names
}

func (f *Packages) add(set map[string]executor.Package, name, version string) error {
	old, there := set[name]
	if there && (version == "" || version == old.Version) {
		return nil
	}
	if version == "" {
		version = f.candidate(name)
	}
	if !slices.Contains(f.versions[name], version) {
		return fmt.Errorf("install %s: no version %q", name, version)
	}
	if old.Hold {
		return fmt.Errorf("install %s: it is held at %s", name, old.Version)
	}
	set[name] = executor.Package{Name: name, Version: version}
	for _, d := range f.depends[name] {
		if err := f.add(set, d, ""); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
	}
	return nil
}

func (f *Packages) drop(set map[string]executor.Package, name string) error {
	p, there := set[name]
	if !there {
		return nil
	}
	if p.Hold {
		return fmt.Errorf("remove %s: it is held", name)
	}
	delete(set, name)
	for _, other := range slices.Sorted(maps.Keys(set)) {
		if slices.Contains(f.depends[other], name) {
			if err := f.drop(set, other); err != nil {
				return err
			}
		}
	}
	return nil
}

// SetHold implements executor.Packages.
func (f *Packages) SetHold(_ context.Context, name string, hold bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.installed[name]
	if !ok {
		return fmt.Errorf("hold %s: not installed", name)
	}
	p.Hold = hold
	f.installed[name] = p
	return nil
}

// RefreshPackages implements executor.Packages. What is offered needs no fetching; the asking is remembered.
func (f *Packages) RefreshPackages(_ context.Context, repository string, _ time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Fail != nil {
		if err := f.Fail("refresh packages"); err != nil {
			return err
		}
	}
	f.refreshes = append(f.refreshes, repository)
	return nil
}

// Refreshes are the repositories whose lists were asked for.
func (f *Packages) Refreshes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.refreshes)
}
