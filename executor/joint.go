package executor

import (
	"context"
	"strings"

	"shoal/states"
)

// joints are the groups of invocations that one transaction of the package manager does.
type joints struct {
	group []*joint // by invocation
}

type joint struct {
	members []int
	waiting int // members that are not ready yet
}

func (j *joints) of(i int) *joint {
	if j == nil {
		return nil
	}
	return j.group[i]
}

// join finds, in genius, what can be done together: parts of one Batcher with no path between them. What has as many such
// invocations before it as another, on the longest path, has none of them on a path between the two: so each such level is a
// group, and groups cannot wait for each other in a circle.
func (r *run) join(follows [][]int) *joints {
	if r.plan.Policy.Order != states.Genius {
		return nil
	}
	type groupName struct {
		module string
		level  int
	}
	groups := map[groupName]*joint{}
	j := &joints{group: make([]*joint, len(r.tasks))}
	levels := make([]int, len(r.tasks))
	joined := false
	for i := range r.tasks {
		module := r.joins(i)
		if module != "" {
			name := groupName{module, levels[i]}
			if groups[name] == nil {
				groups[name] = &joint{}
			}
			g := groups[name]
			g.members = append(g.members, i)
			g.waiting++
			j.group[i] = g
			joined = joined || len(g.members) > 1
			levels[i]++
		}
		for _, next := range follows[i] {
			levels[next] = max(levels[next], levels[i])
		}
	}
	if !joined {
		return nil
	}
	return j
}

// joins says of which Batcher an invocation is, when it would change and nothing makes it special; empty: of none.
func (r *run) joins(i int) string {
	inv := r.inv(i)
	if _, member := r.graph.within[i]; member || inv.Skip != "" || inv.Lazy || inv.When != nil || inv.Timeout > 0 ||
		inv.Retry.Attempts > 1 || len(r.tasks[i]) == 0 {
		return ""
	}
	module := r.tasks[i][0].function.Module
	for _, t := range r.tasks[i] {
		if _, ok := t.module.(Batcher); !ok || t.reaction || t.function.Module != module || !t.found.surveyed || t.written != nil {
			return ""
		}
	}
	return module
}

// together does invocations that are joined, or one.
func (r *run) together(ctx context.Context, members []int, verdicts []verdict) (changed []bool, errs []error) {
	if len(members) > 1 && ctx.Err() == nil && r.batched(ctx, members) {
		changed = make([]bool, len(members))
		for n, i := range members {
			for _, t := range r.tasks[i] {
				changed[n] = changed[n] || t.row.Result == Changed
			}
		}
		return changed, make([]error, len(members))
	}
	// One by one: so the one that fails is named, and with the policy continue the others are done.
	for n, i := range members {
		c, err := r.work(ctx, i, verdicts[n])
		changed, errs = append(changed, c), append(errs, err)
	}
	return changed, errs
}

// batched makes all members so in one transaction. false: it could not, and changed nothing that each by itself would not find.
func (r *run) batched(ctx context.Context, members []int) bool {
	began := r.e.Clock.Now()
	var tasks []*task
	var parts []BatchPart
	var names []string
	for _, i := range members {
		names = append(names, r.inv(i).ID)
		for _, t := range r.tasks[i] {
			r.row(t, "")
			if r.recheck(ctx, t) != nil {
				return false
			}
			if !t.work.change.Needed {
				continue
			}
			if r.writeDown(ctx, t) != nil {
				return false
			}
			tasks, parts = append(tasks, t), append(parts, BatchPart{Function: t.function.Name, Params: t.params})
		}
	}
	if len(tasks) < 2 {
		return false
	}
	defer r.host.forget()
	outputs, err := tasks[0].module.(Batcher).Batch(ctx, r.host, parts)
	if err != nil || len(outputs) != len(tasks) {
		return false
	}
	for n, t := range tasks {
		if r.finished(t, outputs[n]) != nil {
			return false
		}
		t.row.Note = joinNotes(t.row.Note, "in one transaction: "+strings.Join(names, ", "))
		r.clock(t, began)
	}
	return true
}

// alone names what an invocation needs for itself: the package manager, the accounts, a unit, a path. Parts that make nothing
// with a name, and can be undone, are taken one at a time for each module: what they look after may be one file.
func (r *run) alone(i int) []string {
	var out []string
	for _, t := range r.tasks[i] {
		if t.kind != "" {
			out = append(out, string(t.kind)+":"+thingName(t))
		}
		switch what := providedKind(t.function); what {
		case states.ResourcePackage, states.ResourceRepository:
			out = append(out, "package manager")
		case states.ResourceUser, states.ResourceGroup:
			out = append(out, "accounts")
		case states.ResourceMount: // rows of one table
			out = append(out, "mounts")
		case "":
			if !t.function.Irreversible {
				out = append(out, "module "+t.function.Module)
			}
		}
	}
	return out
}

func providedKind(f *states.Function) states.ResourceKind {
	for i := range f.Params {
		if f.Params[i].Provides != "" {
			return f.Params[i].Provides
		}
	}
	return ""
}
