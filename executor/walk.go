package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shoal/states"
)

// walk goes over the plan in its order. Without hands it only asks; plan and apply are this one path.
func (r *run) walk(ctx context.Context) {
	r.seen = make([]outcome, len(r.plan.Invocations))
	r.provided = map[provision]bool{}
	r.failure, r.failed = nil, -1
	r.lapped = r.e.Clock.Now()
	for _, rm := range r.removals {
		if r.failure == nil || r.policy == onContinue {
			r.remove(ctx, rm)
		}
	}
	for i := range r.plan.Invocations {
		r.invocation(ctx, i)
	}
}

// lap is the time since it was last asked: one part ends where the next begins, and a clock is not free.
func (r *run) lap() time.Duration {
	now := r.e.Clock.Now()
	took := now.Sub(r.lapped)
	r.lapped = now
	return took
}

const (
	onRollback = "rollback"
	onStop     = "stop"
	onContinue = "continue"
)

func (r *run) invocation(ctx context.Context, i int) {
	inv := &r.plan.Invocations[i]
	for _, t := range r.tasks[i] {
		t.row = nil
	}
	notifier, certain := r.notifier(i)
	if why, dependent := r.idle(i, notifier); why != "" {
		r.seen[i] = outcome{why: why, dependent: dependent}
		for _, t := range r.tasks[i] {
			if !t.reaction {
				r.skip(t, why)
			}
		}
		return
	}
	for n, t := range r.tasks[i] {
		if t.reaction && (notifier == "" || r.reacted(t)) {
			continue
		}
		if err := ctx.Err(); err != nil && r.hands {
			r.fail(i, context.Cause(ctx))
			r.skip(t, "not run: the run was stopped")
			continue
		}
		r.row(t, notifier, t.reaction || inv.Lazy)
		if !r.task(ctx, t, certain || !(t.reaction || inv.Lazy)) {
			for _, later := range r.tasks[i][n+1:] {
				if !later.reaction {
					r.skip(later, fmt.Sprintf("not run: %s before it failed", t.name))
				}
			}
			return
		}
	}
}

// notifier names a state that changed and that this one listens to, or the one whose change an earlier run could not
// answer. It is uncertain in a plan when that one's own change is unknown.
func (r *run) notifier(i int) (id string, certain bool) {
	inv := &r.plan.Invocations[i]
	for _, edge := range r.incoming[i] {
		if edge.Kind == states.EdgeNotify && r.seen[edge.From].changed {
			return r.plan.Invocations[edge.From].ID, true
		}
		if edge.Kind == states.EdgeFailure && r.seen[edge.From].failed {
			return r.plan.Invocations[edge.From].ID, true
		}
	}
	for _, p := range r.led.Pending {
		if p.ID == inv.ID && p.Number == inv.Number {
			return p.From, true
		}
	}
	for _, edge := range r.incoming[i] {
		if edge.Kind == states.EdgeNotify && r.seen[edge.From].unknown {
			return r.plan.Invocations[edge.From].ID, false
		}
	}
	return "", true
}

func (r *run) handlesFailure(i int) bool {
	for _, edge := range r.incoming[i] {
		if edge.Kind == states.EdgeFailure && r.seen[edge.From].failed {
			return true
		}
	}
	return false
}

// idle says why an invocation does not run.
func (r *run) idle(i int, notifier string) (why string, dependent bool) {
	inv := &r.plan.Invocations[i]
	if inv.Skip != "" {
		return inv.Skip, false
	}
	if r.failure != nil && r.hands && r.policy != onContinue {
		if r.policy == onRollback || !r.handlesFailure(i) {
			return "not run: " + r.failedName() + " failed before it", true
		}
	}
	for _, edge := range r.incoming[i] {
		from := r.seen[edge.From]
		if edge.Kind != states.EdgeRequire || !(from.failed || from.dependent) {
			continue
		}
		verb := "failed"
		if !from.failed {
			verb = "did not run"
		}
		return fmt.Sprintf("requires %s, which %s", r.plan.Invocations[edge.From].ID, verb), true
	}
	if inv.Lazy && notifier == "" {
		return "lazy: nothing notified it", false
	}
	return "", false
}

func (r *run) failedName() string {
	if r.failed < 0 {
		return "a removal"
	}
	return r.plan.Invocations[r.failed].ID
}

// reacted: the part was just started by its own change, so that it need not react as well.
func (r *run) reacted(t *task) bool {
	for _, own := range r.tasks[t.index] {
		if own.reaction || own.part != t.part || own.row == nil {
			continue
		}
		if started, _ := own.row.Outputs["started"].(bool); started && own.change.Needed {
			return true
		}
		// A part that acts whenever it runs has acted already.
		return own.change.Needed && own.change.Always
	}
	return false
}

func (r *run) row(t *task, notifier string, reacts bool) {
	t.row = &t.rowSpace
	*t.row = StateReport{
		ID: t.inv.ID, Part: t.name, Invocation: t.inv.Number, Result: Unchanged,
		Reversible: !t.function.Irreversible || t.inv.Undo != "",
	}
	if notifier != "" && reacts {
		t.row.Note = notifier + " changed"
		if r.handlesFailure(t.index) {
			t.row.Note = notifier + " failed"
		}
	}
}

func (r *run) skip(t *task, why string) {
	r.row(t, "", false)
	t.row.Result, t.row.Note = Skipped, why
}

// task does one part, and returns whether the ones after it may go on.
func (r *run) task(ctx context.Context, t *task, certain bool) bool {
	var err error
	took := time.Duration(0)
	if r.hands {
		err = r.act(ctx, t)
	} else {
		if err = r.ask(ctx, t, certain); t.early != nil {
			took = t.early.took
		}
	}
	t.row.TookMS = milliseconds(took + r.lap())
	if err != nil {
		t.row.Result, t.row.Error = Failed, err.Error()
		r.fail(t.index, err)
		return false
	}
	switch t.row.Result {
	case Changed, WouldChange:
		r.seen[t.index].changed = true
		if t.kind != "" {
			r.provided[provision{t.kind, t.made}] = true
		}
	case Unknown:
		r.seen[t.index].unknown = true
	}
	return true
}

func (r *run) fail(i int, err error) {
	r.seen[i].failed, r.seen[i].why = true, err.Error()
	if r.failure == nil {
		r.failure, r.failed = fmt.Errorf("%s: %w", r.plan.Invocations[i].ID, err), i
	}
}

// ask is the survey's part of a task: what would change, and how it would be taken back.
func (r *run) ask(ctx context.Context, t *task, certain bool) error {
	change, err := r.check(ctx, t)
	t.change = change
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
	default:
		return nil
	}
	t.surveyed = true
	return r.askUndo(ctx, t)
}

func joinNotes(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// askMissing: a thing that is not there is no failure when an earlier state makes it.
func (r *run) askMissing(ctx context.Context, t *task, err error) error {
	var missing *Missing
	t.blocked = true
	switch {
	case errors.As(err, &missing) && r.provided[provision{missing.Kind, missing.Name}]:
		t.row.Result, t.row.Diff, t.row.Outputs = WouldChange, t.change.Diff, t.change.Outputs
		if t.change.Unknown {
			t.row.Result = Unknown
		}
		t.row.Note = joinNotes(t.row.Note, fmt.Sprintf("%s %s is made before it", missing.Kind, missing.Name))
	case missing != nil && r.anyChange(), r.ancestorChanges(t.index), t.inv.Retry.Attempts > 1:
		t.row.Result, t.row.Diff = Unknown, t.change.Diff
		t.row.Note = joinNotes(t.row.Note, err.Error()+"; an earlier state may change that")
	default:
		return err
	}
	t.surveyed = true
	return nil
}

func (r *run) anyChange() bool {
	for _, o := range r.seen {
		if o.changed || o.unknown {
			return true
		}
	}
	return len(r.removals) > 0
}

// ancestorChanges: something that runs before i because of an edge would change.
func (r *run) ancestorChanges(i int) bool {
	visited := map[int]bool{}
	stack := []int{i}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, edge := range r.incoming[at] {
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
		t.blocked = true // told when it runs
		return nil
	}
	if !undo.Reversible {
		if t.row.Reversible = t.inv.Undo != ""; !t.row.Reversible {
			t.row.Note = joinNotes(t.row.Note, undo.Why)
		}
		return nil
	}
	if r.acting {
		t.saved, err = r.save(ctx, t, undo)
	}
	return err
}
