package pkg

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"shoal/executor"
	"shoal/internal/codec"
)

// before is what Revert needs: not the whole package database, but what this transaction was to change, so that an undo
// months later takes nothing else back.
type before struct {
	Changes []change `cbor:"1,keyasint"`
	Named   []string `cbor:"2,keyasint"` // the packages that the state names
	Held    []string `cbor:"3,keyasint"` // those of them that were held
	// Left are those that were not there but for what they had left: it stays.
	Left []string `cbor:"4,keyasint,omitempty"`
	// Leaving are those that somebody had chosen to go: that choice is left alone.
	Leaving []string `cbor:"5,keyasint,omitempty"`
}

type change struct {
	Name   string `cbor:"1,keyasint"`
	Before string `cbor:"2,keyasint"` // empty: not installed
	After  string `cbor:"3,keyasint"`
}

func (g goal) Capture(ctx context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	t, err := g.read(ctx, h, p)
	if err != nil {
		return executor.Undo{}, err
	}
	b := before{Named: namesOf(t.want)}
	for _, name := range b.Named {
		// What is there and stays, too: this may be asked before another undo removes it.
		q, there := t.have[name]
		if q.Leaving {
			b.Leaving = append(b.Leaving, name)
		}
		if there && !t.changing(name) {
			b.Changes = append(b.Changes, change{Name: name, Before: q.Version, After: q.Version})
		}
	}
	var lost []string
	for _, c := range t.changes {
		b.Changes = append(b.Changes, change(c))
		if c.Before == "" {
			continue
		}
		_, ok, err := h.Available(ctx, c.Name, c.Before)
		if err != nil {
			return executor.Undo{}, err
		}
		if !ok {
			lost = append(lost, nameVersion(c.Name, c.Before))
		}
	}
	for _, name := range b.Named {
		if t.have[name].Hold {
			b.Held = append(b.Held, name)
		}
	}
	if b.Left, err = h.Leftovers(ctx, b.came()); err != nil {
		return executor.Undo{}, err
	}
	data, err := codec.Marshal(b)
	if err != nil || len(lost) == 0 {
		return executor.Undo{Reversible: true, Data: data}, err
	}
	return executor.Undo{Why: "no repository has these versions any more: " + strings.Join(lost, ", "), Data: data}, nil
}

func (g goal) Revert(ctx context.Context, h executor.Host, _ executor.Params, u executor.Undo) error {
	var b before
	if err := codec.Unmarshal(u.Data, &b); err != nil {
		return err
	}
	have, err := now(ctx, h, b.names())
	if err != nil {
		return err
	}
	install, remove := b.plan(have)
	if len(install)+len(remove) > 0 {
		err = b.takeBack(ctx, h, install, remove)
	} else {
		err = h.ChangePackages(ctx, nil, nil) // a transaction may have been killed before it changed anything that shows
	}
	if err != nil {
		return err
	}
	if u.Rollback {
		if err := b.purge(ctx, h); err != nil {
			return err
		}
	}
	return b.restoreHolds(ctx, h)
}

// purge takes away the configuration and data of what came with the run and is gone again. What others have come to need
// since is installed, and is passed over.
func (b before) purge(ctx context.Context, h executor.Host) error {
	names := slices.DeleteFunc(b.came(), func(name string) bool { return slices.Contains(b.Left, name) })
	if len(names) == 0 {
		return nil
	}
	left, err := h.Leftovers(ctx, names)
	if err != nil || len(left) == 0 {
		return err
	}
	return h.PurgePackages(ctx, left)
}

// came are the packages that were not there before.
func (b before) came() []string {
	var names []string
	for _, c := range b.Changes {
		if c.Before == "" {
			names = append(names, c.Name)
		}
	}
	return names
}

// names are all packages that Revert may touch.
func (b before) names() []string {
	names := slices.Clone(b.Named)
	for _, c := range b.Changes {
		if !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

func (t target) changing(name string) bool {
	return slices.ContainsFunc(t.changes, func(c executor.PackageChange) bool { return c.Name == name })
}

// plan says what leads from have to what was before. What was not there is removed whether it is there or not: a
// transaction that failed may have left half of it, which does not count as installed.
func (b before) plan(have map[string]executor.Package) (install []executor.Package, remove []string) {
	for _, c := range b.Changes {
		switch {
		case c.Before == "":
			remove = append(remove, c.Name)
		case have[c.Name].Version != c.Before || have[c.Name].Leaving && !slices.Contains(b.Leaving, c.Name):
			install = append(install, executor.Package{Name: c.Name, Version: c.Before})
		}
	}
	return install, remove
}

func (b before) takeBack(ctx context.Context, h executor.Host, install []executor.Package, remove []string) error {
	remove, err := b.spareOthers(ctx, h, install, remove)
	if err != nil || len(install)+len(remove) == 0 {
		return err
	}
	return h.ChangePackages(ctx, install, remove)
}

// spareOthers takes out of remove what others have come to depend on since: a library that came with a package stays
// when something else needs it by now. A package that the state named is not spared silently.
func (b before) spareOthers(ctx context.Context, h executor.Host, install []executor.Package, remove []string) ([]string, error) {
	for _, try := range [][]string{remove, b.namedAmong(remove)} {
		changes, err := h.SimulatePackages(ctx, install, try)
		if err != nil {
			return nil, err
		}
		drags := b.drags(changes, remove)
		if len(drags) == 0 {
			return try, nil
		}
		if len(try) == len(b.namedAmong(remove)) {
			return nil, fmt.Errorf("remove %s: %s would go with it, which this state did not install",
				strings.Join(try, ", "), strings.Join(drags, ", "))
		}
	}
	return nil, nil
}

func (b before) namedAmong(names []string) []string {
	var named []string
	for _, name := range names {
		if slices.Contains(b.Named, name) {
			named = append(named, name)
		}
	}
	return named
}

// drags are the packages that a transaction removes beyond what may go.
func (b before) drags(changes []executor.PackageChange, mayGo []string) []string {
	var drags []string
	for _, c := range changes {
		if c.After == "" && !slices.Contains(mayGo, c.Name) {
			drags = append(drags, c.Name)
		}
	}
	return drags
}

func (b before) restoreHolds(ctx context.Context, h executor.Host) error {
	have, err := now(ctx, h, b.Named)
	if err != nil {
		return err
	}
	for _, name := range b.Named {
		q, there := have[name]
		if held := slices.Contains(b.Held, name); there && q.Hold != held {
			if err := h.SetHold(ctx, name, held); err != nil {
				return err
			}
		}
	}
	return nil
}
