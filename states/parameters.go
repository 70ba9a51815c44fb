package states

import (
	"path"
	"slices"
)

// variablesOf lays the node's variables over a component's defaults, and checks them against its parameters.
func (c *compilation) variablesOf(comp *component) map[string]any {
	defaults := c.variableValues(comp.defaults)
	for _, d := range comp.parameters {
		if d.fallback == nil {
			continue
		}
		if v, ok := c.variables(d.fallback); ok {
			defaults = merge(map[string]any{d.Name: v}, defaults)
		}
	}
	below := []layer{{defaults, comp.defaults}}
	for _, l := range c.chosen.layers {
		if comp.defaults != nil {
			c.agree(defaults, below, l)
		}
	}
	vars := merge(defaults, c.chosen.variables)
	for i := range comp.parameters {
		c.checkParameter(comp, &comp.parameters[i], vars)
	}
	return c.lib.hideParameters(comp, vars)
}

func (c *compilation) checkParameter(comp *component, d *declaredParameter, vars map[string]any) {
	v := vars[d.Name]
	if v == nil {
		if d.Required {
			c.problems.add(c.chosen.places[comp.name], "write variables: {"+d.Name+": …} in a target or a role",
				"component %q needs the parameter %q, and nothing gives it", comp.name, d.Name)
		}
		return
	}
	hint, err := d.check(v)
	if err == nil || c.lib.secrets.twin { // a stand-in need not be what a secret must be
		return
	}
	place, ok := c.chosen.origin(d.Name)
	if !ok && comp.defaults != nil && comp.defaults.get(d.Name) != nil {
		place, ok = placeAt(comp.defaults, []string{d.Name}), true
	}
	if !ok {
		if !isComputed(d.fallback) {
			return // reported when it was read
		}
		place = d.fallback.place
	}
	c.problems.add(place, hint, "parameter %q of component %q: %s", d.Name, comp.name, err)
}

// checkUnknown finds variables that no component has, where all that is selected says which it has. A variable of a
// component that other nodes have is fine.
func (c *compilation) checkUnknown(ch chosen) {
	known := map[string]bool{}
	for _, name := range ch.components {
		comp := c.lib.components[name]
		if !comp.declares {
			return
		}
		comp.variables(known)
	}
	for _, name := range keysOf(ch.variables) {
		if known[name] || len(ch.components) == 0 || c.lib.elsewhere(name) {
			continue
		}
		place, _ := ch.origin(name)
		c.problems.add(place, suggest(name, keysOf(known)), "unknown variable %q: no component has a parameter of this name", name)
	}
}

// variables adds the names of all variables that a component says it has.
func (comp *component) variables(known map[string]bool) {
	for _, d := range comp.parameters {
		known[d.Name] = true
	}
	if comp.defaults != nil {
		for _, e := range comp.defaults.entries {
			known[e.key] = true
		}
	}
}

// elsewhere tells whether any component of the tree has a variable, or may have it since it does not say.
func (l *Catalogue) elsewhere(variable string) bool {
	if l.variables == nil {
		l.variables = map[string]bool{}
		outer := l.problems
		l.problems = newCollector(l.tree) // what is wrong with them is for those who use them
		for _, name := range l.tree.list("components") {
			comp := l.component(named{name: name, place: Place{File: path.Join("components", name)}})
			if comp != nil {
				l.undeclared = l.undeclared || !comp.declares
				comp.variables(l.variables)
			}
		}
		l.problems = outer
	}
	return l.undeclared || l.variables[variable]
}

// Describe says what a component's component.yaml says of it. A component that cannot be read is Problems.
func (l *Catalogue) Describe(name string) (Component, error) {
	l.problems = newCollector(l.tree)
	comp := l.component(named{name: name, place: Place{File: path.Join("components", name)}})
	if ps := l.problems.sorted(); len(ps) > 0 {
		return Component{}, ps
	}
	out := Component{Name: name, Description: comp.description}
	for _, n := range comp.needs {
		out.Needs = append(out.Needs, n.name)
	}
	for _, d := range comp.parameters {
		if d.Default == nil && comp.defaults != nil && comp.defaults.get(d.Name) != nil {
			given := comp.defaults.get(d.Name)
			d.Default, d.Secret = given.value(), d.Secret || given.holdsSecret()
		}
		d.Secret = d.Secret || d.fallback != nil && d.fallback.holdsSecret()
		out.Parameters = append(out.Parameters, d.Parameter)
	}
	return out, nil
}

// Components names the components of a tree, sorted.
func (l *Catalogue) Components() []string {
	names := slices.DeleteFunc(l.tree.list("components"), func(name string) bool { return !validName(name) })
	slices.Sort(names)
	return names
}
