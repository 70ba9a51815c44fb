package executor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"shoal/executor"
	"shoal/states"
)

var orders = []states.Order{states.Ansible, states.JustDoIt, states.Genius}

// TestModesAgree: all three modes reach the same end state, a second run changes nothing, a failure leaves the machine as it
// was, and an empty tree brings back what was before the first.
func TestModesAgree(t *testing.T) {
	for seed := range seeds(150) {
		var first string
		for _, order := range orders {
			name := fmt.Sprintf("seed %d, %s", seed, order)
			m := newMachine(t)
			e := m.engine(workers)
			bare, exact := m.look(t, false), m.look(t, true)
			p := tree(seed, order, true)
			if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.RolledBackRun || m.look(t, true) != exact {
				t.Fatalf("%s: a failure: %s %s\n%s\n%s", name, r.Result, r.Error, results(r), difference(exact, m.look(t, true)))
			}
			p = tree(seed, order, false)
			r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
			if r.Result != executor.Converged {
				t.Fatalf("%s: %s %s\n%s", name, r.Result, r.Error, results(r))
			}
			inOrder(t, name, p, r)
			after := m.look(t, false)
			if first == "" {
				first = after
			}
			if after != first {
				t.Fatalf("%s: not as in the first mode\n%s\n%s", name, difference(first, after), results(r))
			}
			if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.Converged || r.Changed != 0 || m.look(t, false) != after {
				t.Fatalf("%s: the second run: %s, %d changed\n%s", name, r.Result, r.Changed, results(r))
			}
			if r := e.Apply(t.Context(), &newPlan().Plan, nil, executor.RunMeta{}); r.Result != executor.Converged {
				t.Fatalf("%s: the empty tree: %s %s", name, r.Result, r.Error)
			}
			if now := m.look(t, false); now != bare {
				t.Fatalf("%s: the empty tree left\n%s", name, difference(bare, now))
			}
		}
	}
}

// inOrder: the report lists every invocation after all that its edges put before it.
func inOrder(t *testing.T, name string, p *planned, r executor.Report) {
	t.Helper()
	type key struct {
		id string
		n  int
	}
	at := map[key]int{}
	for i, s := range r.States {
		if _, ok := at[key{s.ID, s.Invocation}]; !ok {
			at[key{s.ID, s.Invocation}] = i
		}
	}
	for _, e := range p.Edges {
		from, to := p.Invocations[e.From], p.Invocations[e.To]
		a, okA := at[key{from.ID, from.Number}]
		b, okB := at[key{to.ID, to.Number}]
		if okA && okB && a > b {
			t.Fatalf("%s: %s is reported after %s\n%s", name, from.ID, to.ID, results(r))
		}
	}
}

func difference(a, b string) string {
	return executor.TextDiff("machine", []byte(a+"\n"), []byte(b+"\n"))
}

var errDead = errors.New("the machine is dead")

// dieAfter lets nothing happen after the n-th write.
func dieAfter(n int) *steps {
	return &steps{before: func(i int, _ string) error {
		if i > n {
			return errDead
		}
		return nil
	}}
}

// TestKilledInEveryMode: a run of which nothing is written after some write leaves, once it is recovered, exactly the machine
// before or exactly the one after; whether or not the power took what was not synced.
func TestKilledInEveryMode(t *testing.T) {
	kills, rolled, done := 0, 0, 0
	for _, order := range orders {
		for seed := range seeds(6) {
			for n := 0; ; n++ {
				name := fmt.Sprintf("%s, seed %d, killed after write %d", order, seed, n)
				m := newMachine(t)
				m.grown(t, grow(seed+1000, order, false, true))
				exact := m.look(t, true)
				p := tree(seed, order, false)
				e := m.engine(workers)
				s := dieAfter(n)
				through(e, s)
				e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
				alive := s.n <= n
				if n%2 == 1 {
					m.kept.powerCut()
				}
				if n%3 == 0 && !alive { // a recovery may die as well
					e := m.engine(workers)
					through(e, dieAfter(n%5))
					_, _, _ = e.Recover(t.Context())
				}
				r, _, err := m.engine(workers).Recover(t.Context())
				if err != nil || len(r.Left) > 0 {
					t.Fatalf("%s: recover: %v, left %v", name, err, r.Left)
				}
				kills++
				switch now := m.look(t, true); {
				case now == exact:
					rolled++
				case m.look(t, false) == m.end(t, p):
					done++
				default:
					t.Fatalf("%s: neither as before nor as after\n%s", name, difference(exact, now))
				}
				if alive {
					break
				}
			}
		}
	}
	t.Logf("%d kills: %d runs rolled back, %d were over", kills, rolled, done)
	if !testing.Short() && kills < 500 || rolled < 100 || done < 3 {
		t.Errorf("%d kills, %d rolled back, %d over: the test does not see what it is for", kills, rolled, done)
	}
}

// TestRecoveryWaits: nothing is undone before what the killed run had started is over.
func TestRecoveryWaits(t *testing.T) {
	m := newMachine(t)
	m.grown(t, grow(1, states.Genius, false, true))
	exact := m.look(t, true)
	p := tree(2, states.Genius, false)
	e := m.engine(workers)
	through(e, dieAfter(40))
	e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
	half := m.look(t, true)
	if half == exact {
		t.Fatal("the run changed nothing before it died")
	}
	atWork := errors.New("apt-get is at work")
	e = m.engine(workers)
	e.Outlived = func(context.Context) error { return atWork }
	if _, _, err := e.Recover(t.Context()); !errors.Is(err, atWork) {
		t.Errorf("recover: %v", err)
	}
	if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.RunFailed {
		t.Errorf("apply: %s %s", r.Result, r.Error)
	}
	if now := m.look(t, true); now != half {
		t.Errorf("something was undone beside it\n%s", difference(half, now))
	}
	e.Outlived = func(context.Context) error { return nil }
	if r, found, err := e.Recover(t.Context()); !found || err != nil || len(r.Left) > 0 {
		t.Errorf("recover: %t, %v, left %v", found, err, r.Left)
	}
	if now := m.look(t, true); now != exact {
		t.Errorf("neither as before\n%s", difference(exact, now))
	}
}
