// Command simulate runs whole meshes in virtual time, finds what breaks, and says how to see it again. See docs/simulation.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
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
	workers           int
	timeline, first   bool
	mutants           bool
	mutant            string
	profile           string
}

func run(args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.Uint64Var(&o.seed, "seed", 0, "run this one course")
	flags.Uint64Var(&o.seeds, "seeds", 1000, "how many courses to run")
	flags.Uint64Var(&o.from, "from", 1, "the seed of the first of them")
	flags.IntVar(&o.workers, "workers", min(2, runtime.NumCPU()), "how many at a time")
	flags.BoolVar(&o.timeline, "timeline", false, "with -seed: tell all that happens")
	flags.BoolVar(&o.first, "first", false, "stop at the first that breaks something, and print it in a line")
	flags.BoolVar(&o.mutants, "mutants", false, "plant each bug of the list, and see how many seeds it takes to find it")
	flags.StringVar(&o.mutant, "mutant", "", "plant this bug alone")
	flags.StringVar(&o.profile, "cpuprofile", "", "write a profile of the processor's time to this file")
	if err := flags.Parse(args); err != nil {
		return err
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
	case o.mutants || o.mutant != "":
		return mutants(o, out)
	case o.seed != 0:
		return one(o, out)
	}
	return many(o, out)
}

func one(o options, out io.Writer) error {
	shared, err := simulation.NewShared()
	if err != nil {
		return err
	}
	r := simulation.Run(simulation.NewPlan(o.seed), shared, o.timeline)
	if o.first && r.Violation != nil {
		first([]simulation.Result{r}, out)
	}
	fmt.Fprint(out, r.Timeline)
	fmt.Fprintln(out, r)
	if r.Violation != nil {
		return errBroken
	}
	return nil
}

func many(o options, out io.Writer) error {
	began := time.Now()
	c := simulation.Campaign{From: o.from, Seeds: o.seeds, Workers: o.workers, Stop: o.first, Report: func(r simulation.Result) {
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
	if err == nil && len(t.Broken) > 0 {
		err = errBroken
	}
	return err
}
