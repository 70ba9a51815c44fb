package executor_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"shoal/executor"
)

// counting notes how often each path was looked at.
type counting struct {
	executor.Host

	mu    sync.Mutex
	looks map[string]int
}

func (c *counting) Lstat(name string) (executor.Stat, error) {
	c.mu.Lock()
	c.looks[name]++
	c.mu.Unlock()
	return c.Host.Lstat(name)
}

// manyFiles is more than a run asks one after another.
const manyFiles = 300

func many() *planned {
	p := newPlan()
	for i := range manyFiles {
		p.file(fmt.Sprint("f", i), fmt.Sprintf("/etc/many/d%d/f%d", i%7, i), fmt.Sprintf("file %d\n", i))
	}
	return p
}

func TestEveryFileIsLookedAtOnceWhenNothingChanged(t *testing.T) {
	w := newWorld(t)
	p := many()
	w.converge(t, p)
	c := &counting{Host: w.engine.Host, looks: map[string]int{}}
	w.engine.Host = c
	if r := w.converge(t, p); r.Changed != 0 || len(r.States) != manyFiles {
		t.Fatalf("%d changed of %d\n%s", r.Changed, len(r.States), results(r))
	}
	for i := range manyFiles {
		if name := fmt.Sprintf("/etc/many/d%d/f%d", i%7, i); c.looks[name] != 1 {
			t.Errorf("%s was looked at %d times", name, c.looks[name])
		}
	}
	if len(c.looks) != manyFiles {
		t.Errorf("%d paths were looked at", len(c.looks))
	}
}

// What is asked ahead is answered in the order of the plan, and only for what runs.
func TestFilesThatAreAskedAhead(t *testing.T) {
	w := newWorld(t)
	p := many()
	w.converge(t, p)

	drifted := map[string]bool{}
	for i := 0; i < manyFiles; i += 3 {
		w.write(t, fmt.Sprintf("/etc/many/d%d/f%d", i%7, i), "drift\n", 0o644)
		drifted[fmt.Sprintf("c/f%d", i)] = true
	}
	p = many()
	p.Invocations[6].Skip = "when: false is false"
	p.Invocations[9].Lazy = true
	p.Invocations = append(p.Invocations[:12], p.Invocations[13:]...) // f12 left the tree
	delete(drifted, "c/f6")
	delete(drifted, "c/f9")
	delete(drifted, "c/f12")
	plan := w.engine.Check(t.Context(), &p.Plan, nil, executor.RunMeta{})
	expectChanges(t, plan, drifted, executor.WouldChange)
	r := w.converge(t, p)
	expectChanges(t, r, drifted, executor.Changed)
	if got := w.read(t, "/etc/many/d6/f6"); got != "drift\n" {
		t.Errorf("a state that was skipped wrote %q", got)
	}
	if got := w.read(t, "/etc/many/d2/f9"); got != "drift\n" {
		t.Errorf("a state that nothing notified wrote %q", got)
	}
	if got := w.read(t, "/etc/many/d0/f0"); got != "file 0\n" {
		t.Errorf("it is %q", got)
	}
}

// expectChanges wants a removal of f12 first, then the rest in the order of the plan.
func expectChanges(t *testing.T, r executor.Report, drifted map[string]bool, want executor.Result) {
	t.Helper()
	if r.States[0].ID != "c/f12" || r.States[0].Result != want {
		t.Errorf("first: %+v", r.States[0])
	}
	last := -1
	for _, s := range r.States[1:] {
		var n int
		if _, err := fmt.Sscanf(s.ID, "c/f%d", &n); err != nil || n <= last {
			t.Fatalf("%s after f%d", s.ID, last)
		}
		last = n
		result := executor.Unchanged
		switch {
		case drifted[s.ID]:
			result = want
		case n == 6 || n == 9:
			result = executor.Skipped
		}
		if s.Result != result {
			t.Errorf("%s: %s, not %s", s.ID, s.Result, result)
		}
	}
	if r.Changed != len(drifted)+1 {
		t.Errorf("%d changed, not %d", r.Changed, len(drifted)+1)
	}
}

// A ledger that cannot be read fails the run before it touches anything, also when files are being asked meanwhile.
func TestDamagedLedgerWithManyFiles(t *testing.T) {
	w := newWorld(t)
	p := many()
	w.engine.Ledger = brokenLedger{}
	r := w.apply(t, p)
	if r.Result != executor.RunFailed || !strings.Contains(r.Error, "decode") || r.Changed != 0 {
		t.Errorf("%s: %s", r.Result, r.Error)
	}
	if got := w.read(t, "/etc/many/d0/f0"); got != "error: no such file or directory" && !strings.Contains(got, "no such file") {
		t.Errorf("it wrote %q", got)
	}
}

type brokenLedger struct{ executor.Ledger }

func (brokenLedger) Load() ([]byte, error) { return []byte{0xff}, nil }
