package packages

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/executor"
)

// Zypper is the package manager of openSUSE and SLES (zypper(8)), read through its XML.
type Zypper struct {
	spotless
	tool *tool
}

// NewZypper uses the zypper of the machine on which run runs commands.
func NewZypper(run Runner, clock Clock, waiting Waiting) *Zypper {
	return &Zypper{tool: &tool{run: run, clock: clock, waiting: waiting, locked: zypperLocked, env: []string{"ZYPP_LOCK_TIMEOUT=0"}}}
}

// zypperNothingFound is the status of a search that found nothing (zypper(8), "EXIT CODES").
const zypperNothingFound = 104

// zypperAnswer is as much of the XML as is read.
type zypperAnswer struct {
	Found []struct {
		Name    string `xml:"name,attr"`
		Edition string `xml:"edition,attr"`
		Kind    string `xml:"kind,attr"`
		// Repository is "(System Packages)" for what the machine alone has.
		Repository string `xml:"repository,attr"`
	} `xml:"search-result>solvable-list>solvable"`
	Locks []struct {
		Name string `xml:"name"`
	} `xml:"locks>lock"`
	Summary struct {
		Groups []struct {
			XMLName xml.Name
			Changes []struct {
				Type    string `xml:"type,attr"`
				Name    string `xml:"name,attr"`
				Edition string `xml:"edition,attr"`
			} `xml:"solvable"`
		} `xml:",any"`
	} `xml:"install-summary"`
}

func parseZypper(out string) (a zypperAnswer, err error) {
	if err := xml.Unmarshal([]byte(out), &a); err != nil {
		return a, fmt.Errorf("read what zypper says: %w", err)
	}
	return a, nil
}

func (z *Zypper) ask(ctx context.Context, argv ...string) (zypperAnswer, error) {
	out, err := z.tool.command(ctx, "", append([]string{"zypper", "--non-interactive", "--xmlout"}, argv...)...)
	if err != nil {
		return zypperAnswer{}, err
	}
	return parseZypper(out)
}

func (z *Zypper) database(ctx context.Context) (database, error) {
	db, err := readRPM(ctx, z.tool)
	if err != nil {
		return nil, err
	}
	answer, err := z.ask(ctx, "locks")
	if err != nil {
		return nil, err
	}
	for _, lock := range answer.Locks {
		if p, there := db[lock.Name]; there {
			p.Hold = true
			db[lock.Name] = p
		}
	}
	return db, nil
}

// Installed implements executor.Packages.
func (z *Zypper) Installed(ctx context.Context, names []string) ([]executor.Package, error) {
	db, err := z.database(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the package database: %w", err)
	}
	return db.some(names), nil
}

// Available implements executor.Packages.
func (z *Zypper) Available(ctx context.Context, name, version string) (candidate string, ok bool, err error) {
	if err := checkNames([]executor.Package{{Name: name, Version: version}}, nil); err != nil {
		return "", false, err
	}
	answer, err := z.ask(ctx, "--no-refresh", "search", "--details", "--match-exact", "--type", "package", name)
	if ended(err, zypperNothingFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look up package %s: %w", name, err)
	}
	var versions []string // zypper lists the newest first
	for _, s := range answer.Found {
		if s.Name == name && s.Kind == "package" && !strings.HasPrefix(s.Repository, "(System") {
			versions = append(versions, s.Edition)
		}
	}
	if len(versions) == 0 {
		return "", false, nil
	}
	return versions[0], version == "" || slices.Contains(versions, version), nil
}

// zypperArguments are those of install, which removes what has a minus before it, or of remove, which alone takes along what
// depends on a package without a question. options are those of install.
func zypperArguments(install []executor.Package, remove, options []string) (args []string) {
	if len(install) == 0 {
		return append([]string{"--no-refresh", "remove", "--"}, remove...)
	}
	args = slices.Concat([]string{"--no-refresh", "install", "--oldpackage"}, options, []string{"--"})
	for _, p := range install {
		args = append(args, nameVersion(p, "="))
	}
	for _, name := range remove {
		args = append(args, "-"+name)
	}
	return args
}

// SimulatePackages implements executor.Packages.
func (z *Zypper) SimulatePackages(ctx context.Context, install []executor.Package, remove []string) ([]executor.PackageChange, error) {
	db, add, drop, err := z.needed(ctx, install, remove)
	if err != nil || len(add)+len(drop) == 0 {
		return nil, err
	}
	argv := zypperArguments(add, drop, nil)
	answer, err := z.ask(ctx, slices.Insert(argv, 2, "--dry-run")...)
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", strings.Join(argv, " "), err)
	}
	return db.changes(zypperAfter(answer), install, remove)
}

func zypperAfter(answer zypperAnswer) map[string]string {
	after := map[string]string{}
	for _, g := range answer.Summary.Groups {
		for _, s := range g.Changes {
			switch {
			case s.Type != "package":
			case g.XMLName.Local == "to-remove":
				after[s.Name] = ""
			case strings.HasPrefix(g.XMLName.Local, "to-"):
				after[s.Name] = s.Edition
			}
		}
	}
	return after
}

func (z *Zypper) needed(ctx context.Context, install []executor.Package, remove []string) (db database, add []executor.Package, drop []string, err error) {
	if err := checkNames(install, remove); err != nil {
		return nil, nil, nil, err
	}
	if db, err = z.database(ctx); err != nil {
		return nil, nil, nil, err
	}
	add, drop = db.needed(install, remove)
	return db, add, drop, nil
}

// ChangePackages implements executor.Packages. A lock does not stop what is named: it is lifted.
func (z *Zypper) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	db, add, drop, err := z.needed(ctx, install, remove)
	if err != nil || len(add)+len(drop) == 0 {
		return err
	}
	for _, name := range append(namesOf(install), remove...) {
		if db[name].Hold {
			if err := z.SetHold(ctx, name, false); err != nil {
				return err
			}
		}
	}
	argv := zypperArguments(add, drop, []string{"--download", "in-advance", "--auto-agree-with-licenses"})
	if _, err := z.ask(ctx, argv...); err != nil {
		return fmt.Errorf("change packages %s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

func namesOf(packages []executor.Package) (names []string) {
	for _, p := range packages {
		names = append(names, p.Name)
	}
	return names
}

// SetHold implements executor.Packages.
func (z *Zypper) SetHold(ctx context.Context, name string, hold bool) error {
	db, err := z.database(ctx)
	if err != nil {
		return err
	}
	if _, there := db[name]; !there {
		return fmt.Errorf("hold %s: %w", name, errNotInstalled)
	}
	verb := "removelock"
	if hold {
		verb = "addlock"
	}
	if _, err := z.ask(ctx, verb, name); err != nil {
		return fmt.Errorf("hold %s: %w", name, err)
	}
	return nil
}

// RefreshPackages implements executor.Packages.
func (z *Zypper) RefreshPackages(ctx context.Context, repository string, maxAge time.Duration) error {
	argv := []string{"refresh"}
	switch {
	case repository != "" && !packageName.MatchString(repository):
		return fmt.Errorf("%q is not the name of a repository", repository)
	case repository != "":
		argv = append(argv, "--repo", repository)
	case !z.tool.due(maxAge):
		return nil
	}
	if _, err := z.ask(ctx, argv...); err != nil {
		return fmt.Errorf("fetch package lists: %w", err)
	}
	return nil
}
