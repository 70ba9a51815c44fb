package executor_test

import (
	"strings"
	"testing"

	"shoal/executor"
	"shoal/states"
)

// block adds a meta.block over states that are in the plan, with the edges that the compiler gives it.
func (p *planned) block(id string, run, rescue, always []string) *states.StateInvocation {
	b := &states.Block{}
	p.index[id] = len(p.Invocations)
	last := ""
	for _, part := range []struct {
		ids []string
		at  *[]int
	}{{run, &b.Run}, {rescue, &b.Rescue}, {always, &b.Always}} {
		kind := states.EdgeAfter
		for _, member := range part.ids {
			*part.at = append(*part.at, p.index[member])
			if last != "" {
				p.edge(last, member, kind)
			}
			last, kind = member, states.EdgeRequire
		}
		if last != "" {
			p.edge(last, id, states.EdgeAfter)
		}
	}
	p.Invocations = append(p.Invocations, states.StateInvocation{ID: "c/" + id, Number: 1, Block: b})
	return &p.Invocations[len(p.Invocations)-1]
}

func deploy() *planned {
	p := newPlan()
	p.set("before", "1")
	p.set("a", "1")
	p.set("b", "1")
	p.set("c", "1")
	p.set("mend", "1")
	p.set("tidy", "1")
	p.block("deploy", []string{"a", "b", "c"}, []string{"mend"}, []string{"tidy"})
	p.set("after", "1")
	p.edge("deploy", "after", states.EdgeRequire)
	return p
}

func TestBlockThatSucceeds(t *testing.T) {
	b := newBench(t)
	r := b.expect(t, deploy(), executor.Converged, "set:before set:a set:b set:c set:tidy set:after")
	if !strings.Contains(results(r), "mend probe.set skipped (rescue of c/deploy: nothing in it failed)") || strings.Contains(results(r), "meta.block") {
		t.Error(results(r))
	}
	b.expect(t, deploy(), executor.Converged, "")
}

func TestBlockIsRescued(t *testing.T) {
	b := newBench(t)
	b.values["a"] = "people's"
	b.fails["b"] = 1
	r := b.expect(t, deploy(), executor.Converged, "set:before set:a revert:a set:mend set:tidy set:after")
	want := `before probe.set changed
a probe.set rolled_back (rolled back with c/deploy)
b probe.set failed (rescued by c/deploy) error: no
c probe.set skipped (not run: c/b failed before it)
mend probe.set changed
tidy probe.set changed
deploy meta.block unchanged (rescued: c/b failed, what its run part changed was rolled back, and its rescue part ran)
after probe.set changed
`
	if got := results(r); got != want {
		t.Errorf("got\n%swanted\n%s", got, want)
	}
	if r.Changed != 4 || r.Error != "" || b.values["a"] != "people's" {
		t.Errorf("%d changed, error %q, a is %q", r.Changed, r.Error, b.values["a"])
	}
	// The next run does what this one could not, and the ledger has nothing of what was rolled back.
	b.expect(t, deploy(), executor.Converged, "set:a set:b set:c")
	b.expect(t, newPlan(), executor.Converged, "revert:c revert:b revert:a revert:after revert:tidy revert:mend revert:before")
	if b.values["a"] != "people's" {
		t.Error(b.values["a"])
	}
}

func TestBlockGoesBackToWhereItBegan(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	p.add("a-again", "probe.set", map[string]any{"name": "a", "value": "2"})
	p.set("b", "1")
	p.set("mend", "1")
	p.block("deploy", []string{"a-again", "b"}, []string{"mend"}, nil)
	b.fails["b"] = 1
	b.expect(t, p, executor.Converged, "set:a set:a revert:a set:mend")
	if b.values["a"] != "1" {
		t.Error("the block went back to where the run began: ", b.values["a"])
	}
}

func TestBlockStandsWithoutRescue(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	p.set("b", "1")
	p.lazy("tidy").Lazy = false
	p.block("deploy", []string{"a", "b"}, nil, []string{"tidy"})
	b.fails["b"] = 1
	r := b.expect(t, p, executor.RolledBackRun, "set:a revert:a kick:tidy")
	if !strings.Contains(results(r), "tidy probe.kick changed (always, after c/b failed and the run was rolled back)") {
		t.Error(results(r))
	}
	for _, policy := range []string{"stop", "continue"} {
		b = newBench(t)
		p.Policy.OnFailure = policy
		b.fails["b"] = 1
		b.expect(t, p, executor.RunFailed, "set:a kick:tidy")
	}
}

func TestRescueThatFails(t *testing.T) {
	b := newBench(t)
	p := deploy()
	b.fails["b"], b.fails["mend"] = 1, 1
	r := b.expect(t, p, executor.RolledBackRun, "set:before set:a revert:a revert:before set:tidy")
	if !strings.HasPrefix(r.Error, "c/mend: no") {
		t.Error(r.Error)
	}
}

func TestRescueKeepsChangesWithOtherPolicies(t *testing.T) {
	for _, policy := range []string{"stop", "continue"} {
		b := newBench(t)
		p := deploy()
		p.Policy.OnFailure = policy
		b.fails["b"] = 1
		r := b.expect(t, p, executor.Converged, "set:before set:a set:mend set:tidy set:after")
		if !strings.Contains(results(r), "deploy meta.block unchanged (rescued: c/b failed, and its rescue part ran)") {
			t.Error(results(r))
		}
	}
}

func TestBlocksNest(t *testing.T) {
	build := func() *planned {
		p := newPlan()
		p.set("a", "1")
		p.set("x", "1")
		p.set("y", "1")
		p.set("always", "1")
		p.block("inner", []string{"x", "y"}, nil, []string{"always"})
		p.edge("a", "x", states.EdgeRequire)
		p.edge("a", "y", states.EdgeRequire)
		p.set("b", "1")
		p.set("mend", "1")
		p.block("outer", []string{"a", "inner", "b"}, []string{"mend"}, nil)
		return p
	}
	b := newBench(t)
	b.expect(t, build(), executor.Converged, "set:a set:x set:y set:always set:b")
	b = newBench(t)
	b.fails["y"] = 1
	r := b.expect(t, build(), executor.Converged, "set:a set:x set:always revert:always revert:x revert:a set:mend")
	if !strings.Contains(results(r), "inner meta.block failed (c/y failed, and it has no rescue)") {
		t.Error(results(r))
	}
}

// What follows a member of a block that is rolled back: a handler does not react, and what requires the member does not run.
func TestWhatFollowsAMemberOfARescuedBlock(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	p.set("b", "1")
	p.set("mend", "1")
	p.block("deploy", []string{"a", "b"}, []string{"mend"}, nil)
	p.lazy("handler")
	p.set("needs", "1")
	p.edge("a", "handler", states.EdgeNotify)
	p.edge("a", "needs", states.EdgeRequire)
	b.fails["b"] = 1
	r := b.expect(t, p, executor.Converged, "set:a revert:a set:mend")
	if !strings.Contains(results(r), "needs probe.set skipped (requires c/a, which did not run)") {
		t.Error(results(r))
	}
}

// A handler that stands before the end of the block has acted when the block is rolled back, and acts once more.
func TestHandlerSeesTheRollbackOfABlock(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("a", "1")
	p.lazy("handler")
	p.set("b", "1")
	p.set("mend", "1")
	p.block("deploy", []string{"a", "b"}, []string{"mend"}, nil)
	p.edge("a", "handler", states.EdgeNotify)
	b.fails["b"] = 1
	b.expect(t, p, executor.Converged, "set:a kick:handler revert:a settle:handler set:mend")
}

func TestIrreversibleInARescuedBlock(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.add("touch", "cmd.run", map[string]any{"shell": "echo x > touched"})
	p.set("b", "1")
	p.set("mend", "1")
	p.block("deploy", []string{"touch", "b"}, []string{"mend"}, nil)
	b.fails["b"] = 1
	r := b.expect(t, p, executor.Converged, "set:mend")
	if !strings.Contains(r.States[0].Note, "stays though c/deploy was rolled back: c/touch (cmd.run): cannot be undone") || r.States[0].Result != executor.Changed {
		t.Errorf("%+v", r.States[0])
	}
}

func TestBlockThatCannotBeRolledBackStands(t *testing.T) {
	b := newBench(t)
	p := deploy()
	b.fails["b"], b.fails["revert a"] = 1, 1
	r := b.expect(t, p, executor.RollbackIncomplete, "set:before set:a revert:before set:tidy")
	if !strings.Contains(r.Error, "c/deploy: what it changed could not be rolled back: c/a (probe.set): could not be undone: stuck") {
		t.Error(r.Error)
	}
}

// sequence adds a meta.sequence over invocations that are in the plan.
func (p *planned) sequence(id string, items ...string) {
	p.index[id] = len(p.Invocations)
	var list []int
	for n, item := range items {
		list = append(list, p.index[item])
		if n > 0 {
			p.edge(items[n-1], item, states.EdgeRequire)
		}
	}
	p.edge(items[len(items)-1], id, states.EdgeRequire)
	p.Invocations = append(p.Invocations, states.StateInvocation{ID: "c/" + id, Number: 1, Sequence: list})
}

// nginx is the case of the issue: nginx, reload, certificate, nginx with its path, reload.
func nginx() *planned {
	p := newPlan()
	one := func(key, id, value string, number int) *states.StateInvocation {
		inv := p.add(key, "probe.set", map[string]any{"name": id, "value": value})
		inv.ID, inv.Number = "c/"+id, number
		return inv
	}
	reload := func(key string, number int) *states.StateInvocation {
		inv := p.lazy(key)
		inv.ID, inv.Number = "c/reload", number
		inv.Parts[0].Params["name"] = "reload"
		return inv
	}
	one("nginx1", "nginx", "plain", 1).SupersededBy = 3
	reload("reload1", 1).SupersededBy = 4
	one("cert", "cert", "1", 1)
	one("nginx2", "nginx", "tls", 2)
	reload("reload2", 2)
	p.edge("nginx1", "reload1", states.EdgeNotify)
	p.edge("nginx2", "reload2", states.EdgeNotify)
	p.sequence("site", "nginx1", "reload1", "cert", "nginx2", "reload2")
	return p
}

func TestSupersededInvocations(t *testing.T) {
	b := newBench(t)
	b.values["nginx"] = "people's"
	first := "set:nginx kick:reload set:cert set:nginx kick:reload"
	if plan := b.engine.Check(t.Context(), &nginx().Plan, nil, executor.RunMeta{}); plan.Changed != 5 {
		t.Fatalf("plan\n%s", results(plan))
	}
	b.expect(t, nginx(), executor.Converged, first)
	r := b.expect(t, nginx(), executor.Converged, "")
	want := `nginx probe.set unchanged (superseded by invocation 2: nothing between the two has anything to do)
reload probe.kick skipped (lazy: nothing notified it)
cert probe.set unchanged
nginx probe.set unchanged
reload probe.kick skipped (lazy: nothing notified it)
`
	if got := results(r); got != want || r.Changed != 0 {
		t.Errorf("got\n%swanted\n%s", got, want)
	}
	b.values["nginx"] = "drifted" // needs the last one alone
	b.expect(t, nginx(), executor.Converged, "set:nginx kick:reload")
	b.values["cert"] = "expired" // a new one needs the plain site
	plan := b.engine.Check(t.Context(), &nginx().Plan, nil, executor.RunMeta{})
	if row := plan.States[3]; row.Result != executor.Unknown || row.Note != "an earlier invocation changes the same thing before it" {
		t.Errorf("the plan says of the last one %+v", row)
	}
	b.expect(t, nginx(), executor.Converged, first)
	// A failure goes back to where the run began, a removal to what was before the first.
	b.values["cert"], b.fails["cert"] = "expired", 1
	b.expect(t, nginx(), executor.RolledBackRun, "set:nginx kick:reload revert:nginx settle:reload")
	b.expect(t, newPlan(), executor.Converged, "revert:cert revert:nginx")
	if b.values["nginx"] != "people's" {
		t.Error(b.values["nginx"])
	}
}

// What notified a superseded handler is not lost with it.
func TestSupersededHandlerPassesItsNotifierOn(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.set("other", "1")
	inv := p.lazy("reload")
	inv.SupersededBy = 3
	p.set("between", "1")
	again := p.lazy("reload2")
	again.ID, again.Number = "c/reload", 2
	p.edge("other", "reload", states.EdgeNotify)
	p.sequence("s", "reload", "between", "reload2")
	b.values["between"] = "1"
	b.expect(t, p, executor.Converged, "set:other kick:reload2")
}

// TestBlockIsNotUndoneTwice: what a block took back before the machine died is not taken back once more by the recovery.
func TestBlockIsNotUndoneTwice(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.add("touch", "cmd.run", map[string]any{"shell": "echo x > touched"}).Undo = "c/untouch"
	p.add("untouch", "cmd.run", map[string]any{"shell": "rm -f touched; echo undone >> undone"}).Lazy = true
	p.set("b", "1")
	p.set("mend", "1")
	p.block("deploy", []string{"touch", "b"}, []string{"mend"}, nil)
	b.fails["b"] = 1
	e := b.dying("ledger")
	e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
	r, found, err := b.engine.Recover(t.Context())
	if err != nil || !found || r.Result != executor.RolledBackRun {
		t.Fatalf("%v, %v, %+v", found, err, r)
	}
	if got := b.read(t, "/undone"); got != "undone\n" {
		t.Errorf("it was undone %q", got)
	}
}

// TestRollbackGoesByTurns: what the survey captured, and came to its turn after something that it could not capture, is taken back
// before that; also by a recovery.
func TestRollbackGoesByTurns(t *testing.T) {
	build := func() *planned {
		p := newPlan()
		p.set("user", "1")
		p.set("file", "1").Parts[0].Params["needs"] = "user"
		p.set("z", "1")
		return p
	}
	b := newBench(t)
	p := build()
	p.set("bad", "1")
	b.fails["bad"] = 1
	b.expect(t, p, executor.RolledBackRun, "set:user set:file set:z revert:z revert:file revert:user")

	e := b.dying("ledger")
	e.Apply(t.Context(), &build().Plan, nil, executor.RunMeta{})
	b.values["user"], b.values["file"], b.values["z"] = "1", "1", "1" // the probes do not die with their process
	b.did()
	if _, found, err := b.engine.Recover(t.Context()); err != nil || !found || b.did() != "revert:z revert:file revert:user" {
		t.Errorf("%v, %v", found, err)
	}
}

// dying is an engine whose process dies when it comes to the named write.
func (b *bench) dying(at string) *executor.Engine {
	e := &executor.Engine{
		Host: b.engine.Host, Modules: b.engine.Modules, Journal: b.engine.Journal, Ledger: b.engine.Ledger, Vault: b.engine.Vault,
		Lock: b.engine.Lock, Clock: b.engine.Clock,
	}
	dead := false
	through(e, &steps{before: func(_ int, name string) error {
		if dead = dead || name == at; dead {
			return errDead
		}
		return nil
	}})
	return e
}
