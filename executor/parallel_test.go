package executor_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/executor"
	"shoal/executor/module/mount"
	"shoal/states"
)

// TestManyWorkersOnAMachine is what the race detector is for: files, folders, symlinks and commands beside each other.
func TestManyWorkersOnAMachine(t *testing.T) {
	w := newWorld(t)
	w.engine.Workers = 8
	build := func() *planned {
		p := newPlan()
		p.Policy.Order = states.JustDoIt
		for i := range 60 {
			dir := fmt.Sprintf("/srv/d%d", i%7)
			p.file(fmt.Sprint("file", i), fmt.Sprintf("%s/sub/f%d", dir, i), fmt.Sprintf("file %d\n", i))
			p.add(fmt.Sprint("link", i), "file.symlink", map[string]any{"path": fmt.Sprintf("%s/l%d", dir, i), "target": "sub"})
			if i < 7 {
				p.add(fmt.Sprint("dir", i), "file.directory", map[string]any{"path": dir, "mode": "0750"})
				p.add(fmt.Sprint("cmd", i), "cmd.run", map[string]any{"shell": fmt.Sprintf("echo x > touched%d", i), "creates": fmt.Sprintf("/touched%d", i)}).Undo = fmt.Sprint("c/uncmd", i)
				p.add(fmt.Sprint("uncmd", i), "cmd.run", map[string]any{"shell": fmt.Sprintf("rm -f touched%d", i)}).Lazy = true
			}
		}
		return p
	}
	before := timeless(picture(t, w.root))
	p := build()
	p.add("fails", "cmd.run", map[string]any{"shell": "exit 3"})
	if r := w.apply(t, p); r.Result != executor.RolledBackRun || timeless(picture(t, w.root)) != before {
		t.Fatalf("%s %s, left %v\n%s", r.Result, r.Error, r.Left, picture(t, w.root))
	}
	w.converge(t, build())
	if r := w.converge(t, build()); r.Changed != 0 {
		t.Fatalf("second run\n%s", results(r))
	}
	w.converge(t, newPlan())
	if now := timeless(picture(t, w.root)); now != before {
		t.Fatalf("left\n%s", now)
	}
}

// meet is a module whose Applies wait until as many as are expected are there at a time.
type meet struct {
	kick
	here func(name string)
}

func (m meet) Function() states.Function {
	f := m.kick.Function()
	f.Name, f.Irreversible = "meet", true
	return f
}

func (m meet) Apply(_ context.Context, _ executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	m.here(p["name"].(string))
	return nil, nil
}

// TestIndependentStatesRunAtATime: they can meet, and what an edge orders cannot.
func TestIndependentStatesRunAtATime(t *testing.T) {
	b := newBench(t)
	b.engine.Workers = 3
	var all sync.WaitGroup
	all.Add(3)
	b.engine.Modules["probe.meet"] = meet{kick{b}, func(name string) {
		if name != "last" {
			all.Done()
			all.Wait() // for ever, were they one after another
		}
	}}
	p := newPlan()
	p.Policy.Order = states.JustDoIt
	for _, name := range []string{"a", "b", "c", "last"} {
		p.add(name, "probe.meet", map[string]any{"name": name})
	}
	p.edge("a", "last", states.EdgeAfter)
	r := b.converge(t, p)
	if r.States[3].ID != "c/last" {
		t.Error(results(r))
	}
}

// TestOneAtATime: parts that look after one thing are not done beside each other.
func TestOneAtATime(t *testing.T) {
	b := newBench(t)
	b.engine.Workers = 8
	p := newPlan()
	p.Policy.Order = states.JustDoIt
	for i := range 50 {
		p.set(fmt.Sprint("user", i), "1") // probe.set provides users, and its map is no place for two
	}
	if r := b.converge(t, p); r.Changed != 50 || len(strings.Fields(b.did())) != 50 {
		t.Error(results(r))
	}
}

// TestRowsOfOneTable: states whose things are rows of one file do not overwrite each other's.
func TestRowsOfOneTable(t *testing.T) {
	w := newWorld(t)
	w.engine.Workers = 8
	w.engine.Modules = executor.Catalogue(mount.Modules()...)
	w.write(t, "/etc/fstab", "# mounts\n", 0o644)
	p := newPlan()
	p.Policy.Order = states.JustDoIt
	for i := range 50 {
		p.add(fmt.Sprint("mount", i), "mount.present", map[string]any{"path": fmt.Sprint("/srv/", i), "device": "LABEL=x", "type": "ext4", "dump": int64(0), "pass": int64(0)})
	}
	w.converge(t, p)
	if rows := strings.Count(w.read(t, "/etc/fstab"), "LABEL=x"); rows != 50 {
		t.Errorf("%d of 50 rows are there", rows)
	}
}

// TestIrreversibleLast: what cannot be undone waits for all that could still fail without it.
func TestIrreversibleLast(t *testing.T) {
	for _, order := range orders {
		b := newBench(t)
		p := newPlan()
		p.Policy.Order = order
		p.add("touch", "cmd.run", map[string]any{"shell": "echo x > touched"})
		p.set("after-touch", "1")
		p.edge("touch", "after-touch", states.EdgeRequire)
		p.set("a", "1")
		p.lazy("handler")
		p.edge("a", "handler", states.EdgeNotify)
		want, steps := "touch after-touch a handler", "set:after-touch set:a kick:handler"
		switch order {
		case states.JustDoIt, states.Genius:
			want, steps = "a handler touch after-touch", "set:a kick:handler set:after-touch"
		}
		plan := b.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{})
		if got := idsOf(plan); got != want {
			t.Errorf("%s: the plan shows %q", order, got)
		}
		if r := b.expect(t, p, executor.Converged, steps); idsOf(r) != want {
			t.Errorf("%s: the report shows %q", order, idsOf(r))
		}
	}
	b := newBench(t)
	p := newPlan()
	p.Policy.Order = states.Genius
	p.add("touch", "cmd.run", map[string]any{"shell": "echo x > touched"})
	p.set("a", "1")
	b.fails["a"] = 1
	r := b.expect(t, p, executor.RolledBackRun, "") // nothing is left, where ansible would leave touched
	if got := b.read(t, "/touched"); !strings.HasPrefix(got, "error") || len(r.Left) > 0 {
		t.Errorf("%q, left %v", got, r.Left)
	}
}

// idsOf lists the states of a report.
func idsOf(r executor.Report) string {
	var ids []string
	for _, s := range r.States {
		ids = append(ids, strings.TrimPrefix(s.ID, "c/"))
	}
	return strings.Join(ids, " ")
}

// TestGeniusTakesTheLongestPathFirst, and reloads last.
func TestGeniusTakesTheLongestPathFirst(t *testing.T) {
	b := newBench(t)
	p := newPlan()
	p.Policy.Order = states.Genius
	p.set("short", "1")
	p.lazy("reload")
	p.set("long1", "1")
	p.set("long2", "1")
	p.set("long3", "1")
	p.edge("short", "reload", states.EdgeNotify)
	p.edge("long1", "long2", states.EdgeRequire)
	p.edge("long2", "long3", states.EdgeAfter) // behind short stands its reload: as much as behind long2
	b.expect(t, p, executor.Converged, "set:long1 set:short set:long2 set:long3 kick:reload")
}

// TestPackagesInOneTransaction: in genius, those that no path joins; in the other modes each by itself.
func TestPackagesInOneTransaction(t *testing.T) {
	for _, order := range orders {
		m := newMachine(t)
		transactions := 0
		m.Packages.Fail = func(operation string) error {
			if operation == "change packages" {
				transactions++
			}
			return nil
		}
		p := newPlan()
		p.Policy.Order = order
		p.add("p0", "pkg.installed", map[string]any{"name": "p0", "version": "1"})
		p.file("conf", "/d0/conf", "x")
		p.add("p1", "pkg.installed", map[string]any{"name": "p1"})
		p.add("p2", "pkg.latest", map[string]any{"name": "p2"})
		p.add("p3", "pkg.removed", map[string]any{"name": "p3"})
		p.edge("conf", "p1", states.EdgeRequire)
		p.edge("p0", "p2", states.EdgeRequire) // another level
		r := m.engine(workers).Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
		want := 4
		if order == states.Genius {
			want = 2
		}
		if r.Result != executor.Converged || transactions != want {
			t.Fatalf("%s: %s %s, %d transactions, not %d\n%s", order, r.Result, r.Error, transactions, want, results(r))
		}
		if order == states.Genius && !strings.Contains(results(r), "p3 pkg.removed changed (in one transaction: c/p0, c/p1, c/p3)") {
			t.Error(results(r))
		}
		if installed, _ := m.Installed(t.Context(), nil); fmt.Sprint(installed) != "[{lib 1 false false} {p0 1 false false} {p1 2 false false} {p2 2 false false}]" {
			t.Errorf("%s: %v", order, installed)
		}
	}
}

// TestOnePackageOfATransactionFails: it is named, and with the policy continue the others are installed.
func TestOnePackageOfATransactionFails(t *testing.T) {
	for _, policy := range []string{"rollback", "continue"} {
		m := newMachine(t)
		before := m.look(t, true)
		p := newPlan()
		p.Policy.Order, p.Policy.OnFailure = states.Genius, policy
		p.add("p0", "pkg.installed", map[string]any{"name": "p0"})
		p.add("bad", "pkg.installed", map[string]any{"name": "p3", "version": "2"})
		p.add("p1", "pkg.installed", map[string]any{"name": "p1"})
		e := m.engine(workers)
		e.Host = refusing{m.Host, "p3"}
		r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
		if !strings.HasPrefix(r.Error, "c/bad: ") {
			t.Errorf("%s: %s", policy, r.Error)
		}
		installed, _ := m.Installed(t.Context(), []string{"p0", "p1"})
		switch policy {
		case "rollback":
			if r.Result != executor.RolledBackRun || m.look(t, true) != before {
				t.Errorf("%s\n%s", r.Result, difference(before, m.look(t, true)))
			}
		default:
			if r.Result != executor.RunFailed || len(installed) != 2 {
				t.Errorf("%s: %v", r.Result, installed)
			}
		}
	}
}

// refusing is a host whose package manager refuses every transaction with one package in it.
type refusing struct {
	executor.Host
	name string
}

func (h refusing) ChangePackages(ctx context.Context, install []executor.Package, remove []string) error {
	for _, p := range install {
		if p.Name == h.name {
			return fmt.Errorf("%s is broken", p.Name)
		}
	}
	return h.Host.ChangePackages(ctx, install, remove)
}

func TestRetryWaitsByTheClock(t *testing.T) {
	b := newBench(t)
	clock := &slow{}
	b.engine.Clock = clock
	p := newPlan()
	p.set("a", "1").Retry = states.Retry{Attempts: 3, Delay: time.Hour}
	b.fails["a"] = 2
	r := b.expect(t, p, executor.Converged, "set:a")
	if r.States[0].Note != "at attempt 3" || len(clock.slept) != 2 || clock.slept[0] != time.Hour {
		t.Errorf("%q, slept %v", r.States[0].Note, clock.slept)
	}
	b.values["a"], b.fails["a"] = "", 3
	if r := b.expect(t, p, executor.RolledBackRun, ""); len(clock.slept) != 4 || r.Error != "c/a: no" {
		t.Errorf("%s, slept %v", r.Error, clock.slept)
	}
	p = newPlan()
	p.set("b", "for ever").Timeout = time.Hour
	if r := b.expect(t, p, executor.RolledBackRun, ""); r.Error != "c/b: timed out after 1h0m0s" {
		t.Error(r.Error)
	}
}
