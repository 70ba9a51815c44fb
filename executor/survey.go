package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"shoal/states"
)

// survey is what only the asking walk keeps.
type survey struct {
	acting   bool     // an Apply: what undo needs is kept
	early    []answer // to what was asked ahead of the walk
	provided map[provision]bool
	touched  map[string]bool // keys of things that are made once more later, and would be changed before
	// needed are the superseded invocations that something which stands before their superseder needs.
	needed map[int]bool
}

type provision struct {
	kind states.ResourceKind
	name string
}

// ask asks every part what it would change.
func (r *run) survey(ctx context.Context) {
	r.graph = newGraph(r.plan)
	err := r.openExtensions(ctx)
	if err == nil {
		err = r.buildTasks()
	}
	if err != nil {
		r.failure.err, r.tasks = err, nil
		return
	}
	finish := r.askFiles(ctx)
	led, err := r.ledger()
	finish()
	if err != nil {
		r.failure.err, r.tasks = err, nil
		return
	}
	r.owned.led = led
	r.secrets.add(led.Secrets)
	r.findRemovals()
	r.answers.provided, r.answers.touched, r.answers.needed = map[provision]bool{}, map[string]bool{}, map[int]bool{}
	r.seen = make([]outcome, len(r.plan.Invocations))
	r.report.lapped = r.e.Clock.Now()
	for _, rm := range r.owned.removals {
		r.surveyRemoval(ctx, rm)
	}
	for i := 0; i < len(r.plan.Invocations); i++ {
		if back := r.backTo(i); back < i {
			r.forgetFailures(back)
			i = back
		}
		r.look(ctx, i)
	}
	for _, rm := range r.movedAway() {
		r.surveyRemoval(ctx, rm)
	}
	r.forgetAnswers()
	r.remember()
}

// forgetAnswers lets go of what was said ahead of the walk, of which the rows have what they need.
func (r *run) forgetAnswers() {
	r.answers.early = nil
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			t.found.early = nil
		}
	}
}

// ledger is that of the last run where that is known to be the one on the disk.
func (r *run) ledger() (*ledger, error) {
	if r.part != nil {
		return r.e.settled.ledger, nil
	}
	return r.e.loadLedger()
}

// backTo returns the earliest invocation that i supersedes and that is needed after all, because something between the two has
// something to do. The survey goes back there: what it changes, others may listen to.
func (r *run) backTo(i int) int {
	back := i
	for _, k := range r.graph.supersedes[i] {
		if r.answers.needed[k] || !slices.ContainsFunc(r.graph.between[k], func(m int) bool {
			return r.seen[m].changed || r.seen[m].unknown || r.seen[m].failed
		}) {
			continue
		}
		r.answers.needed[k] = true
		back = min(back, k)
	}
	return back
}

// forgetFailures takes back what failed from an invocation on, which is looked at once more.
func (r *run) forgetFailures(from int) {
	if r.failure.index >= from {
		r.failure.err, r.failure.index = nil, -1
	}
	for _, b := range r.graph.blocks {
		if b.by >= from {
			b.by, b.stands = -1, ""
		}
	}
}

// look is the survey's turn of an invocation.
func (r *run) look(ctx context.Context, i int) {
	v := r.decide(ctx, i)
	switch {
	case v.skip != "":
		r.pass(ctx, i, v)
		return
	case v.err != nil:
		r.refuse(i, v.err)
		return
	}
	r.seen[i] = outcome{}
	r.enterBlocks(i)
	if len(r.tasks[i]) == 0 {
		r.concludeContainer(i)
		r.produce(i)
		return
	}
	inv := r.inv(i)
	for n, t := range r.tasks[i] {
		if t.reaction && (v.notifier == "" || r.reacted(t)) {
			continue
		}
		done := v.refreshed[t]
		if done.sure {
			r.skip(t, done.note)
			continue
		}
		r.row(t, reason(v, t))
		t.row.Note = joinNotes(joinNotes(t.row.Note, v.note), done.note)
		certain := done.note == "" && (v.certain || v.note == "" && !t.reaction && !inv.Lazy)
		if !r.lookAt(ctx, t, certain) {
			for _, later := range r.tasks[i][n+1:] {
				if !later.reaction {
					r.skip(later, fmt.Sprintf("not run: %s before it failed", t.name))
				}
			}
			break
		}
	}
	r.produce(i)
}

// lap is the time since it was last asked: one part ends where the next begins, and a clock is not free.
func (r *run) lap() time.Duration {
	now := r.e.Clock.Now()
	took := now.Sub(r.report.lapped)
	r.report.lapped = now
	return took
}

// lookAt asks one part, and returns whether the ones after it may go on.
func (r *run) lookAt(ctx context.Context, t *task, certain bool) bool {
	err := r.ask(ctx, t, certain)
	took := r.lap()
	if t.found.early != nil {
		took += t.found.early.took
	}
	t.row.TookMS = milliseconds(took)
	if err != nil {
		t.row.Result, t.row.Error = Failed, err.Error()
		r.fail(t.index, err)
		return false
	}
	t.found.irreversible = t.found.surveyed && !t.row.Reversible
	switch t.row.Result {
	case WouldChange:
		r.seen[t.index].changed = true
	case Unknown:
		r.seen[t.index].unknown = true
	default:
		return true
	}
	if t.kind != "" {
		if t.row.Result == WouldChange {
			r.answers.provided[provision{t.kind, t.made}] = true
		}
		if last := r.owned.lasts[t.key]; last != nil && last != t {
			r.answers.touched[t.key] = true
		}
	}
	return true
}

// ask is the survey's part of a task: what would change, and how it would be taken back.
func (r *run) ask(ctx context.Context, t *task, certain bool) error {
	t.found.surveyed, t.found.blocked, t.work.saved = false, false, nil
	if t.found.open {
		t.row.Result, t.row.Diff = Unknown, openDiff(t.written)
		t.row.Note = joinNotes(t.row.Note, "known after apply")
		t.found.surveyed, t.found.blocked = true, true
		return nil
	}
	change, err := r.check(ctx, t)
	t.work.change = change
	if err != nil {
		return r.askMissing(ctx, t, err)
	}
	t.row.Diff, t.row.Outputs = change.Diff, change.Outputs
	switch {
	case change.Unknown || change.Needed && !certain:
		t.row.Result = Unknown
	case change.Guarded && r.ancestorChanges(t.index):
		t.row.Result = Unknown
		t.row.Note = joinNotes(t.row.Note, "what decides it may change before it runs")
	case change.Needed:
		t.row.Result = WouldChange
	case t.kind != "" && r.answers.touched[t.key]:
		t.row.Result = Unknown
		t.row.Note = joinNotes(t.row.Note, "an earlier invocation changes the same thing before it")
	default:
		return nil
	}
	t.found.surveyed = true
	return r.askUndo(ctx, t)
}

// askMissing: a thing that is not there is no failure when an earlier state makes it.
func (r *run) askMissing(_ context.Context, t *task, err error) error {
	var missing *Missing
	t.found.blocked = true
	change := t.work.change
	switch {
	case errors.As(err, &missing) && r.answers.provided[provision{missing.Kind, missing.Name}]:
		t.row.Result, t.row.Diff, t.row.Outputs = WouldChange, change.Diff, change.Outputs
		if change.Unknown {
			t.row.Result = Unknown
		}
		t.row.Note = joinNotes(t.row.Note, fmt.Sprintf("%s %s is made before it", missing.Kind, missing.Name))
	case missing != nil && r.anyChange(), r.ancestorChanges(t.index), t.inv.Retry.Attempts > 1:
		t.row.Result, t.row.Diff = Unknown, change.Diff
		t.row.Note = joinNotes(t.row.Note, err.Error()+"; an earlier state may change that")
	default:
		return err
	}
	t.found.surveyed = true
	return nil
}

func (r *run) anyChange() bool {
	return len(r.owned.removals) > 0 || slices.ContainsFunc(r.seen, func(o outcome) bool { return o.changed || o.unknown })
}

// ancestorChanges: something that runs before i because of an edge would change.
func (r *run) ancestorChanges(i int) bool {
	visited := map[int]bool{}
	stack := []int{i}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, edge := range r.graph.incoming[at] {
			if r.seen[edge.From].changed || r.seen[edge.From].unknown {
				return true
			}
			if !visited[edge.From] {
				visited[edge.From] = true
				stack = append(stack, edge.From)
			}
		}
	}
	// Earlier parts of the state itself.
	return r.seen[i].changed || r.seen[i].unknown
}

// askUndo finds out before anything is touched what could not be taken back.
func (r *run) askUndo(ctx context.Context, t *task) error {
	undo, err := t.module.Capture(ctx, r.host, t.params)
	if err != nil {
		t.found.blocked = true // told when it runs
		return nil
	}
	if !undo.Reversible {
		if t.row.Reversible = t.inv.Undo != ""; !t.row.Reversible {
			t.row.Note = joinNotes(t.row.Note, undo.Why)
		}
		return nil
	}
	if r.answers.acting {
		t.work.saved, err = r.save(ctx, t, undo)
	}
	return err
}
