package executor

import (
	"context"
	"errors"
	"fmt"

	"shoal/states"
)

const (
	onRollback = "rollback"
	onStop     = "stop"
	onContinue = "continue"
)

// verdict is what becomes of an invocation when its turn comes.
type verdict struct {
	skip      string // why it does not run
	dependent bool
	result    Result // of what is skipped
	// notifier is the state that it reacts to; certain: it does run, and not only perhaps.
	notifier string
	certain  bool
	why      string // what it says of the notifier
	note     string
	err      error // its parameters cannot be evaluated
	// refreshed are those of its parts that a start has made needless.
	refreshed map[*task]refreshed
}

// decide is asked when all that an invocation comes after is over.
func (r *run) decide(ctx context.Context, i int) verdict {
	inv := r.inv(i)
	r.beforeRescue(ctx, i)
	for _, t := range r.tasks[i] {
		t.row = nil
	}
	v := verdict{result: Skipped, certain: true}
	if inv.Skip == "" && (inv.Block != nil || inv.Sequence != nil) {
		return v // its members have been decided on
	}
	if v.notifier, v.certain = r.notifier(i); v.notifier != "" {
		v.why = v.notifier + " changed"
		if r.handlesFailure(i) {
			v.why = v.notifier + " failed"
		}
	}
	if v.skip, v.dependent = r.idle(i, v.notifier); v.skip != "" {
		return v
	}
	if inv.SupersededBy > i && !r.answers.needed[i] {
		v.skip, v.result = fmt.Sprintf("superseded by invocation %d: nothing between the two has anything to do", r.plan.Invocations[inv.SupersededBy].Number), Unchanged
		return v
	}
	if inv.When != nil {
		r.askWhens(inv.When, &v)
		if v.skip != "" || v.err != nil {
			return v
		}
	}
	for _, t := range r.tasks[i] {
		if err := r.settle(t); err != nil && (r.hands || !errors.Is(err, errOpen)) {
			v.err = err
			return v
		}
	}
	if inv.Undo != "" {
		r.settleUndo(inv)
	}
	v.refreshed = r.refreshedOf(i, v)
	return v
}

// settleUndo gives the state that undoes an invocation the parameters that it would have: it is written down before.
func (r *run) settleUndo(inv *states.StateInvocation) {
	i := r.find(inv.Undo, 0)
	if i < 0 {
		return
	}
	if r.tx != nil { // a worker may be writing it down
		r.tx.mu.Lock()
		defer r.tx.mu.Unlock()
	}
	for _, t := range r.tasks[i] {
		if t.written != nil {
			t.found.open = r.settle(t) != nil
		}
	}
}

// askWhens evaluates a when: after those of the blocks and sequences around it.
func (r *run) askWhens(when *states.Deferred, v *verdict) {
	if when.And != nil {
		r.askWhens(when.And, v)
	}
	if v.skip == "" && v.err == nil {
		r.ask4When(when, v)
	}
}

// ask4When evaluates a when: that reads outputs.
func (r *run) ask4When(when *states.Deferred, v *verdict) {
	value, err := r.evaluate(*when)
	switch yes, ok := value.(bool); {
	case errors.Is(err, errOpen) && !r.hands:
		v.certain, v.note = false, joinNotes(v.note, "when: "+when.Text+" is known after apply")
	case err != nil:
		v.err = fmt.Errorf("when: %w", err)
	case !ok:
		v.err = fmt.Errorf("%s: when: %s is no bool", when.Place, when.Text)
	case !yes:
		v.skip = "when: " + when.Text + " is false"
	}
}

// pass notes a verdict that keeps an invocation from running.
func (r *run) pass(ctx context.Context, i int, v verdict) {
	r.seen[i] = outcome{why: v.skip, dependent: v.dependent}
	if v.result == Unchanged {
		r.seen[i] = outcome{passed: v.notifier}
	}
	r.skipAll(i, v.result, v.skip)
	if v.result == Unchanged && r.values.wanted[invocation{r.inv(i).ID, r.inv(i).Number}] {
		r.lookForOutputs(ctx, i)
	}
	r.produce(i)
}

// lookForOutputs asks what is superseded for the outputs that others read.
func (r *run) lookForOutputs(ctx context.Context, i int) {
	for _, t := range r.tasks[i] {
		if t.reaction || r.settle(t) != nil {
			continue
		}
		if change, err := t.module.Check(ctx, r.host, r.contents, t.params); err == nil {
			t.row.Outputs = change.Outputs
		}
	}
}

// refuse fails an invocation whose parameters cannot be evaluated.
func (r *run) refuse(i int, err error) {
	r.skipAll(i, Failed, "")
	for _, t := range r.tasks[i] {
		if t.row != nil {
			t.row.Error = err.Error()
		}
	}
	r.seen[i] = outcome{}
	r.fail(i, err)
	r.produce(i)
}

// notifier names a state that changed and that this one listens to, or the one whose change an earlier run could not
// answer. It is uncertain in a plan when that one's own change is unknown.
func (r *run) notifier(i int) (id string, certain bool) {
	inv := r.inv(i)
	for _, edge := range r.graph.incoming[i] {
		if edge.Kind == states.EdgeNotify && r.seen[edge.From].changed {
			return r.inv(edge.From).ID, true
		}
		if edge.Kind == states.EdgeFailure && r.seen[edge.From].failed {
			return r.inv(edge.From).ID, true
		}
	}
	for _, k := range r.graph.supersedes[i] {
		if from := r.seen[k].passed; from != "" {
			return from, true
		}
	}
	for _, p := range r.owned.led.Pending {
		if p.ID == inv.ID && p.Number == inv.Number {
			return p.From, true
		}
	}
	for _, edge := range r.graph.incoming[i] {
		if edge.Kind == states.EdgeNotify && r.seen[edge.From].unknown {
			return r.inv(edge.From).ID, false
		}
	}
	return "", true
}

func (r *run) handlesFailure(i int) bool {
	for _, edge := range r.graph.incoming[i] {
		if edge.Kind == states.EdgeFailure && r.seen[edge.From].failed {
			return true
		}
	}
	return false
}

// idle says why an invocation does not run.
func (r *run) idle(i int, notifier string) (why string, dependent bool) {
	inv := r.inv(i)
	if inv.Skip != "" {
		return inv.Skip, false
	}
	why, dependent, always := r.excused(i)
	if why != "" {
		return why, dependent
	}
	if r.failure.err != nil && r.hands && r.failure.policy != onContinue {
		if r.failure.policy == onRollback || !always && !r.handlesFailure(i) {
			return "not run: " + r.failedName() + " failed before it", true
		}
	}
	for _, edge := range r.graph.incoming[i] {
		from := r.seen[edge.From]
		if edge.Kind != states.EdgeRequire || !(from.failed || from.dependent) || r.laterSection(edge.From, i) {
			continue
		}
		verb := "failed"
		if !from.failed {
			verb = "did not run"
		}
		return fmt.Sprintf("requires %s, which %s", r.inv(edge.From).ID, verb), true
	}
	if inv.Lazy && notifier == "" {
		return "lazy: nothing notified it", false
	}
	return "", false
}

// laterSection: both are of one block, and to is of its rescue or always part and from of a part before it. That it comes
// after does not mean that it needs it.
func (r *run) laterSection(from, to int) bool {
	for m, ok := r.graph.within[to]; ok; m, ok = r.graph.within[m.container] {
		if s, same := r.graph.sectionOf(m.container, from); same && r.graph.blocks[m.container] != nil {
			return s < m.section
		}
	}
	return false
}

// reacted: the part was just started by its own change, so that it need not react as well.
func (r *run) reacted(t *task) bool {
	for _, own := range r.tasks[t.index] {
		if own.reaction || own.part != t.part || own.row == nil {
			continue
		}
		if started, _ := own.row.Outputs[startedOutput].(bool); started && own.work.change.Needed {
			return true
		}
		// A part that acts whenever it runs has acted already.
		return own.work.change.Needed && own.work.change.Always
	}
	return false
}
