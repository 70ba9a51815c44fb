package states

import "slices"

// readParams reads the parameters of a function of an extension module.
func (l *Catalogue) readParams(n *docNode) (all []Param) {
	c := l.problems
	contents := false
	for i, e := range c.mapOf(n, "parameters") {
		switch {
		case i >= MaxModuleFunctions:
			c.add(e.place, "", "more than %d parameters", MaxModuleFunctions)
			return all
		case !moduleName.MatchString(e.key):
			c.add(e.place, "small letters, digits and _ only", "%q cannot be the name of a parameter", e.key)
			continue
		}
		p := l.readParam(e)
		switch {
		case p.Type == Contents && contents:
			c.add(e.place, "", "a function has one parameter of the type %s at most", Contents)
		case p.Type != Contents && slices.Contains(contentKeys, e.key):
			c.add(e.place, "it is how a parameter of the type contents is written", "%q cannot be the name of a parameter", e.key)
		}
		contents = contents || p.Type == Contents
		all = append(all, p)
	}
	return all
}

func (l *Catalogue) readParam(e docEntry) Param {
	p := Param{Name: e.key}
	c := l.problems
	var fallback *docNode
	for _, k := range c.mapOf(e.value, "a parameter") {
		switch k.key {
		case "type":
			p.Type = Type(c.oneOf(k.value, "type", typeNames(extensionParamTypes)...))
		case "default":
			fallback, p.Default = k.value, k.value.value()
		case "description":
			p.Doc, _ = c.stringOf(k.value, k.key)
		case "required":
			p.Required = c.boolOf(k.value, k.key)
		case "one_of":
			for _, word := range c.namesOf(k.value, k.key) {
				p.OneOf = append(p.OneOf, word.name)
			}
		case "provides":
			p.Provides = ResourceKind(c.oneOf(k.value, k.key, resourceNames...))
		case "needs":
			p.Needs = ResourceKind(c.oneOf(k.value, k.key, resourceNames...))
		case "within":
			p.Within, _ = c.stringOf(k.value, k.key)
		default:
			c.unknownKey(k, "a parameter", keyNames(functionParameterTable))
		}
	}
	if e.value.kind == kindMap && e.value.get("type") == nil {
		c.add(e.place, "", "parameter %q needs type:", e.key)
	}
	l.checkParam(&p, e.place, fallback)
	return p
}

// checkParam finds what contradicts itself in one declaration.
func (l *Catalogue) checkParam(p *Param, at Place, fallback *docNode) {
	c := l.problems
	text := p.Type == String || p.Type == Path
	switch {
	case p.OneOf != nil && p.Type != String && p.Type != "":
		c.add(at, "", "one_of of parameter %q: only of the type %s", p.Name, String)
	case (p.Provides != "" || p.Needs != "") && !text && p.Type != "":
		c.add(at, "", "parameter %q: only a %s or a %s names something on the machine", p.Name, String, Path)
	case p.Within != "" && p.Provides == "" && p.Needs == "":
		c.add(at, "", "within of parameter %q: it provides and needs nothing", p.Name)
	}
	if fallback == nil {
		return
	}
	if p.Required {
		c.add(fallback.place, "keep one of them", "parameter %q is required, and has a default", p.Name)
	}
	if p.Type == "" || p.Type == Contents {
		return
	}
	if _, hint, err := checkValue(p, p.Default); err != nil {
		c.add(fallback.place, hint, "default of parameter %q: %s", p.Name, err)
	}
}
