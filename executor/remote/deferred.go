package remote

import (
	"maps"
	"slices"

	"shoal/states"
)

// deferreds lists all that a plan leaves open, in an order that both sides find.
func deferreds(plan *states.Plan) []states.Deferred {
	var all []states.Deferred
	for i := range plan.Invocations {
		inv := &plan.Invocations[i]
		if inv.When != nil {
			all = append(all, *inv.When)
		}
		for _, part := range inv.Parts {
			walk(part.Params, func(v any) {
				if d, ok := v.(states.Deferred); ok {
					all = append(all, d)
				}
			})
		}
	}
	return all
}

// sources are the contents that a plan names in its tree, extension modules among them, by their hash.
func sources(plan *states.Plan) map[string]states.Content {
	all := map[string]states.Content{}
	for _, x := range plan.Extensions {
		all[x.Binary.Hash] = x.Binary
	}
	for i := range plan.Invocations {
		for _, part := range plan.Invocations[i].Parts {
			walk(part.Params, func(v any) {
				if c, ok := v.(states.Content); ok {
					all[c.Hash] = c
				}
			})
		}
	}
	return all
}

func walk(v any, visit func(any)) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			walk(item, visit)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			walk(v[name], visit)
		}
	default:
		visit(v)
	}
}
