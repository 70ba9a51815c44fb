package packages

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"shoal/executor"
)

// Apk is the package manager of Alpine (apk(8)). A package that /etc/apk/world asks for at one version is held.
type Apk struct {
	spotless
	tool *tool
}

// NewApk uses the apk of the machine on which run runs commands.
func NewApk(run Runner, clock Clock, waiting Waiting) *Apk {
	return &Apk{tool: &tool{run: run, clock: clock, waiting: waiting, locked: apkLocked}}
}

func (a *Apk) apk(ctx context.Context, argv ...string) (string, error) {
	return a.tool.command(ctx, "", append([]string{"apk", "--no-progress"}, argv...)...)
}

// apkName splits NAME-VERSION-rN: a version begins with a digit and ends with its revision.
var apkName = regexp.MustCompile(`^(.+)-(\d[^\s-]*-r\d+)$`)

// parseApk reads the rows of apk info -v.
func parseApk(out string) database {
	db := database{}
	for line := range strings.Lines(out) {
		if m := apkName.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			db[m[1]] = executor.Package{Name: m[1], Version: m[2]}
		}
	}
	return db
}

func (a *Apk) database(ctx context.Context) (database, error) {
	out, err := a.apk(ctx, "info", "-v")
	if err != nil {
		return nil, err
	}
	db := parseApk(out)
	world, err := a.tool.command(ctx, "", "cat", "/etc/apk/world")
	if err != nil {
		return nil, err
	}
	for _, word := range strings.Fields(world) {
		name, version, pinned := strings.Cut(word, "=")
		if p, there := db[name]; there && pinned && version == p.Version {
			p.Hold = true
			db[name] = p
		}
	}
	return db, nil
}

// Installed implements executor.Packages.
func (a *Apk) Installed(ctx context.Context, names []string) ([]executor.Package, error) {
	db, err := a.database(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the package database: %w", err)
	}
	return db.some(names), nil
}

// Available implements executor.Packages.
func (a *Apk) Available(ctx context.Context, name, version string) (candidate string, ok bool, err error) {
	if err := checkNames([]executor.Package{{Name: name, Version: version}}, nil); err != nil {
		return "", false, err
	}
	out, err := a.apk(ctx, "policy", name)
	if err != nil {
		return "", false, fmt.Errorf("look up package %s: %w", name, err)
	}
	versions := parseApkPolicy(out)
	if len(versions) == 0 {
		return "", false, nil
	}
	return versions[0], version == "" || slices.Contains(versions, version), nil
}

// parseApkPolicy reads the versions that a repository has, the newest first: each stands in a row of its own that ends in a
// colon, above the places that have it. One that the machine alone has cannot be had again.
func parseApkPolicy(out string) (versions []string) {
	version := ""
	for line := range strings.Lines(out) {
		text := strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, " "):
		case strings.HasSuffix(text, ":") && !strings.Contains(text, "/"):
			version = strings.TrimSuffix(text, ":")
		case text != "lib/apk/db/installed" && version != "" && !slices.Contains(versions, version):
			versions = append(versions, version)
		}
	}
	return versions
}

// SimulatePackages implements executor.Packages.
func (a *Apk) SimulatePackages(ctx context.Context, install []executor.Package, remove []string) ([]executor.PackageChange, error) {
	db, after, err := a.transact(ctx, install, remove, "--simulate")
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	return db.changes(after, install, remove)
}

// transact removes first, so that what is installed finds its place. apk has no one command for both.
func (a *Apk) transact(ctx context.Context, install []executor.Package, remove []string, options ...string) (db database, after map[string]string, err error) {
	if err := checkNames(install, remove); err != nil {
		return nil, nil, err
	}
	if db, err = a.database(ctx); err != nil {
		return nil, nil, err
	}
	add, drop := db.needed(install, remove)
	var out string
	if len(drop) > 0 {
		// -r takes along what depends on it, as the other package managers do.
		said, err := a.apk(ctx, slices.Concat([]string{"del", "-r"}, options, drop)...)
		if err != nil {
			return nil, nil, err
		}
		out += said
	}
	if len(add) > 0 {
		argv := append([]string{"add"}, options...)
		for _, p := range add {
			argv = append(argv, nameVersion(p, "="))
		}
		said, err := a.apk(ctx, argv...)
		if err != nil {
			return nil, nil, err
		}
		out += said
	}
	return db, parseApkSteps(out), nil
}

// apkStep is a row such as "(1/3) Upgrading NAME (OLD -> NEW)".
var apkStep = regexp.MustCompile(`^\(\d+/\d+\) (Installing|Upgrading|Downgrading|Replacing|Purging) (\S+) \((?:\S+ -> )?(\S+)\)`)

func parseApkSteps(out string) map[string]string {
	after := map[string]string{}
	for line := range strings.Lines(out) {
		if m := apkStep.FindStringSubmatch(line); m != nil {
			if m[1] == "Purging" {
				m[3] = ""
			}
			after[m[2]] = m[3]
		}
	}
	return after
}

// ChangePackages implements executor.Packages. apk keeps an exact version in its world, which holds it: that is taken out
// again where nothing was held before.
func (a *Apk) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	db, _, err := a.transact(ctx, install, remove)
	if err != nil {
		return fmt.Errorf("change packages: %w", err)
	}
	for _, p := range install {
		if p.Version != "" && !db[p.Name].Hold {
			if err := a.SetHold(ctx, p.Name, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// SetHold implements executor.Packages.
func (a *Apk) SetHold(ctx context.Context, name string, hold bool) error {
	db, err := a.database(ctx)
	if err != nil {
		return err
	}
	p, there := db[name]
	switch {
	case !there:
		return fmt.Errorf("hold %s: %w", name, errNotInstalled)
	case p.Hold == hold:
		return nil
	case !hold:
		p.Version = ""
	}
	if _, err := a.apk(ctx, "add", nameVersion(p, "=")); err != nil {
		return fmt.Errorf("hold %s: %w", name, err)
	}
	return nil
}

// RefreshPackages implements executor.Packages. apk fetches the lists of all repositories.
func (a *Apk) RefreshPackages(ctx context.Context, repository string, maxAge time.Duration) error {
	if repository == "" && !a.tool.due(maxAge) {
		return nil
	}
	if _, err := a.apk(ctx, "update"); err != nil {
		return fmt.Errorf("fetch package lists: %w", err)
	}
	return nil
}
