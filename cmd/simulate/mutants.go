package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"shoal/simulation"
)

// mutants plants each bug in a binary of its own, and lets that look for it.
func mutants(o options, out io.Writer) error {
	list := simulation.Mutants()
	if o.mutant != "" {
		m, ok := simulation.MutantNamed(o.mutant)
		if !ok {
			return fmt.Errorf("no bug is called %q", o.mutant)
		}
		list = []simulation.Mutant{m}
	}
	missed := 0
	fmt.Fprintf(out, "| bug | what it does | seeds it took | seed | found as |\n|---|---|---|---|---|\n")
	for _, m := range list {
		found, err := hunt(m, o)
		if err != nil {
			return err
		}
		if found.seed == 0 {
			missed++
			fmt.Fprintf(out, "| %s | %s | **not in %d** | | |\n", m.Name, m.What, o.seeds)
			continue
		}
		fmt.Fprintf(out, "| %s | %s | %d | %d | %s |\n", m.Name, m.What, found.seed-o.from+1, found.seed, found.what)
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d planted bugs were not found", missed, len(list))
	}
	return nil
}

// find is the first seed in which a planted bug broke something.
type find struct {
	seed uint64
	what string
}

func hunt(m simulation.Mutant, o options) (find, error) {
	folder, err := os.MkdirTemp("", "shoal-mutant")
	if err != nil {
		return find{}, err
	}
	defer os.RemoveAll(folder)
	binary, err := build(m, folder)
	if err != nil {
		return find{}, err
	}
	args := []string{"-from", fmt.Sprint(o.from), "-seeds", fmt.Sprint(o.seeds), "-workers", fmt.Sprint(o.workers), "-first"}
	if o.seed != 0 {
		args = []string{"-seed", fmt.Sprint(o.seed), "-first"}
	}
	if o.save != "" {
		args = append(args, "-save", o.save)
	}
	said, err := exec.Command(binary, args...).Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return find{}, err
	}
	return read(string(said)), nil
}

// build makes this program with the bug in it.
func build(m simulation.Mutant, folder string) (binary string, err error) {
	said, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(said)))
	overlay, err := m.Overlay(root, folder)
	if err != nil {
		return "", err
	}
	binary = filepath.Join(folder, "simulate")
	cmd := exec.Command("go", "build", "-tags", "fastverify", "-overlay", overlay, "-o", binary, "./cmd/simulate")
	cmd.Dir = root
	var problem bytes.Buffer
	cmd.Stderr = &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("mutant %s does not build: %w\n%s", m.Name, err, problem.String())
	}
	return binary, nil
}

const firstMark = "FIRST "

// read finds what `-first` printed.
func read(said string) (f find) {
	for line := range strings.SplitSeq(said, "\n") {
		if rest, ok := strings.CutPrefix(line, firstMark); ok {
			seed, what, _ := strings.Cut(rest, " ")
			f.seed, _ = strconv.ParseUint(seed, 10, 64)
			f.what = what
		}
	}
	return f
}

// first prints the lowest seed that broke something, for read.
func first(broken []simulation.Result, out io.Writer) {
	var low *simulation.Result
	for i, r := range broken {
		if low == nil || r.Plan.Seed < low.Plan.Seed {
			low = &broken[i]
		}
	}
	if low != nil {
		what, _, _ := strings.Cut(low.Violation.What, "\n")
		fmt.Fprintf(out, "%s%d %s\n", firstMark, low.Plan.Seed, what)
	}
}
