package executor

import "shoal/states"

// row begins the row of a task; why is the reason for which it runs where that is another state.
func (r *run) row(t *task, why string) {
	t.row = &t.rowSpace
	*t.row = StateReport{
		ID: t.inv.ID, Part: t.name, Invocation: t.inv.Number, Result: Unchanged,
		Reversible: !t.function.Irreversible || t.inv.Undo != "", Note: why,
	}
}

// reason is what a row says of the notifier: a state that runs anyway does not run for its sake.
func reason(v verdict, t *task) string {
	if t.reaction || t.inv.Lazy {
		return v.why
	}
	return ""
}

func (r *run) skip(t *task, why string) {
	r.row(t, why)
	t.row.Result = Skipped
}

// skipAll skips an invocation.
func (r *run) skipAll(i int, result Result, why string) {
	for _, t := range r.tasks[i] {
		if !t.reaction {
			r.skip(t, why)
			t.row.Result = result
		}
	}
}

func joinNotes(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// show puts the rows together, in the order in which they ran or would run.
func (r *run) show() {
	r.report.States = make([]StateReport, 0, len(r.report.before)+len(r.owned.removals)+len(r.tasks))
	for i := range r.report.before {
		r.addRow(&r.report.before[i])
	}
	if r.part != nil {
		r.report.NotLookedAt = r.part.left
	}
	for _, rm := range r.owned.removals {
		if rm.row != nil {
			r.addRow(rm.row)
		}
	}
	for at := range r.tasks {
		i := at
		if r.report.ran != nil {
			i = r.report.ran[at]
		}
		for _, t := range r.tasks[i] {
			if t.row != nil {
				t.hide(t.row)
				r.addRow(t.row)
			}
		}
		if b := r.graph.blocks[i]; b != nil && b.row != nil {
			r.addRow(b.row)
		}
	}
}

func (r *run) addRow(row *StateReport) {
	if row.Outputs == nil {
		row.Outputs = map[string]any{}
	}
	switch row.Result {
	case Changed, WouldChange, Unknown:
		r.report.Changed++
	}
	r.report.States = append(r.report.States, *row)
}

// blockRow tells of a block in which something failed; one in which nothing did says nothing.
func (r *run) blockRow(i int, result Result, note string) {
	inv := r.inv(i)
	r.graph.blocks[i].row = &StateReport{
		ID: inv.ID, Part: "meta.block", Invocation: inv.Number, Result: result, Reversible: true, Note: note,
	}
}

// unstarted marks what a run found and did not do.
func (r *run) unstarted() {
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			if t.row != nil && (t.row.Result == WouldChange || t.row.Result == Unknown) {
				t.row.Result = Skipped
				t.row.Note = joinNotes(t.row.Note, "not run: "+r.failedName()+" failed")
			}
		}
	}
	for _, rm := range r.owned.removals {
		if rm.row != nil && rm.row.Result == WouldChange {
			rm.row.Result = Skipped
		}
	}
}

// foresee puts the rows of a plan in the order in which they would run.
func (r *run) foresee() {
	if r.plan.Policy.Order != states.Ansible && r.tasks != nil {
		r.report.ran = newSchedule(r).foresee()
	}
}
