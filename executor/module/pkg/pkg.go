// Package pkg is the module pkg: packages of the machine's package manager.
package pkg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"shoal/executor"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module { return []executor.Module{installed, latest, removed} }

// goal is one function: they differ in what they want of the packages, and share how that is planned, done and taken back.
type goal struct {
	name, doc string
	example   string
	params    []states.Param
	outputs   []states.Output
	// aim says what has to be installed and removed. It returns an *executor.Missing for a package that cannot be had.
	aim func(ctx context.Context, h executor.Host, p executor.Params, t *target) error
	// says are the outputs, with t as it was before and have as it is or will be.
	says func(t target, have map[string]executor.Package) map[string]any
}

var nameParams = []states.Param{
	{Name: "name", Type: states.String, Provides: states.ResourcePackage, Doc: "Name of the package; NAME:ARCH for one of another architecture."},
	{Name: "names", Type: states.Strings, Provides: states.ResourcePackage, Doc: "Names of several packages, changed in one transaction, in place of name."},
}

var holdParam = states.Param{Name: "hold", Type: states.Bool,
	Doc: "Whether the package manager is to leave the packages at their version. Without it that is left alone."}

var versionOutputs = []states.Output{
	{Name: "version", Type: states.String, Doc: "The version that is installed; of the first of names."},
	{Name: "versions", Type: states.Map, Doc: "The version of each package, by name."},
}

var installed = goal{
	name: "installed",
	example: `nginx:
  pkg.installed: {name: nginx, version: 1.22.1-9, hold: true}
tools:
  pkg.installed: {names: [curl, jq, tmux]}`,
	doc: "Packages are installed, together with what they depend on. Which version, is left alone unless version says it.",
	params: append(slices.Clone(nameParams),
		states.Param{Name: "version", Type: states.String, Doc: "The exact version, up- or downgraded to. Only with name."}, holdParam),
	outputs: versionOutputs, aim: aimInstalled, says: versions,
}

var latest = goal{
	name: "latest",
	example: `certificates:
  pkg.latest: {name: ca-certificates}`,
	doc: "Packages are installed at the newest version that the package manager would choose, each time this runs. One that is held stays at its version.",
	params: append(slices.Clone(nameParams),
		states.Param{Name: "max_age", Type: states.Duration, Default: "24h", Doc: "How old the package lists may be: older ones are fetched first, where they can be."}),
	outputs: versionOutputs, aim: aimLatest, says: versions,
}

var removed = goal{
	name: "removed",
	example: `no-telnet:
  pkg.removed: {names: [telnetd, rsh-server]}`,
	doc:     "Packages are not installed. What depends on them goes with them, and the plan names it. Configuration and data stay.",
	params:  nameParams,
	outputs: []states.Output{{Name: "removed", Type: states.Strings, Doc: "All packages that this run removed."}},
	aim:     aimRemoved, says: gone,
}

func (g goal) Function() states.Function {
	return states.Function{
		Module: "pkg", Name: g.name, Doc: g.doc, Params: g.params, Outputs: g.outputs, Example: g.example,
		CheckDoc: "Reads the package database; where something is to change, simulates the transaction and shows each package that it would change.",
		UndoDoc: "All packages that the transaction changed go back to the version before, where that can still be had, and new ones are removed; " +
			"else it is marked irreversible. Removed is not purged: configuration that was edited and data stay.",
		Validate: validate, Isolated: g.name != latest.name,
	}
}

func validate(params map[string]any) error {
	p := executor.Params(params)
	names, given := p.Strings("names")
	switch {
	case p.String("name") == "" && len(names) == 0:
		return errors.New("give name or names")
	case p.String("name") != "" && given:
		return errors.New("give name or names, not both")
	case p.String("version") != "" && given:
		return errors.New("version goes with name, not with names")
	}
	return nil
}

// wanted are the packages as they are to be, in the order written, each once. Version "" is any.
func wanted(p executor.Params) []executor.Package {
	names, _ := p.Strings("names")
	if name := p.String("name"); name != "" {
		names = []string{name}
	}
	var packages []executor.Package
	for _, name := range names {
		if !slices.ContainsFunc(packages, func(q executor.Package) bool { return q.Name == name }) {
			packages = append(packages, executor.Package{Name: name, Version: p.String("version")})
		}
	}
	return packages
}

func namesOf(packages []executor.Package) []string {
	names := make([]string, len(packages))
	for i, q := range packages {
		names[i] = q.Name
	}
	return names
}

// now is what is installed of some packages.
func now(ctx context.Context, h executor.Host, names []string) (map[string]executor.Package, error) {
	if len(names) == 0 {
		return nil, nil // no names would ask for all
	}
	list, err := h.Installed(ctx, names)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]executor.Package, len(list))
	for _, q := range list {
		byName[q.Name] = q
	}
	return byName, nil
}

// lacking are those of want that are absent or at another version.
func lacking(want []executor.Package, have map[string]executor.Package) []executor.Package {
	var lack []executor.Package
	for _, w := range want {
		if q, ok := have[w.Name]; !ok || (w.Version != "" && w.Version != q.Version) {
			lack = append(lack, w)
		}
	}
	return lack
}

// target is what one part asks for, beside what there is.
type target struct {
	want    []executor.Package
	have    map[string]executor.Package
	install []executor.Package
	remove  []string
	// changes is all that the transaction does, dependencies included.
	changes []executor.PackageChange
}

// read simulates too; the error is an *executor.Missing for a package that cannot be had.
func (g goal) read(ctx context.Context, h executor.Host, p executor.Params) (target, error) {
	t := target{want: wanted(p)}
	var err error
	if t.have, err = now(ctx, h, namesOf(t.want)); err != nil {
		return target{}, err
	}
	if err = g.aim(ctx, h, p, &t); err != nil || len(t.install)+len(t.remove) == 0 {
		return t, err
	}
	t.changes, err = h.SimulatePackages(ctx, t.install, t.remove)
	return t, err
}

func aimInstalled(ctx context.Context, h executor.Host, _ executor.Params, t *target) error {
	t.install = lacking(t.want, t.have)
	for _, q := range t.install {
		_, ok, err := h.Available(ctx, q.Name, q.Version)
		if err != nil {
			return err
		}
		if !ok {
			return &executor.Missing{Kind: states.ResourcePackage, Name: nameVersion(q.Name, q.Version)}
		}
	}
	return nil
}

func aimLatest(ctx context.Context, h executor.Host, p executor.Params, t *target) error {
	age, _ := time.ParseDuration(p.String("max_age")) // the compiler has checked it
	// A machine without a network says what it can from the lists that it has.
	if err := h.RefreshPackages(ctx, "", age); err != nil && ctx.Err() != nil {
		return err
	}
	for _, q := range t.want {
		have, there := t.have[q.Name]
		if have.Hold {
			continue
		}
		candidate, ok, err := h.Available(ctx, q.Name, "")
		if err != nil {
			return err
		}
		switch {
		case !ok && !there:
			t.install = append(t.install, q)
			return &executor.Missing{Kind: states.ResourcePackage, Name: q.Name}
		case ok && have.Version != candidate:
			t.install = append(t.install, executor.Package{Name: q.Name, Version: candidate})
		}
	}
	return nil
}

func aimRemoved(_ context.Context, _ executor.Host, _ executor.Params, t *target) error {
	for _, q := range t.want {
		if _, there := t.have[q.Name]; there {
			t.remove = append(t.remove, q.Name)
		}
	}
	return nil
}

func (g goal) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	t, err := g.read(ctx, h, p)
	var missing *executor.Missing
	if err != nil && !errors.As(err, &missing) {
		return executor.Change{}, err
	}
	diff := t.diff(p, missing != nil)
	change := executor.Change{Needed: diff != "", Diff: diff}
	if missing != nil {
		return change, missing
	}
	change.Outputs = g.says(t, t.after())
	return change, nil
}

// after is what will be there of the packages that are named, as far as it is known.
func (t target) after() map[string]executor.Package {
	after := maps.Clone(t.have)
	for _, c := range t.changes {
		if c.After == "" {
			delete(after, c.Name)
		} else if slices.ContainsFunc(t.want, func(q executor.Package) bool { return q.Name == c.Name }) {
			after[c.Name] = executor.Package{Name: c.Name, Version: c.After, Hold: after[c.Name].Hold}
		}
	}
	return after
}

// diff is one line for each package that changes. Unknown: the simulation could not be made, so the named ones alone.
func (t target) diff(p executor.Params, unknown bool) string {
	changes := t.changes
	if unknown {
		for _, q := range t.install {
			changes = append(changes, executor.PackageChange{Name: q.Name, Before: t.have[q.Name].Version, After: q.Version})
		}
	}
	var b strings.Builder
	for _, c := range changes {
		after := versionOr(c.After, "absent")
		if unknown {
			after = versionOr(c.After, "installed")
		}
		fmt.Fprintf(&b, "%s: %s -> %s\n", c.Name, versionOr(c.Before, "absent"), after)
	}
	for _, name := range t.holdsToSet(p) {
		fmt.Fprintf(&b, "%s hold: %v -> %v\n", name, t.have[name].Hold, !t.have[name].Hold)
	}
	return b.String()
}

// holdsToSet are the packages whose hold is to be turned.
func (t target) holdsToSet(p executor.Params) []string {
	hold, given := p.Bool("hold")
	var names []string
	for _, q := range t.want {
		if given && t.have[q.Name].Hold != hold {
			names = append(names, q.Name)
		}
	}
	return names
}

// versions are the outputs of what is installed.
func versions(t target, have map[string]executor.Package) map[string]any {
	all := make(map[string]any, len(t.want))
	for _, q := range t.want {
		all[q.Name] = have[q.Name].Version
	}
	return map[string]any{"version": all[t.want[0].Name], "versions": all}
}

// gone is the output of what was removed.
func gone(t target, _ map[string]executor.Package) map[string]any {
	names := []any{}
	for _, c := range t.changes {
		if c.After == "" {
			names = append(names, c.Name)
		}
	}
	return map[string]any{"removed": names}
}

func (g goal) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	t, err := g.read(ctx, h, p)
	if err != nil {
		return nil, err
	}
	if len(t.install)+len(t.remove) > 0 {
		if err := h.ChangePackages(ctx, t.install, t.remove); err != nil {
			return nil, err
		}
	}
	have, err := now(ctx, h, namesOf(t.want))
	if err != nil {
		return nil, err
	}
	if err := t.done(have); err != nil {
		return nil, err
	}
	return g.says(t, have), t.setHolds(ctx, h, p, have)
}

// done: what a package manager reports is not always what it did.
func (t target) done(have map[string]executor.Package) error {
	if lack := lacking(t.install, have); len(lack) > 0 {
		return fmt.Errorf("install %s: the package manager reported success, and it is not there", nameVersion(lack[0].Name, lack[0].Version))
	}
	for _, name := range t.remove {
		if _, there := have[name]; there {
			return fmt.Errorf("remove %s: the package manager reported success, and it is still there", name)
		}
	}
	return nil
}

// setHolds: a hold does not stop what is named, and is to outlast it unless the state says otherwise.
func (t target) setHolds(ctx context.Context, h executor.Host, p executor.Params, have map[string]executor.Package) error {
	hold, given := p.Bool("hold")
	for _, q := range t.want {
		keep := t.have[q.Name].Hold
		if given {
			keep = hold
		}
		if after, there := have[q.Name]; there && after.Hold != keep {
			if err := h.SetHold(ctx, q.Name, keep); err != nil {
				return err
			}
		}
	}
	return nil
}

func nameVersion(name, version string) string {
	if version == "" {
		return name
	}
	return name + "=" + version
}

func versionOr(version, none string) string {
	if version == "" {
		return none
	}
	return version
}
