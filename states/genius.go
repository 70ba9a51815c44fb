package states

import (
	"fmt"
	"path"
	"strings"
)

// thing is what a parameter names on the machine.
type thing struct {
	kind ResourceKind
	name string
}

// things lists what a part's parameters name, by what they do with it.
func things(in *instance, functions map[string]*Function, visit func(p Param, t thing)) {
	for _, part := range in.Parts {
		fn := functions[part.FullName()]
		if fn == nil {
			continue
		}
		for _, p := range fn.Params {
			if p.Provides == "" && p.Needs == "" {
				continue
			}
			switch v := part.Params[p.Name].(type) {
			case string:
				visit(p, thing{p.Provides, p.Resource(v)})
			case []any:
				for _, item := range v {
					if s, ok := item.(string); ok {
						visit(p, thing{p.Provides, p.Resource(s)})
					}
				}
			}
		}
	}
}

// checkPaths finds two states that provide one path.
func (c *compilation) checkPaths() {
	owner := map[string]*instance{}
	for at := range c.instances {
		in := &c.instances[at]
		if in.Skip != "" {
			continue
		}
		things(in, c.lib.functions, func(p Param, t thing) {
			if p.Provides != ResourcePath || t.name == "" {
				return
			}
			if first, taken := owner[t.name]; taken {
				if first.ID == in.ID && first != in {
					return // one state, run twice in a sequence
				}
				c.problems.add(in.Place, "", "%s and %s (%s) both provide the path %s", in.ID, first.ID, first.Place, t.name)
				return
			}
			owner[t.name] = in
		})
	}
}

// addObvious adds the edges of the genius order: parent folder before what is in it, account before what it owns,
// repository before package, package before its service and before files below its folder in /etc. None is added where
// the requisites say otherwise.
func (c *compilation) addObvious() {
	g := obvious{c: c, providers: map[thing][]int{}}
	for at := range c.instances {
		things(&c.instances[at], c.lib.functions, func(p Param, t thing) {
			if p.Provides == ResourceRepository && len(g.providers[t]) == 0 {
				g.repositories = append(g.repositories, t)
			}
			if p.Provides != "" {
				g.providers[t] = append(g.providers[t], at)
			}
		})
	}
	for at := range c.instances {
		things(&c.instances[at], c.lib.functions, func(p Param, t thing) { g.needs(at, p, t.name) })
	}
	c.graph.addAcyclic(g.links)
}

type obvious struct {
	c         *compilation
	providers map[thing][]int
	// repositories in the order written.
	repositories []thing
	links        []link
}

func (g *obvious) needs(at int, p Param, name string) {
	if name == "" {
		return
	}
	switch p.Provides {
	case ResourcePath:
		for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
			if len(g.providers[thing{ResourcePath, dir}]) > 0 {
				g.edge(at, thing{ResourcePath, dir}, "folder %s before what is in it", dir)
				break // the folder has its own edge to the one above
			}
		}
		g.mounts(at, name)
		if rest, ok := strings.CutPrefix(name, "/etc/"); ok {
			folder, _, _ := strings.Cut(rest, "/")
			g.edge(at, thing{ResourcePackage, folder}, "package %s before files in /etc/"+folder, folder)
		}
	case ResourceMount:
		g.mounts(at, name)
	case ResourceService:
		g.edge(at, thing{ResourcePackage, name}, "package %s before its service", name)
	case ResourcePackage:
		for _, t := range g.repositories {
			g.edge(at, t, "repository %s before packages", t.name)
		}
	}
	if p.Needs != "" {
		g.edge(at, thing{p.Needs, name}, string(p.Needs)+" %s before what needs it", name)
	}
}

// mounts come before what is to lie in them: written earlier, it would lie below and be hidden.
func (g *obvious) mounts(at int, name string) {
	for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
		g.edge(at, thing{ResourceMount, dir}, "mount %s before what is in it", dir)
	}
}

func (g *obvious) edge(to int, t thing, format, name string) {
	for _, from := range g.providers[t] {
		if from != to && !g.c.together(from, to) && len(g.links) < MaxEdges {
			g.links = append(g.links, link{from: from, to: to, kind: EdgeAfter, reason: "genius: " + fmt.Sprintf(format, name)})
		}
	}
}

// maxReorderWork bounds how many instances addAcyclic visits in all its searches.
const maxReorderWork = 20_000_000

// addAcyclic adds those links that close no cycle. It keeps a topological position for each instance (Pearce and Kelly,
// "A dynamic topological sort algorithm for directed acyclic graphs", 2006): a link that agrees with the positions is free,
// and one that does not searches only the instances between its ends.
//
// What it adds is a help, so it stops when the search takes too long.
func (g *graph) addAcyclic(links []link) {
	order := g.sorted(func(int) int { return 0 })
	if len(order) != len(g.out) {
		return // a cycle of requisites: reported
	}
	position := make([]int, len(order))
	for i, at := range order {
		position[at] = i
	}
	in := make([][]int, len(g.out))
	for i, l := range g.links {
		in[l.to] = append(in[l.to], i)
	}
	work := 0
	for _, l := range links {
		if g.full || work > maxReorderWork || g.joined(l.from, l.to) {
			continue
		}
		if position[l.from] > position[l.to] {
			ok, visited := g.reorder(l, position, in)
			if work += visited; !ok {
				continue
			}
		}
		before := len(g.links)
		if g.add(l); len(g.links) > before {
			in[l.to] = append(in[l.to], before)
		}
	}
}

// joined tells whether an edge that orders the two is there already.
func (g *graph) joined(from, to int) bool {
	for _, kind := range []EdgeKind{EdgeRequire, EdgeAfter, EdgeNotify, EdgeFailure} {
		if g.seen[linkKey{from, to, kind}] {
			return true
		}
	}
	return false
}
