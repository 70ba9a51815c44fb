package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"shoal/internal/codec"
	"shoal/states"
)

// transaction is what a run has written down and done so far.
type transaction struct {
	intents  []intent
	finished map[int]bool   // by order: what has to be told apart from "about to"
	changes  map[string]int // by module: how many steps changed something
	total    int            // of changes
	stages   []string       // paths that something was staged for
}

// apply does what the survey found, in one transaction.
func (r *run) apply(ctx context.Context) {
	if r.failure != nil && (r.tasks == nil || r.policy == onRollback) {
		r.report.Result, r.report.Error = RolledBackRun, r.failure.Error()
		if r.tasks == nil {
			r.report.Result = RunFailed
			return
		}
		r.unstarted()
		r.failureHandlers(ctx)
		return
	}
	if !r.differs() {
		r.settleLedger()
		return
	}
	if err := r.prefetch(ctx); err != nil {
		r.report.Result, r.report.Error = RolledBackRun, err.Error()
		r.unstarted()
		return
	}
	if err := r.begin(ctx); err != nil {
		r.failure = err
		r.rollback(ctx)
		return
	}
	r.hands = true
	r.walk(ctx)
	r.conclude(ctx)
}

// differs says whether the survey found anything to do.
func (r *run) differs() bool {
	if len(r.removals) > 0 || r.failure != nil {
		return true
	}
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			if t.surveyed {
				return true
			}
		}
	}
	return false
}

// settleLedger ends a run that changed nothing. The ledger is written only where a thing has another owner or policy now, or
// left the tree and is to be kept.
func (r *run) settleLedger() {
	r.report.Result = Converged
	pending := r.pending() // what was due has nothing to do any more
	if len(r.forgets) == 0 && len(pending) == len(r.led.Pending) && !slices.ContainsFunc(r.led.Entries, r.passedOn) {
		return
	}
	next := r.led.clone()
	next.drop(r.forgets)
	next.Pending = pending
	for i := range next.Entries {
		if en := &next.Entries[i]; r.lasts[en.Key] != nil {
			en.ID, en.Number, en.Keep = r.lasts[en.Key].owner()
		}
	}
	if err := r.store(next); err != nil {
		r.report.Result, r.report.Error = RunFailed, err.Error()
	}
}

// passedOn: another state has the thing now, or another policy.
func (r *run) passedOn(en entry) bool {
	t := r.lasts[en.Key]
	if t == nil {
		return false
	}
	id, _, keep := t.owner()
	return en.ID != id || en.Keep != keep
}

func (t *task) owner() (id string, number int, keep bool) {
	return t.inv.ID, t.inv.Number, t.inv.OnRemove == "keep"
}

func (r *run) find(id string, number int) int {
	for i := range r.plan.Invocations {
		if inv := &r.plan.Invocations[i]; inv.ID == id && (number == 0 || inv.Number == number) {
			return i
		}
	}
	return -1
}

// prefetch opens every source of the tree before the first change, so that nothing fails half-way for the network.
func (r *run) prefetch(ctx context.Context) error {
	for i := range r.plan.Invocations {
		inv := &r.plan.Invocations[i]
		for _, part := range inv.Parts {
			for _, c := range contentsOf(part.Params) {
				if inv.Skip != "" || c.Source == "" {
					continue
				}
				if _, err := r.contents.Bytes(ctx, c); err != nil {
					return fmt.Errorf("%s: fetch %s: %w", inv.ID, c.From, err)
				}
			}
		}
	}
	return nil
}

// begin opens the journal, stages all contents, makes them and the old contents durable with one sync, and writes down
// every change that the survey could capture. Only then may the walk rename anything.
func (r *run) begin(ctx context.Context) error {
	r.tx = &transaction{finished: map[int]bool{}, changes: map[string]int{}}
	batch := r.batch()
	for _, t := range batch {
		if t.kind == states.ResourcePath {
			r.tx.stages = append(r.tx.stages, t.made)
		}
	}
	err := r.journal(record{Begin: &begin{
		Sequence: r.led.Sequence + 1, Env: r.meta.Env, Version: r.meta.Version, Revision: r.meta.Revision, Stages: r.tx.stages,
	}})
	if err != nil {
		return err
	}
	staged := false
	for _, t := range batch {
		if p, ok := t.module.(Preparer); ok {
			// What cannot be staged now, because its folder is still something else, is staged when its turn comes.
			if name, err := p.Prepare(ctx, r.host, r.contents, t.params); err == nil && name != "" {
				t.staged, staged = name, true
			}
		}
	}
	if err := r.e.Vault.Sync(); err != nil {
		return err
	}
	if staged {
		if err := r.e.Host.SyncFiles(); err != nil {
			return err
		}
	}
	records := make([]record, 0, len(batch))
	for _, t := range batch {
		records = append(records, record{Intent: r.intend(t)})
	}
	return r.journal(records...)
}

// batch lists the tasks whose undo the survey has.
func (r *run) batch() []*task {
	var all []*task
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			if t.surveyed && !t.blocked && t.saved != nil {
				all = append(all, t)
			}
		}
	}
	return all
}

func (r *run) intend(t *task) *intent {
	in := intent{Order: t.order, ID: t.inv.ID, Number: t.inv.Number, Saved: *t.saved, Staged: t.staged}
	r.tx.intents = append(r.tx.intents, in)
	return &in
}

func (r *run) journal(records ...record) error {
	if len(records) == 0 {
		return nil
	}
	frames := make([][]byte, len(records))
	for i, rec := range records {
		data, err := codec.Marshal(rec)
		if err != nil {
			return err
		}
		frames[i] = data
	}
	if err := r.e.Journal.Append(frames...); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// save gives what Capture saw to the vault, and returns what the journal will hold.
func (r *run) save(ctx context.Context, t *task, u Undo) (*saved, error) {
	c, err := newCall(t.name, t.params)
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
	for _, part := range r.plan.Invocations[i].Parts {
		c, err := newCall(part.FullName(), part.Params)
		if err != nil {
			return nil, err
		}
		for _, content := range contentsOf(part.Params) {
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

// act does one part, as often as its retry says.
func (r *run) act(ctx context.Context, t *task) error {
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
	change, err := t.module.Check(ctx, r.host, r.contents, t.params)
	t.change = change
	if err != nil {
		return err
	}
	t.row.Diff, t.row.Outputs = change.Diff, change.Outputs
	if !change.Needed {
		return nil
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
	t.applied = true
	t.row.Result, t.row.Outputs = Changed, outputs
	r.tx.total++
	r.tx.changes[t.function.Module]++
	return r.finished(t)
}

// writeDown has the undo of a task on disk before its change. What the survey captured stands, unless a module of another
// kind changed something since: a command may have rewritten the very file.
func (r *run) writeDown(ctx context.Context, t *task) error {
	foreign := r.tx.total - r.tx.changes[t.function.Module]
	if t.saved != nil && t.foreign == foreign {
		return nil
	}
	undo, err := t.module.Capture(ctx, r.host, t.params)
	if err != nil {
		return err
	}
	s, err := r.save(ctx, t, undo)
	if err != nil {
		return err
	}
	t.foreign = foreign
	if t.saved != nil && string(t.saved.Data) == string(s.Data) && t.saved.Reversible == s.Reversible {
		return nil
	}
	t.saved = s
	t.row.Reversible = s.Reversible || len(s.Undo) > 0
	if !t.row.Reversible {
		t.row.Note = joinNotes(t.row.Note, s.Why)
	}
	if len(s.blobs()) > 0 {
		if err := r.e.Vault.Sync(); err != nil {
			return err
		}
	}
	return r.journal(record{Intent: r.intend(t)})
}

func (r *run) change(ctx context.Context, t *task) (map[string]any, error) {
	if t.staged != "" {
		staged := t.staged
		t.staged = ""
		return t.module.(Preparer).ApplyStaged(ctx, r.host, r.contents, t.params, staged)
	}
	return t.module.Apply(ctx, r.host, r.contents, t.params)
}

// finished notes what a rollback after a crash has to know: whether a thing that cannot be undone did happen.
func (r *run) finished(t *task) error {
	r.tx.finished[t.order] = true
	_, settles := t.module.(Settler)
	if t.saved.Reversible && !settles {
		return nil
	}
	data, err := codec.Marshal(record{Done: &done{Order: t.order}})
	if err != nil {
		return err
	}
	return r.e.Journal.Note(data)
}

// takeBack undoes what a failed part did before it failed. A command that failed is taken to have changed nothing. In a run
// that rolls back, the rollback does it.
func (r *run) takeBack(ctx context.Context, t *task) error {
	if t.saved == nil || r.policy == onRollback {
		return nil
	}
	if !t.saved.Reversible {
		return nil
	}
	if err := r.e.revert(context.WithoutCancel(ctx), *t.saved); err != nil {
		return fmt.Errorf("and undoing it: %w", err)
	}
	return nil
}
