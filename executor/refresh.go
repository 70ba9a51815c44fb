package executor

import (
	"fmt"
	"slices"

	"shoal/states"
)

// startedOutput is the output by which a part says that it made a thing run that did not run before, or run anew.
const startedOutput = "started"

// refreshed says that a thing has taken up already what a task was to make it take up.
type refreshed struct {
	note string
	sure bool // the order lets nothing else happen
}

// refreshedOf finds, for those parts of an invocation that are to make a running thing take up what changed, whether this run has
// started that thing after all that notified the invocation had changed. To be told once more, just as it begins, may harm it:
// a SIGHUP that comes before its handler kills.
func (r *run) refreshedOf(i int, v verdict) map[*task]refreshed {
	if v.notifier == "" || r.handlesFailure(i) {
		return nil
	}
	var out map[*task]refreshed
	for _, t := range r.tasks[i] {
		if _, ok := t.module.(Refresher); !ok || t.kind == "" {
			continue
		}
		if done, ok := r.refreshedBy(i, t); ok {
			if out == nil {
				out = map[*task]refreshed{}
			}
			out[t] = done
		}
	}
	return out
}

// refreshedBy finds the start. The invocations that look after one thing take turns, so that none of its parts is at work now.
func (r *run) refreshedBy(i int, t *task) (refreshed, bool) {
	notifiers, ok := r.notifiers(i)
	if !ok {
		return refreshed{}, false
	}
	var perhaps refreshed
	for j, tasks := range r.tasks {
		for _, s := range tasks {
			if j == i || s.kind != t.kind || thingName(s) != thingName(t) || !s.starts() {
				continue
			}
			note := fmt.Sprintf("%s %s: %s started it after all that notified this had changed", t.kind, t.made, s.inv.ID)
			switch {
			case r.hands:
				if s.work.applied && !slices.ContainsFunc(notifiers, func(f int) bool { return r.seen[f].ended >= s.work.began }) {
					return refreshed{"not needed: " + note, true}, true
				}
			case s.row.Result == WouldChange && r.comesAfter(s, notifiers) && r.isBefore(j, i):
				return refreshed{"not needed: " + note, true}, true
			default:
				perhaps = refreshed{note: "not needed if " + note}
			}
		}
	}
	return perhaps, perhaps.note != ""
}

// thingName is what a task makes, by the name that the machine has for it.
func thingName(t *task) string {
	if t.kind == states.ResourceService {
		return UnitName(t.made)
	}
	return t.made
}

// starts: it made the thing run, or would.
func (t *task) starts() bool {
	if t.row == nil {
		return false
	}
	switch t.row.Result {
	case Changed, WouldChange, Unknown:
		started, _ := t.row.Outputs[startedOutput].(bool)
		return started
	}
	return false
}

// notifiers lists those that i listens to and that changed or may change; not ok: it is also told of what happened in another
// invocation's place.
func (r *run) notifiers(i int) (from []int, ok bool) {
	for _, k := range r.graph.supersedes[i] {
		if r.seen[k].passed != "" {
			return nil, false
		}
	}
	for _, edge := range r.graph.incoming[i] {
		if edge.Kind == states.EdgeNotify && (r.seen[edge.From].changed || r.seen[edge.From].unknown) {
			from = append(from, edge.From)
		}
	}
	return from, true
}

// comesAfter: in any order that the mode allows, the part is done when all of these have changed.
func (r *run) comesAfter(s *task, notifiers []int) bool {
	return !slices.ContainsFunc(notifiers, func(f int) bool {
		if f != s.index {
			return !r.isBefore(f, s.index)
		}
		return slices.ContainsFunc(r.tasks[f], func(o *task) bool {
			return o.order > s.order && o.row != nil && (o.row.Result == WouldChange || o.row.Result == Unknown)
		})
	})
}

// isBefore: whatever the timing, one invocation is over when the other begins.
func (r *run) isBefore(first, then int) bool {
	switch r.plan.Policy.Order {
	case states.Ansible:
		return first < then
	case states.Genius:
		if r.inv(then).Lazy && !r.inv(first).Lazy && !slices.ContainsFunc(r.tasks[first], func(t *task) bool { return t.found.irreversible }) {
			return true // reloads come last
		}
	}
	seen, todo := map[int]bool{}, []int{then}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at == first {
			return true
		}
		r.graph.before(at, func(from int) {
			if from >= first && !seen[from] {
				seen[from] = true
				todo = append(todo, from)
			}
		})
	}
	return false
}
