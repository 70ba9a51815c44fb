package packages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/executor"
)

// Pacman is the package manager of Arch (pacman(8)). A repository has one version of a package, so that another can be had
// from the machine's cache alone, which this does not use; and pacman holds what its configuration says (IgnorePkg), which is
// for people to write.
type Pacman struct {
	spotless
	tool *tool
}

// NewPacman uses the pacman of the machine on which run runs commands. waiting may be nil.
func NewPacman(run Runner, clock Clock, waiting Waiting) *Pacman {
	return &Pacman{tool: &tool{run: run, clock: clock, waiting: waiting, locked: pacmanLocked}}
}

// pairs reads rows of a name and a version.
func pairs(out string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) >= 2 {
			all[f[0]] = f[1]
		}
	}
	return all
}

func (p *Pacman) database(ctx context.Context) (database, error) {
	out, err := p.tool.command(ctx, "", "pacman", "-Q")
	if err != nil && out == "" && !ended(err, 1) { // 1: nothing is installed
		return nil, err
	}
	ignored, err := p.tool.command(ctx, "", "pacman-conf", "IgnorePkg")
	if err != nil {
		return nil, err
	}
	db, held := database{}, strings.Fields(ignored)
	for name, version := range pairs(out) {
		db[name] = executor.Package{Name: name, Version: version, Hold: slices.Contains(held, name)}
	}
	return db, nil
}

// ended: the command ended with that status.
func ended(err error, status int) bool {
	var f *failed
	return errors.As(err, &f) && f.status == status
}

// Installed implements executor.Packages.
func (p *Pacman) Installed(ctx context.Context, names []string) ([]executor.Package, error) {
	db, err := p.database(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the package database: %w", err)
	}
	return db.some(names), nil
}

// Available implements executor.Packages.
func (p *Pacman) Available(ctx context.Context, name, version string) (candidate string, ok bool, err error) {
	if err := checkNames([]executor.Package{{Name: name, Version: version}}, nil); err != nil {
		return "", false, err
	}
	out, err := p.tool.command(ctx, "", "pacman", "-Si", name)
	if ended(err, 1) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look up package %s: %w", name, err)
	}
	candidate = pacmanField(out, "Version")
	return candidate, candidate != "" && (version == "" || version == candidate), nil
}

// pacmanField is the first value of a field of pacman -Si.
func pacmanField(out, field string) string {
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// plan is what a change comes to: pacman takes no version with a name, so that the one asked for has to be the candidate.
func (p *Pacman) plan(ctx context.Context, install []executor.Package, remove []string) (db database, add, drop []string, err error) {
	if err := checkNames(install, remove); err != nil {
		return nil, nil, nil, err
	}
	if db, err = p.database(ctx); err != nil {
		return nil, nil, nil, err
	}
	needed, drop := db.needed(install, remove)
	for _, q := range needed {
		if q.Version != "" {
			if _, ok, err := p.Available(ctx, q.Name, q.Version); err != nil || !ok {
				return nil, nil, nil, errors.Join(err, fmt.Errorf("install %s: no repository has the version %s", q.Name, q.Version))
			}
		}
		add = append(add, q.Name)
	}
	return db, add, drop, nil
}

// SimulatePackages implements executor.Packages.
func (p *Pacman) SimulatePackages(ctx context.Context, install []executor.Package, remove []string) ([]executor.PackageChange, error) {
	db, add, drop, err := p.plan(ctx, install, remove)
	if err != nil {
		return nil, err
	}
	after := map[string]string{}
	for _, step := range []struct {
		argv  []string
		names []string
		gone  bool
	}{{[]string{"pacman", "-Rcp"}, drop, true}, {[]string{"pacman", "-Sp"}, add, false}} {
		if len(step.names) == 0 {
			continue
		}
		out, err := p.tool.command(ctx, "", slices.Concat(step.argv, []string{"--noconfirm", "--print-format", "%n %v"}, step.names)...)
		if err != nil {
			return nil, fmt.Errorf("simulate %s: %w", strings.Join(step.names, " "), err)
		}
		for name, version := range pairs(out) {
			if step.gone {
				version = ""
			}
			after[name] = version
		}
	}
	return db.changes(after, install, remove)
}

// ChangePackages implements executor.Packages. pacman has no one transaction for both: what is to be installed is fetched before
// anything is removed.
func (p *Pacman) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	_, add, drop, err := p.plan(ctx, install, remove)
	if err != nil {
		return err
	}
	var steps [][]string
	if len(add) > 0 {
		steps = append(steps, append([]string{"-Sw", "--noconfirm", "--noprogressbar"}, add...))
	}
	if len(drop) > 0 {
		steps = append(steps, append([]string{"-Rc", "--noconfirm", "--noprogressbar"}, drop...))
	}
	if len(add) > 0 {
		steps = append(steps, append([]string{"-S", "--noconfirm", "--noprogressbar"}, add...))
	}
	for _, step := range steps {
		if _, err := p.tool.command(ctx, "", append([]string{"pacman"}, step...)...); err != nil {
			return fmt.Errorf("change packages: %w", err)
		}
	}
	return nil
}

// SetHold implements executor.Packages.
func (p *Pacman) SetHold(ctx context.Context, name string, hold bool) error {
	db, err := p.database(ctx)
	if err != nil {
		return err
	}
	have, there := db[name]
	switch {
	case !there:
		return fmt.Errorf("hold %s: %w", name, errNotInstalled)
	case have.Hold == hold:
		return nil
	}
	return fmt.Errorf("hold %s: pacman holds what IgnorePkg of /etc/pacman.conf names: write it there", name)
}

// RefreshPackages implements executor.Packages. pacman fetches the lists of all repositories.
func (p *Pacman) RefreshPackages(ctx context.Context, repository string, maxAge time.Duration) error {
	if repository == "" && !p.tool.due(maxAge) {
		return nil
	}
	if _, err := p.tool.command(ctx, "", "pacman", "-Sy", "--noprogressbar"); err != nil {
		return fmt.Errorf("fetch package lists: %w", err)
	}
	return nil
}
