package executor

import (
	"context"
	"fmt"
	"slices"
)

// owned is the ledger beside the plan.
type owned struct {
	led      *ledger
	removals []*removal
	forgets  map[string]bool
	lasts    map[string]*task // by key: the last task that makes a thing
	// unsure are keys of states whose parameters wait for outputs: whether they make the thing yet is known later.
	unsure map[string]bool
}

// removal is a thing that the ledger has and the plan has not.
type removal struct {
	entry entry
	saved saved
	row   *StateReport
	order int
}

// rename notes that a task makes something else than what was thought.
func (o *owned) rename(old string, t *task) {
	if o.lasts[old] == t {
		delete(o.lasts, old)
	}
	if t.inv.Skip == "" && (o.lasts[t.key] == nil || o.lasts[t.key].order < t.order) {
		o.lasts[t.key] = t
	}
}

// findRemovals compares the ledger with the plan. What a skipped state has stays: skipped is not removed.
func (r *run) findRemovals() {
	o := &r.owned
	o.lasts = make(map[string]*task, len(r.tasks))
	skipped, kept, unsure := map[string]bool{}, map[string]bool{}, map[string]bool{} // states, what they make, states
	for i, tasks := range r.tasks {
		inv := r.inv(i)
		if inv.Skip != "" {
			skipped[inv.ID] = true
		}
		for _, t := range tasks {
			switch {
			case t.reaction:
			case inv.Skip != "":
				kept[t.key] = true
			default:
				o.lasts[t.key] = t
				unsure[inv.ID] = unsure[inv.ID] || t.written != nil
			}
		}
	}
	o.forgets, o.unsure = map[string]bool{}, map[string]bool{}
	for i := len(o.led.Entries) - 1; i >= 0; i-- {
		en := &o.led.Entries[i]
		switch {
		case o.lasts[en.Key] != nil || kept[en.Key] || skipped[en.ID]:
		case unsure[en.ID]:
			o.unsure[en.Key] = true
		case en.Keep:
			o.forgets[en.Key] = true
		default:
			o.add(*en)
		}
	}
}

func (o *owned) add(en entry) *removal {
	rm := &removal{entry: en, order: len(o.removals) - len(o.led.Entries)} // before all tasks
	o.removals = append(o.removals, rm)
	return rm
}

// movedAway returns the removals of what states made whose parameters now say something else. Where they are still not
// known, what they made stays.
func (r *run) movedAway() []*removal {
	o := &r.owned
	if len(o.unsure) == 0 {
		return nil
	}
	waits := map[string]bool{}
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			if t.found.open || t.written != nil && t.row == nil {
				waits[t.inv.ID] = true
			}
		}
	}
	var moved []*removal
	for i := len(o.led.Entries) - 1; i >= 0; i-- {
		en := &o.led.Entries[i]
		switch {
		case !o.unsure[en.Key] || o.lasts[en.Key] != nil || waits[en.ID]:
		case en.Keep:
			o.forgets[en.Key] = true
		default:
			moved = append(moved, o.add(*en))
		}
	}
	return moved
}

// remove takes back what a state made that left the tree: a change like any other, written down first, so that it rolls
// back as well.
func (r *run) remove(ctx context.Context, rm *removal) {
	rm.row = &StateReport{
		ID: rm.entry.ID, Part: "", Invocation: rm.entry.Number, Result: WouldChange, Reversible: true,
		Note: "removed from the tree: what was there before is put back",
	}
	err := r.takeOut(ctx, rm)
	rm.row.TookMS = milliseconds(r.lap())
	if err != nil {
		rm.row.Result, rm.row.Error = Failed, err.Error()
		if r.failure.err == nil {
			r.failure.err, r.failure.index = fmt.Errorf("remove %s: %w", rm.entry.ID, err), -1
		}
	}
}

func (r *run) takeOut(ctx context.Context, rm *removal) error {
	var err error
	if rm.saved, err = rm.entry.saved(); err != nil {
		return err
	}
	rm.row.Part = rm.saved.Call.Function
	m, err := r.e.module(rm.saved.Call.Function)
	if err != nil {
		return err
	}
	params, err := rm.saved.Call.params()
	if err != nil {
		return err
	}
	now, err := m.Capture(ctx, r.host, params)
	if err != nil {
		return err
	}
	rm.row.Reversible = now.Reversible
	if d, ok := m.(RevertDiffer); ok && rm.saved.Reversible {
		rm.row.Diff = d.RevertDiff(ctx, r.e.Host, params, r.e.undoOf(rm.saved))
	}
	if rm.row.Diff == "" {
		rm.row.Diff = "undo " + rm.entry.Key + "\n"
	}
	if !r.hands {
		return nil
	}
	back := saved{Call: rm.saved.Call, Reversible: now.Reversible, Why: now.Why, Data: now.Data, Stages: now.Stages}
	if err := r.keep(&back, now); err != nil {
		return err
	}
	if err := r.e.Vault.Sync(); err != nil {
		return err
	}
	in := intent{Order: rm.order, ID: rm.entry.ID, Number: rm.entry.Number, Saved: back, Note: rm.row.Note}
	r.tx.intents = append(r.tx.intents, in)
	if err := r.journal(record{Intent: &in}); err != nil {
		return err
	}
	r.host.forget()
	if err := r.e.revert(ctx, rm.saved); err != nil {
		return err
	}
	rm.row.Result = Changed
	r.tx.changed(m.Function().Module)
	r.tx.finished[rm.order] = true
	return nil
}

// settleLedger ends a run that changed nothing. The ledger is written only where a thing has another owner or policy now, or
// left the tree and is to be kept.
func (r *run) settleLedger() {
	r.report.Result = Converged
	pending := r.pending() // what was due has nothing to do any more
	o := &r.owned
	if len(o.forgets) == 0 && len(pending) == len(o.led.Pending) && !slices.ContainsFunc(o.led.Entries, o.passedOn) {
		return
	}
	next := o.led.clone()
	next.drop(o.forgets)
	next.Pending = pending
	for i := range next.Entries {
		if en := &next.Entries[i]; o.lasts[en.Key] != nil {
			en.ID, en.Number, en.Keep = o.lasts[en.Key].owner()
		}
	}
	if err := r.store(next); err != nil {
		r.report.Result, r.report.Error = RunFailed, err.Error()
	}
}

// passedOn: another state has the thing now, or another policy.
func (o *owned) passedOn(en entry) bool {
	t := o.lasts[en.Key]
	if t == nil {
		return false
	}
	id, _, keep := t.owner()
	return en.ID != id || en.Keep != keep
}
