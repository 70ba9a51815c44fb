package states

import (
	"slices"
	"strings"
)

// chosen is what the targets select for one node: its components in order, each once, and the variables that lie over
// their defaults.
type chosen struct {
	components []string
	places     map[string]Place // where each component was named first
	variables  map[string]any
	layers     []layer // that variables are made of, the later ones win
}

// layer is one set of variables, and where it is written.
type layer struct {
	values map[string]any
	doc    *docNode
}

// choice is the work on a chosen.
type choice struct {
	c                    *compilation
	out                  chosen
	roles, inline, files []layer
}

// choose evaluates the targets for a node. Later wins: roles, then variables of targets as written, then variable files.
func (c *compilation) choose() chosen {
	ch := choice{c: c, out: chosen{places: map[string]Place{}}}
	for _, t := range c.lib.site.targets {
		if !c.targets(t) {
			continue
		}
		for _, n := range t.roles {
			ch.role(n, nil)
		}
		ch.components(t.components)
		ch.inline = ch.lay(ch.inline, t.variables)
		for _, n := range t.from {
			ch.files = ch.lay(ch.files, c.lib.variableFile(n))
		}
	}
	for _, l := range slices.Concat(ch.roles, ch.inline, ch.files) {
		c.agree(ch.out.variables, ch.out.layers, l)
		ch.out.variables = merge(ch.out.variables, l.values)
		ch.out.layers = append(ch.out.layers, l)
	}
	c.checkUnknown(ch.out)
	return ch.out
}

func (ch *choice) lay(layers []layer, doc *docNode) []layer {
	if values := ch.c.variableValues(doc); len(values) > 0 {
		return append(layers, layer{values, doc})
	}
	return layers
}

// role selects what a role is made of, the roles that it needs first.
func (ch *choice) role(n named, stack []string) {
	if ch.cyclic("roles", n, stack) {
		return
	}
	r := ch.c.lib.role(n)
	for _, needed := range r.needs {
		ch.role(needed, append(stack, n.name))
	}
	ch.components(r.components)
	ch.roles = ch.lay(ch.roles, r.variables)
}

func (ch *choice) components(names []named) {
	for _, n := range names {
		ch.component(n, nil)
	}
}

// component selects a component once, and what it needs before it.
func (ch *choice) component(n named, stack []string) {
	if ch.cyclic("components", n, stack) || slices.Contains(ch.out.components, n.name) {
		return
	}
	comp := ch.c.lib.component(n)
	if comp == nil {
		return
	}
	for _, needed := range comp.needs {
		ch.component(needed, append(stack, n.name))
	}
	if !slices.Contains(ch.out.components, n.name) {
		ch.out.components = append(ch.out.components, n.name)
		ch.out.places[n.name] = n.place
	}
}

// cyclic reports a cycle of needs: the last of it is what names n.
func (ch *choice) cyclic(what string, n named, stack []string) bool {
	at := slices.Index(stack, n.name)
	switch {
	case at >= 0:
		ch.c.problems.add(n.place, "each arrow reads: needs", "cycle of %s: %s", what, strings.Join(append(slices.Clone(stack[at:]), n.name), " → "))
	case len(stack) >= MaxDepth:
		ch.c.problems.add(n.place, "", "%s that need each other more than %d levels deep", what, MaxDepth)
	default:
		return false
	}
	return true
}

// agree reports the variables that a layer would turn from a map into something else, or the other way round.
func (c *compilation) agree(earlier map[string]any, layers []layer, l layer) {
	disagreements(earlier, l.values, nil, func(path []string, below, above any) {
		place := Place{File: "site.yaml"}
		for i := len(layers) - 1; i >= 0; i-- {
			if v, ok := valueAt(layers[i].values, path); ok && kindOfValue(v) == kindOfValue(below) {
				place = placeAt(layers[i].doc, path)
				break
			}
		}
		c.problems.add(placeAt(l.doc, path), "maps merge with maps only; give one of them another name",
			"variable %q is %s here, and %s in %s", strings.Join(path, "."), kindOfValue(above), kindOfValue(below), place)
	})
}

// disagreements visits the paths at which one of two layers has a map and the other something else.
func disagreements(earlier, later map[string]any, path []string, visit func(path []string, below, above any)) {
	for _, k := range keysOf(later) {
		below, has := earlier[k]
		if !has || below == nil || later[k] == nil {
			continue
		}
		at := append(slices.Clone(path), k)
		b, isMap := below.(map[string]any)
		a, alsoMap := later[k].(map[string]any)
		switch {
		case isMap && alsoMap:
			disagreements(b, a, at, visit)
		case isMap != alsoMap:
			visit(at, below, later[k])
		}
	}
}

func kindOfValue(v any) string {
	switch v.(type) {
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	}
	return typeName(v)
}

func valueAt(m map[string]any, path []string) (any, bool) {
	v, ok := m[path[0]]
	if inner, isMap := v.(map[string]any); ok && isMap && len(path) > 1 {
		return valueAt(inner, path[1:])
	}
	return v, ok && len(path) == 1
}

// placeAt is where a variable is written, or what it is computed in.
func placeAt(doc *docNode, path []string) Place {
	place := doc.place
	for _, key := range path {
		if doc == nil || doc.kind != kindMap {
			break
		}
		for _, e := range doc.entries {
			if e.key == key {
				place = e.place
			}
		}
		doc = doc.get(key)
	}
	return place
}

// origin is where a variable was given last; false when no layer of the node gives it.
func (ch chosen) origin(name string) (Place, bool) {
	for i := len(ch.layers) - 1; i >= 0; i-- {
		if _, ok := ch.layers[i].values[name]; ok {
			return placeAt(ch.layers[i].doc, []string{name}), true
		}
	}
	return Place{}, false
}
