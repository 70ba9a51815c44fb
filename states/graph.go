package states

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
)

// link is an edge on its way into the plan, between instances as they were made.
type link struct {
	from, to int
	kind     EdgeKind
	reason   string
	place    Place
}

type linkKey struct {
	from, to int
	kind     EdgeKind
}

// graph gathers the edges of a plan.
type graph struct {
	links []link
	seen  map[linkKey]bool
	out   [][]int // indices into links, by from
	full  bool
	tries int // calls of add: edges that are there already cost time too
}

func newGraph(n int) *graph {
	return &graph{seen: map[linkKey]bool{}, out: make([][]int, n)}
}

// add adds an edge once. It is false when the graph is full.
func (g *graph) add(l link) bool {
	k := linkKey{l.from, l.to, l.kind}
	if g.tries++; g.tries > 4*MaxEdges {
		g.full = true
	}
	if g.seen[k] || g.full {
		return !g.full
	}
	if len(g.links) >= MaxEdges {
		g.full = true
		return false
	}
	g.seen[k] = true
	g.out[l.from] = append(g.out[l.from], len(g.links))
	g.links = append(g.links, l)
	return true
}

// connect turns the requisites of all instances into edges.
func (c *compilation) connect() {
	c.connectRunners()
	for at := range c.instances {
		in := &c.instances[at]
		c.connectOne(in.decl, in.component, &in.scope, []int{at})
		in.Undo = c.undo(in)
	}
	for _, id := range keysOf(c.groups) {
		d := c.groups[id]
		s := c.scope(nil)
		c.connectOne(d.State, d.comp.name, &s, c.membersOf(id, nil))
	}
	c.connectOutputs()
	c.enterRunners()
	c.connectBarriers()
	if c.graph.full {
		c.problems.add(Place{File: "site.yaml"}, "", "more than %d edges between states", MaxEdges)
	}
}

func (c *compilation) connectOne(d *State, component string, s *scope, sources []int) {
	for _, r := range d.requisites {
		for _, n := range r.names {
			targets := c.resolve(n, component, s, r.key)
			for _, self := range sources {
				for _, other := range c.fitting(r.key, n, self, targets) {
					if !c.join(linkOf(r.key, self, other, c.instances[self].ID, n.place)) {
						return
					}
				}
			}
		}
	}
}

// linkOf is the edge of one requisite of self that names other.
func linkOf(key string, self, other int, id string, p Place) link {
	l := link{from: other, to: self, reason: key + " in " + id, place: p}
	switch key {
	case "require_in", "before", "notify", "listen_in", "notify_failure":
		l.from, l.to = self, other
	}
	switch key {
	case "require", "require_in":
		l.kind = EdgeRequire
	case "after", "before":
		l.kind = EdgeAfter
	case "notify", "listen", "listen_in":
		l.kind = EdgeNotify
	default:
		l.kind = EdgeFailure
	}
	return l
}

// resolve finds the invocations that a requisite names: one, all of a for_each, or the members of a group.
func (c *compilation) resolve(n named, component string, s *scope, key string) []int {
	name, ok := c.nameOf(n, component, s)
	if !ok {
		return nil
	}
	if _, ok := c.groups[name]; ok {
		return c.membersOf(name, nil)
	}
	if at, ok := c.known[name]; ok {
		return at
	}
	c.unknownState(n.place, name, component, key)
	return nil
}

// nameOf evaluates a name that may hold ${ … }, and completes it with the component.
func (c *compilation) nameOf(n named, component string, s *scope) (string, bool) {
	name := n.name
	if strings.Contains(name, "${") {
		v, ok := c.interpolate(&docNode{kind: kindString, place: n.place, text: name}, s)
		if !ok {
			return "", false
		}
		name = asText(v)
	}
	if !strings.Contains(name, "/") {
		name = component + "/" + name
	}
	return name, true
}

func (c *compilation) unknownState(p Place, name, component, key string) {
	home, id, _ := strings.Cut(name, "/")
	if home != component && !slices.Contains(c.chosen.components, home) && c.lib.tree.exists("components/"+home) {
		c.problems.add(p, "", "%s names %q, and the component %q is not selected for node %q", key, name, home, c.node.Name)
		return
	}
	shown := name
	known := append(keysOf(c.known), keysOf(c.groups)...)
	if home == component {
		shown = id
		for i, k := range known {
			known[i] = strings.TrimPrefix(k, component+"/")
		}
	}
	c.problems.add(p, suggest(shown, known), "%s names %q, and there is no such state", key, shown)
}

// membersOf lists a group's invocations, groups within groups too.
func (c *compilation) membersOf(id string, stack []string) []int {
	if slices.Contains(stack, id) {
		c.problems.add(c.groups[id].place, "", "cycle of groups: %s", strings.Join(append(stack, id), " → "))
		return nil
	}
	if at, ok := c.members[id]; ok {
		return at
	}
	component, _, _ := strings.Cut(id, "/")
	s := c.scope(nil)
	var all []int
	for _, n := range c.groups[id].members {
		name := n.name
		if !strings.Contains(name, "/") {
			name = component + "/" + name
		}
		if _, ok := c.groups[name]; ok {
			all = append(all, c.membersOf(name, append(stack, id))...)
			continue
		}
		all = append(all, c.resolve(n, component, &s, "meta.group")...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	c.members[id] = all
	return all
}

func (c *compilation) undo(in *instance) string {
	n := in.decl.undo
	if n.name == "" {
		return ""
	}
	found := c.resolve(n, in.component, &in.scope, "undo")
	if len(found) == 0 {
		return ""
	}
	to := &c.instances[found[0]]
	switch {
	case len(found) > 1 && c.instances[found[len(found)-1]].ID == to.ID:
		c.problems.add(n.place, "name a state that no sequence runs", "undo must name one invocation, and %q has %d", n.name, len(found))
	case len(found) > 1:
		c.problems.add(n.place, "", "undo must name one state, and %q stands for %d", n.name, len(found))
	case to.decl.meta != "":
		c.problems.add(n.place, "", "undo must name a state that does something, and %q is a %s", n.name, to.decl.meta)
	case to.ID == in.ID:
		c.problems.add(n.place, "", "undo names the state itself")
	}
	return to.ID
}

// connectBarriers puts what its file has above a barrier before it, and what is below after it. Of several barriers each joins
// only what lies between its neighbours, themselves included: the rest follows, and the edges stay in proportion to the states.
func (c *compilation) connectBarriers() {
	homes := map[string][]int{}
	var barriers []int
	for at := range c.instances {
		if c.instances[at].isBarrier() {
			barriers = append(barriers, at)
		}
	}
	if len(barriers) == 0 {
		return
	}
	for at := range c.instances {
		homes[c.instances[at].home] = append(homes[c.instances[at].home], at)
	}
	for _, at := range barriers {
		if !c.connectBarrier(at, homes[c.instances[at].home]) {
			return
		}
	}
}

func (in *instance) isBarrier() bool { return in.decl.meta == metaBarrier && in.Skip == "" }

// connectBarrier walks from a barrier to its neighbours, up and down. It is false when the graph is full.
func (c *compilation) connectBarrier(at int, home []int) bool {
	b := &c.instances[at]
	here, _ := slices.BinarySearch(home, at)
	for _, step := range []int{-1, 1} {
		for i := here + step; i >= 0 && i < len(home); i += step {
			o := &c.instances[home[i]]
			if o.decl == b.decl {
				continue
			}
			l := link{from: home[i], to: at, kind: EdgeAfter, reason: "barrier " + b.ID, place: b.Place}
			if step > 0 {
				l.from, l.to = at, home[i]
			}
			if !c.graph.add(l) {
				return false
			}
			if o.isBarrier() {
				break
			}
		}
	}
	return true
}

// connectOrder adds the edges of order: first and last, but none that a requisite contradicts.
func (c *compilation) connectOrder() {
	for at := range c.instances {
		in := &c.instances[at]
		if in.order == "" || in.root != 0 && in.root != at+1 {
			continue
		}
		if c.graph.tries += len(c.graph.links); c.graph.full || c.graph.tries > 4*MaxEdges {
			c.graph.full = true
			break
		}
		if in.order == "first" {
			c.orderFirst(at)
		} else {
			c.orderLast(at)
		}
	}
	if c.graph.full {
		c.problems.add(Place{File: "site.yaml"}, "", "more than %d edges between states", MaxEdges)
	}
}

func (c *compilation) orderFirst(at int) {
	contradicted := c.graph.reach(at, true)
	for other := range c.instances {
		if !contradicted[other] && c.instances[other].order != "first" {
			c.graph.add(link{from: at, to: other, kind: EdgeAfter, reason: "order: first in " + c.instances[at].ID})
		}
	}
}

// orderLast puts all before an instance, or before all that it runs. What is first has its edge already.
func (c *compilation) orderLast(at int) {
	first := c.instances[at].first
	contradicted := c.graph.reach(first, false)
	for other := range c.instances {
		if contradicted[other] || c.instances[other].order != "" {
			continue
		}
		for to := first; to <= at; to++ {
			if !c.graph.add(link{from: other, to: to, kind: EdgeAfter, reason: "order: last in " + c.instances[at].ID}) {
				return
			}
		}
	}
}

// reach marks what comes before (backwards) or after an instance, itself included.
func (g *graph) reach(from int, backwards bool) []bool {
	next := make([][]int, len(g.out))
	for _, l := range g.links {
		if backwards {
			next[l.to] = append(next[l.to], l.from)
		} else {
			next[l.from] = append(next[l.from], l.to)
		}
	}
	seen := make([]bool, len(g.out))
	seen[from] = true
	for queue := []int{from}; len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, n := range next[at] {
			if !seen[n] {
				seen[n] = true
				queue = append(queue, n)
			}
		}
	}
	return seen
}

// cycle finds one cycle through each strongly connected knot of states that no earlier one touched, as links in order.
func (g *graph) cycles() [][]link {
	const white, grey, black = 0, 1, 2
	colour := make([]uint8, len(g.out))
	var found [][]link
	type frame struct{ at, next int }
	for start := range g.out {
		if colour[start] != white {
			continue
		}
		var path []link
		stack := []frame{{at: start}}
		colour[start] = grey
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == len(g.out[top.at]) {
				colour[top.at] = black
				stack = stack[:len(stack)-1]
				if len(path) > 0 {
					path = path[:len(path)-1]
				}
				continue
			}
			l := g.links[g.out[top.at][top.next]]
			top.next++
			switch colour[l.to] {
			case white:
				colour[l.to] = grey
				path = append(path, l)
				stack = append(stack, frame{at: l.to})
			case grey:
				found = append(found, cycleOf(path, l))
			}
			if len(found) >= 10 {
				return found
			}
		}
	}
	return found
}

// cycleOf cuts the cycle that last closes out of the path to it.
func cycleOf(path []link, last link) []link {
	from := len(path)
	for i, l := range path {
		if l.from == last.to {
			from = i
			break
		}
	}
	return append(slices.Clone(path[from:]), last)
}

func (c *compilation) reportCycles(cycles [][]link) {
	for _, cycle := range cycles {
		first := 0
		for i, l := range cycle { // begin at the smallest id, so that the message does not depend on the search
			if c.instances[l.from].ID < c.instances[cycle[first].from].ID {
				first = i
			}
		}
		cycle = append(slices.Clone(cycle[first:]), cycle[:first]...)
		var b strings.Builder
		b.WriteString("cycle: " + c.label(cycle[0].from))
		for _, l := range cycle {
			fmt.Fprintf(&b, " → %s (%s", c.label(l.to), l.reason)
			if l.place.Line > 0 {
				fmt.Fprintf(&b, ", line %d", l.place.Line)
			}
			b.WriteString(")")
		}
		at := cycle[len(cycle)-1].place
		if at.Line == 0 {
			at = c.instances[cycle[0].from].Place
		}
		c.problems.add(at, "each arrow reads: runs before", "%s", b.String())
	}
}

// label names an instance in a message.
func (c *compilation) label(at int) string {
	if in := &c.instances[at]; in.Number > 1 {
		return fmt.Sprintf("%s, invocation %d,", in.ID, in.Number)
	}
	return c.instances[at].ID
}

// sorted is a topological order of the instances: of those that are free to run, first the one with the smallest rank, then
// the one written first. A graph with a cycle gives fewer than all.
func (g *graph) sorted(rank func(int) int) []int {
	waits := make([]int, len(g.out))
	for _, l := range g.links {
		waits[l.to]++
	}
	ready := &byRank{rank: rank}
	for i, n := range waits {
		if n == 0 {
			ready.items = append(ready.items, i)
		}
	}
	heap.Init(ready)
	order := make([]int, 0, len(g.out))
	for ready.Len() > 0 {
		at := heap.Pop(ready).(int)
		order = append(order, at)
		for _, i := range g.out[at] {
			to := g.links[i].to
			if waits[to]--; waits[to] == 0 {
				heap.Push(ready, to)
			}
		}
	}
	return order
}

type byRank struct {
	items []int
	rank  func(int) int
}

func (h *byRank) Len() int { return len(h.items) }
func (h *byRank) Less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	if ra, rb := h.rank(a), h.rank(b); ra != rb {
		return ra < rb
	}
	return a < b
}
func (h *byRank) Swap(i, j int) { h.items[i], h.items[j] = h.items[j], h.items[i] }
func (h *byRank) Push(x any)    { h.items = append(h.items, x.(int)) }
func (h *byRank) Pop() any {
	last := h.items[len(h.items)-1]
	h.items = h.items[:len(h.items)-1]
	return last
}
