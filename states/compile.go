package states

import (
	"fmt"
	"io/fs"
	"slices"
)

// Catalogue is a tree as far as it is the same for every node: parsed documents, components, compiled expressions and
// templates. One goroutine at a time may use it.
type Catalogue struct {
	tree       *tree
	problems   *collector // of the compilation, or of the document, that is being worked on
	base       *collector // what is wrong with the site, for every node
	units      map[string]*collector
	variables  map[string]bool // that any component says it has; nil until asked for
	undeclared bool            // a component does not say
	fleet      fleet
	listed     []Node // in the tree's inventory
	sharing
	functions   map[string]*Function
	modules     map[string]bool
	refused     map[string]bool // extension modules that are wrong: what they would declare is not known
	documents   map[string]*docNode
	components  map[string]*component
	unknown     map[string]string // suggestion for each unknown component
	roles       map[string]role
	groupPlaces map[string]Place
	expressions *expressions
	splits      map[string]splitResult
	engines     map[string]engine
	star        *starFiles
	site        site
	foundLast   foundExpression
	secrets     secrets
	other       *Catalogue // the same tree with stand-ins for its secrets; nil until there is one
	reopen      func() (*Catalogue, error)
}

// Open reads a tree as far as it is the same for every node. What is wrong with it is told by Compile; the error is of
// functions that contradict each other.
func Open(fsys fs.FS, functions []Function) (*Catalogue, error) {
	l, err := open(fsys, functions, secrets{})
	if err != nil {
		return nil, err
	}
	l.reopen = func() (*Catalogue, error) { return open(fsys, functions, secrets{twin: true}) }
	return l, nil
}

func open(fsys fs.FS, functions []Function, hidden secrets) (*Catalogue, error) {
	t := newTree(fsys)
	l := &Catalogue{
		tree: t, problems: newCollector(t), functions: map[string]*Function{}, modules: map[string]bool{"meta": true}, refused: map[string]bool{},
		documents: map[string]*docNode{}, components: map[string]*component{}, unknown: map[string]string{},
		roles: map[string]role{}, groupPlaces: map[string]Place{}, splits: map[string]splitResult{}, units: map[string]*collector{}, secrets: hidden,
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
	if l.expressions, err = newExpressions(l, func(r *reads) { l.noting.reads.add(r) }); err != nil {
		return nil, err
	}
	l.room = newRoom()
	l.noting, l.values, l.graphs = &effects{}, map[*docNode]*memo[evaluated]{}, map[[32]byte]*arrangement{}
	l.engines = map[string]engine{".j2": newJinja(l), ".tmpl": newGoTemplates(l)}
	l.star = &starFiles{lib: l, modules: map[string]*starModule{}}
	l.base = l.problems
	l.site = l.readSite()
	return l, nil
}

// once reads a part of the tree when a compilation first asks for it. What is wrong with it is told to each that asks.
func (l *Catalogue) once(unit string, read func()) {
	found, ok := l.units[unit]
	if !ok {
		found = newCollector(l.tree)
		l.units[unit] = found
		outer := l.problems
		l.problems = found
		read()
		l.problems = outer
	}
	if len(found.problems) > 0 {
		l.problems.include(found)
	}
}

// Input is all that a plan depends on beside the tree.
type Input struct {
	Node Node
	// Fleet are all nodes that there are, as the roster grants them, Node included; nil where there is no mesh.
	Fleet []Node
	// Secrets is what secret() answers from; nil where there is no mesh.
	Secrets *Secrets
	// Order overrules the site's ordering mode; an empty one does not.
	Order Order
}

// Compile computes a node's plan. It is a function of the tree and the input: equal ones give an equal plan, on any machine. When
// the tree is wrong the error is Problems with all that was found for this node, in the order of their places.
func (l *Catalogue) Compile(in Input) (*Plan, error) {
	plan, problems, err := l.compileTainted(in)
	if err != nil {
		return nil, err
	}
	if ps := l.secrets.mask(problems.sorted()); len(ps) > 0 {
		return nil, ps
	}
	return plan, nil
}

// Compile opens a tree and computes one plan.
func Compile(fsys fs.FS, in Input, functions []Function) (*Plan, error) {
	l, err := Open(fsys, functions)
	if err != nil {
		return nil, err
	}
	return l.Compile(in)
}

// compilation is the work on one node's plan.
type compilation struct {
	lib       *Catalogue
	problems  *collector
	node      Node
	plan      *Plan
	chosen    chosen
	instances []instance
	known     map[string][]int // instances by component/id, and by component/id[key]
	groups    map[string]*declared
	members   map[string][]int
	written   []*declared // all states in the order written
	declared  map[string]*declared
	claims    map[string]*claims
	elements  map[*declared]eachElements
	// groupCallees are the members of groups that blocks and sequences run.
	groupCallees map[string][]callee
	graph        *graph
	entries      []link // into blocks and sequences
	outputs      deferring
	rendered     int64
	overspent    bool
	full         bool
	shared
}

func (l *Catalogue) compile(in Input) *compilation {
	l.problems = newCollector(l.tree)
	l.problems.include(l.base)
	did := &effects{outermost: true}
	l.noting = did
	l.newFleet(in.Fleet)
	l.give(in.Secrets, in.Node.Name)
	c := &compilation{
		lib: l, problems: l.problems, node: in.Node,
		plan:  &Plan{Node: in.Node, Policy: l.site.policy, Rendered: map[string][]byte{}},
		known: l.room.known, instances: l.room.instances[:0], groups: map[string]*declared{}, members: map[string][]int{},
		declared: l.room.declared, claims: map[string]*claims{}, elements: map[*declared]eachElements{}, groupCallees: map[string][]callee{},
		shared: shared{indices: l.room.indices[:0], digests: map[uintptr]*digests{}, tags: tagsOf(in.Node)},
	}
	if in.Order != "" {
		c.plan.Policy.Order = in.Order
	}
	c.chosen = c.choose()
	for _, name := range c.chosen.components {
		c.declareComponent(l.components[name])
	}
	c.expand()
	if !c.full {
		c.arrangeShared()
	}
	l.room.take(c)
	c.plan.ReadsFleet = did.reads.fleet
	c.plan.Extensions = c.extensionsOf()
	return c
}

// arrange joins the instances by edges and puts them into the plan in their order.
func (c *compilation) arrange() {
	c.graph = newGraph(len(c.instances))
	c.connect()
	c.checkPaths()
	if cycles := c.graph.cycles(); len(cycles) > 0 {
		c.reportCycles(cycles)
		return
	}
	c.connectOrder()
	if c.plan.Policy.Order == Genius {
		c.addObvious()
	}
	c.finish()
}

// finish sorts the instances and moves them and their edges into the plan.
func (c *compilation) finish() {
	genius := c.plan.Policy.Order == Genius
	order := c.graph.sorted(func(at int) int {
		if genius && c.instances[at].Lazy && c.instances[at].root == 0 {
			return 1 // reloads once, at the end
		}
		return 0
	})
	c.order = order
	position := make([]int, len(c.instances))
	c.plan.Invocations = make([]StateInvocation, len(order))
	for i, at := range order {
		position[at] = i
		c.plan.Invocations[i] = c.instances[at].StateInvocation
	}
	for i := range c.plan.Invocations {
		c.plan.Invocations[i].remap(position)
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
