package executor

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"shoal/states"
)

// A run that is told what was touched (RunMeta.Touched) looks at that alone, and at what may have to follow: a plan that is a
// part of the whole one goes through the same run. The part holds
//
//   - what looks after the things that were touched, after what lies below them, and whatever comes after these by an edge, so
//     that all who react to a change are there; with each member of a block or sequence the whole of it;
//   - the witnesses: what looks at more of the machine than it makes (a command with a guard), so that nobody can say without
//     asking that it has nothing to do.
//
// All else was as wanted when the whole plan was last in force, is isolated (states.Function.Isolated), and nobody touched it. A
// witness that has something to do ends the narrowing: the whole plan follows. So does all that cannot be told from the plan alone.

// settled is what the last run left that found or made everything as its plan wants, with nothing due.
type settled struct {
	plan    *states.Plan
	stamp   string // as of Stamped, when it was over
	ledger  *ledger
	targets *targets // nil until something was touched
}

// part is the part of a plan that a run is about.
type part struct {
	plan *states.Plan
	// scope tells of each of its invocations whether it is there for what was touched; else it is a witness.
	scope []bool
	left  int // invocations of the whole plan that are not in it
	// outside are, by invocation, those that it notifies and that are not in the part.
	outside map[int][]invocation
}

// targets finds the part of a plan that something touched is about. It is made once for a plan.
type targets struct {
	plan    *states.Plan
	graph   *graph
	named   map[string][]int // by path or service: who looks after it
	keyed   map[string][]int // by key, where several make one thing
	paths   []string         // of named, sorted
	keys    [][]string       // by invocation
	follows [][]int          // by invocation: indices of the plan's edges that begin there
	waiting map[int][]int    // the inverse of graph.waits
	open    []int            // the witnesses
	late    []bool           // by invocation: it reads outputs
}

func newTargets(r *run) *targets {
	n := len(r.plan.Invocations)
	x := &targets{
		plan: r.plan, graph: newGraph(r.plan), named: map[string][]int{}, keyed: map[string][]int{}, keys: make([][]string, n),
		follows: make([][]int, n), waiting: map[int][]int{}, late: make([]bool, n),
	}
	for at, e := range r.plan.Edges {
		if e.From >= 0 && e.From < e.To && e.To < n {
			x.follows[e.From] = append(x.follows[e.From], at)
		}
	}
	for to, froms := range x.graph.waits {
		for _, from := range froms {
			x.waiting[from] = append(x.waiting[from], to)
		}
	}
	for i, tasks := range r.tasks {
		x.take(i, r.inv(i), tasks)
	}
	for name := range x.named {
		if strings.HasPrefix(name, "/") {
			x.paths = append(x.paths, name)
		}
	}
	slices.Sort(x.paths)
	return x
}

func (x *targets) take(i int, inv *states.StateInvocation, tasks []*task) {
	x.late[i] = inv.When != nil
	isolated := true
	for _, t := range tasks {
		x.late[i] = x.late[i] || t.written != nil
		isolated = isolated && t.function.Isolated && t.extension == nil
		if t.reaction {
			continue
		}
		x.keyed[t.key] = append(x.keyed[t.key], i)
		x.keys[i] = append(x.keys[i], t.key)
		if t.kind == states.ResourceService {
			x.named[t.made] = append(x.named[t.made], i)
		}
		for _, name := range t.keeps() {
			x.named[name] = append(x.named[name], i)
		}
	}
	if !isolated && !inv.Lazy && inv.Skip == "" {
		x.open = append(x.open, i)
	}
}

// about returns the part of the plan that is about what was touched; nil where that cannot be narrowed, or hardly.
func (x *targets) about(touched []string) *part {
	scope := &gathering{x: x, in: map[int]bool{}}
	for _, name := range touched {
		owners := x.named[name]
		if len(owners) == 0 {
			return nil
		}
		for _, i := range owners {
			scope.add(i)
		}
		x.below(name, scope.add)
	}
	scope.close(true)
	all := &gathering{x: x, in: map[int]bool{}}
	for i := range scope.in {
		all.add(i)
	}
	for _, i := range x.open {
		all.add(i)
	}
	all.close(false)
	if scope.refused || all.refused || 2*len(all.in) > len(x.plan.Invocations) {
		return nil
	}
	return x.cut(all.in, scope.in)
}

// below visits who looks after what lies below a path.
func (x *targets) below(name string, visit func(int)) {
	prefix := strings.TrimSuffix(name, "/") + "/"
	at, _ := slices.BinarySearch(x.paths, prefix)
	for ; at < len(x.paths) && strings.HasPrefix(x.paths[at], prefix); at++ {
		for _, i := range x.named[x.paths[at]] {
			visit(i)
		}
	}
}

// gathering collects invocations that have to be looked at together.
type gathering struct {
	x       *targets
	in      map[int]bool
	todo    []int
	refused bool // there is one that cannot be looked at without the rest
}

func (g *gathering) add(i int) {
	if !g.in[i] {
		g.in[i] = true
		g.todo = append(g.todo, i)
	}
}

// close adds all that belongs to what was added; with followers, also what comes after it.
func (g *gathering) close(followers bool) {
	x := g.x
	for len(g.todo) > 0 && !g.refused {
		i := g.todo[len(g.todo)-1]
		g.todo = g.todo[:len(g.todo)-1]
		if i < 0 || i >= len(x.plan.Invocations) {
			g.refused = true
			return
		}
		inv := &x.plan.Invocations[i]
		g.refused = x.late[i] || inv.SupersededBy != 0 || len(x.graph.supersedes[i]) > 0
		for _, key := range x.keys[i] {
			for _, k := range x.keyed[key] {
				g.add(k)
			}
		}
		if m, ok := x.graph.within[i]; ok {
			g.add(m.container)
		}
		for _, m := range membersOf(inv) {
			g.add(m)
		}
		if inv.Undo != "" {
			if k := slices.IndexFunc(x.plan.Invocations, func(o states.StateInvocation) bool { return o.ID == inv.Undo }); k >= 0 {
				g.add(k)
			}
		}
		if followers {
			for _, at := range x.follows[i] {
				g.add(x.plan.Edges[at].To)
			}
			for _, k := range x.waiting[i] {
				g.add(k)
			}
		}
	}
}

// membersOf lists what a block or a sequence runs.
func membersOf(inv *states.StateInvocation) []int {
	if inv.Block != nil {
		return slices.Concat(inv.Block.Run, inv.Block.Rescue, inv.Block.Always)
	}
	return inv.Sequence
}

// cut makes the plan of some invocations, with the edges between them.
func (x *targets) cut(in, scope map[int]bool) *part {
	members := make([]int, 0, len(in))
	for i := range in {
		members = append(members, i)
	}
	slices.Sort(members)
	at := make(map[int]int, len(members))
	for n, i := range members {
		at[i] = n
	}
	plan := *x.plan
	plan.Invocations, plan.Edges = make([]states.StateInvocation, len(members)), nil
	p := &part{plan: &plan, scope: make([]bool, len(members)), left: len(x.plan.Invocations) - len(members), outside: map[int][]invocation{}}
	var edges []int
	for n, i := range members {
		inv := x.plan.Invocations[i]
		inv.Sequence = renumber(inv.Sequence, at)
		if b := inv.Block; b != nil {
			inv.Block = &states.Block{Run: renumber(b.Run, at), Rescue: renumber(b.Rescue, at), Always: renumber(b.Always, at)}
		}
		plan.Invocations[n], p.scope[n] = inv, scope[i]
		for _, e := range x.follows[i] {
			switch edge := x.plan.Edges[e]; {
			case in[edge.To]:
				edges = append(edges, e)
			case edge.Kind == states.EdgeNotify:
				to := &x.plan.Invocations[edge.To]
				p.outside[n] = append(p.outside[n], invocation{to.ID, to.Number})
			}
		}
	}
	slices.SortFunc(edges, cmp.Compare[int])
	for _, e := range edges {
		edge := x.plan.Edges[e]
		edge.From, edge.To = at[edge.From], at[edge.To]
		plan.Edges = append(plan.Edges, edge)
	}
	return p
}

func renumber(list []int, at map[int]int) []int {
	if list == nil {
		return nil
	}
	out := make([]int, len(list))
	for n, i := range list {
		out[n] = at[i]
	}
	return out
}

// narrow returns the part of the plan that a run with these Touched is about; nil: it is about all of it. The lock is held.
func (e *Engine) narrow(plan *states.Plan, touched []string) *part {
	s := e.settled
	if s == nil || s.plan != plan || len(touched) == 0 {
		return nil
	}
	if stamp, ok := e.stamp(); !ok || stamp != s.stamp {
		return nil // somebody else was here
	}
	if s.targets == nil {
		r := e.newRun(plan, nil, RunMeta{})
		r.graph = newGraph(plan)
		if r.openExtensions(context.Background()) != nil || r.buildTasks() != nil {
			return nil // the run says why
		}
		s.targets = newTargets(r)
	}
	return s.targets.about(touched)
}

// stamp tells whether anybody was at work, where the ledger can.
func (e *Engine) stamp() (string, bool) {
	s, ok := e.Ledger.(Stamped)
	if !ok {
		return "", false
	}
	stamp, err := s.Stamp()
	return stamp, err == nil
}

// settleFor notes how a run left the machine, for the next.
func (r *run) settleFor(whole *states.Plan) {
	var x *targets
	if s := r.e.settled; s != nil && s.plan == whole {
		x = s.targets
	}
	r.e.settled = nil
	if r.report.Result != Converged || r.owned.led == nil || len(r.owned.led.Pending) > 0 || slices.ContainsFunc(r.report.States, func(s StateReport) bool {
		return s.Result != Unchanged && s.Result != Changed && s.Result != Skipped
	}) {
		return
	}
	if stamp, ok := r.e.stamp(); ok {
		r.e.settled = &settled{plan: whole, stamp: stamp, ledger: r.owned.led, targets: x}
	}
}

// strays: the survey of a part found something that is not for the part alone to do.
func (r *run) strays() bool {
	return r.failure.err != nil || slices.ContainsFunc(slices.Concat(r.tasks...), func(t *task) bool {
		return t.found.surveyed && !r.part.scope[t.index]
	})
}

// dueOutside are the triggers of those that listen to a witness which did something in its turn after all.
func (r *run) dueOutside() (due []trigger) {
	for i, listeners := range r.part.outside {
		for _, to := range listeners {
			if r.seen[i].changed {
				due = append(due, trigger{ID: to.id, Number: to.number, From: r.inv(i).ID})
			}
		}
	}
	slices.SortFunc(due, func(a, b trigger) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Number, b.Number)) })
	return due
}

// enough: the part is done, or failed as the whole would have. Else the whole has to follow.
func (r *run) enough() bool {
	if r.owned.led == nil || r.strayed {
		return false
	}
	for i, scope := range r.part.scope {
		if !scope && r.seen[i].changed {
			return false
		}
	}
	return true
}

// changes are the rows of what a run did.
func (r *run) changes() []StateReport {
	return slices.DeleteFunc(slices.Clone(r.report.States), func(s StateReport) bool { return s.Result != Changed })
}
