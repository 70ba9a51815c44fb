package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/simulation/bubble"
	"shoal/simulation/scenario"
)

// smaller leaves out one fault after the other, for as long as the same still goes wrong, and writes what is left to a file.
func smaller(t *testing.T, r *bubble.Result, play bubble.Options, given []scenario.Tree) *bubble.Result {
	all, runs := len(r.Scenario.Faults()), 0
	file := filepath.Join(os.TempDir(), strings.TrimSuffix(filepath.Base(r.Scenario.File), ".scenario")+"-small.scenario")
	for at := 0; at < len(r.Scenario.Faults()); {
		s, err := scenario.Parse(file, []byte(r.Scenario.Without(r.Scenario.Faults()[at])), given...)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return r
		}
		runs++
		if without := bubble.Run(t, s, play); same(without, r) {
			r = without
		} else {
			at++
		}
	}
	if err := os.WriteFile(file, []byte(r.Scenario.Text), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return r
	}
	fmt.Printf("%d of %d faults are left after %d runs; again with: %s TREE %s\n", len(r.Scenario.Faults()), all, runs, "shoal-simulate", file)
	return r
}

// same tells whether the same line is not as expected; without a line, whether anything is not.
func same(a, b *bubble.Result) bool {
	var one, other *scenario.Problem
	if errors.As(a.Problem, &one) && errors.As(b.Problem, &other) {
		return one.Pos.Line == other.Pos.Line
	}
	return a.Problem != nil && (one == nil) == !errors.As(b.Problem, &other)
}

func writePage(file string, r *bubble.Result) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := r.Page(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
