package executor

import (
	"context"
	"fmt"
)

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
		if r.failure == nil {
			r.failure, r.failed = fmt.Errorf("remove %s: %w", rm.entry.ID, err), -1
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
	r.tx.total++
	r.tx.changes[m.Function().Module]++
	r.tx.finished[rm.order] = true
	return nil
}
