package simulation

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var (
	seeds = flag.Uint64("sim.seeds", 40, "courses to run")
	from  = flag.Uint64("sim.from", 1, "the first of them")
)

func newShared(t *testing.T) *Shared {
	t.Helper()
	shared, err := NewShared()
	if err != nil {
		t.Fatal(err)
	}
	return shared
}

// TestCourses is a small campaign with the real signatures: `make sim` does the large ones.
func TestCourses(t *testing.T) {
	n := *seeds
	if testing.Short() {
		n = min(n, 10)
	}
	totals, err := Campaign{From: *from, Seeds: n, Workers: 1}.Run()
	if err != nil {
		t.Error(err)
	}
	for _, r := range totals.Broken {
		t.Errorf("%s\nsee it with: make sim SEED=%d", r, r.Plan.Seed)
	}
	if totals.Courses != int(n) || totals.Committed < 5*totals.Courses || totals.Faults < totals.Courses {
		t.Errorf("the courses show little: %+v", totals)
	}
	t.Logf("%d courses, %d steps, %d pushes committed", totals.Courses, totals.Steps, totals.Committed)
}

// TestManyCourses is a larger one, where each signature is verified once.
func TestManyCourses(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	out, err := simulate("-from", "1001", "-seeds", "200", "-workers", "1")
	if err != nil || !strings.Contains(out, "200 courses, 2 of them twice") || !strings.Contains(out, " 0 broken") {
		t.Errorf("%v\n%s", err, out)
	}
}

// simulate runs the command as `make sim` does.
func simulate(args ...string) (string, error) {
	cmd := exec.Command("go", append([]string{"run", "-tags", "fastverify", "./cmd/simulate"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestSameSeedSameCourse: neither the order of a map nor the clock of this machine decides anything.
func TestSameSeedSameCourse(t *testing.T) {
	for seed := range uint64(6) {
		a, b := Run(NewPlan(seed), newShared(t), false), Run(NewPlan(seed), newShared(t), true)
		if a.Hash != b.Hash || a.Steps != b.Steps || a.Steps < 100 {
			t.Errorf("seed %d took two courses: %016x in %d steps, then %016x in %d", seed, a.Hash, a.Steps, b.Hash, b.Steps)
		}
	}
}

// TestStretched: in slow motion the same faults happen, and last for longer.
func TestStretched(t *testing.T) {
	plan := NewPlan(2)
	slow := plan.Stretched(10)
	for i, f := range plan.Faults {
		if slow.Faults[i].For != 10*f.For || slow.Faults[i].Kind != f.Kind {
			t.Errorf("%s became %s", f, slow.Faults[i])
		}
	}
	r := Run(slow, newShared(t), false)
	if r.Violation != nil || r.Lasted < slow.Length || r.Committed == 0 {
		t.Errorf("it lasted %s of %s: %s", r.Lasted, slow.Length, r)
	}
}

// TestCorpus runs what once broke something.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	shared := newShared(t)
	for _, file := range files {
		c, err := ReadCase(os.DirFS("."), filepath.ToSlash(file))
		if err != nil {
			t.Error(err)
			continue
		}
		if r := Run(c.Plan, shared, false); r.Violation != nil || r.Steps < 100 {
			t.Errorf("%s (%s): %s\nsee it with: make sim CASE=simulation/%s", file, c.Why, r, file)
		}
	}
}

// TestPlantedBugsAreFound plants two of the bugs; `make sim-mutants` plants all.
func TestPlantedBugsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	for _, name := range []string{"forget-promise", "ack-before-sync"} {
		if out, err := simulate("-mutant", name, "-seeds", "20", "-workers", "1"); err != nil || !strings.Contains(out, "invariant 12") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestMutantsFit: what each planted bug replaces is still there.
func TestMutantsFit(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Mutants() {
		if _, err := m.Overlay("..", t.TempDir()); err != nil {
			t.Error(err)
		}
		if names[m.Name] {
			t.Errorf("two are called %s", m.Name)
		}
		names[m.Name] = true
	}
}

// TestShrink: of many faults the one that matters is left.
func TestShrink(t *testing.T) {
	shared := newShared(t)
	plan := NewPlan(3)
	plan.Nodes, plan.Clients = 4, 2
	plan.Faults = append(plan.Faults, Fault{At: 10 * second, Kind: "plant", Who: 1})
	broken := Run(plan, shared, false)
	if broken.Violation == nil {
		t.Fatal("the planted fault breaks nothing")
	}
	s := Shrink(broken, shared)
	if len(s.Plan.Faults) != 1 || s.Plan.Faults[0].Kind != "plant" || s.Plan.Clients != 1 || s.Plan.Nodes != minNodes || s.Violation == nil {
		t.Errorf("%d runs left %+v", s.Runs, s.Plan)
	}
	if !strings.Contains(s.Lanes, "BROKEN") || !strings.Contains(s.Timeline, "plant") {
		t.Errorf("the timeline does not tell: %s", s.Timeline)
	}
}
