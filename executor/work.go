package executor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"shoal/states"
)

// work is an invocation's turn with the hands, on a worker: it touches its own tasks, and the transaction under its lock. It
// returns whether something changed, and why it failed.
func (r *run) work(ctx context.Context, i int, v verdict) (changed bool, err error) {
	began := r.e.Clock.Now()
	for n, t := range r.tasks[i] {
		if t.reaction && (v.notifier == "" || r.reacted(t)) {
			continue
		}
		if done, ok := v.refreshed[t]; ok {
			r.skip(t, done.note)
			continue
		}
		if ctx.Err() != nil {
			for _, later := range r.tasks[i][n:] {
				r.skip(later, "not run: the run was stopped")
			}
			return changed, context.Cause(ctx)
		}
		r.row(t, reason(v, t))
		err := r.perform(ctx, t)
		began = r.clock(t, began)
		if err != nil {
			t.row.Result, t.row.Error = Failed, err.Error()
			for _, later := range r.tasks[i][n+1:] {
				if !later.reaction {
					r.skip(later, fmt.Sprintf("not run: %s before it failed", t.name))
				}
			}
			return changed, err
		}
		changed = changed || t.row.Result == Changed
	}
	return changed, nil
}

// clock notes how long a task took, and returns when it ended.
func (r *run) clock(t *task, began time.Time) time.Time {
	now := r.e.Clock.Now()
	t.row.TookMS = milliseconds(now.Sub(began))
	return now
}

// perform does one part, as often as its retry says.
func (r *run) perform(ctx context.Context, t *task) error {
	attempts := max(t.inv.Retry.Attempts, 1)
	for n := 1; ; n++ {
		err := r.attempt(ctx, t)
		if err == nil || n >= attempts || ctx.Err() != nil {
			if err != nil {
				return errors.Join(err, r.takeBack(ctx, t))
			}
			if n > 1 {
				t.row.Note = joinNotes(t.row.Note, fmt.Sprintf("at attempt %d", n))
			}
			return nil
		}
		if err := r.e.Clock.Sleep(ctx, t.inv.Retry.Delay); err != nil {
			return err
		}
	}
}

func (r *run) attempt(ctx context.Context, t *task) error {
	if t.inv.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = r.e.Clock.Timeout(ctx, t.inv.Timeout)
		defer cancel()
	}
	if err := r.recheck(ctx, t); err != nil || !t.work.change.Needed {
		return err
	}
	if err := r.writeDown(ctx, t); err != nil {
		return err
	}
	if _, file := t.module.(Preparer); !file {
		defer r.host.forget()
	}
	outputs, err := r.change(ctx, t)
	if err != nil {
		return err
	}
	if err := r.finished(t, outputs); err != nil {
		return err
	}
	return r.stands(ctx, t)
}

func (r *run) recheck(ctx context.Context, t *task) error {
	change, err := t.module.Check(ctx, r.host, r.contents, t.params)
	t.work.change = change
	if err == nil {
		t.row.Diff, t.row.Outputs = change.Diff, change.Outputs
	}
	return err
}

// writeDown has the undo of a task on disk before its change. What the survey captured stands, unless a module of another
// kind changed something since: a command may have rewritten the very file.
func (r *run) writeDown(ctx context.Context, t *task) error {
	foreign := r.tx.foreign(t.function.Module)
	if t.work.saved != nil && t.work.foreign == foreign {
		return r.comeToTurn(t)
	}
	undo, err := t.module.Capture(ctx, r.host, t.params)
	if err != nil {
		return err
	}
	r.tx.mu.Lock()
	defer r.tx.mu.Unlock()
	s, err := r.save(ctx, t, undo)
	if err != nil {
		return err
	}
	t.work.foreign = foreign
	if old := t.work.saved; old != nil && string(old.Data) == string(s.Data) && old.Reversible == s.Reversible {
		return r.moved(t)
	}
	t.work.saved = s
	t.row.Reversible = s.Reversible || len(s.Undo) > 0
	if !t.row.Reversible {
		t.row.Note = joinNotes(t.row.Note, s.Why)
	}
	if len(s.blobs()) > 0 {
		if err := r.e.Vault.Sync(); err != nil {
			return err
		}
	}
	r.tx.late++
	t.work.turn = r.tx.late
	return r.journal(record{Intent: r.intend(t, t.work.turn)})
}

func (r *run) comeToTurn(t *task) error {
	r.tx.mu.Lock()
	defer r.tx.mu.Unlock()
	return r.moved(t)
}

// moved notes that an intent of the first batch comes to its turn after others were written down: a rollback takes it back
// before them. Losing the note with the power costs no more than that order. Of a Settler it is told in any case: a start
// after a crash has to know that a service may have been told of the new files.
func (r *run) moved(t *task) error {
	if _, settles := t.module.(Settler); r.tx.late == 0 && !settles {
		return nil
	}
	r.tx.late++
	r.tx.logbook.moved[t.order] = r.tx.late
	return r.note(record{Moved: &moved{Order: t.order, Turn: r.tx.late}})
}

func (r *run) change(ctx context.Context, t *task) (map[string]any, error) {
	t.work.began = r.tick.Add(1)
	if staged := t.work.staged; staged != "" {
		t.work.staged = ""
		return t.module.(Preparer).ApplyStaged(ctx, r.host, r.contents, t.params, staged)
	}
	return t.module.Apply(ctx, r.host, r.contents, t.params)
}

// finished notes a change, and what a rollback after a crash has to know: whether a thing that cannot be undone did happen.
func (r *run) finished(t *task, outputs map[string]any) error {
	t.work.applied, t.work.ended = true, r.tick.Add(1)
	t.row.Result, t.row.Outputs = Changed, outputs
	r.tx.mu.Lock()
	defer r.tx.mu.Unlock()
	r.tx.changed(t.function.Module)
	r.tx.logbook.finished[t.order] = true
	_, settles := t.module.(Settler)
	if t.work.saved.Reversible && !settles {
		return nil
	}
	return r.note(record{Done: &done{Order: t.order}})
}

// takeBack undoes what a failed part did before it failed. A command that failed is taken to have changed nothing. In a run
// that rolls back, the rollback does it.
func (r *run) takeBack(ctx context.Context, t *task) error {
	if t.work.saved == nil || r.failure.policy == onRollback || !t.work.saved.Reversible {
		return nil
	}
	if err := r.e.revert(context.WithoutCancel(ctx), *t.work.saved, true); err != nil {
		return fmt.Errorf("and undoing it: %w", err)
	}
	return nil
}

// save gives what Capture saw to the vault, and returns what the journal will hold.
func (r *run) save(ctx context.Context, t *task, u Undo) (*saved, error) {
	c, err := r.callOf(t)
	if err != nil {
		return nil, err
	}
	s := &saved{Call: c, Reversible: u.Reversible, Why: u.Why, Data: u.Data, Folders: u.Folders, Stages: u.Stages}
	if err := r.keep(s, u); err != nil {
		return nil, err
	}
	if !u.Reversible && t.inv.Undo != "" {
		if s.Undo, err = r.undoCalls(ctx, t.inv); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (r *run) keep(s *saved, u Undo) error {
	for hash, data := range u.Contents {
		s.Blobs = append(s.Blobs, hash)
		r.vaulted.Store(true)
		if err := r.e.Vault.Put(hash, data); err != nil {
			return fmt.Errorf("keep old contents: %w", err)
		}
	}
	return nil
}

// undoCalls writes down the parts of the state that undo: names, and keeps their contents: a rollback after a crash has no
// plan at hand.
func (r *run) undoCalls(ctx context.Context, inv *states.StateInvocation) ([]call, error) {
	i := r.find(inv.Undo, 0)
	if i < 0 {
		return nil, fmt.Errorf("undo state %s is not in the plan", inv.Undo)
	}
	var calls []call
	for _, t := range r.tasks[i] {
		if t.reaction {
			continue
		}
		if t.written != nil && t.found.open {
			return nil, fmt.Errorf("undo state %s reads outputs that are not known before what it is to undo", inv.Undo)
		}
		c, err := r.callOf(t)
		if err != nil {
			return nil, fmt.Errorf("undo state %s: %w", inv.Undo, err)
		}
		for _, content := range contentsOf(map[string]any(t.params)) {
			data, err := r.contents.Bytes(ctx, content)
			if err != nil {
				return nil, err
			}
			if err := r.e.Vault.Put(content.Hash, data); err != nil {
				return nil, err
			}
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// discard removes what was staged and turned out not to be needed.
func (r *run) discard(t *task) {
	if t.work.staged != "" {
		_ = r.e.Host.Remove(t.work.staged)
		t.work.staged = ""
	}
}

// news are the outputs of a task that no look at the machine told.
func (t *task) news(allowed bool) map[string]any {
	out := maps.Clone(t.row.Outputs)
	maps.DeleteFunc(out, func(name string, _ any) bool {
		_, told := t.work.change.Outputs[name]
		return told || name == commandOutput && !allowed
	})
	return out
}

// commandOutput is kept only where the policy lets it be used.
const commandOutput = "stdout"
