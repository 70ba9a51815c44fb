// Command simulate runs whole meshes in virtual time, finds what breaks, and says how to see it again. See docs/simulation.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"

	"shoal/simulation"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

var errBroken = errors.New("an invariant was broken")

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	seed := flags.Uint64("seed", 0, "run this one course, and tell it")
	seeds := flags.Uint64("seeds", 1000, "how many courses to run")
	from := flags.Uint64("from", 1, "the first of them")
	workers := flags.Int("workers", min(2, runtime.NumCPU()), "how many at a time")
	told := flags.Bool("timeline", false, "with -seed: print all that happened")
	if err := flags.Parse(args); err != nil {
		return err
	}
	_, _ = seeds, workers
	_ = from
	shared, err := simulation.NewShared()
	if err != nil {
		return err
	}
	r := simulation.Run(simulation.NewPlan(*seed), shared, *told)
	fmt.Fprint(out, r.Timeline)
	fmt.Fprintln(out, r)
	if r.Violation != nil {
		return errBroken
	}
	return nil
}
