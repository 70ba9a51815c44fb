package executor

import (
	"context"
	"fmt"
	"slices"

	"shoal/states"
)

// failureHandlers runs what listens to the failure, and the always parts of the blocks that it came out of, after the rollback
// and in a transaction of its own: what they do (tell someone, write a mark) is to stay.
func (r *run) failureHandlers(ctx context.Context) {
	if r.failure.index < 0 {
		return
	}
	failed := []int{r.failure.index} // and what is around it
	for m, ok := r.graph.within[r.failure.index]; ok; m, ok = r.graph.within[m.container] {
		failed = append(failed, m.container)
	}
	var tasks []*task
	for i := range r.plan.Invocations {
		if r.inv(i).Skip == "" && (r.hears(i, failed) || r.isAlways(i, failed)) {
			tasks = append(tasks, r.tasks[i]...)
			r.report.toEnd(i)
		}
	}
	if len(tasks) == 0 {
		return
	}
	if err := r.handle(context.WithoutCancel(ctx), tasks); err != nil {
		r.report.Error += "; and " + err.Error()
	}
}

// toEnd: it ran after all others.
func (r *reporting) toEnd(i int) {
	if at := slices.Index(r.ran, i); at >= 0 {
		r.ran = append(slices.Delete(r.ran, at, at+1), i)
	}
}

func (r *run) hears(i int, failed []int) bool {
	return slices.ContainsFunc(r.graph.incoming[i], func(e states.Edge) bool {
		return e.Kind == states.EdgeFailure && slices.Contains(failed, e.From)
	})
}

// isAlways: it is of the always part of a block that had begun and failed.
func (r *run) isAlways(i int, failed []int) bool {
	for m, ok := r.graph.within[i]; ok; m, ok = r.graph.within[m.container] {
		b := r.graph.blocks[m.container]
		if b != nil && m.section == inAlways && b.begun && slices.Contains(failed, m.container) {
			return true
		}
	}
	return false
}

// handlerNote says why a handler ran.
func (r *run) handlerNote(t *task) string {
	name := r.inv(r.failure.index).ID
	if m, ok := r.graph.within[t.index]; ok && m.section == inAlways {
		return "always, after " + name + " failed and the run was rolled back"
	}
	return name + " failed"
}

func (r *run) handle(ctx context.Context, tasks []*task) error {
	led, err := r.e.loadLedger()
	if err != nil {
		return err
	}
	r.owned.led = led
	r.tx = newTransaction()
	if err := r.journal(record{Begin: &begin{Sequence: led.Sequence + 1, Env: r.meta.Env, Version: r.meta.Version, Revision: r.meta.Revision}}); err != nil {
		return err
	}
	var failure error
	for _, t := range tasks {
		if t.reaction {
			continue
		}
		t.work = progress{}
		r.row(t, r.handlerNote(t))
		err := r.settle(t)
		if err == nil {
			err = r.perform(ctx, t)
		}
		if err != nil {
			t.row.Result, t.row.Error = Failed, err.Error()
			failure = fmt.Errorf("%s, which was to handle it: %w", t.inv.ID, err)
		}
	}
	if err := r.e.Host.SyncFiles(); err != nil {
		return err
	}
	next := led.clone()
	for _, t := range tasks {
		if err := t.own(next); err != nil {
			return err
		}
	}
	if err := r.store(next); err != nil {
		return err
	}
	if err := r.e.Journal.Clear(); err != nil {
		return err
	}
	return failure
}
