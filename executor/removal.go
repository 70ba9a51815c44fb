package executor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"shoal/states"
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
	if r.part != nil {
		return // the run that settled the whole plan has removed what there was to remove
	}
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

// surveyRemoval says what a removal would do. It is a change like any other, written down first, so that it rolls back as well.
func (r *run) surveyRemoval(ctx context.Context, rm *removal) {
	if r.failure.err != nil && r.failure.policy != onContinue {
		return
	}
	rm.row = &StateReport{
		ID: rm.entry.ID, Part: "", Invocation: rm.entry.Number, Result: WouldChange, Reversible: true,
		Note: "removed from the tree: what was there before is put back",
	}
	err := r.lookAtRemoval(ctx, rm)
	rm.row.TookMS = milliseconds(r.lap())
	r.removalFailed(rm, err)
}

func (r *run) removalFailed(rm *removal, err error) {
	if err == nil {
		return
	}
	rm.row.Result, rm.row.Error = Failed, err.Error()
	if r.failure.err == nil {
		r.failure.err, r.failure.index = fmt.Errorf("remove %s: %w", rm.entry.ID, err), -1
	}
}

func (r *run) lookAtRemoval(ctx context.Context, rm *removal) error {
	var err error
	if rm.saved, err = rm.entry.saved(); err != nil {
		return err
	}
	rm.row.Part = rm.saved.Call.Function
	m, params, err := r.e.callOf(rm.saved.Call)
	if err != nil {
		return err
	}
	now, err := m.Capture(ctx, r.host, params)
	if err != nil {
		return err
	}
	rm.row.Reversible = now.Reversible
	if d, ok := m.(RevertDiffer); ok && rm.saved.Reversible {
		rm.row.Diff = d.RevertDiff(ctx, r.e.Host, params, r.e.undoOf(rm.saved, false))
	}
	if rm.entry.Secret && rm.row.Diff != "" {
		rm.row.Diff = hiddenDiff
	}
	if rm.row.Diff == "" {
		rm.row.Diff = "undo " + rm.entry.Key + "\n"
	}
	return nil
}

// remove takes back what states made that left the tree, before anything else. All that is there is written down before the
// first of them changes it: one may remove a folder that another is about.
func (r *run) remove(ctx context.Context) {
	var records []record
	r.report.lapped = r.e.Clock.Now()
	for _, rm := range r.owned.removals {
		in, err := r.captureRemoval(ctx, rm)
		if err != nil {
			r.removalFailed(rm, err)
			if r.failure.policy != onContinue {
				return
			}
			continue
		}
		r.tx.intents = append(r.tx.intents, in)
		records = append(records, record{Intent: &in})
	}
	err := r.captureFolders(ctx, &records)
	if err == nil {
		err = r.e.Vault.Sync()
	}
	if err == nil {
		err = r.journal(records...)
	}
	r.host.forget()
	for _, rm := range r.owned.removals {
		if rm.row.Result == Failed || r.failure.err != nil && r.failure.policy != onContinue {
			continue
		}
		if err == nil {
			r.removalFailed(rm, r.takeOut(ctx, rm))
		} else {
			r.removalFailed(rm, err)
		}
		rm.row.TookMS = milliseconds(r.lap())
	}
}

func (r *run) captureRemoval(ctx context.Context, rm *removal) (intent, error) {
	in := intent{Order: rm.order, ID: rm.entry.ID, Number: rm.entry.Number, Note: rm.row.Note}
	return in, r.captureCall(ctx, rm.saved.Call, &in.Saved)
}

func (r *run) captureCall(ctx context.Context, c call, back *saved) error {
	m, params, err := r.e.callOf(c)
	if err != nil {
		return err
	}
	now, err := m.Capture(ctx, r.host, params)
	if err != nil {
		return err
	}
	*back = saved{Call: c, Reversible: now.Reversible, Why: now.Why, Data: now.Data, Stages: now.Stages}
	return r.keep(back, now)
}

// captureFolders writes down folders that a removal may take along, since what it removes had made them on its way, and that
// another state looks after.
func (r *run) captureFolders(ctx context.Context, records *[]record) error {
	led := r.owned.led
	seen := map[string]bool{}
	for _, rm := range r.owned.removals {
		seen[rm.entry.Key] = true
	}
	for _, rm := range r.owned.removals {
		for _, dir := range rm.saved.Folders {
			i, ok := led.at(string(states.ResourcePath) + ":" + dir)
			if !ok || seen[led.Entries[i].Key] {
				continue
			}
			en := led.Entries[i]
			seen[en.Key] = true
			was, err := en.saved()
			if err != nil {
				return err
			}
			in := intent{Order: -2*len(led.Entries) + i, ID: en.ID, Number: en.Number, Note: "before a removal that may take it along"}
			if err := r.captureCall(ctx, was.Call, &in.Saved); err != nil {
				return err
			}
			r.tx.intents = append(r.tx.intents, in)
			*records = append(*records, record{Intent: &in})
		}
	}
	return nil
}

func (r *run) takeOut(ctx context.Context, rm *removal) error {
	if err := r.e.revert(ctx, rm.saved, false); err != nil {
		return err
	}
	module, _, _ := strings.Cut(rm.saved.Call.Function, ".")
	rm.row.Result = Changed
	r.tx.changed(module)
	r.tx.finished[rm.order] = true
	return nil
}

// settleLedger ends a run that changed nothing. The ledger is written only where a thing has another owner or policy now, or
// left the tree and is to be kept.
func (r *run) settleLedger() {
	r.report.Result = Converged
	pending := r.pending() // what was due has nothing to do any more
	if r.part != nil && len(pending) == 0 {
		return // all else is as the run that settled the whole plan left it
	}
	o := &r.owned
	next := o.led.clone()
	next.drop(o.forgets)
	for i := range next.Entries {
		if t := o.lasts[next.Entries[i].Key]; t != nil && t.secret {
			next.Entries[i].Secret = true
		}
	}
	next.keepSecrets(r.secrets)
	if len(o.forgets) == 0 && len(pending) == len(o.led.Pending) && len(next.Secrets) == len(o.led.Secrets) && !slices.ContainsFunc(o.led.Entries, o.passedOn) {
		return
	}
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
	return en.ID != id || en.Keep != keep || t.secret && !en.Secret
}
