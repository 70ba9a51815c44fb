package states

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Validate compiles a tree for each of the nodes and returns all problems, each once. Fleet are all nodes that there are;
// empty: no more than these. Without nodes it makes them up, as ValidateLike does. sealed tells what secret() answers on a node; nil:
// whatever is asked for.
func Validate(fsys fs.FS, nodes, fleet []Node, functions []Function, sealed func(Node) *Secrets) Problems {
	if len(nodes) == 0 {
		problems, _ := ValidateLike(fsys, Node{Name: "node"}, functions)
		return problems
	}
	l, err := Open(fsys, functions)
	if err != nil {
		return Problems{{Message: err.Error()}}
	}
	if len(fleet) == 0 {
		fleet = nodes
	}
	return l.validate(nodes, fleet, newCollector(l.tree), sealed)
}

// Tried says how much ValidateLike tried.
type Tried struct {
	Nodes int  // that were made up
	More  bool // there are more combinations than MaxCombinations
}

// ValidateLike compiles a tree for nodes that it makes up from base, whose tags are the facts that any machine has: one for
// each combination of the tag values that the selectors mention, with a value that none mentions for each tag, and then of
// those that conditions and templates compare with, up to MaxCombinations; and it reads every component of the tree, used or
// not.
func ValidateLike(fsys fs.FS, base Node, functions []Function) (Problems, Tried) {
	l, err := Open(fsys, functions)
	if err != nil {
		return Problems{{Message: err.Error()}}, Tried{}
	}
	all := newCollector(l.tree)
	l.problems = all
	for _, name := range l.tree.list("components") {
		if !strings.HasPrefix(name, ".") {
			l.component(named{name: name, place: Place{File: path.Join("components", name)}})
		}
	}
	nodes, more := l.likelyNodes(base)
	return l.validate(nodes, nodes, all, nil), Tried{len(nodes), more}
}

// validate adds what is wrong for the nodes to all.
func (l *Catalogue) validate(nodes, fleet []Node, all *collector, sealed func(Node) *Secrets) Problems {
	if sealed == nil {
		sealed = func(Node) *Secrets { return &Secrets{Assumed: true} }
	}
	for _, n := range nodes {
		_, problems, err := l.compileTainted(Input{Node: n, Fleet: fleet, Secrets: sealed(n)})
		if err != nil {
			return Problems{{Message: err.Error()}}
		}
		all.include(problems)
	}
	return l.secrets.mask(all.sorted())
}

// likelyNodes makes up nodes that between them meet the selectors' terms, and as far as there is room those of conditions and
// templates; more: there was none for all.
func (l *Catalogue) likelyNodes(base Node) (nodes []Node, more bool) {
	selected := values{}
	for _, text := range l.selectorTexts() {
		selected.note(text)
	}
	nodes, more = []Node{{Name: base.Name, Zone: base.Zone, Tags: maps.Clone(base.Tags)}}, false
	for _, key := range keysOf(selected) {
		nodes, more = vary(nodes, key, selected[key], more)
	}
	compared := values{}
	for _, text := range l.conditionTexts() {
		compared.compared(text)
	}
	for _, key := range keysOf(compared) {
		fresh := slices.DeleteFunc(compared[key], func(v string) bool { return slices.Contains(selected[key], v) })
		nodes, more = vary(nodes, key, fresh, more)
	}
	return nodes, more
}

// values are those that texts compare tags with.
type values map[string][]string

func (v values) add(key, value string) {
	if !slices.Contains(v[key], value) {
		v[key] = append(v[key], value)
	}
}

// note finds what a selector asks for.
func (v values) note(selector string) {
	if terms, ok := shorthand(selector); ok {
		for _, t := range terms {
			v.add(t.key, t.value)
		}
		return
	}
	v.compared(selector)
}

// compared finds comparisons, as CEL and Jinja2 write them alike.
func (v values) compared(text string) {
	for _, m := range comparison.FindAllStringSubmatch(text, -1) {
		for _, value := range quoted.FindAllStringSubmatch(m[4], -1) {
			v.add(m[1]+m[2]+m[3], value[1])
		}
	}
}

// conditionTexts are the states files and templates of the tree, as far as they are text of the language.
func (l *Catalogue) conditionTexts() []string {
	var all []string
	left := MaxRenderedBytes
	_ = fs.WalkDir(l.tree.fsys, "components", func(name string, d fs.DirEntry, err error) error {
		if err != nil || left < 0 {
			return fs.SkipAll // what cannot be read is reported by whoever needs it
		}
		switch path.Ext(name) {
		case ".yaml", ".json", ".j2", ".star":
			if data, err := l.tree.read(name, MaxTemplateBytes); err == nil && !d.IsDir() {
				all = append(all, string(data))
				left -= len(data)
			}
		}
		return nil
	})
	return all
}

// vary adds a copy of each node with each of the values, as long as there is room.
func vary(nodes []Node, key string, values []string, more bool) ([]Node, bool) {
	out := slices.Clone(nodes)
	for _, n := range nodes {
		for _, v := range values {
			if len(out) >= MaxCombinations {
				return out, true
			}
			with := Node{Name: n.Name, Zone: n.Zone, Tags: maps.Clone(n.Tags)}
			if with.Tags == nil {
				with.Tags = map[string]string{}
			}
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
	return out, more
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
