package states

import (
	"path"
	"strings"
)

// merge lays the later map over the earlier: maps merge by key, everything else replaces. Neither is changed.
func merge(earlier, later map[string]any) map[string]any {
	out := make(map[string]any, len(earlier)+len(later))
	for k, v := range earlier {
		out[k] = v
	}
	for k, v := range later {
		below, isMap := out[k].(map[string]any)
		above, alsoMap := v.(map[string]any)
		if isMap && alsoMap {
			out[k] = merge(below, above)
			continue
		}
		out[k] = v
	}
	return out
}

func (c *compilation) targets(t target) bool {
	if t.on.place.Line == 0 || c.lib.site.selectors == nil || c.lib.site.selectors.check(t.on.name) != nil {
		return false // reported when the site was read
	}
	ok, err := c.lib.site.selectors.selects(t.on.name, c.node)
	if err != nil {
		c.problems.add(t.on.place, err.hint, "selector %q: %s", shorten(t.on.name), err.message)
	}
	return ok
}

// variableValues evaluates the ${ … } of a variable layer, which may use tags, name and zone.
func (c *compilation) variableValues(n *docNode) map[string]any {
	if n == nil || n.kind != kindMap {
		return nil
	}
	v, _ := c.variables(n)
	m, _ := v.(map[string]any)
	return m
}

type role struct {
	needs      []named // roles
	components []named
	variables  *docNode
}

// role reads roles/NAME.yaml once.
func (l *Catalogue) role(n named) role {
	if name := l.namedFile("roles", "role", n); name != "" {
		l.once(name, func() { l.roles[n.name] = l.readRole(name) })
	}
	return l.roles[n.name]
}

func (l *Catalogue) readRole(name string) role {
	var r role
	for _, e := range l.problems.mapOf(l.document(name), "a role") {
		switch e.key {
		case "description":
			l.problems.stringOf(e.value, "description")
		case "needs":
			r.needs = l.problems.namesOf(e.value, "needs")
		case "components":
			r.components = l.problems.namesOf(e.value, "components")
		case "variables":
			l.problems.mapOf(e.value, "variables")
			r.variables = e.value
		default:
			l.problems.unknownKey(e, "a role", roleKeys)
		}
	}
	return r
}

// variableFile reads what variables_from names: NAME for variables/NAME.yaml, or a path in the tree.
func (l *Catalogue) variableFile(n named) *docNode {
	name := ""
	if strings.Contains(n.name, "/") || strings.HasSuffix(n.name, ".yaml") || strings.HasSuffix(n.name, ".json") {
		p, err := within("", n.name)
		if err != nil {
			l.problems.add(n.place, "", "%s", err)
			return nil
		}
		if !l.tree.exists(p) {
			l.problems.add(n.place, suggest(path.Base(p), l.tree.list(path.Dir(p))), "variable file %s does not exist", p)
			return nil
		}
		name = p
	} else if name = l.namedFile("variables", "variable file", n); name == "" {
		return nil
	}
	doc := l.document(name)
	l.problems.mapOf(doc, "a variable file")
	return doc
}

// namedFile finds DIR/NAME.yaml or .json; a name that is not there is a problem at its place.
func (l *Catalogue) namedFile(dir, what string, n named) string {
	if !validName(n.name) {
		l.problems.add(n.place, "letters, digits, - and _ only", "%q cannot be the name of a %s", n.name, what)
		return ""
	}
	name := l.oneForm(path.Join(dir, n.name), ".yaml", ".json")
	if name == "" {
		l.problems.add(n.place, suggest(n.name, stems(l.tree.list(dir))), "unknown %s %q: there is no %s/%s.yaml", what, n.name, dir, n.name)
	}
	return name
}

func stems(files []string) []string {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(f, path.Ext(f))
	}
	return names
}

// validName is what components, roles and states may be called.
func validName(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !wordByte(s[i]) && s[i] != '-' && s[i] != '.' {
			return false
		}
	}
	return true
}
