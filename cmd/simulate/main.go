// Command simulate runs whole meshes in virtual time, finds what breaks, and says how to see it again. See docs/simulation.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"shoal/simulation"
)

func main() {
	debug.SetGCPercent(400) // worlds are short-lived and small: memory is cheaper than time
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

var errBroken = errors.New("an invariant was broken")

// options are the flags.
type options struct {
	seed, seeds, from uint64
	workers, stretch  int
	file, save        string // a case of the corpus
	timeline, first   bool
	mutants           bool
	mutant            string
	profile           string
	overlay           string // a folder
	gossiping         gossiping
}

func run(args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.Uint64Var(&o.seed, "seed", 0, "run this one course")
	flags.StringVar(&o.file, "case", "", "run the course of this file")
	flags.Uint64Var(&o.seeds, "seeds", 1000, "how many courses to run")
	flags.Uint64Var(&o.from, "from", 1, "the seed of the first of them")
	flags.IntVar(&o.workers, "workers", min(2, runtime.NumCPU()), "how many at a time")
	flags.IntVar(&o.stretch, "stretch", 1, "let faults and pauses take that many times as long")
	flags.BoolVar(&o.timeline, "timeline", false, "with -seed or -case: tell all that happens")
	flags.StringVar(&o.save, "save", "", "write the plan of what is broken to this file, as small as it could be made")
	flags.BoolVar(&o.first, "first", false, "stop at the first that breaks something, and print it in a line")
	flags.BoolVar(&o.mutants, "mutants", false, "plant each bug of the list, and see how many seeds it takes to find it")
	flags.StringVar(&o.mutant, "mutant", "", "plant this bug alone")
	flags.StringVar(&o.overlay, "replay-overlay", "", "write what go build -overlay needs for runs that can be repeated to this folder, and print the file")
	flags.StringVar(&o.profile, "cpuprofile", "", "write a profile of the processor's time to this file")
	o.gossiping.flags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.overlay != "" {
		return replayOverlay(o.overlay, out)
	}
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	switch {
	case o.gossiping.on:
		return measureGossip(o.gossiping, o.seed)
	case o.mutants || o.mutant != "":
		return mutants(o, out)
	case o.seed != 0 || o.file != "":
		return one(o, out)
	}
	return many(o, out)
}

// replayOverlay changes the runtime of the Go that is installed.
func replayOverlay(folder string, out io.Writer) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	file, err := simulation.Replay().Overlay(filepath.Join(strings.TrimSpace(string(root)), "src"), folder)
	if err == nil {
		fmt.Fprintln(out, file)
	}
	return err
}

// one runs a course, and shrinks it if it breaks something.
func one(o options, out io.Writer) error {
	shared, err := simulation.NewShared()
	if err != nil {
		return err
	}
	plan := simulation.NewPlan(o.seed)
	if o.stretch > 1 {
		plan = plan.Stretched(o.stretch)
	}
	if o.file != "" {
		c, err := simulation.ReadCase(os.DirFS(filepath.Dir(o.file)), filepath.Base(o.file))
		if err != nil {
			return err
		}
		plan = c.Plan
	}
	r := simulation.Run(plan, shared, o.timeline)
	fmt.Fprint(out, r.Timeline)
	fmt.Fprintln(out, r)
	if r.Violation == nil {
		return nil
	}
	if o.first {
		first([]simulation.Result{r}, out)
	}
	return explain(r, o, shared, out)
}

func many(o options, out io.Writer) error {
	began := time.Now()
	c := simulation.Campaign{From: o.from, Seeds: o.seeds, Workers: o.workers, Stretch: o.stretch, Stop: o.first, Report: func(r simulation.Result) {
		if r.Violation != nil {
			fmt.Fprintln(out, r)
		}
	}}
	t, err := c.Run()
	if o.first {
		first(t.Broken, out)
	}
	took := time.Since(began)
	fmt.Fprintf(out, "%d courses, %d of them twice; %d steps, %d faults, %d pushes committed; %d broken; %s, %.0f courses a minute\n",
		t.Courses, t.Twice, t.Steps, t.Faults, t.Committed, len(t.Broken), took.Round(time.Millisecond), float64(t.Courses)/took.Minutes())
	if err != nil || len(t.Broken) == 0 {
		return err
	}
	if o.first && o.save == "" {
		return errBroken
	}
	shared, err := simulation.NewShared()
	if err != nil {
		return err
	}
	return explain(t.Broken[0], o, shared, out)
}

// explain prints all that a person needs to see a failure again and to understand it.
func explain(r simulation.Result, o options, shared *simulation.Shared, out io.Writer) error {
	s := simulation.Shrink(r, shared)
	if s.Violation == nil {
		return fmt.Errorf("seed %d breaks something, and does not when it is run again", r.Plan.Seed)
	}
	file := o.save
	if file == "" {
		file = filepath.Join(os.TempDir(), fmt.Sprintf("shoal-seed-%d.json", r.Plan.Seed))
	}
	if err := (simulation.Case{Why: s.Violation.What, Plan: s.Plan}).Write(file); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s\nThe last of each node:\n\n%s", s, s.Lanes)
	fmt.Fprintf(out, "seed %d, commit %s\n%s\n", r.Plan.Seed, commit(), s.Violation)
	fmt.Fprintf(out, "%d of %d faults are left, %d nodes, %d clients (%d runs):\n", len(s.Plan.Faults), s.Of, s.Plan.Nodes, s.Plan.Clients, s.Runs)
	for _, f := range s.Plan.Faults {
		fmt.Fprintf(out, "  %s\n", f)
	}
	slow := ""
	if r.Plan.Stretch > 1 {
		slow = fmt.Sprintf(" STRETCH=%d", r.Plan.Stretch)
	}
	fmt.Fprintf(out, "replay it whole:  make sim SEED=%d%s\nreplay the small: make sim CASE=%s\n", r.Plan.Seed, slow, file)
	return errBroken
}

func commit() string {
	said, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(said))
}
