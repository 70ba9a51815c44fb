package packages

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"shoal/executor"
)

// Dnf is the package manager of Fedora and its kin (dnf(8)). Holds need its plugin versionlock.
type Dnf struct {
	spotless
	tool *tool
}

// NewDnf uses the dnf of the machine on which run runs commands. waiting may be nil.
func NewDnf(run Runner, clock Clock, waiting Waiting) *Dnf {
	return &Dnf{tool: &tool{run: run, clock: clock, waiting: waiting, locked: dnfLocked}}
}

// dnfOptions make dnf decide like a person who has read the plan. What a package brought with it stays when it goes.
var dnfOptions = []string{"-q", "-y", "--setopt=clean_requirements_on_remove=False", "--setopt=install_weak_deps=True"}

func (d *Dnf) dnf(ctx context.Context, stdin string, argv ...string) (string, error) {
	return d.tool.command(ctx, stdin, append([]string{"dnf", "--setopt=exit_on_lock=True"}, argv...)...)
}

// Installed implements executor.Packages.
func (d *Dnf) Installed(ctx context.Context, names []string) ([]executor.Package, error) {
	db, err := d.database(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the package database: %w", err)
	}
	return db.some(names), nil
}

func (d *Dnf) database(ctx context.Context) (database, error) {
	db, err := readRPM(ctx, d.tool)
	if err != nil {
		return nil, err
	}
	out, err := d.dnf(ctx, "", "-q", "--cacheonly", "versionlock", "list")
	var status *failed
	if errors.As(err, &status) {
		return db, nil // without the plugin nothing is held
	}
	if err != nil {
		return nil, err
	}
	for _, name := range parseVersionlock(out) {
		if p, there := db[name]; there {
			p.Hold = true
			db[name] = p
		}
	}
	return db, nil
}

// versionlockLine is NAME-EPOCH:VERSION-RELEASE.ARCH, where the end may be a pattern.
var versionlockLine = regexp.MustCompile(`^([^!\s]+)-\d+:[^-\s]+-[^-\s]+$`)

func parseVersionlock(out string) (names []string) {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if m := versionlockLine.FindStringSubmatch(line); m != nil {
			names = append(names, m[1])
		} else if name, ok := strings.CutPrefix(line, "Package name: "); ok { // dnf 5
			names = append(names, name)
		}
	}
	return names
}

// Available implements executor.Packages.
func (d *Dnf) Available(ctx context.Context, name, version string) (candidate string, ok bool, err error) {
	if err := checkNames([]executor.Package{{Name: name, Version: version}}, nil); err != nil {
		return "", false, err
	}
	query := []string{"-q", "repoquery", "--available", "--qf", "%{name}\t%{evr}\n"}
	out, err := d.dnf(ctx, "", append(query, "--latest-limit=1", name)...)
	if err != nil {
		return "", false, fmt.Errorf("look up package %s: %w", name, err)
	}
	latest := parseRepoquery(out, name)
	if len(latest) == 0 {
		return "", false, nil
	}
	candidate = latest[len(latest)-1]
	if version == "" || version == candidate {
		return candidate, true, nil
	}
	if out, err = d.dnf(ctx, "", append(query, "--showduplicates", name)...); err != nil {
		return "", false, fmt.Errorf("look up package %s: %w", name, err)
	}
	return candidate, slices.Contains(parseRepoquery(out, name), version), nil
}

func parseRepoquery(out, name string) (versions []string) {
	for line := range strings.Lines(out) {
		if n, evr, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && n == name {
			versions = append(versions, strings.TrimPrefix(evr, "0:"))
		}
	}
	return versions
}

// script is what dnf shell reads, so that installing and removing are one transaction.
func dnfScript(install []executor.Package, remove []string) string {
	var b strings.Builder
	for _, name := range remove {
		fmt.Fprintf(&b, "remove %s\n", name)
	}
	for _, p := range install {
		fmt.Fprintf(&b, "install %s\n", nameVersion(p, "-"))
	}
	return b.String() + "run\n"
}

func nameVersion(p executor.Package, sign string) string {
	if p.Version == "" {
		return p.Name
	}
	return p.Name + sign + p.Version
}

// transaction are the arguments, and the standard input where it takes the shell.
func dnfTransaction(install []executor.Package, remove []string) (argv []string, stdin string) {
	switch {
	case len(install) == 0:
		return append([]string{"remove"}, remove...), ""
	case len(remove) > 0:
		return []string{"shell"}, dnfScript(install, remove)
	}
	argv = []string{"install"}
	for _, p := range install {
		argv = append(argv, nameVersion(p, "-"))
	}
	return argv, ""
}

// SimulatePackages implements executor.Packages.
func (d *Dnf) SimulatePackages(ctx context.Context, install []executor.Package, remove []string) ([]executor.PackageChange, error) {
	if err := checkNames(install, remove); err != nil {
		return nil, err
	}
	db, err := d.database(ctx)
	if err != nil {
		return nil, err
	}
	add, drop := db.needed(install, remove)
	if len(add)+len(drop) == 0 {
		return nil, nil
	}
	argv, stdin := dnfTransaction(add, drop)
	out, err := d.dnf(ctx, stdin, slices.Concat([]string{"--assumeno", "--setopt=clean_requirements_on_remove=False"}, lockedToo(db, add, drop), argv)...)
	after, known := parseDnfTable(out)
	var status *failed
	if err != nil && (!errors.As(err, &status) || !known) { // a refusal of the question is a status of 1 as well
		return nil, fmt.Errorf("simulate %s: %w", strings.Join(argv, " "), err)
	}
	return db.changes(after, install, remove)
}

// lockedToo lifts the locks where a package that is named is held: what is named changes all the same.
func lockedToo(db database, install []executor.Package, remove []string) []string {
	held := func(name string) bool { return db[name].Hold }
	if slices.ContainsFunc(remove, held) || slices.ContainsFunc(install, func(p executor.Package) bool { return held(p.Name) }) {
		return []string{"--disableplugin=versionlock"}
	}
	return nil
}

// parseDnfTable reads the table of a transaction: a heading for each kind of change, and rows of name, architecture, version,
// repository and size below. A long name has a line for itself. known is false when there is no table.
func parseDnfTable(out string) (after map[string]string, known bool) {
	after = map[string]string{}
	removing, inTable, name := false, false, ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "Transaction Summary"):
			return after, known
		case len(fields) == 0:
		case !strings.HasPrefix(line, " ") && strings.HasSuffix(line, ":"):
			inTable, known = true, true
			removing = strings.HasPrefix(line, "Removing") || strings.HasPrefix(line, "Obsoleting")
		case !inTable || !strings.HasPrefix(line, " ") || strings.HasPrefix(strings.TrimSpace(line), "replacing"):
		case len(fields) == 1:
			name = fields[0]
		default:
			if name == "" {
				name, fields = fields[0], fields[1:]
			}
			if len(fields) < 2 {
				continue
			}
			version := strings.TrimPrefix(fields[1], "0:")
			if _, installed := after[name]; removing && !installed {
				after[name] = ""
			} else if !removing {
				after[name] = version
			}
			name = ""
		}
	}
	return after, known
}

// ChangePackages implements executor.Packages.
func (d *Dnf) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	if err := checkNames(install, remove); err != nil {
		return err
	}
	db, err := d.database(ctx)
	if err != nil {
		return err
	}
	add, drop := db.needed(install, remove)
	if len(add)+len(drop) == 0 {
		return nil
	}
	argv, stdin := dnfTransaction(add, drop)
	lift := lockedToo(db, add, drop)
	if len(add) > 0 && len(drop) == 0 {
		if _, err := d.dnf(ctx, stdin, slices.Concat(dnfOptions, []string{"--downloadonly"}, lift, argv)...); err != nil {
			return fmt.Errorf("fetch packages %s: %w", strings.Join(argv[1:], " "), err)
		}
	}
	if _, err := d.dnf(ctx, stdin, slices.Concat(dnfOptions, lift, argv)...); err != nil {
		return fmt.Errorf("change packages: %w", err)
	}
	return nil
}

// SetHold implements executor.Packages.
func (d *Dnf) SetHold(ctx context.Context, name string, hold bool) error {
	db, err := d.database(ctx)
	if err != nil {
		return err
	}
	have, there := db[name]
	if !there {
		return fmt.Errorf("hold %s: %w", name, errNotInstalled)
	}
	if have.Hold == hold {
		return nil
	}
	verb := "delete"
	if hold {
		verb = "add"
	}
	if _, err := d.dnf(ctx, "", "-q", "-y", "versionlock", verb, name); err != nil {
		return fmt.Errorf("hold %s (this takes dnf's plugin versionlock): %w", name, err)
	}
	return nil
}

// RefreshPackages implements executor.Packages.
func (d *Dnf) RefreshPackages(ctx context.Context, repository string, maxAge time.Duration) error {
	argv := []string{"-q", "-y", "makecache", "--refresh"}
	switch {
	case repository != "" && !packageName.MatchString(repository):
		return fmt.Errorf("%q is not the name of a repository", repository)
	case repository != "":
		argv = []string{"-q", "-y", "--disablerepo=*", "--enablerepo=" + repository, "--setopt=" + repository + ".skip_if_unavailable=False", "makecache", "--refresh"}
	case !d.tool.due(maxAge):
		return nil
	}
	if _, err := d.dnf(ctx, "", argv...); err != nil {
		return fmt.Errorf("fetch package lists: %w", err)
	}
	return nil
}
