package executor_test

import (
	"context"
	"fmt"
	"testing"

	"shoal/executor"
	"shoal/states"
)

// reloading is a machine whose service reads its configuration when it is reloaded or restarted, and then only.
type reloading struct {
	executor.Host
	m    *machine
	runs string // what the service was last told
}

const conf = "/d0/f0"

func (r *reloading) read() {
	data, err := r.m.ReadFile(conf)
	r.runs = fmt.Sprint(string(data), err)
}

func (r *reloading) ReloadUnit(ctx context.Context, name string) error {
	r.read()
	return r.Host.ReloadUnit(ctx, name)
}

func (r *reloading) RestartUnit(ctx context.Context, name string) error {
	r.read()
	return r.Host.RestartUnit(ctx, name)
}

// agrees: the service runs with what the file says.
func (r *reloading) agrees() bool {
	runs := r.runs
	r.read()
	defer func() { r.runs = runs }()
	return runs == r.runs
}

// handled writes the file, and reloads the service by a lazy state or restarts it by a reaction.
func handled(order states.Order, text string, lazy bool) *planned {
	p := newPlan()
	p.Policy.Order = order
	p.file("before", "/d0/before", text)
	p.file("conf", conf, text)
	if lazy {
		p.add("handler", "service.reloaded", map[string]any{"name": "s1"}).Lazy = true
	} else {
		p.add("handler", "service.running", map[string]any{"name": "s1"})
	}
	p.edge("conf", "handler", states.EdgeNotify)
	p.file("after", "/d0/after", text)
	return p
}

// TestTriggersSurviveAKill: whatever write a run is killed at, the service runs with the file that is there: once the run is
// rolled back, and once the next one is done.
func TestTriggersSurviveAKill(t *testing.T) {
	kills, taken := 0, 0
	for _, order := range orders {
		for _, lazy := range []bool{true, false} {
			for n := 0; ; n++ {
				name := fmt.Sprintf("%s, lazy %v, killed after write %d", order, lazy, n)
				m := newMachine(t)
				r := &reloading{Host: m.Host, m: m}
				engine := func() *executor.Engine {
					e := m.engine(1)
					e.Host = r
					return e
				}
				apply := func(e *executor.Engine, text string) executor.Report {
					p := handled(order, text, lazy)
					return e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
				}
				if got := apply(engine(), "one"); got.Result != executor.Converged || !r.agrees() {
					t.Fatalf("%s: %s %s", name, got.Result, got.Error)
				}
				e, s := engine(), dieAfter(n)
				through(e, s)
				apply(e, "two")
				if _, found, err := engine().Recover(t.Context()); err != nil {
					t.Fatalf("%s: %v", name, err)
				} else if found {
					taken++
				}
				if !r.agrees() {
					t.Fatalf("%s: rolled back, and the service runs with %q", name, r.runs)
				}
				if got := apply(engine(), "two"); got.Result != executor.Converged || !r.agrees() || r.runs != "two<nil>" {
					t.Fatalf("%s: the next run: %s, and the service runs with %q", name, got.Result, r.runs)
				}
				if s.n <= n {
					break
				}
				kills++
			}
		}
	}
	t.Logf("%d kills, %d runs rolled back", kills, taken)
	if kills < 60 || taken < 30 {
		t.Error("the test does not see what it is for")
	}
}

// TestDueTriggerSurvivesAKill: one that an earlier run could not answer stays due until it is answered and that is on disk.
func TestDueTriggerSurvivesAKill(t *testing.T) {
	for n := 0; ; n++ {
		m := newMachine(t)
		r := &reloading{Host: m.Host, m: m}
		refuses := true
		engine := func() *executor.Engine {
			e := m.engine(1)
			e.Host = &refusingReload{r, &refuses}
			return e
		}
		p := handled(states.Ansible, "two", true)
		p.Policy.OnFailure = "continue"
		if got := engine().Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); got.Result != executor.RunFailed {
			t.Fatal(got.Result, got.Error)
		}
		refuses = false
		e, s := engine(), dieAfter(n)
		through(e, s)
		e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
		if got := engine().Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); got.Result != executor.Converged || !r.agrees() {
			t.Fatalf("killed after write %d: %s, and the service runs with %q", n, got.Result, r.runs)
		}
		if s.n <= n {
			if n < 5 {
				t.Errorf("only %d writes", n)
			}
			return
		}
	}
}

type refusingReload struct {
	*reloading
	refuses *bool
}

func (r *refusingReload) ReloadUnit(ctx context.Context, name string) error {
	if *r.refuses {
		return fmt.Errorf("reload %s: refused", name)
	}
	return r.reloading.ReloadUnit(ctx, name)
}
