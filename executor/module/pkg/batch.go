package pkg

import (
	"context"
	"fmt"
	"slices"

	"shoal/executor"
)

// Batch does what Apply of each part would, in one transaction of the package manager. What it resolves at once, such as two
// packages that need the same one, it need not find out in turn.
func (goal) Batch(ctx context.Context, h executor.Host, parts []executor.BatchPart) ([]map[string]any, error) {
	all, goals, targets := []goal{installed, latest, removed}, make([]goal, len(parts)), make([]target, len(parts))
	var install []executor.Package
	var remove []string
	for i, p := range parts {
		at := slices.IndexFunc(all, func(g goal) bool { return g.name == p.Function })
		if at < 0 {
			return nil, fmt.Errorf("pkg.%s cannot be joined", p.Function)
		}
		var err error
		goals[i] = all[at]
		if targets[i], err = goals[i].read(ctx, h, p.Params); err != nil {
			return nil, err
		}
		for _, q := range targets[i].install {
			if !slices.Contains(install, q) {
				install = append(install, q)
			}
		}
		for _, name := range targets[i].remove {
			if !slices.Contains(remove, name) {
				remove = append(remove, name)
			}
		}
	}
	if len(install)+len(remove) > 0 {
		if err := h.ChangePackages(ctx, install, remove); err != nil {
			return nil, err
		}
	}
	outputs := make([]map[string]any, len(parts))
	for i, t := range targets {
		have, err := now(ctx, h, namesOf(t.want))
		if err == nil {
			err = t.done(have)
		}
		if err == nil {
			err = t.setHolds(ctx, h, parts[i].Params, have)
		}
		if err != nil {
			return nil, err
		}
		outputs[i] = goals[i].says(t, have)
	}
	return outputs, nil
}
