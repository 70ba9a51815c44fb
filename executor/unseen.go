package executor

import (
	"maps"
	"slices"

	"shoal/states"
)

// Unseen is the plan of a machine that is not here to be looked at: what is asked of it, with every answer unknown.
func Unseen(plan *states.Plan, meta RunMeta) Report {
	r := Report{
		Node: plan.Node.Name, Env: meta.Env, Version: meta.Version, Revision: meta.Revision,
		Order: string(plan.Policy.Order), Result: Converged, States: []StateReport{},
	}
	for _, inv := range plan.Invocations {
		for _, part := range inv.Parts {
			r.States = append(r.States, unseenPart(plan, inv, part))
		}
	}
	maskReport(&r, plan.Secrets)
	return r
}

func unseenPart(plan *states.Plan, inv states.StateInvocation, part states.StatePartInvocation) StateReport {
	s := StateReport{
		ID: inv.ID, Part: part.FullName(), Invocation: inv.Number, Result: Unknown, Reversible: true,
		Outputs: map[string]any{}, Note: "that machine is not looked at from here",
	}
	switch {
	case inv.Skip != "":
		s.Result, s.Note = Skipped, inv.Skip
	case inv.Lazy:
		s.Result, s.Note = Skipped, "lazy: runs when notified"
	default:
		s.Diff = openDiff(part.Params)
	}
	for _, name := range slices.Sorted(maps.Keys(part.Params)) {
		if c, ok := part.Params[name].(states.Content); ok && s.Result == Unknown {
			if c.Secret {
				s.Diff += hiddenDiff
			} else if data, ok := plan.Rendered[c.Hash]; ok {
				s.Diff += TextDiff(c.From, nil, data)
			}
		}
	}
	return s
}
