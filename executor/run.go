package executor

import (
	"context"
	"fmt"
	"time"

	"shoal/states"
)

// run is one Check or Apply. It goes over the plan twice: a survey that only asks, and, when that found something to do, the
// same walk again with the hands.
type run struct {
	e        *Engine
	host     *accountCache
	plan     *states.Plan
	contents planContents
	meta     RunMeta
	report   *Report
	started  time.Time
	lapped   time.Time // when the last part ended

	led      *ledger
	incoming [][]states.Edge // by the index of their To
	policy   string          // of the plan: what a failure does
	acting   bool            // an Apply: the survey keeps what undo needs
	hands    bool            // the walk changes things

	removals []*removal
	forgets  map[string]bool
	tasks    [][]*task // by invocation
	early    []answer  // to what was asked ahead of the walk
	seen     []outcome // by invocation
	provided map[provision]bool
	failure  error // the first
	failed   int   // index of its invocation
	tx       *transaction
	lasts    map[string]*task // by key: the last task that makes a thing
}

// outcome is what later states may know of an earlier one.
type outcome struct {
	changed, unknown, failed bool
	why                      string // it was skipped, or failed
	dependent                bool   // skipped because of a requirement: its own dependents are too
}

type provision struct {
	kind states.ResourceKind
	name string
}

// task is one part of one invocation, or the reaction of one.
type task struct {
	inv      *states.StateInvocation
	index    int // of the invocation
	part     int // within it
	order    int
	module   Module
	function *states.Function
	name     string // of the function, in full
	params   Params
	key      string
	kind     states.ResourceKind // of what it makes; empty: nothing that has a name
	made     string
	reaction bool // runs only when notified
	early    *answer

	row      *StateReport
	rowSpace StateReport // where row points once it has something to say
	change   Change
	surveyed bool // the survey wants to change it
	blocked  bool // the survey could not tell all
	saved    *saved
	staged   string
	foreign  int // how many changes of other modules the saved undo has seen
	applied  bool
}

type functionName struct{ module, name string }

// kindOf is what all tasks of one function share.
type kindOf struct {
	module   Module
	function *states.Function
	name     string
}

// removal is a thing that the ledger has and the plan has not.
type removal struct {
	entry entry
	saved saved
	row   *StateReport
	order int
}

func (e *Engine) newRun(plan *states.Plan, contents Contents, meta RunMeta) *run {
	r := &run{
		e: e, host: newAccountCache(e.Host), plan: plan, meta: meta, started: e.Clock.Now(), failed: -1,
		contents: planContents{rendered: plan.Rendered, rest: contents},
		incoming: make([][]states.Edge, len(plan.Invocations)),
		report: &Report{
			Node: plan.Node.Name, Env: meta.Env, Version: meta.Version, Revision: meta.Revision, Order: string(plan.Policy.Order),
		},
	}
	if r.policy = plan.Policy.OnFailure; r.policy != onStop && r.policy != onContinue {
		r.policy = onRollback
	}
	for _, edge := range plan.Edges {
		if edge.To >= 0 && edge.To < len(r.incoming) && edge.From >= 0 && edge.From < edge.To {
			r.incoming[edge.To] = append(r.incoming[edge.To], edge)
		}
	}
	return r
}

// broken ends a run that could not begin.
func (r *run) broken(err error) Report {
	r.report.Result, r.report.Error = RunFailed, err.Error()
	return *r.report
}

func (r *run) took() float64 { return milliseconds(r.e.Clock.Now().Sub(r.started)) }

// survey asks every part what it would change.
func (r *run) survey(ctx context.Context) {
	if err := r.buildTasks(); err != nil {
		r.failure = err
		return
	}
	finish := r.askFiles(ctx)
	led, err := r.e.loadLedger()
	finish()
	if err != nil {
		r.failure, r.tasks = err, nil
		return
	}
	r.led = led
	r.findRemovals()
	r.walk(ctx)
	r.remember()
}

// buildTasks gives each part its module, its place in the order and its row of the report.
func (r *run) buildTasks() error {
	r.tasks = make([][]*task, len(r.plan.Invocations))
	kinds := map[functionName]kindOf{}
	total := 0
	for i := range r.plan.Invocations {
		total += len(r.plan.Invocations[i].Parts)
	}
	all, listed := make([]task, total), make([]*task, total) // two allocations, not two for each part
	order := 0
	for i := range r.plan.Invocations {
		inv := &r.plan.Invocations[i]
		for p := range inv.Parts {
			part := &inv.Parts[p]
			k, ok := kinds[functionName{part.Module, part.Function}]
			if !ok {
				m, err := r.e.module(part.FullName())
				if err != nil {
					return fmt.Errorf("%s: %s: %w", part.Place, inv.ID, err)
				}
				f := m.Function()
				k = kindOf{module: m, function: &f, name: f.FullName()}
				kinds[functionName{part.Module, part.Function}] = k
			}
			t := &all[0]
			all = all[1:]
			*t = task{inv: inv, index: i, part: p, module: k.module, function: k.function, name: k.name, params: part.Params, order: order}
			t.makes()
			order++
			listed[p] = t
		}
		n := len(inv.Parts)
		r.tasks[i], listed = listed[:n:n], listed[n:]
		for p := range inv.Parts {
			t, err := r.reactionOf(r.tasks[i][p])
			if err != nil {
				return err
			}
			if t != nil {
				t.order = order
				order++
				r.tasks[i] = append(r.tasks[i], t)
			}
		}
	}
	return nil
}

// reactionOf returns what runs, beside the part itself, when a notifier changed.
func (r *run) reactionOf(t *task) (*task, error) {
	if t.inv.Lazy || !r.listens(t.index) {
		return nil, nil
	}
	m, params := t.module, t.params
	if reactor, ok := m.(Reactor); ok {
		params = reactor.React(params)
	} else if t.function.Reaction != "" {
		var err error
		if m, err = r.e.module(t.function.Module + "." + t.function.Reaction); err != nil {
			return nil, fmt.Errorf("%s: %w", t.inv.ID, err)
		}
		f := m.Function()
		params = known(&f, params)
	} else {
		return nil, nil
	}
	f := m.Function()
	reaction := &task{
		inv: t.inv, index: t.index, part: t.part, module: m, function: &f, name: f.FullName(), params: params, reaction: true,
	}
	reaction.makes()
	reaction.key = t.inv.ID + "#reaction"
	return reaction, nil
}

// known keeps the parameters that a function has.
func known(f *states.Function, p Params) Params {
	out := Params{}
	for _, param := range f.Params {
		if v, ok := p[param.Name]; ok {
			out[param.Name] = v
		} else if param.Default != nil {
			out[param.Name] = param.Default
		}
	}
	return out
}

func (r *run) listens(i int) bool {
	for _, edge := range r.incoming[i] {
		if edge.Kind == states.EdgeNotify {
			return true
		}
	}
	return false
}

// findRemovals compares the ledger with the plan. What a skipped state has stays: skipped is not removed.
func (r *run) findRemovals() {
	r.lasts = make(map[string]*task, len(r.tasks))
	skipped, kept := map[string]bool{}, map[string]bool{} // states, and what they make
	for i, tasks := range r.tasks {
		inv := &r.plan.Invocations[i]
		if inv.Skip != "" {
			skipped[inv.ID] = true
		}
		for _, t := range tasks {
			switch {
			case t.reaction:
			case inv.Skip != "":
				kept[t.key] = true
			default:
				r.lasts[t.key] = t
			}
		}
	}
	r.forgets = map[string]bool{}
	for i := len(r.led.Entries) - 1; i >= 0; i-- {
		en := &r.led.Entries[i]
		switch {
		case r.lasts[en.Key] != nil || kept[en.Key] || skipped[en.ID]:
		case en.Keep:
			r.forgets[en.Key] = true
		default:
			r.removals = append(r.removals, &removal{entry: *en, order: len(r.removals) - len(r.led.Entries)}) // before all tasks
		}
	}
}

// remember keeps which paths there are to watch.
func (r *run) remember() {
	managed := make([]string, 0, len(r.tasks))
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			if t.kind == states.ResourcePath && t.inv.Skip == "" {
				managed = append(managed, t.made)
			}
		}
	}
	r.e.mu.Lock()
	r.e.managed = managed
	r.e.mu.Unlock()
}

// show puts the rows together, in the order in which they ran.
func (r *run) show() {
	r.report.States = make([]StateReport, 0, len(r.removals)+len(r.tasks))
	for _, rm := range r.removals {
		if rm.row != nil {
			r.addRow(rm.row)
		}
	}
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			if t.row != nil {
				r.addRow(t.row)
			}
		}
	}
}

func (r *run) addRow(row *StateReport) {
	if row.Outputs == nil {
		row.Outputs = map[string]any{}
	}
	switch row.Result {
	case Changed, WouldChange, Unknown:
		r.report.Changed++
	}
	r.report.States = append(r.report.States, *row)
}
