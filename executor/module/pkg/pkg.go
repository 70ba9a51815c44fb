// Package pkg is the module pkg: packages of the machine's package manager.
package pkg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module { return []executor.Module{installed{}} }

type installed struct{}

func (installed) Function() states.Function {
	return states.Function{
		Module: "pkg", Name: "installed",
		Doc: "Packages are installed, together with what they depend on. Which version, is left alone unless version says it.",
		Params: []states.Param{
			{Name: "name", Type: states.String, Provides: states.ResourcePackage, Doc: "Name of the package; NAME:ARCH for one of another architecture."},
			{Name: "names", Type: states.Strings, Provides: states.ResourcePackage, Doc: "Names of several packages, installed in one transaction, in place of name."},
			{Name: "version", Type: states.String, Doc: "The exact version, up- or downgraded to. Only with name."},
			{Name: "hold", Type: states.Bool, Doc: "Whether the package manager is to leave the packages at their version. Without it that is left alone."},
		},
		Outputs: []states.Output{
			{Name: "version", Type: states.String, Doc: "The version that is installed; of the first of names."},
			{Name: "versions", Type: states.Map, Doc: "The version of each package, by name."},
		},
		CheckDoc: "Reads the package database; where something is missing, simulates the transaction and shows each package that it would change.",
		UndoDoc: "All packages that the transaction changed go back to the version before, where that can still be had, and new ones are removed; " +
			"else it is marked irreversible. Removed is not purged: configuration that was edited and data stay.",
		Validate: validate,
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
	want []executor.Package
	have map[string]executor.Package
	lack []executor.Package
	// changes is all that installing lack does, dependencies included.
	changes []executor.PackageChange
}

// read simulates too; the error is an *executor.Missing for a package that cannot be had.
func read(ctx context.Context, h executor.Host, p executor.Params) (target, error) {
	t := target{want: wanted(p)}
	var err error
	if t.have, err = now(ctx, h, namesOf(t.want)); err != nil {
		return target{}, err
	}
	t.lack = lacking(t.want, t.have)
	if len(t.lack) == 0 {
		return t, nil
	}
	for _, q := range t.lack {
		_, ok, err := h.Available(ctx, q.Name, q.Version)
		if err != nil {
			return target{}, err
		}
		if !ok {
			return t, &executor.Missing{Kind: states.ResourcePackage, Name: nameVersion(q.Name, q.Version)}
		}
	}
	t.changes, err = h.SimulatePackages(ctx, t.lack, nil)
	return t, err
}

func (installed) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	t, err := read(ctx, h, p)
	var missing *executor.Missing
	if err != nil && !errors.As(err, &missing) {
		return executor.Change{}, err
	}
	diff := t.diff(p, missing != nil)
	change := executor.Change{Needed: diff != "", Diff: diff}
	if missing != nil {
		return change, missing
	}
	change.Outputs = t.outputs()
	return change, nil
}

// diff is one line for each package that changes. Unknown: the simulation could not be made, so the named ones alone.
func (t target) diff(p executor.Params, unknown bool) string {
	changes := t.changes
	if unknown {
		for _, q := range t.lack {
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

func (t target) outputs() map[string]any {
	versions := make(map[string]any, len(t.want))
	for _, q := range t.want {
		versions[q.Name] = t.have[q.Name].Version
	}
	for _, c := range t.changes {
		if _, ok := versions[c.Name]; ok {
			versions[c.Name] = c.After
		}
	}
	return map[string]any{"version": versions[t.want[0].Name], "versions": versions}
}

func (installed) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	t, err := read(ctx, h, p)
	if err != nil {
		return nil, err
	}
	hold, given := p.Bool("hold")
	if len(t.lack) > 0 {
		if err := h.ChangePackages(ctx, t.lack, nil); err != nil {
			return nil, err
		}
	}
	have, err := now(ctx, h, namesOf(t.want))
	if err != nil {
		return nil, err
	}
	if lack := lacking(t.want, have); len(lack) > 0 {
		return nil, fmt.Errorf("install %s: the package manager reported success, and it is not there", nameVersion(lack[0].Name, lack[0].Version))
	}
	for _, q := range t.want {
		// A hold does not stop what is named, and is to outlast it unless the state says otherwise.
		keep := t.have[q.Name].Hold
		if given {
			keep = hold
		}
		if have[q.Name].Hold != keep {
			if err := h.SetHold(ctx, q.Name, keep); err != nil {
				return nil, err
			}
		}
	}
	return target{want: t.want, have: have}.outputs(), nil
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
