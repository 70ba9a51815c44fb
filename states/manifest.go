package states

import (
	"path"
	"slices"
	"strings"
)

// Component is what components/NAME/component.yaml says of a component. All of it is optional, the file too.
type Component struct {
	Name        string
	Description string
	Needs       []string // components that are selected with it, and before it
	Parameters  []Parameter
}

// Parameter is a variable that a component declares: its type is checked where the component is used.
type Parameter struct {
	Name        string
	Type        Type // one of ParameterTypes
	Default     any  // as written, with its ${ … }; nil: none
	Required    bool
	OneOf       []any // allowed values; nil: any
	Secret      bool
	Description string
}

// The types that parameters of components have beside those of functions.
const (
	Number Type = "number" // whole or not
	List   Type = "list"
)

// ParameterTypes are the types that a component.yaml may name.
var ParameterTypes = []Type{String, Bool, Int, Number, Mode, Duration, Path, Strings, List, Map, Any}

// manifest is a component.yaml as read.
type manifest struct {
	description string
	needs       []named
	parameters  []declaredParameter
	// declares tells that there is a parameters:, so that what it does not name is unknown.
	declares bool
}

// declaredParameter is a Parameter with the places of what it says.
type declaredParameter struct {
	Parameter
	place    Place
	fallback *docNode // the default
}

// readManifest reads a component.yaml, where there is one.
func (l *Catalogue) readManifest(dir string) manifest {
	var m manifest
	name := l.oneForm(path.Join(dir, "component"), ".yaml", ".json")
	if name == "" {
		return m
	}
	for _, e := range l.problems.mapOf(l.document(name), "a component") {
		switch e.key {
		case "description":
			m.description, _ = l.problems.stringOf(e.value, "description")
		case "needs":
			m.needs = l.problems.namesOf(e.value, "needs")
		case "parameters":
			m.declares = true
			for _, p := range l.problems.mapOf(e.value, "parameters") {
				m.parameters = append(m.parameters, l.readParameter(p))
			}
		default:
			l.problems.unknownKey(e, "a component", manifestKeys)
		}
	}
	return m
}

func (l *Catalogue) readParameter(e docEntry) declaredParameter {
	c := l.problems
	d := declaredParameter{Parameter: Parameter{Name: e.key, Type: Any}, place: e.place}
	var oneOf *docNode
	for _, k := range c.mapOf(e.value, "a parameter") {
		switch k.key {
		case "type":
			if s := c.oneOf(k.value, "type", wordsOf(parameterTable, "type")...); s != "" {
				d.Type = Type(s)
			}
		case "default":
			d.fallback, d.Default = k.value, k.value.value()
		case "description":
			d.Description, _ = c.stringOf(k.value, "description")
		case "required":
			d.Required = c.boolOf(k.value, "required")
		case "secret":
			d.Secret = c.boolOf(k.value, "secret")
		case "one_of":
			c.listOf(k.value, "one_of")
			oneOf = k.value
		default:
			c.unknownKey(k, "a parameter", parameterKeys)
		}
	}
	l.checkParameter(&d, oneOf)
	return d
}

// checkParameter finds what contradicts itself in one declaration.
func (l *Catalogue) checkParameter(d *declaredParameter, oneOf *docNode) {
	if d.Required && d.fallback != nil {
		l.problems.add(d.fallback.place, "keep one of them", "parameter %q is required, and has a default", d.Name)
	}
	if oneOf != nil && oneOf.kind == kindList {
		d.OneOf = []any{}
		for _, item := range oneOf.items {
			if hint, err := checkTyped(d.Type, item.value()); err != nil {
				l.problems.add(item.place, hint, "one_of of parameter %q: %s", d.Name, err)
				continue
			}
			d.OneOf = append(d.OneOf, item.value())
		}
	}
	if d.fallback == nil || isComputed(d.fallback) {
		return // what is computed is checked for each node
	}
	if hint, err := d.check(d.Default); err != nil {
		l.problems.add(d.fallback.place, hint, "default of parameter %q: %s", d.Name, err)
	}
}

// isComputed tells whether a value holds a ${ … }.
func isComputed(n *docNode) bool {
	switch n.kind {
	case kindString:
		return strings.Contains(n.text, "${")
	case kindList:
		return slices.ContainsFunc(n.items, isComputed)
	case kindMap:
		return slices.ContainsFunc(n.entries, func(e docEntry) bool { return isComputed(e.value) })
	}
	return false
}
