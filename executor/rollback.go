package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"shoal/states"
)

// undoOf is the undo that a saved one stands for, with its old contents to be had from the vault.
func (e *Engine) undoOf(s saved, rollback bool) Undo {
	return Undo{Rollback: rollback, Reversible: s.Reversible, Why: s.Why, Data: s.Data, Old: e.Vault.Get}
}

// revert takes one part back, of this run or (no rollback) of one long ago: by its module, or by the state that undo: named.
func (e *Engine) revert(ctx context.Context, s saved, rollback bool) error {
	if !s.Reversible {
		for _, c := range s.Undo {
			if err := e.perform(ctx, c); err != nil {
				return err
			}
		}
		return nil
	}
	m, params, err := e.callOf(s.Call)
	if err != nil {
		return err
	}
	return m.Revert(ctx, e.Host, params, e.undoOf(s, rollback))
}

// perform applies a part of an undo state.
func (e *Engine) perform(ctx context.Context, c call) error {
	m, params, err := e.callOf(c)
	if err != nil {
		return err
	}
	contents := vaultContents{e.Vault}
	change, err := m.Check(ctx, e.Host, contents, params)
	if err != nil || !change.Needed {
		return err
	}
	_, err = m.Apply(ctx, e.Host, contents, params)
	return err
}

// undone is how the rollback of one intent went.
type undone struct {
	intent intent
	left   string // empty: it is as it was before
	err    error  // why a revert failed, as opposed to one that cannot be
}

// unwind takes back all that the logbook holds, the last change first, whatever of it happened. crashed: the process that
// wrote it is gone, and no one knows whether the last command ended.
func (e *Engine) unwind(ctx context.Context, log logbook, stages []string, crashed bool) []undone {
	_ = e.sweep(log.intents, stages) // what it misses, the second one reports
	var out []undone
	for _, in := range log.backwards() {
		out = append(out, e.takeBack(ctx, in, log.finished[in.Order], crashed))
	}
	if err := e.sweep(log.intents, stages); err != nil {
		out = append(out, undone{left: fmt.Sprintf("temporary files: %v", err)})
	}
	return append(out, e.settle(ctx, log, crashed)...)
}

func (e *Engine) takeBack(ctx context.Context, in intent, happened, crashed bool) undone {
	u := undone{intent: in}
	name := in.ID + " (" + in.Saved.Call.Function + ")"
	switch {
	case in.Saved.Reversible:
		if u.err = e.revert(ctx, in.Saved, true); u.err != nil {
			u.left = fmt.Sprintf("%s: could not be undone: %v", name, u.err)
		}
	case !happened && !crashed:
		// It failed, and is taken to have changed nothing.
	case len(in.Saved.Undo) > 0:
		if u.err = e.revert(ctx, in.Saved, true); u.err != nil {
			u.left = fmt.Sprintf("%s: its undo state failed: %v", name, u.err)
		}
	case happened:
		u.left = fmt.Sprintf("%s: %s", name, in.Saved.Why)
	default:
		u.left = fmt.Sprintf("%s: may have run when the machine stopped: %s", name, in.Saved.Why)
	}
	return u
}

// sweep removes what was staged: before, so that a folder can be removed, and after, when the folders are those of before.
func (e *Engine) sweep(intents []intent, stages []string) error {
	for _, in := range intents {
		if in.Staged != "" {
			_ = e.Host.Remove(in.Staged) // gone when it was renamed
		}
		stages = append(stages, in.stages(e)...)
	}
	return e.Host.Unstage(stages)
}

func (in intent) path(e *Engine) (string, bool) {
	m, params, err := e.callOf(in.Saved.Call)
	if err != nil {
		return "", false
	}
	f := m.Function()
	kind, name, ok := resource(&f, params)
	return name, ok && kind == states.ResourcePath
}

// stages are the paths that its module may have staged something for.
func (in intent) stages(e *Engine) (paths []string) {
	if path, ok := in.path(e); ok {
		paths = append(paths, path)
	}
	return append(paths, in.Saved.Stages...)
}

func (e *Engine) callOf(c call) (Module, Params, error) {
	open := func() (Module, error) { return e.module(c.Function) }
	if c.Extension != "" {
		open = func() (Module, error) { return e.kept(c) }
	}
	m, err := open()
	if err != nil {
		return nil, nil, err
	}
	params, err := c.params()
	return m, params, err
}

// settle lets services see the files that were put back. After a crash those count too whose change had begun: the end of it
// may not have been written down any more.
func (e *Engine) settle(ctx context.Context, log logbook, crashed bool) []undone {
	var out []undone
	asked := map[int]bool{} // one part may have been written down twice
	for _, in := range slices.Backward(log.backwards()) {
		happened := log.finished[in.Order] || crashed && log.begun(in)
		if !happened || asked[in.Order] {
			continue
		}
		m, params, err := e.callOf(in.Saved.Call)
		if err != nil {
			continue
		}
		asked[in.Order] = true
		s, ok := m.(Settler)
		if !ok {
			continue
		}
		if err := s.Settle(ctx, e.Host, params); err != nil {
			out = append(out, undone{intent: in, err: err, left: fmt.Sprintf("%s (%s): after the rollback: %v", in.ID, in.Saved.Call.Function, err)})
		}
	}
	return out
}

// recover rolls back the run that the journal still holds open. The lock is held.
func (e *Engine) recover(ctx context.Context) (Report, bool, error) {
	began := e.Clock.Now()
	frames, err := e.Journal.Records()
	if err != nil {
		return Report{}, false, fmt.Errorf("read journal: %w", err)
	}
	if len(frames) == 0 {
		return Report{}, false, nil
	}
	first, log, err := decodeJournal(frames)
	if err != nil {
		return Report{}, false, err
	}
	led, err := e.loadLedger()
	if err != nil {
		return Report{}, false, err
	}
	if led.Sequence >= first.Sequence || log.committed { // it holds, and stopped before the journal was cleared
		e.prune(led, func(string) bool { return true })
		return Report{}, false, e.Journal.Clear()
	}
	if e.Outlived != nil {
		if err := e.Outlived(ctx); err != nil {
			return Report{}, false, fmt.Errorf("roll back the run that was cut short: %w", err)
		}
	}
	all := e.unwind(context.WithoutCancel(ctx), log, first.Stages, true)
	report := Report{Env: first.Env, Version: first.Version, Revision: first.Revision, Result: RolledBackRun, Error: "the run was cut short"}
	for _, u := range all {
		if u.left != "" {
			report.Left, report.Result = append(report.Left, u.left), RollbackIncomplete
		}
		if u.intent.ID == "" {
			continue
		}
		row := StateReport{
			ID: u.intent.ID, Part: u.intent.Saved.Call.Function, Invocation: u.intent.Number, Result: RolledBack,
			Reversible: u.left == "", Outputs: map[string]any{}, Note: u.intent.Note,
		}
		if u.left != "" {
			row.Result, row.Error = Failed, u.left
		}
		report.States = append(report.States, row)
	}
	texts := append(slices.Clone(first.Secrets), led.Secrets...)
	for _, in := range log.intents {
		texts = append(texts, in.Secrets...)
	}
	maskReport(&report, texts)
	err = e.closeRollback(led, all)
	report.TookMS = milliseconds(e.Clock.Now().Sub(began))
	return report, true, err
}

// closeRollback makes the rollback durable and only then forgets the journal. What could not be undone though it should
// have been goes to the ledger, so that it is known as shoal's when its state leaves the tree.
func (e *Engine) closeRollback(led *ledger, all []undone) error {
	if err := e.Host.SyncFiles(); err != nil {
		return err
	}
	next := led.clone()
	for _, u := range slices.Backward(all) {
		if u.err == nil || !u.intent.Saved.Reversible {
			continue
		}
		key := u.intent.ID
		if path, ok := u.intent.path(e); ok {
			key = string(states.ResourcePath) + ":" + path
		}
		if err := next.own(entry{Key: key, ID: u.intent.ID, Number: u.intent.Number}, u.intent.Saved); err != nil {
			return err
		}
	}
	if len(next.Entries) != len(led.Entries) {
		if err := e.storeLedger(next); err != nil {
			return err
		}
	}
	return errors.Join(e.Journal.Clear(), e.collect(next))
}

// rollback undoes everything that this run changed.
func (r *run) rollback(ctx context.Context) {
	r.report.Result, r.report.Error = RolledBackRun, r.failure.err.Error()
	all := r.e.unwind(context.WithoutCancel(ctx), r.tx.logbook, r.tx.stages, false)
	left := map[int]string{}
	for _, u := range all {
		if u.left != "" {
			if u.intent.ID != "" {
				left[u.intent.Order] = u.left
			}
			r.report.Left = append(r.report.Left, u.left)
			r.report.Result = RollbackIncomplete
		}
	}
	for _, rm := range r.owned.removals {
		rolledBack(rm.row, left[rm.order])
	}
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			rolledBack(t.row, left[t.order])
		}
	}
	if err := r.e.closeRollback(r.owned.led, all); err != nil {
		r.report.Result = RollbackIncomplete
		r.report.Left = append(r.report.Left, "closing the rollback: "+err.Error())
	}
}

func rolledBack(row *StateReport, left string) {
	switch {
	case row == nil:
	case left != "" && row.Result == Changed:
		row.Error = left
	case left != "":
		row.Error = joinNotes(row.Error, left)
	case row.Result == Changed:
		row.Result = RolledBack
	case row.Result == WouldChange || row.Result == Unknown:
		row.Result = Skipped
	}
}
