package executor_test

import (
	"fmt"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/states"
)

// row is what a report says of a part: its result and its note.
func row(r executor.Report, id, part string) string {
	for _, s := range r.States {
		if s.ID == "c/"+id && s.Part == part {
			return strings.TrimSuffix(string(s.Result)+": "+s.Note, ": ")
		}
	}
	return "none"
}

// served is a service that does not run yet, its two files and its reload.
func served(order states.Order, text string, second string) *planned {
	p := newPlan()
	p.Policy.Order = order
	p.file("conf", "/d2/conf", text)
	if second == "before" {
		p.file("more", "/d2/more", text)
	}
	p.add("unit", "service.running", map[string]any{"name": "s2.service"})
	if second == "after" {
		p.file("more", "/d2/more", text)
		p.edge("unit", "more", states.EdgeAfter)
	}
	p.add("reload", "service.reloaded", map[string]any{"name": "s2"}).Lazy = true
	if second == "before" && order == states.Genius { // which lets them run at once, and then either is right
		p.edge("more", "unit", states.EdgeAfter)
	}
	p.edge("conf", "unit", states.EdgeRequire)
	p.edge("unit", "reload", states.EdgeAfter)
	p.edge("conf", "reload", states.EdgeNotify)
	if second != "" {
		p.edge("more", "reload", states.EdgeNotify)
	}
	return p
}

// TestReloadAfterStart: a service that this run starts after all that notified its reload had changed is not told once more, and
// the plan says so; what changed after the start it is told of, and so it is of what changes in a later run.
func TestReloadAfterStart(t *testing.T) {
	const done = "skipped: not needed: service s2: c/unit started it after all that notified this had changed"
	for _, order := range orders {
		for second, want := range map[string]string{"": done, "before": done, "after": "changed: c/conf changed"} {
			t.Run(fmt.Sprint(order, " ", second), func(t *testing.T) {
				m := newMachine(t)
				e := m.engine(workers)
				if order == states.JustDoIt && second == "before" {
					// Nothing orders the second file and the start: the plan cannot know, and the run sees.
					p := served(order, "one", second)
					if got := row(e.Check(t.Context(), &p.Plan, nil, executor.RunMeta{}), "reload", "service.reloaded"); !strings.HasPrefix(got, "unknown: c/conf changed; not needed if service s2: c/unit") {
						t.Fatalf("the plan says %q", got)
					}
					return
				}
				p := served(order, "one", second)
				planned := row(e.Check(t.Context(), &p.Plan, nil, executor.RunMeta{}), "reload", "service.reloaded")
				if got := strings.Replace(planned, "would_change", "changed", 1); got != want && !strings.HasPrefix(got, "unknown") {
					t.Errorf("the plan says %q", planned)
				}
				r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
				reloads := 0
				if second == "after" {
					reloads = 1
				}
				if got := row(r, "reload", "service.reloaded"); r.Result != executor.Converged || got != want || m.Reloads("s2") != reloads {
					t.Fatalf("%s %s: %q, %d reloads", r.Result, r.Error, got, m.Reloads("s2"))
				}
				if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Changed != 0 || m.Reloads("s2") != reloads {
					t.Fatalf("the second run\n%s", results(r))
				}
				p = served(order, "two", second)
				if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.Converged || m.Reloads("s2") != reloads+1 {
					t.Fatalf("another file: %d reloads\n%s", m.Reloads("s2"), results(r))
				}
			})
		}
	}
}

// TestReloadAfterRestart: of what is restarted for a file, a reload for the same file is no use.
func TestReloadAfterRestart(t *testing.T) {
	for _, order := range orders {
		m := newMachine(t)
		e := m.engine(1)
		build := func(text string) *planned {
			p := served(order, text, "")
			p.edge("conf", "unit", states.EdgeNotify)
			return p
		}
		for round, text := range []string{"one", "two"} {
			p := build(text)
			before, _ := m.Unit(t.Context(), "s2")
			r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
			now, _ := m.Unit(t.Context(), "s2")
			if got := row(r, "reload", "service.reloaded"); !strings.HasPrefix(got, "skipped: not needed") || m.Reloads("s2") != 0 || now.Since <= before.Since {
				t.Fatalf("%s, %s: %q, %d reloads\n%s", order, text, got, m.Reloads("s2"), results(r))
			}
			if restarted := row(r, "unit", "service.restarted") != "none"; restarted != (round == 1) {
				t.Fatalf("%s, %s: restarted %v\n%s", order, text, restarted, results(r))
			}
		}
	}
}

// TestDueReloadAfterStart: one that an earlier run could not do is done with the start.
func TestDueReloadAfterStart(t *testing.T) {
	m := newMachine(t)
	e := m.engine(1)
	p := served(states.Ansible, "one", "")
	e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
	p = served(states.Ansible, "two", "")
	p.Policy.OnFailure = "continue"
	m.Services.Fail = func(operation, name string) error { return fmt.Errorf("no") }
	if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.RunFailed {
		t.Fatal(results(r))
	}
	m.Services.Fail = nil
	if err := m.StopUnit(t.Context(), "s2"); err != nil {
		t.Fatal(err)
	}
	r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if got := row(r, "reload", "service.reloaded"); r.Result != executor.Converged || !strings.HasPrefix(got, "skipped: not needed") || m.Reloads("s2") != 0 {
		t.Fatalf("%s %s\n%s", r.Result, r.Error, results(r))
	}
	if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Changed != 0 {
		t.Fatalf("it is still due\n%s", results(r))
	}
}
