package executor

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"shoal/states"
)

// run is one Check or Apply. It goes over the plan twice: a survey that only asks, in the order of the plan, and, when that
// found something to do, once more with the hands, in the order of the mode.
type run struct {
	e        *Engine
	host     *accountCache
	plan     *states.Plan
	contents *planContents
	meta     RunMeta
	report   *reporting
	graph    *graph
	part     *part        // nil: it is about the whole plan
	strayed  bool         // the part is not enough, and nothing of it was done
	tick     atomic.Int64 // counts the beginnings and ends of changes
	vaulted  atomic.Bool  // old contents were kept
	tasks    [][]*task    // by invocation
	seen     []outcome    // by invocation
	answers  survey
	values   *values
	secrets  *secrecy
	owned    owned
	tx       *transaction
	failure  failure
	hands    bool                  // the walk changes things
	extended map[string]*extension // by the full names of their functions
	// confirmed, unless nil, says whether what was done may stay.
	confirmed func(context.Context) error
}

// failure is what ends a run, where the policy is not to go on.
type failure struct {
	policy string // of the plan: what a failure does
	err    error  // the first that no block caught
	index  int    // of its invocation; -1: it is of none
}

// reporting is the report in the making.
type reporting struct {
	Report
	started time.Time
	lapped  time.Time     // when the last part of the survey ended
	ran     []int         // invocations in the order in which their turn came
	before  []StateReport // what a part did before the whole plan had to follow
}

// outcome is what later states may know of an earlier one.
type outcome struct {
	changed, unknown, failed bool
	why                      string // it was skipped, or failed
	dependent                bool   // skipped because of a requirement: its own dependents are too
	ended                    int64  // the tick at which it changed last
	passed                   string // a notifier that it left to the invocation that supersedes it
}

func (e *Engine) newRun(plan *states.Plan, contents Contents, meta RunMeta) *run {
	r := &run{
		e: e, host: newAccountCache(e.Host), plan: plan, meta: meta,
		contents: &planContents{rendered: plan.Rendered, rest: contents},
		failure:  failure{policy: plan.Policy.OnFailure, index: -1},
		report:   &reporting{started: e.Clock.Now()}, secrets: newSecrecy(plan),
	}
	r.report.Report = Report{
		Node: plan.Node.Name, Env: meta.Env, Version: meta.Version, Revision: meta.Revision, Order: string(plan.Policy.Order),
	}
	if p := r.failure.policy; p != onStop && p != onContinue {
		r.failure.policy = onRollback
	}
	return r
}

// broken ends a run that could not begin.
func (r *run) broken(err error) Report {
	r.report.Result, r.report.Error = RunFailed, err.Error()
	r.mask()
	return r.report.Report
}

func (r *run) took() float64 { return milliseconds(r.e.Clock.Now().Sub(r.report.started)) }

func (r *run) inv(i int) *states.StateInvocation { return &r.plan.Invocations[i] }

func (r *run) find(id string, number int) int {
	return slices.IndexFunc(r.plan.Invocations, func(inv states.StateInvocation) bool {
		return inv.ID == id && (number == 0 || inv.Number == number)
	})
}

// remember keeps which paths and services there are to watch.
func (r *run) remember() {
	if r.part != nil {
		return // it looks after what the whole plan does
	}
	managed := make([]string, 0, len(r.tasks))
	var services []string
	for _, tasks := range r.tasks {
		for _, t := range tasks {
			switch {
			case t.inv.Skip != "":
			case t.kind == states.ResourcePath:
				managed = append(managed, t.keeps()...)
			case t.kind == states.ResourceService && !t.inv.Lazy && !t.reaction:
				services = append(services, t.made)
			}
		}
	}
	r.e.mu.Lock()
	r.e.managed, r.e.services = managed, services
	r.e.mu.Unlock()
}

func (r *run) failedName() string {
	if r.failure.index < 0 {
		return "a removal"
	}
	return r.inv(r.failure.index).ID
}

// fail notes that an invocation failed, and finds out what that ends: the run part of the block that rescues it, or the run.
func (r *run) fail(i int, err error) {
	r.seen[i].failed, r.seen[i].why = true, err.Error()
	if r.caught(i, i) {
		return
	}
	if r.failure.err == nil {
		r.failure.err, r.failure.index = fmt.Errorf("%s: %w", r.inv(i).ID, err), i
	}
}
