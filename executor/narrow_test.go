package executor_test

import (
	"cmp"
	"fmt"
	"math/rand"
	"path"
	"slices"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/states"
)

// vandal damages a machine, and says which of the managed things it touched, as the watchers would.
type vandal struct {
	*rand.Rand
	m       *machine
	e       *executor.Engine
	touched map[string]bool
}

// folderGone removes a folder with all that is in it.
func (v *vandal) folderGone(dir string) {
	names, err := v.m.ReadDir(dir)
	if err != nil {
		return
	}
	for _, name := range names {
		at := path.Join(dir, name)
		if st, err := v.m.Lstat(at); err == nil && st.Mode.IsDir() {
			v.folderGone(at)
		} else {
			_ = v.m.Remove(at)
		}
	}
	_ = v.m.Remove(dir)
	if slices.Contains(v.e.Managed(), dir) && v.Intn(2) == 0 {
		v.touched[dir] = true
		return
	}
	for _, name := range v.e.Managed() {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			v.touched[name] = true
		}
	}
}

func (v *vandal) path(t *testing.T, name string) {
	st, err := v.m.Lstat(name)
	switch kind := v.Intn(5); {
	case err != nil: // there was nothing
		if above, no := v.m.Lstat(path.Dir(name)); no == nil && above.Mode.IsDir() {
			err = v.m.put(name, "somebody's", 0o640)
		} else {
			err = nil
		}
	case st.Mode.IsDir() && kind < 2:
		v.folderGone(name)
		err = nil
	case kind == 0: // looked at, and left
	case kind == 1 && st.Mode.IsRegular():
		err = v.m.put(name, "somebody's", 0o640)
	case kind == 2 && !st.Mode.IsDir():
		if err = v.m.Remove(name); err == nil {
			err = v.m.Symlink("/elsewhere", name)
		}
	case kind == 3 && !st.Mode.IsDir():
		err = v.m.Remove(name)
	default:
		if st.Mode.IsDir() || st.Mode.IsRegular() {
			err = v.m.SetMeta(name, executor.Meta{Mode: st.Mode ^ 0o077, UID: st.UID, GID: st.GID})
		}
	}
	if err != nil {
		t.Fatalf("damage %s: %v", name, err)
	}
	v.touched[name] = true
}

// damage does up to three things. That what a command makes is gone is told by nobody.
func (v *vandal) damage(t *testing.T) []string {
	v.touched = map[string]bool{}
	paths, services := v.e.Managed(), v.e.ManagedServices()
	for range 1 + v.Intn(3) {
		switch kind := v.Intn(12); {
		case kind == 0 && len(services) > 0:
			name := services[v.Intn(len(services))]
			u, _ := v.m.Unit(t.Context(), name)
			do := v.m.StartUnit
			if u.Active {
				do = v.m.StopUnit
			}
			if err := do(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			v.touched[name] = true
		case kind == 1:
			if names, err := v.m.ReadDir("/t"); err == nil && len(names) > 0 {
				_ = v.m.Remove(path.Join("/t", names[v.Intn(len(names))]))
			}
		default:
			v.path(t, paths[v.Intn(len(paths))])
		}
	}
	var names []string
	for name := range v.touched {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// did is what a report says was done, whatever the order.
func did(r executor.Report) string {
	var rows []string
	for _, s := range r.States {
		if s.Result != executor.Unchanged && s.Result != executor.Skipped {
			rows = append(rows, fmt.Sprintf("%s %s %d %s %q %q %s %v", s.ID, s.Part, s.Invocation, s.Result, s.Diff, s.Note, s.Error, s.Outputs))
		}
	}
	slices.Sort(rows)
	return fmt.Sprintf("%s %s %v\n%s", r.Result, r.Error, r.Left, strings.Join(rows, "\n"))
}

// wide adds to a tree what nothing joins to the rest, and a service that is restarted for a file. Where its block fails, as it then
// does in every run so that none is narrowed, it is let succeed in trees of even seeds.
func wide(p *planned, seed int64, text string) *planned {
	if i, fails := p.index["boom"]; fails && seed%2 == 0 {
		p.Invocations[i].Parts[0].Params = map[string]any{"argv": []any{"true"}, "creates": "/t"}
	}
	for i := range 12 {
		p.file(fmt.Sprint("wide", i), fmt.Sprintf("/d2/wide/f%d", i), text)
	}
	p.file("unit-conf", "/d2/s4.conf", text)
	p.add("unit", "service.running", map[string]any{"name": "s4"})
	p.edge("unit-conf", "unit", states.EdgeNotify)
	p.add("unit-reload", "service.reloaded", map[string]any{"name": "s4"}).Lazy = true
	p.edge("unit-conf", "unit-reload", states.EdgeNotify)
	return p
}

// TestNarrowRunDoesWhatAFullOneDoes: two machines with one tree are damaged alike, time and again. One is told what was touched,
// the other looks at everything: both end with the same machine, ledger and report of what was done.
func TestNarrowRunDoesWhatAFullOneDoes(t *testing.T) {
	narrowed, whole, changed := 0, 0, 0
	for seed := range seeds(60) {
		for _, order := range orders {
			var twins [2]*vandal
			var plans [2]*planned
			for n := range twins {
				m := newMachine(t)
				m.Add("s4")
				twins[n] = &vandal{Rand: rand.New(rand.NewSource(seed)), m: m, e: m.engine(1)}
				plans[n] = wide(tree(seed, order, false), seed, "wide")
				for range 2 {
					if r := twins[n].e.Apply(t.Context(), &plans[n].Plan, nil, executor.RunMeta{}); r.Result != executor.Converged {
						t.Fatalf("seed %d, %s: %s %s", seed, order, r.Result, r.Error)
					}
				}
			}
			for round := range 6 {
				name := fmt.Sprintf("seed %d, %s, round %d", seed, order, round)
				var reports [2]executor.Report
				for n, v := range twins {
					touched := v.damage(t)
					name += fmt.Sprint(", ", touched)
					meta := executor.RunMeta{}
					if n == 0 {
						meta.Touched = touched
					}
					reports[n] = v.e.Apply(t.Context(), &plans[n].Plan, nil, meta)
				}
				if a, b := did(reports[0]), did(reports[1]); a != b {
					t.Fatalf("%s: the narrow run did\n%s\nand the full one\n%s", name, a, b)
				}
				if a, b := twins[0].m.look(t, false), twins[1].m.look(t, false); a != b {
					t.Fatalf("%s: the machines differ\n%s", name, difference(b, a))
				}
				if a, b := twins[0].m.kept, twins[1].m.kept; string(a.ledger) != string(b.ledger) || len(a.journal) != len(b.journal) {
					t.Fatalf("%s: the ledgers differ", name)
				}
				if reports[1].NotLookedAt != 0 {
					t.Fatalf("%s: a run that was told nothing was narrowed", name)
				}
				if reports[0].NotLookedAt > 0 {
					narrowed++
					changed += reports[0].Changed
				} else {
					whole++
				}
			}
		}
	}
	t.Logf("%d runs narrowed, in which %d parts were put right; %d were not", narrowed, changed, whole)
	if narrowed < whole/3 || changed < narrowed/2 || whole == 0 {
		t.Error("the test does not see what it is for")
	}
}

// garden is a settled machine of many files.
func garden(t *testing.T, change func(p *planned)) (*machine, *executor.Engine, *planned) {
	m := newMachine(t)
	p := newPlan()
	for i := range 20 {
		p.file(fmt.Sprint("f", i), fmt.Sprintf("/d1/f%d", i), "text")
	}
	if change != nil {
		change(p)
	}
	e := m.engine(1)
	if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{Resolver: yes{}}); r.Result != executor.Converged {
		t.Fatal(r.Result, r.Error)
	}
	return m, e, p
}

func mend(t *testing.T, e *executor.Engine, p *planned, touched ...string) executor.Report {
	t.Helper()
	return e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{Touched: touched})
}

// TestNarrowRunIsNoneWhenItCannotBeTold: then everything is looked at, and what nobody told of is put right as well.
func TestNarrowRunIsNoneWhenItCannotBeTold(t *testing.T) {
	for name, c := range map[string]struct {
		plan   func(p *planned)
		before func(t *testing.T, m *machine, e *executor.Engine, p *planned)
		narrow bool
		touch  string
	}{
		"a file of many":      {narrow: true},
		"nothing of the sort": {touch: "/d1/nobodys"},
		"somebody else's run since": {before: func(t *testing.T, m *machine, _ *executor.Engine, p *planned) {
			other := newPlan()
			other.Invocations = slices.Clone(p.Invocations[:19])
			other.Rendered = p.Rendered
			if r := m.engine(1).Apply(t.Context(), &other.Plan, nil, executor.RunMeta{}); r.Result != executor.Converged || r.Changed != 1 {
				t.Fatal(results(r))
			}
		}},
		"a run since that left the ledger as it was": {before: func(t *testing.T, m *machine, _ *executor.Engine, p *planned) {
			other := newPlan()
			other.Plan = p.Plan
			other.Invocations = slices.Clone(p.Invocations)
			other.Invocations[7].Parts = []states.StatePartInvocation{p.Invocations[7].Parts[0]}
			other.Invocations[7].Parts[0].Params = map[string]any{"path": "/d1/f7", "contents": other.text("another")}
			ledger := string(m.kept.ledger)
			if r := m.engine(1).Apply(t.Context(), &other.Plan, nil, executor.RunMeta{}); r.Changed != 1 || string(m.kept.ledger) != ledger {
				t.Fatal(results(r))
			}
		}},
		"a trigger is due": {plan: func(p *planned) {
			p.Policy.OnFailure = "continue"
			p.file("conf", "/d2/conf", "text")
			p.add("reload", "service.reloaded", map[string]any{"name": "s1"}).Lazy = true
			p.edge("conf", "reload", states.EdgeNotify)
		}, before: func(t *testing.T, m *machine, e *executor.Engine, p *planned) {
			m.Services.Fail = func(string, string) error { return fmt.Errorf("no") }
			if err := m.Remove("/d2/conf"); err != nil {
				t.Fatal(err)
			}
			if r := mend(t, e, p, "/d2/conf"); r.Result != executor.RunFailed {
				t.Fatal(results(r))
			}
			m.Services.Fail = nil
		}},
		"it reads an output": {plan: func(p *planned) {
			p.Invocations[3].When = &states.Deferred{Text: "true"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m, e, p := garden(t, c.plan)
			if c.before != nil {
				c.before(t, m, e, p)
			}
			for _, path := range []string{"/d1/f3", "/d1/f4"} { // the second one is told by nobody
				if err := m.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			touch := cmp.Or(c.touch, "/d1/f3")
			r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{Touched: []string{touch}, Resolver: yes{}})
			_, err := m.Lstat("/d1/f4")
			if narrow := r.NotLookedAt > 0; r.Result != executor.Converged || narrow != c.narrow || narrow != (err != nil) {
				t.Fatalf("%s, not looked at %d, the other one %v\n%s", r.Result, r.NotLookedAt, err, results(r))
			}
			if _, err := m.Lstat("/d1/f3"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestWitnessThatActsInItsTurnIsFollowed: what it looks at was as wanted when the run began and is not when its turn comes. Who
// listens to it, and was not looked at, reacts all the same.
func TestWitnessThatActsInItsTurnIsFollowed(t *testing.T) {
	m, e, p := garden(t, func(p *planned) {
		p.Invocations[3].Parts[0].Params["validate"] = "forget {path}"
		p.add("cmd", "cmd.run", map[string]any{"argv": []any{"touch", "/t/mark"}, "creates": "/t/mark"})
		p.add("reload", "service.reloaded", map[string]any{"name": "s1"}).Lazy = true
		p.edge("cmd", "reload", states.EdgeNotify)
	})
	known := m.Exec
	m.Exec = func(c executor.Command) (executor.Exit, error) {
		if strings.Contains(strings.Join(c.Argv, " "), "forget") {
			return executor.Exit{}, m.Remove("/t/mark")
		}
		return known(c)
	}
	reloads := m.Reloads("s1")
	if err := m.Remove("/d1/f3"); err != nil {
		t.Fatal(err)
	}
	r := mend(t, e, p, "/d1/f3")
	var rows []string
	for _, s := range r.States {
		if s.Result == executor.Changed {
			rows = append(rows, s.ID)
		}
	}
	if r.Result != executor.Converged || m.Reloads("s1") != reloads+1 || r.NotLookedAt != 0 || !slices.Equal(rows, []string{"c/f3", "c/cmd", "c/reload"}) {
		t.Fatalf("%s %s, %d reloads, not looked at %d\n%s", r.Result, r.Error, m.Reloads("s1")-reloads, r.NotLookedAt, results(r))
	}
	if r := mend(t, e, p, "/d1/f5"); r.Result != executor.Converged || r.Changed != 0 || r.NotLookedAt == 0 {
		t.Fatalf("and then: %s, not looked at %d\n%s", r.Result, r.NotLookedAt, results(r))
	}
}

// yes resolves everything to true.
type yes struct{}

func (yes) Resolve(states.Deferred, map[states.OutputRef]any) (any, []byte, error) {
	return true, nil, nil
}

// TestRunHoldsThoughTheClearWasLost: a run that wrote no ledger, since that stays as it was, is not taken back when the power
// goes after it and takes the emptying of the journal along.
func TestRunHoldsThoughTheClearWasLost(t *testing.T) {
	m, e, p := garden(t, nil)
	ledger := string(m.kept.ledger)
	e.Journal = forgetful{m.kept} // each Clear is lost
	for round := range 2 {        // the second one writes behind what the first one left
		if err := m.put("/d1/f3", "somebody's", 0o644); err != nil {
			t.Fatal(err)
		}
		if r := mend(t, e, p, "/d1/f3"); r.Result != executor.Converged || r.Changed != 1 {
			t.Fatal(results(r))
		}
		if string(m.kept.ledger) != ledger || len(m.kept.journal) == 0 {
			t.Fatal("the ledger was written, or the journal emptied")
		}
		after := m.look(t, true)
		m.kept.powerCut()
		if _, found, err := m.engine(1).Recover(t.Context()); found || err != nil {
			t.Fatalf("round %d: recovered %v, %v", round, found, err)
		}
		if now := m.look(t, true); now != after {
			t.Fatalf("round %d: it was taken back\n%s", round, difference(after, now))
		}
	}
}

// TestNarrowRunSurvivesAKill: at whatever write it is killed, the file is as somebody left it or as it is to be, and the next run
// mends it.
func TestNarrowRunSurvivesAKill(t *testing.T) {
	const damaged = "somebody's"
	mended := 0
	for n := 0; ; n++ {
		m, e, p := garden(t, nil)
		whole := m.look(t, false)
		if err := m.put("/d1/f3", damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		s := dieAfter(n)
		through(e, s)
		if r := mend(t, e, p, "/d1/f3"); r.Result == executor.Converged && r.NotLookedAt == 0 {
			t.Fatal("it was not narrowed")
		}
		if _, _, err := m.engine(1).Recover(t.Context()); err != nil {
			t.Fatalf("killed after write %d: %v", n, err)
		}
		switch data, err := m.ReadFile("/d1/f3"); {
		case err != nil || string(data) != damaged && string(data) != "text":
			t.Fatalf("killed after write %d: %q, %v", n, data, err)
		case string(data) == "text":
			mended++
		}
		if r := m.engine(1).Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.Converged || m.look(t, false) != whole {
			t.Fatalf("killed after write %d: the next run: %s\n%s", n, r.Result, difference(whole, m.look(t, false)))
		}
		if s.n <= n {
			if n < 6 || mended == 0 || mended > n {
				t.Errorf("%d writes, after %d of them it stayed mended", n, mended)
			}
			return
		}
	}
}
