package states

import (
	"fmt"
	"io/fs"
	"slices"
)

// library is a tree as far as it is the same for every node: parsed documents, components, compiled expressions and
// templates. One goroutine uses it.
type library struct {
	tree        *tree
	problems    *collector
	functions   map[string]*Function
	modules     map[string]bool
	documents   map[string]*docNode
	components  map[string]*component
	unknown     map[string]string // suggestion for each unknown component
	roles       map[string]role
	groupPlaces map[string]Place
	expressions *expressions
	splits      map[string]splitResult
	engines     map[string]engine
	site        site
}

func newLibrary(fsys fs.FS, functions []Function) (*library, error) {
	t := newTree(fsys)
	l := &library{
		tree: t, problems: newCollector(t), functions: map[string]*Function{}, modules: map[string]bool{"meta": true},
		documents: map[string]*docNode{}, components: map[string]*component{}, unknown: map[string]string{},
		roles: map[string]role{}, groupPlaces: map[string]Place{}, splits: map[string]splitResult{},
	}
	for i := range functions {
		f := &functions[i]
		if _, dup := l.functions[f.FullName()]; dup {
			return nil, fmt.Errorf("function %s is described twice", f.FullName())
		}
		l.functions[f.FullName()] = f
		l.modules[f.Module] = true
	}
	var err error
	if l.expressions, err = newExpressions(); err != nil {
		return nil, err
	}
	l.engines = map[string]engine{".j2": newJinja(l), ".tmpl": newGoTemplates(l)}
	l.site = l.readSite()
	return l, nil
}

// Compile computes a node's plan. It is a function of its arguments: equal ones give an equal plan, on any machine. When the
// tree is wrong the error is Problems with all that was found, in the order of their places.
func Compile(fsys fs.FS, node Node, functions []Function) (*Plan, error) {
	return CompileOrdered(fsys, node, functions, "")
}

// CompileOrdered is Compile with an ordering mode that overrules the site's policy; an empty one does not.
func CompileOrdered(fsys fs.FS, node Node, functions []Function, order Order) (*Plan, error) {
	l, err := newLibrary(fsys, functions)
	if err != nil {
		return nil, err
	}
	if order != "" {
		l.site.policy.Order = order
	}
	plan := l.compile(node)
	if ps := l.problems.sorted(); len(ps) > 0 {
		return nil, ps
	}
	return plan, nil
}

// compilation is the work on one node's plan.
type compilation struct {
	lib       *library
	problems  *collector
	node      Node
	plan      *Plan
	chosen    chosen
	instances []instance
	known     map[string][]int // instances by component/id, and by component/id[key]
	groups    map[string]*stateDecl
	members   map[string][]int
	graph     *graph
	rendered  int64
	overspent bool
	full      bool
}

func (l *library) compile(node Node) *Plan {
	c := &compilation{
		lib: l, problems: l.problems, node: node,
		plan:  &Plan{Node: node, Policy: l.site.policy, Rendered: map[string][]byte{}},
		known: map[string][]int{}, groups: map[string]*stateDecl{}, members: map[string][]int{},
	}
	c.chosen = c.choose()
	for _, name := range c.chosen.components {
		c.expandComponent(l.components[name], c.chosen.variables)
	}
	c.graph = newGraph(len(c.instances))
	if c.full {
		return c.plan
	}
	c.connect()
	c.checkPaths()
	if cycles := c.graph.cycles(); len(cycles) > 0 {
		c.reportCycles(cycles)
		return c.plan
	}
	c.connectOrder()
	if c.plan.Policy.Order == Genius {
		c.addObvious()
	}
	c.finish()
	return c.plan
}

// finish sorts the instances and moves them and their edges into the plan.
func (c *compilation) finish() {
	genius := c.plan.Policy.Order == Genius
	order := c.graph.sorted(func(at int) int {
		if genius && c.instances[at].Lazy {
			return 1 // reloads once, at the end
		}
		return 0
	})
	position := make([]int, len(c.instances))
	c.plan.Invocations = make([]Invocation, len(order))
	for i, at := range order {
		position[at] = i
		c.plan.Invocations[i] = c.instances[at].Invocation
	}
	c.plan.Edges = make([]Edge, len(c.graph.links))
	for i, l := range c.graph.links {
		c.plan.Edges[i] = Edge{From: position[l.from], To: position[l.to], Kind: l.kind, Reason: l.reason}
	}
	slices.SortFunc(c.plan.Edges, compareEdges)
}

func compareEdges(a, b Edge) int {
	if a.To != b.To {
		return a.To - b.To
	}
	if a.From != b.From {
		return a.From - b.From
	}
	if a.Kind != b.Kind {
		if a.Kind < b.Kind {
			return -1
		}
		return 1
	}
	return 0
}
