package executor

import (
	"context"
	"fmt"
	"slices"

	"shoal/states"
)

// block is how a meta.block goes.
type block struct {
	*states.Block
	begun bool
	// by is the member of run that failed; -1: none did. what of run was changed is rolled back once, before rescue begins.
	by      int
	unwound bool
	// stands says why the failure could not be rescued, or that rescue or always failed itself.
	stands string
	row    *StateReport
}

// caught tells the blocks around an invocation that it failed, the innermost first, up to the one that rescues it. at is
// where the climb begins.
func (r *run) caught(i, at int) bool {
	for {
		m, ok := r.graph.within[at]
		if !ok {
			return false
		}
		at = m.container
		b := r.graph.blocks[at]
		if b == nil {
			continue // a sequence
		}
		if m.section != inRun {
			b.stands = r.inv(i).ID + " failed"
			continue
		}
		if b.by < 0 {
			b.by = i
		}
		if len(b.Rescue) > 0 && b.stands == "" {
			return true
		}
	}
}

// rescued: the failure counts no more.
func (b *block) rescued() bool { return b.by >= 0 && len(b.Rescue) > 0 && b.stands == "" }

// rescuer is the nearest block that would rescue a failure of i; nil where none would.
func (r *run) rescuer(i int) *block {
	for {
		m, ok := r.graph.within[i]
		if !ok {
			return nil
		}
		i = m.container
		if b := r.graph.blocks[i]; b != nil && m.section == inRun && len(b.Rescue) > 0 {
			return b
		}
	}
}

// excused says why a member of a block does not run because of how the block goes; dependent: neither does what requires it.
// always: what ends a run does not keep it.
func (r *run) excused(i int) (why string, dependent, always bool) {
	for at := i; ; {
		m, ok := r.graph.within[at]
		if !ok {
			return "", false, always
		}
		at = m.container
		b := r.graph.blocks[at]
		if b == nil {
			continue
		}
		switch {
		case m.section == inAlways && b.begun:
			always = true
		case always:
			// Of a block inside: its always part runs, whatever ended the block around it.
		case m.section == inRun && b.by >= 0:
			return "not run: " + r.inv(b.by).ID + " failed before it", true, false
		case m.section == inRescue && b.by < 0:
			return "rescue of " + r.inv(at).ID + ": nothing in it failed", false, false
		case m.section == inRescue && b.stands != "":
			return "not run: " + b.stands, true, false
		}
	}
}

// enterBlocks notes that what holds i has begun.
func (r *run) enterBlocks(i int) {
	if len(r.graph.blocks) == 0 {
		return
	}
	for m, ok := r.graph.within[i]; ok; m, ok = r.graph.within[m.container] {
		if b := r.graph.blocks[m.container]; b != nil && m.section == inRun {
			b.begun = true
		}
	}
}

// beforeRescue rolls back what the run part of a block changed, when the turn comes to what stands after it.
func (r *run) beforeRescue(ctx context.Context, i int) {
	if !r.hands || r.failure.policy != onRollback || len(r.graph.blocks) == 0 {
		return
	}
	for at, over := i, true; ; {
		if b := r.graph.blocks[at]; b != nil && over {
			r.unwindBlock(ctx, at, b)
		}
		m, ok := r.graph.within[at]
		if !ok {
			return
		}
		at, over = m.container, m.section == inRescue || m.section == inAlways
	}
}

// unwindBlock takes back what the run part changed: a rollback to where the block began, within the transaction.
func (r *run) unwindBlock(ctx context.Context, at int, b *block) {
	if !b.rescued() || b.unwound {
		return
	}
	b.unwound = true
	members := map[int]bool{} // by order of their tasks
	var tasks []*task
	for i := range at {
		if s, ok := r.graph.sectionOf(at, i); !ok || s != inRun {
			continue
		}
		for _, t := range r.tasks[i] {
			members[t.order] = true
			tasks = append(tasks, t)
			r.discard(t)
		}
	}
	folders := r.tx.foldersOf(members)
	r.tx.takes(folders, r.tick.Add(1))
	left, err := r.tx.takeBack(context.WithoutCancel(ctx), r, members)
	for _, t := range tasks {
		r.takenBack(t, left[t.order], r.inv(at).ID)
	}
	if err == nil {
		err = r.standAgain(ctx, members, folders)
	}
	r.settleListeners(ctx, at)
	if err != nil {
		b.stands = fmt.Sprintf("what it changed could not be rolled back: %v", err)
		if !r.caught(at, at) && r.failure.err == nil {
			r.failure.err, r.failure.index = fmt.Errorf("%s: %s", r.inv(at).ID, b.stands), at
		}
	}
}

// takenBack notes in a task what the rollback of its block came to.
func (r *run) takenBack(t *task, left, name string) {
	o := &r.seen[t.index]
	switch {
	case t.row == nil || t.row.Result == Skipped:
	case left != "":
		t.row.Note = joinNotes(t.row.Note, "stays though "+name+" was rolled back: "+left)
		return
	case t.row.Result == Changed:
		t.row.Result, t.work.applied = RolledBack, false
		t.row.Note = joinNotes(t.row.Note, "rolled back with "+name)
	}
	o.changed, o.unknown = false, false
	if !o.failed {
		o.why, o.dependent = "rolled back with "+name, true
	}
}

// standAgain makes folders anew that the block had made on its way and took away, and that others look after by now.
func (r *run) standAgain(ctx context.Context, members map[int]bool, folders map[string]bool) error {
	for _, t := range slices.Concat(r.tasks...) {
		if members[t.order] || t.kind != states.ResourcePath || !folders[t.made] || !r.tx.isFinished(t.order) {
			continue
		}
		if _, err := t.module.Apply(ctx, r.host, r.contents, t.params); err != nil {
			return fmt.Errorf("%s: %w", t.inv.ID, err)
		}
	}
	return nil
}

// takes notes folders that the rollback of a block is about to take away.
func (x *transaction) takes(folders map[string]bool, tick int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.taken == nil {
		x.taken = map[string]int64{}
	}
	for folder := range folders {
		x.taken[folder] = tick
	}
}

// stands makes a folder anew that a block took away while this task was at work on it: standAgain did not know yet that it is done.
func (r *run) stands(ctx context.Context, t *task) error {
	r.tx.mu.Lock()
	gone := t.kind == states.ResourcePath && r.tx.taken[t.made] > t.work.began
	r.tx.mu.Unlock()
	if !gone {
		return nil
	}
	_, err := t.module.Apply(ctx, r.host, r.contents, t.params)
	return err
}

// settleListeners lets what took up a change of the block, and stands outside of it, take up that it was rolled back.
func (r *run) settleListeners(ctx context.Context, at int) {
	for to, edges := range r.graph.incoming {
		if r.graph.holds(at, to) || !slices.ContainsFunc(edges, func(e states.Edge) bool {
			return e.Kind == states.EdgeNotify && r.graph.holds(at, e.From)
		}) {
			continue
		}
		for _, t := range r.tasks[to] {
			if s, ok := t.module.(Settler); ok && r.tx.isFinished(t.order) {
				if err := s.Settle(context.WithoutCancel(ctx), r.host, t.params); err != nil {
					r.report.Left = append(r.report.Left, fmt.Sprintf("%s (%s): after the rollback of %s: %v", t.inv.ID, t.name, r.inv(at).ID, err))
				}
			}
		}
	}
}

// concludeContainer is the result of a block or a sequence: what its members came to.
func (r *run) concludeContainer(i int) {
	o := outcome{}
	b := r.graph.blocks[i]
	for m := range i {
		s, ok := r.graph.sectionOf(i, m)
		if !ok {
			continue
		}
		seen := r.seen[m]
		o.changed, o.unknown, o.ended = o.changed || seen.changed, o.unknown || seen.unknown, max(o.ended, seen.ended)
		if b == nil || !b.rescued() || s != inRun {
			o.failed, o.dependent = o.failed || seen.failed, o.dependent || seen.dependent
		}
		if o.why == "" && (seen.failed || seen.dependent) {
			o.why = seen.why
		}
	}
	if b != nil {
		o.failed = b.by >= 0 && !b.rescued() || b.stands != ""
	}
	r.seen[i] = o
	if b != nil && (b.by >= 0 || b.stands != "") {
		r.tellBlock(i, b)
	}
}

func (r *run) tellBlock(i int, b *block) {
	if !b.rescued() {
		why := b.stands
		if why == "" {
			why = r.inv(b.by).ID + " failed, and it has no rescue"
		}
		r.blockRow(i, Failed, why)
		return
	}
	note := "rescued: " + r.inv(b.by).ID + " failed, "
	if b.unwound {
		note += "what its run part changed was rolled back, "
	}
	r.blockRow(i, Unchanged, note+"and its rescue part ran")
	for _, t := range r.tasks[b.by] {
		if t.row != nil && t.row.Result == Failed {
			t.row.Note = joinNotes(t.row.Note, "rescued by "+r.inv(i).ID)
		}
	}
}

// begin forgets how the survey thought that the blocks go.
func (g *graph) begin() {
	for _, b := range g.blocks {
		*b = block{Block: b.Block, by: -1}
	}
}
