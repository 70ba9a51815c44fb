package executor

import (
	"fmt"

	"shoal/states"
)

// task is one part of one invocation, or the reaction of one.
type task struct {
	kindOf
	thing
	inv      *states.StateInvocation
	index    int // of the invocation
	part     int // within it
	order    int
	params   Params
	written  Params // as the plan has them; nil where nothing in them is known later
	reaction bool   // runs only when notified
	// hidden are the parameters that hold a secret; secret: there are any.
	hidden map[string]bool
	secret bool
	texts  []string // of the secrets that were found out in the run

	found finding
	work  progress
	row   *StateReport
	// rowSpace is where row points once it has something to say.
	rowSpace StateReport
}

// kindOf is what all tasks of one function share.
type kindOf struct {
	module   Module
	function *states.Function
	name     string // of the function, in full
	// extension is the extension module that the function is of; nil: it is built in.
	extension *extension
}

// thing is what a task makes.
type thing struct {
	key  string              // in the ledger
	kind states.ResourceKind // empty: nothing that has a name
	made string
}

// keeps lists all paths that it looks after. Those of an extension module are what it provides.
func (t *task) keeps() []string {
	if t.kind != states.ResourcePath {
		return nil
	}
	if k, ok := t.module.(Keeper); ok {
		return append(k.Keeps(t.params), t.made)
	}
	return []string{t.made}
}

// finding is what the survey learnt of a task.
type finding struct {
	early        *answer
	surveyed     bool // the survey wants to change it
	blocked      bool // the survey could not tell all
	irreversible bool
	// open: its parameters wait for outputs of others.
	open bool
}

// progress is how far a task has come.
type progress struct {
	change  Change
	saved   *saved
	staged  string
	turn    int // of the saved undo; 0: the survey captured it
	foreign int // how many changes of other modules the saved undo has seen
	applied bool
	// began and ended count the steps of the run at which its change did.
	began, ended int64
}

type functionName struct{ module, name string }

// buildTasks gives each part its module and its place in the order.
func (r *run) buildTasks() error {
	r.tasks = make([][]*task, len(r.plan.Invocations))
	r.values = newValues()
	kinds := map[functionName]kindOf{}
	total := 0
	for i := range r.plan.Invocations {
		total += len(r.plan.Invocations[i].Parts)
	}
	all, listed := make([]task, total), make([]*task, total) // two allocations, not two for each part
	order := 0
	for i := range r.plan.Invocations {
		inv := &r.plan.Invocations[i]
		for when := inv.When; when != nil; when = when.And {
			r.values.reads(*when)
		}
		for p := range inv.Parts {
			k, err := r.kindOf(kinds, inv, &inv.Parts[p])
			if err != nil {
				return err
			}
			t := &all[0]
			all = all[1:]
			*t = task{kindOf: k, inv: inv, index: i, part: p, params: inv.Parts[p].Params, order: order}
			if r.values.find(t.params) {
				t.written = t.params
			}
			t.conceal()
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

func (r *run) kindOf(kinds map[functionName]kindOf, inv *states.StateInvocation, part *states.StatePartInvocation) (kindOf, error) {
	if k, ok := kinds[functionName{part.Module, part.Function}]; ok {
		return k, nil
	}
	m, ext, err := r.module(part.FullName())
	if err != nil {
		return kindOf{}, fmt.Errorf("%s: %s: %w", part.Place, inv.ID, err)
	}
	f := m.Function()
	k := kindOf{module: m, function: &f, name: f.FullName(), extension: ext}
	kinds[functionName{part.Module, part.Function}] = k
	return k, nil
}

// reactionOf returns what runs, beside the part itself, when a notifier changed.
func (r *run) reactionOf(t *task) (*task, error) {
	if t.inv.Lazy || !r.listens(t.index) {
		return nil, nil
	}
	m, ext, params := t.module, t.extension, t.params
	if reactor, ok := m.(Reactor); ok {
		params = reactor.React(params)
	} else if t.function.Reaction != "" {
		var err error
		if m, ext, err = r.module(t.function.Module + "." + t.function.Reaction); err != nil {
			return nil, fmt.Errorf("%s: %w", t.inv.ID, err)
		}
		f := m.Function()
		params = known(&f, params)
	} else {
		return nil, nil
	}
	f := m.Function()
	reaction := &task{
		kindOf: kindOf{module: m, function: &f, name: f.FullName(), extension: ext},
		inv:    t.inv, index: t.index, part: t.part, params: params, reaction: true,
	}
	if r.values.find(params) {
		reaction.written = params
	}
	reaction.conceal()
	reaction.makes()
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
	for _, edge := range r.graph.incoming[i] {
		if edge.Kind == states.EdgeNotify {
			return true
		}
	}
	return false
}

// resource is what a part provides.
func resource(f *states.Function, p Params) (kind states.ResourceKind, name string, ok bool) {
	for i := range f.Params {
		param := &f.Params[i]
		if param.Provides == "" {
			continue
		}
		if name, ok := p[param.Name].(string); ok {
			return param.Provides, param.Resource(name), true
		}
	}
	return "", "", false
}

// makes notes what a task makes, and its key in the ledger. Two states that follow each other at one path are one thing, so
// that the second takes over what was there before the first; so are two that look after one service.
func (t *task) makes() {
	kind, made, ok := resource(t.function, t.params)
	switch {
	case t.reaction:
		t.thing = thing{key: t.inv.ID + "#reaction", kind: kind, made: made}
	case ok:
		t.thing = thing{key: string(kind) + ":" + made, kind: kind, made: made}
	default:
		t.thing = thing{key: fmt.Sprintf("%s#%d", t.inv.ID, t.part)}
	}
}

func (t *task) owner() (id string, number int, keep bool) {
	return t.inv.ID, t.inv.Number, t.inv.OnRemove == "keep"
}
