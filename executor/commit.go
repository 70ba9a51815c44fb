package executor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"shoal/internal/codec"
	"shoal/states"
)

// conclude ends a walk with hands: commit, or roll back.
func (r *run) conclude(ctx context.Context) {
	if r.failure.err == nil {
		r.failure.err = r.confirm(ctx)
	}
	if r.failure.err != nil && r.failure.policy == onRollback {
		r.rollback(ctx)
		r.failureHandlers(ctx)
		return
	}
	if err := r.commit(); err != nil {
		r.failure.err = err
		r.rollback(ctx)
		return
	}
	r.report.Result = Converged
	if r.failure.err != nil {
		r.report.Result, r.report.Error = RunFailed, r.failure.err.Error()
	}
}

// confirm makes the changes durable, looks at each once more, and asks whoever started the run.
func (r *run) confirm(ctx context.Context) error {
	if err := r.e.Host.SyncFiles(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	for i, tasks := range r.tasks {
		for _, t := range tasks {
			if err := r.verify(ctx, t); err != nil {
				t.row.Result, t.row.Error = Failed, err.Error()
				r.seen[i].failed, r.failure.index = true, i
				return fmt.Errorf("%s: %w", t.inv.ID, err)
			}
		}
	}
	if r.confirmed == nil {
		return nil
	}
	return r.confirmed(ctx)
}

func (r *run) verify(ctx context.Context, t *task) error {
	if !t.work.applied || t.row == nil || t.row.Result != Changed || t.work.change.Always || r.remade(t) {
		return nil
	}
	change, err := t.module.Check(ctx, r.host, r.contents, t.params)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if change.Needed {
		if t.secret {
			change.Diff = hiddenDiff
		}
		return fmt.Errorf("verify: it does not hold after it was applied:\n%s", change.Diff)
	}
	return nil
}

// remade: a later part of the plan makes the same thing once more, as a sequence does.
func (r *run) remade(t *task) bool {
	last, ok := r.owned.lasts[t.key]
	return ok && last != t || t.inv.SupersededBy > t.index
}

// commit writes the ledger, which is the moment at which the run holds, and clears the journal.
func (r *run) commit() error {
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			r.discard(t)
		}
	}
	if paths := r.tx.revertedStages(r.e); len(paths) > 0 {
		if err := r.e.Host.Unstage(paths); err != nil {
			return fmt.Errorf("temporary files: %w", err)
		}
	}
	if err := r.e.Host.SyncFiles(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	r.owned.led.at("") // its clone shares the index
	next := r.owned.led.clone()
	gone := map[string]bool{}
	for key := range r.owned.forgets {
		gone[key] = true
	}
	for _, rm := range r.owned.removals {
		if rm.row != nil && rm.row.Result == Changed {
			gone[rm.entry.Key] = true
		}
	}
	next.drop(gone)
	for _, t := range r.byTurn() {
		if err := t.own(next); err != nil {
			return err
		}
		if t.row != nil && t.work.saved != nil && (t.work.applied || t.row.Result == RolledBack) {
			next.passBy(t.work.saved.Folders)
		}
	}
	if err := r.rememberOutputs(next); err != nil {
		return err
	}
	next.keepSecrets(r.secrets)
	r.e.dropFolders(next)
	next.Pending = r.pending()
	if err := r.seal(next); err != nil {
		return err
	}
	// From here on the run holds. What fails now is done by the next one.
	r.e.prune(next, r.emptied)
	if err := r.e.Journal.Clear(); err == nil && (r.part == nil || r.vaulted.Load() || next == r.owned.led) {
		_ = r.e.collect(next)
	}
	return nil
}

// seal is the moment at which the run holds: the ledger says so where it says anything new, else the journal does: an agent that
// puts back one of ten thousand files has nothing to write of the others.
func (r *run) seal(next *ledger) error {
	if next.same(r.owned.led) && r.journal(record{Commit: &committed{}}) == nil {
		return nil
	}
	err := r.store(next)
	if err != nil && (r.stored(next.Sequence) || r.sealed()) {
		return nil
	}
	return err
}

// sealed looks whether the journal says that the run holds though its Append failed.
func (r *run) sealed() bool {
	frames, err := r.e.Journal.Records()
	if err != nil {
		return false
	}
	_, log, err := decodeJournal(frames)
	return err == nil && log.committed
}

// emptied: the run may have taken what was last in a folder. One about a part asks of no others.
func (r *run) emptied(dir string) bool {
	return r.part == nil || slices.ContainsFunc(slices.Concat(r.tasks...), func(t *task) bool {
		return t.work.applied && t.kind == states.ResourcePath && strings.HasPrefix(t.made, dir+"/")
	})
}

// byTurn lists all tasks in the order of a rollback, the other way round: what was there before one may be what another had
// just made, and removal goes backwards too.
func (r *run) byTurn() []*task {
	all := slices.Concat(r.tasks...)
	turn := func(t *task) int { return max(t.work.turn, r.tx.moved[t.order]) }
	slices.SortStableFunc(all, func(a, b *task) int { return turn(a) - turn(b) })
	return all
}

// dropFolders forgets folders that are gone. One that has a state of its own is kept in mind: what was there before that state
// may be what another had just made.
func (e *Engine) dropFolders(l *ledger) {
	var kept []string
	for _, dir := range l.Folders {
		if _, err := e.Host.Lstat(dir); err == nil {
			kept = append(kept, dir)
		}
	}
	slices.SortFunc(kept, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	l.Folders = kept
}

// prune removes folders that were made on the way to something that is gone. It comes after the commit and before the journal
// is cleared, so that a start after a crash does it as well.
func (e *Engine) prune(l *ledger, emptied func(dir string) bool) {
	for _, dir := range l.Folders {
		if _, owned := l.at(string(states.ResourcePath) + ":" + dir); owned || !emptied(dir) {
			continue
		}
		if names, err := e.Host.ReadDir(dir); err == nil && len(names) == 0 {
			_ = e.Host.Remove(dir) // one that is in use, as a mount is, stays
		}
	}
}

// stored looks whether a ledger whose Store failed is there all the same: the file may have moved before its folder could be
// synced.
func (r *run) stored(sequence uint64) bool {
	now, err := r.e.loadLedger()
	return err == nil && now.Sequence == sequence
}

// own notes what a task made, and who has it now.
func (t *task) own(next *ledger) error {
	if t.inv.Skip != "" || t.reaction {
		return nil
	}
	en := entry{Key: t.key, ID: t.inv.ID, Number: t.inv.Number, Keep: t.inv.OnRemove == "keep", Secret: t.secret}
	if i, ok := next.at(t.key); ok {
		if err := t.join(&next.Entries[i]); err != nil {
			return err
		}
		return next.own(en, saved{})
	}
	w := t.work
	if !w.applied || w.saved == nil || (w.change.Always || !w.saved.Reversible) && len(w.saved.Undo) == 0 {
		return nil
	}
	return next.own(en, *w.saved)
}

// rememberOutputs keeps what this run's states made and a later run could not find out, and forgets states that are gone.
func (r *run) rememberOutputs(next *ledger) error {
	there := make(map[invocation]bool, len(r.plan.Invocations))
	for i, tasks := range r.tasks {
		name := invocation{r.inv(i).ID, r.inv(i).Number}
		there[name] = true
		for _, t := range tasks {
			if !t.work.applied || t.row == nil || t.row.Result != Changed {
				continue
			}
			news := t.news(r.plan.Policy.CommandOutputs == "allow")
			if len(news) == 0 {
				continue
			}
			if err := next.remember(name, news, t.secretOf(news)); err != nil {
				return err
			}
		}
	}
	if r.part != nil {
		return nil
	}
	next.Outputs = slices.DeleteFunc(next.Outputs, func(m remembered) bool { return !there[invocation{m.ID, m.Number}] })
	return nil
}

// join adds to the undo of an earlier run what this one was the first to touch.
func (t *task) join(en *entry) error {
	j, ok := t.module.(Joiner)
	if !ok || !t.work.applied || t.work.saved == nil || !t.work.saved.Reversible {
		return nil
	}
	first, err := en.saved()
	if err != nil || !first.Reversible || first.Call.Function != t.name {
		return err
	}
	if first.Data, err = j.Join(first.Data, t.work.saved.Data); err != nil {
		return fmt.Errorf("ledger entry %s: %w", en.Key, err)
	}
	for _, hash := range t.work.saved.Blobs {
		if !slices.Contains(first.Blobs, hash) {
			first.Blobs = append(first.Blobs, hash)
		}
	}
	en.Saved, err = codec.Marshal(first)
	en.Blobs = first.blobs()
	return err
}

// pending lists the reactions that are due and did not succeed.
func (r *run) pending() []trigger {
	var due []trigger
	if r.part != nil {
		due = r.dueOutside()
	}
	for i := range r.plan.Invocations {
		inv := &r.plan.Invocations[i]
		from, _ := r.notifier(i)
		if from == "" || inv.Skip != "" || !r.reacts(i) {
			continue
		}
		if o := r.seen[i]; o.failed || o.why != "" {
			due = append(due, trigger{ID: inv.ID, Number: inv.Number, From: from})
		}
	}
	return due
}

// reacts: the invocation does something when notified that it would not do else.
func (r *run) reacts(i int) bool {
	return r.plan.Invocations[i].Lazy || slices.ContainsFunc(r.tasks[i], func(t *task) bool { return t.reaction })
}

func (r *run) store(next *ledger) error {
	next.Sequence = r.owned.led.Sequence + 1
	if err := r.e.storeLedger(next); err != nil {
		return err
	}
	r.owned.led = next
	return nil
}

// collect drops old contents that nothing names any more. The journal is empty when it is called.
func (e *Engine) collect(l *ledger) error {
	wanted := map[string]bool{}
	for _, en := range l.Entries {
		for _, hash := range en.Blobs {
			wanted[hash] = true
		}
	}
	return e.Vault.Collect(func(hash string) bool { return wanted[hash] })
}
