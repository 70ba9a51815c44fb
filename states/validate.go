package states

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Validate compiles a tree for each of the nodes and returns all problems, each once. Without nodes it makes them up, as
// ValidateLike does.
func Validate(fsys fs.FS, nodes []Node, functions []Function) Problems {
	if len(nodes) == 0 {
		return ValidateLike(fsys, Node{Name: "node"}, functions)
	}
	l, err := Open(fsys, functions)
	if err != nil {
		return Problems{{Message: err.Error()}}
	}
	return l.validate(nodes, newCollector(l.tree))
}

// ValidateLike compiles a tree for nodes that it makes up from base, whose tags are the facts that any machine has: one for
// each combination of the tag values that the selectors mention, with a value that none mentions for each tag, up to
// MaxCombinations; and it reads every component of the tree, used or not.
func ValidateLike(fsys fs.FS, base Node, functions []Function) Problems {
	l, err := Open(fsys, functions)
	if err != nil {
		return Problems{{Message: err.Error()}}
	}
	all := newCollector(l.tree)
	l.problems = all
	for _, name := range l.tree.list("components") {
		if !strings.HasPrefix(name, ".") {
			l.component(named{name: name, place: Place{File: path.Join("components", name)}})
		}
	}
	return l.validate(l.likelyNodes(base), all)
}

// validate adds what is wrong for the nodes to all.
func (l *Catalogue) validate(nodes []Node, all *collector) Problems {
	for _, n := range nodes {
		_, problems := l.compile(Input{Node: n, Fleet: nodes})
		all.include(problems)
	}
	return all.sorted()
}

// likelyNodes makes up nodes that between them meet the selectors' terms.
func (l *Catalogue) likelyNodes(base Node) []Node {
	values := map[string][]string{}
	note := func(key, value string) {
		if !slices.Contains(values[key], value) {
			values[key] = append(values[key], value)
		}
	}
	for _, text := range l.selectorTexts() {
		if terms, ok := shorthand(text); ok {
			for _, t := range terms {
				note(t.key, t.value)
			}
			continue
		}
		for _, m := range comparison.FindAllStringSubmatch(text, -1) {
			for _, v := range quoted.FindAllStringSubmatch(m[4], -1) {
				note(m[1]+m[2]+m[3], v[1])
			}
		}
	}
	nodes := []Node{{Name: base.Name, Zone: base.Zone, Tags: maps.Clone(base.Tags)}}
	for _, key := range keysOf(values) {
		nodes = l.vary(nodes, key, values[key])
	}
	return nodes
}

func (l *Catalogue) vary(nodes []Node, key string, values []string) []Node {
	out := slices.Clone(nodes)
	for _, n := range nodes {
		for _, v := range values {
			if len(out) >= MaxCombinations {
				return out
			}
			with := Node{Name: n.Name, Zone: n.Zone, Tags: map[string]string{}}
			maps.Copy(with.Tags, n.Tags)
			switch key {
			case "name":
				with.Name = v
			case "zone":
				with.Zone = v
			default:
				with.Tags[key] = v
			}
			out = append(out, with)
		}
	}
	return out
}

func (l *Catalogue) selectorTexts() []string {
	var all []string
	for _, t := range l.site.targets {
		all = append(all, t.on.name)
	}
	for _, g := range keysOf(l.site.groups) {
		all = append(all, l.site.groups[g])
	}
	return all
}
