package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"shoal/internal/codec"
	"shoal/states"
)

// transaction is what a run has written down and done so far. Workers share it: one at a time writes.
type transaction struct {
	taken map[string]int64 // folders that the rollback of a block took away, and at which tick
	mu    sync.Mutex
	logbook
	changes map[string]int // by module: how many steps changed something
	total   int            // of changes
	stages  []string       // paths that something was staged for
	late    int            // how often something was written down, or came to its turn, after the first batch
}

// logbook is what the journal says of a run.
type logbook struct {
	intents  []intent
	finished map[int]bool // by order: what has to be told apart from "about to"
	moved    map[int]int  // by order: the turn that an intent of the first batch came to, where others were written before it
	reverted map[int]bool // by order: taken back within the run
	// committed: the run holds, and left the ledger as it was.
	committed bool
}

func newLogbook() logbook {
	return logbook{finished: map[int]bool{}, moved: map[int]int{}, reverted: map[int]bool{}}
}

func newTransaction() *transaction {
	return &transaction{logbook: newLogbook(), changes: map[string]int{}}
}

// backwards lists what is to be taken back, the last change first.
func (l *logbook) backwards() []intent {
	turn := func(in intent) int { return max(in.Turn, l.moved[in.Order]) }
	ordered := slices.DeleteFunc(slices.Clone(l.intents), func(in intent) bool { return l.reverted[in.Order] })
	slices.SortStableFunc(ordered, func(a, b intent) int {
		if turn(a) != turn(b) {
			return turn(a) - turn(b)
		}
		return a.Order - b.Order
	})
	slices.Reverse(ordered)
	return ordered
}

// begun: the intent came to its turn, as far as the journal tells.
func (l *logbook) begun(in intent) bool { return in.Turn > 0 || l.moved[in.Order] > 0 }

func (tx *transaction) changed(module string) {
	tx.total++
	tx.changes[module]++
}

// foreign counts the changes of other modules.
func (tx *transaction) foreign(module string) int {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.total - tx.changes[module]
}

func (tx *transaction) isFinished(order int) bool {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.finished[order]
}

// apply does what the survey found, in one transaction.
func (r *run) apply(ctx context.Context) {
	if r.failure.err != nil && (r.tasks == nil || r.failure.policy == onRollback) {
		r.report.Result, r.report.Error = RolledBackRun, r.failure.err.Error()
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
	r.graph.begin()
	if r.meta.Contact != nil {
		r.confirmed = r.meta.Contact(ctx)
	}
	if err := r.begin(ctx); err != nil {
		r.failure.err = err
		r.rollback(ctx)
		return
	}
	r.act(ctx)
	r.conclude(ctx)
}

// differs says whether the survey found anything to do.
func (r *run) differs() bool {
	if len(r.owned.removals) > 0 || r.failure.err != nil {
		return true
	}
	for _, b := range r.graph.blocks {
		if b.by >= 0 {
			return true
		}
	}
	return slices.ContainsFunc(r.tasks, func(tasks []*task) bool {
		return slices.ContainsFunc(tasks, func(t *task) bool { return t.found.surveyed })
	})
}

// prefetch opens every source of the tree before the first change, so that nothing fails half-way for the network.
func (r *run) prefetch(ctx context.Context) error {
	for i := range r.plan.Invocations {
		inv := r.inv(i)
		for _, part := range inv.Parts {
			for _, c := range contentsOf(part.Params) {
				if inv.Skip != "" || c.Source == "" {
					continue
				}
				if err := r.fetch(ctx, c); err != nil {
					return fmt.Errorf("%s: fetch %s: %w", inv.ID, c.From, err)
				}
			}
		}
	}
	return nil
}

func (r *run) fetch(ctx context.Context, c states.Content) error {
	in, err := r.contents.Open(ctx, c)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return errors.Join(err, in.Close())
}

// begin opens the journal, stages all contents, makes them and the old contents durable with one sync, and writes down
// every change that the survey could capture. Only then may the walk rename anything.
func (r *run) begin(ctx context.Context) error {
	r.tx = newTransaction()
	batch := r.batch()
	for _, t := range batch {
		if t.kind == states.ResourcePath {
			r.tx.stages = append(r.tx.stages, t.made)
		}
	}
	err := r.journal(record{Begin: &begin{
		Sequence: r.owned.led.Sequence + 1, Env: r.meta.Env, Version: r.meta.Version, Revision: r.meta.Revision, Stages: r.tx.stages,
		Secrets: r.secrets.list(),
	}})
	if err != nil {
		return err
	}
	staged := false
	for _, t := range batch {
		if p, ok := t.module.(Preparer); ok {
			// What cannot be staged now, because its folder is still something else, is staged when its turn comes.
			name, err := p.Prepare(ctx, r.host, r.contents, t.params)
			if errors.Is(err, ErrFetch) {
				return fmt.Errorf("%s: %w", t.inv.ID, err)
			}
			if err == nil && name != "" {
				t.work.staged, staged = name, true
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
		records = append(records, record{Intent: r.intend(t, 0)})
	}
	return r.journal(records...)
}

// batch lists the tasks whose undo the survey has. What a block may roll back by itself is captured when its turn comes: the
// block goes back to where it began, and not to where the run did.
func (r *run) batch() []*task {
	var all []*task
	for i, tasks := range r.tasks {
		rescued := r.failure.policy == onRollback && len(r.graph.blocks) > 0 && r.rescuer(i) != nil
		for _, t := range tasks {
			if rescued {
				t.work.saved = nil
			}
			if t.found.surveyed && !t.found.blocked && t.work.saved != nil {
				all = append(all, t)
			}
		}
	}
	return all
}

func (r *run) intend(t *task, turn int) *intent {
	in := intent{Order: t.order, ID: t.inv.ID, Number: t.inv.Number, Saved: *t.work.saved, Staged: t.work.staged, Turn: turn, Secrets: t.texts}
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

func (r *run) note(rec record) error {
	data, err := codec.Marshal(rec)
	if err != nil {
		return err
	}
	return r.e.Journal.Note(data)
}

// takeBack undoes what some tasks changed, the last first, and notes it, so that a rollback of the whole run later leaves them
// alone. left says of a task, by its order, what cannot be undone; the error is of what should have been and was not.
func (tx *transaction) takeBack(ctx context.Context, r *run, orders map[int]bool) (left map[int]string, err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	left = map[int]string{}
	var done []int
	var errs []error
	r.host.forget()
	for _, in := range tx.backwards() {
		if !orders[in.Order] {
			continue
		}
		u := r.e.takeBack(ctx, in, tx.finished[in.Order], false)
		switch {
		case u.err != nil:
			errs = append(errs, errors.New(u.left))
		case u.left != "":
			left[in.Order] = u.left
		default:
			done = append(done, in.Order)
		}
	}
	tx.changed("")
	if err := errors.Join(errs...); err != nil {
		return left, err
	}
	settled := logbook{finished: tx.finished}
	for _, in := range tx.intents {
		if slices.Contains(done, in.Order) {
			settled.intents = append(settled.intents, in)
		}
	}
	for _, u := range r.e.settle(ctx, settled, false) {
		left[u.intent.Order] = u.left
	}
	for _, order := range done {
		tx.reverted[order] = true
		delete(tx.finished, order)
	}
	return left, r.note(record{Reverted: &reverted{Orders: done}})
}

// revertedStages are the paths that what was taken back within the run may have left temporary files for. They are swept when
// nothing that is staged is needed any more.
func (tx *transaction) revertedStages(e *Engine) (paths []string) {
	for _, in := range tx.intents {
		if tx.reverted[in.Order] {
			paths = append(paths, in.stages(e)...)
		}
	}
	return paths
}

// foldersOf are the folders that some tasks, by their order, make on their way.
func (tx *transaction) foldersOf(orders map[int]bool) map[string]bool {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	folders := map[string]bool{}
	for _, in := range tx.intents {
		if orders[in.Order] {
			for _, dir := range in.Saved.Folders {
				folders[dir] = true
			}
		}
	}
	return folders
}
