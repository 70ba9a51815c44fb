package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"shoal/executor"
	"shoal/states"
)

// bench is a machine of named values, and a log of what was done to it. Its modules are probe.set, which makes a value so,
// and probe.kick, an action.
type bench struct {
	*world
	values map[string]string
	fails  map[string]int // how often setting a name fails yet
	log    []string
	made   int
	// blocked is called by a set that waits for ever.
	blocked func()
}

func newBench(t *testing.T) *bench {
	b := &bench{world: newWorld(t), values: map[string]string{}, fails: map[string]int{}}
	b.engine.Modules["probe.set"] = set{b}
	b.engine.Modules["probe.kick"] = kick{b}
	return b
}

func (b *bench) say(format string, args ...any) { b.log = append(b.log, fmt.Sprintf(format, args...)) }

// did returns the log since it was last asked.
func (b *bench) did() string {
	s := strings.Join(b.log, " ")
	b.log = nil
	return s
}

type set struct{ b *bench }

func (set) Function() states.Function {
	return states.Function{Module: "probe", Name: "set", Reaction: "kick", Params: []states.Param{
		{Name: "name", Provides: states.ResourceUser}, {Name: "value"}, {Name: "needs", Needs: states.ResourceUser},
	}}
}

func (m set) Check(_ context.Context, _ executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	name, value := p["name"].(string), p["value"].(string)
	c := executor.Change{Needed: m.b.values[name] != value, Diff: name + " -> " + value, Outputs: map[string]any{"value": value}}
	if needs, ok := p["needs"].(string); ok && m.b.values[needs] == "" {
		return c, &executor.Missing{Kind: states.ResourceUser, Name: needs}
	}
	return c, nil
}

func (m set) Capture(_ context.Context, _ executor.Host, p executor.Params) (executor.Undo, error) {
	return executor.Undo{Reversible: true, Data: []byte(m.b.values[p["name"].(string)])}, nil
}

func (m set) Apply(ctx context.Context, _ executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	name := p["name"].(string)
	if m.b.fails[name] > 0 {
		m.b.fails[name]--
		return nil, errors.New("no")
	}
	if p["value"] == "for ever" {
		if m.b.blocked != nil {
			m.b.blocked()
		}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	m.b.say("set:%s", name)
	m.b.values[name] = p["value"].(string)
	m.b.made++
	// What it is told, and a serial number that no look at the machine tells.
	return map[string]any{"value": p["value"], "serial": int64(m.b.made)}, nil
}

func (m set) Revert(_ context.Context, _ executor.Host, p executor.Params, u executor.Undo) error {
	name := p["name"].(string)
	if m.b.fails["revert "+name] > 0 {
		return errors.New("stuck")
	}
	if m.b.values[name] != string(u.Data) {
		m.b.say("revert:%s", name)
	}
	m.b.values[name] = string(u.Data)
	return nil
}

type kick struct{ b *bench }

func (kick) Function() states.Function {
	return states.Function{Module: "probe", Name: "kick", Params: []states.Param{{Name: "name"}}}
}

func (m kick) Check(_ context.Context, _ executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	return executor.Change{Needed: true, Always: true, Diff: "kick " + p["name"].(string)}, nil
}

func (kick) Capture(context.Context, executor.Host, executor.Params) (executor.Undo, error) {
	return executor.Undo{Reversible: true}, nil
}

func (m kick) Apply(_ context.Context, _ executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	name := p["name"].(string)
	if m.b.fails["kick "+name] > 0 {
		m.b.fails["kick "+name]--
		return nil, errors.New("kicked in vain")
	}
	m.b.say("kick:%s", name)
	return nil, nil
}

func (kick) Revert(context.Context, executor.Host, executor.Params, executor.Undo) error { return nil }

func (m kick) Settle(_ context.Context, _ executor.Host, p executor.Params) error {
	m.b.say("settle:%s", p["name"])
	return nil
}

func (p *planned) set(name, value string) *states.StateInvocation {
	return p.add(name, "probe.set", map[string]any{"name": name, "value": value})
}

func (p *planned) lazy(name string) *states.StateInvocation {
	inv := p.add(name, "probe.kick", map[string]any{"name": name})
	inv.Lazy = true
	return inv
}

// expect applies the plan and compares the log and the result.
func (b *bench) expect(t *testing.T, p *planned, want executor.Result, log string) executor.Report {
	t.Helper()
	r := b.apply(t, p)
	if did := b.did(); r.Result != want || did != log {
		t.Fatalf("result %s (%s), did %q; wanted %s, %q\n%s", r.Result, r.Error, did, want, log, results(r))
	}
	return r
}

func TestLazyRunsOnceAfterAllItsNotifiers(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	p.set("b", "1")
	p.lazy("handler")
	p.edge("a", "handler", states.EdgeNotify)
	p.edge("b", "handler", states.EdgeNotify)
	plan := b.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if plan.Changed != 3 || b.did() != "" {
		t.Fatalf("plan:\n%s", results(plan))
	}
	b.expect(t, p, executor.Converged, "set:a set:b kick:handler")
	r := b.expect(t, p, executor.Converged, "")
	if got := results(r); !strings.Contains(got, "handler probe.kick skipped (lazy: nothing notified it)") {
		t.Error(got)
	}
}

func TestReaction(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("conf", "1")
	p.set("service", "up")
	p.edge("conf", "service", states.EdgeNotify)
	b.expect(t, p, executor.Converged, "set:conf set:service kick:service")
	b.expect(t, p, executor.Converged, "")
	b.values["service"] = "down" // its own drift is no reason to react
	b.expect(t, p, executor.Converged, "set:service")
	b.values["conf"] = "0"
	r := b.expect(t, p, executor.Converged, "set:conf kick:service")
	if got := results(r); !strings.Contains(got, "service probe.kick changed (c/conf changed)") {
		t.Error(got)
	}
}

func TestRollbackGoesBackwardsAndSettles(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	p.set("b", "1")
	p.lazy("handler")
	p.set("c", "1")
	p.edge("a", "handler", states.EdgeNotify)
	b.fails["c"] = 1
	b.expect(t, p, executor.RolledBackRun, "set:a set:b kick:handler revert:b revert:a settle:handler")
	b.expect(t, p, executor.Converged, "set:a set:b kick:handler set:c")
}

func TestDueReactionsAreNotLost(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.Policy.OnFailure = "continue"
	p.set("conf", "1")
	p.lazy("handler")
	p.edge("conf", "handler", states.EdgeNotify)
	b.fails["kick handler"] = 2
	b.expect(t, p, executor.RunFailed, "set:conf")
	plan := b.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if plan.Changed != 1 {
		t.Fatalf("the plan forgets what is due\n%s", results(plan))
	}
	b.expect(t, p, executor.RunFailed, "")
	b.expect(t, p, executor.Converged, "kick:handler")
	b.expect(t, p, executor.Converged, "")
}

func TestDueReactionOfARolledBackChangeIsNone(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("conf", "1")
	p.lazy("handler")
	p.edge("conf", "handler", states.EdgeNotify)
	b.fails["kick handler"] = 1
	b.expect(t, p, executor.RolledBackRun, "set:conf revert:conf")
	b.values["conf"] = "1" // someone made it so
	b.expect(t, p, executor.Converged, "")
}

func TestRequire(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.Policy.OnFailure = "continue"
	p.set("a", "1")
	p.set("b", "1")
	p.set("c", "1")
	p.set("d", "1")
	p.edge("a", "b", states.EdgeRequire)
	p.edge("b", "c", states.EdgeRequire)
	p.edge("a", "d", states.EdgeAfter)
	b.fails["a"] = 1
	r := b.expect(t, p, executor.RunFailed, "set:d")
	got := results(r)
	for _, want := range []string{"b probe.set skipped (requires c/a, which failed)", "c probe.set skipped (requires c/b, which did not run)"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestStopKeepsWhatWasDone(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.Policy.OnFailure = "stop"
	p.set("a", "1")
	p.set("b", "1")
	p.set("c", "1")
	p.lazy("alarm")
	p.edge("b", "alarm", states.EdgeFailure)
	b.fails["b"] = 1
	b.expect(t, p, executor.RunFailed, "set:a kick:alarm")
	b.expect(t, newPlan(), executor.Converged, "revert:a")
}

func TestFailureHandlerRunsAfterTheRollback(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	p.set("b", "1")
	p.lazy("alarm")
	p.edge("b", "alarm", states.EdgeFailure)
	b.fails["b"] = 1
	b.expect(t, p, executor.RolledBackRun, "set:a revert:a kick:alarm")
}

func TestRetryAndTimeout(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1").Retry = states.Retry{Attempts: 3, Delay: time.Millisecond}
	b.fails["a"] = 2
	r := b.expect(t, p, executor.Converged, "set:a")
	if note := r.States[0].Note; note != "at attempt 3" {
		t.Error(note)
	}
	p = newPlan()
	p.set("b", "for ever").Timeout = time.Millisecond
	r = b.apply(t, p)
	if r.Result != executor.RolledBackRun || !strings.Contains(r.Error, "timed out after 1ms") {
		t.Errorf("%s: %s", r.Result, r.Error)
	}
}

func TestSkipped(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	b.expect(t, p, executor.Converged, "set:a")
	p.Invocations[0].Skip = `when: tags.role == "web" is false`
	b.expect(t, p, executor.Converged, "") // and it is not taken for removed
	b.expect(t, newPlan(), executor.Converged, "revert:a")
}

func TestRemovalRestoresTheFirstState(t *testing.T) {
	b := newBench(t)
	b.values["a"], b.values["b"] = "people's", "people's"
	for _, value := range []string{"1", "2", "3"} {
		p := newPlan()
		p.set("a", value)
		p.set("b", value)
		b.expect(t, p, executor.Converged, "set:a set:b")
	}
	plan := b.engine.Check(t.Context(), &newPlan().Plan, nil, executor.RunMeta{})
	if plan.Changed != 2 || plan.States[0].Result != executor.WouldChange || !strings.HasPrefix(plan.States[0].Note, "removed from the tree: ") {
		t.Fatalf("plan\n%s", results(plan))
	}
	b.expect(t, newPlan(), executor.Converged, "revert:b revert:a")
	if b.values["a"] != "people's" {
		t.Error(b.values["a"])
	}
	b.expect(t, newPlan(), executor.Converged, "")
}

func TestKeepForgets(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	b.expect(t, p, executor.Converged, "set:a")
	p.Invocations[0].OnRemove = "keep" // changed by a run that changes nothing else
	b.expect(t, p, executor.Converged, "")
	b.expect(t, newPlan(), executor.Converged, "")
	if b.values["a"] != "1" {
		t.Error("it was not kept")
	}
	if paths := b.engine.Managed(); len(paths) != 0 {
		t.Error(paths)
	}
}

func TestFailedRemovalComesBack(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	b.expect(t, p, executor.Converged, "set:a")
	p = newPlan()
	p.set("b", "1")
	b.fails["b"] = 1
	b.expect(t, p, executor.RolledBackRun, "revert:a revert:a")
	if b.values["a"] != "1" {
		t.Error("the removal was not rolled back")
	}
	b.expect(t, p, executor.Converged, "revert:a set:b")
}

func TestIrreversibleIsNamed(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.add("touch", "cmd.run", map[string]any{"shell": "echo x > touched"})
	p.set("a", "1")
	plan := b.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if plan.States[0].Reversible || !strings.Contains(plan.States[0].Note, "cannot be undone") {
		t.Errorf("the plan does not say so: %+v", plan.States[0])
	}
	b.fails["a"] = 1
	r := b.expect(t, p, executor.RollbackIncomplete, "")
	if len(r.Left) != 1 || !strings.Contains(r.Left[0], "c/touch (cmd.run): cannot be undone") {
		t.Errorf("left %q", r.Left)
	}
}

func TestUndoState(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.add("touch", "cmd.run", map[string]any{"shell": "echo x > touched", "creates": "/touched"}).Undo = "c/untouch"
	p.add("untouch", "cmd.run", map[string]any{"shell": "rm -f touched"}).Lazy = true
	b.expect(t, p, executor.Converged, "")
	if b.read(t, "/touched") != "x\n" {
		t.Fatal("not touched")
	}
	b.expect(t, newPlan(), executor.Converged, "")
	if got := b.read(t, "/touched"); got != "error: no such file or directory" {
		t.Fatal("removal did not run the undo state: ", got)
	}
	p.set("a", "1")
	b.fails["a"] = 1
	b.expect(t, p, executor.RolledBackRun, "")
	if got := b.read(t, "/touched"); got != "error: no such file or directory" {
		t.Fatal("rollback did not run the undo state: ", got)
	}
}

func TestStuckRevertIsToldAndKept(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	p.set("b", "1")
	b.fails["b"], b.fails["revert a"] = 1, 1
	r := b.expect(t, p, executor.RollbackIncomplete, "set:a")
	if len(r.Left) != 1 || !strings.Contains(r.Left[0], "c/a (probe.set): could not be undone: stuck") {
		t.Errorf("left %q", r.Left)
	}
	delete(b.fails, "revert a")
	b.expect(t, newPlan(), executor.Converged, "revert:a")
}

func TestPlanKnowsWhatEarlierStatesMake(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("other", "1")
	p.set("user", "1")
	p.set("file", "1").Parts[0].Params["needs"] = "user"
	plan := b.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if plan.Changed != 3 || plan.States[2].Result != executor.WouldChange {
		t.Fatalf("plan\n%s", results(plan))
	}
	b.expect(t, p, executor.Converged, "set:other set:user set:file")

	b = newBench(t)
	p.Invocations = append(p.Invocations[:1], p.Invocations[2]) // no one makes the user
	plan = b.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if plan.States[1].Result != executor.Unknown {
		t.Fatalf("plan\n%s", results(plan))
	}
	p.Invocations = p.Invocations[1:] // and nothing else changes
	plan = b.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if plan.Result != executor.RunFailed || plan.States[0].Error != "no user user" {
		t.Fatalf("plan %s\n%s", plan.Result, results(plan))
	}
	b.expect(t, p, executor.RolledBackRun, "")
}

func TestConfirmRollsBack(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	lost := func(context.Context) error { return errors.New("mesh lost") }
	before := "nothing"
	r := b.engine.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{Contact: func(context.Context) func(context.Context) error {
		before = b.did()
		return lost
	}})
	if r.Result != executor.RolledBackRun || r.Error != "mesh lost" || b.did() != "set:a revert:a" || before != "" {
		t.Errorf("%s %s, before it was asked: %q", r.Result, r.Error, before)
	}
	// Who was out of contact before the change cannot be cut off by it.
	r = b.engine.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{Contact: func(context.Context) func(context.Context) error { return nil }})
	if r.Result != executor.Converged {
		t.Errorf("%s %s", r.Result, r.Error)
	}
}

func TestCancelledRunRollsBack(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := newPlan()
	p.set("a", "1")
	p.set("b", "for ever")
	p.set("c", "1")
	b.blocked = cancel
	r := b.engine.Apply(ctx, &p.Plan, nil, executor.RunMeta{})
	if r.Result != executor.RolledBackRun || b.did() != "set:a revert:a" {
		t.Errorf("%s %s\n%s", r.Result, r.Error, results(r))
	}
}
