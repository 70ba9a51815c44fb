package moduletest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"shoal/executor"
)

// maxSteps bounds the operations of one Apply or Revert, so that a suite ends.
const maxSteps = 2000

// fault is how one operation of the host ends.
type fault struct {
	name string
	err  error // what the module is told
	// only, unless nil, says which operations can end so.
	only func(operation string) bool
	// half: the operation does half of its work first.
	half bool
	// dead: it is the last one, as for a process that is killed there; after: it is done, and nobody hears of it.
	dead, after bool
}

var faults = []fault{
	{name: "fails", err: syscall.EIO},
	{name: "finds the disk full", err: syscall.ENOSPC, only: writes},
	{name: "writes half", err: io.ErrShortWrite, only: func(op string) bool { return op == "stage" || op == "fetch" }, half: true},
	{name: "is not permitted", err: fs.ErrPermission},
	{name: "is the last", err: errDead, dead: true},
	{name: "is the last, and done", err: errDead, dead: true, after: true},
}

// readers are the operations that take no space.
var readers = []string{"lstat", "read", "readlink", "readdir", "xattrs", "hash", "unit", "lookup", "installed packages", "available package", "simulate packages", "leftovers"}

func writes(operation string) bool { return !slices.Contains(readers, operation) }

// tally counts faults by what they were injected into.
type tally map[string]int

func (t tally) sum() (n int) {
	for _, count := range t {
		n += count
	}
	return n
}

func (t tally) String() string {
	var rows []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		rows = append(rows, fmt.Sprintf("%s %d", name, t[name]))
	}
	return fmt.Sprintf("%d faults injected: %s", t.sum(), strings.Join(rows, ", "))
}

// faults lets each operation of an Apply end in each way, and then each of a Revert: what is put back in the end is the
// machine as it was, and an Apply that says it is done has done it.
func (s Suite) faults(t *testing.T, c Case) tally {
	count := tally{}
	for _, f := range faults {
		s.each(t, c, count, f, "Apply", s.brokenApply)
		if !c.Fails {
			s.each(t, c, count, f, "Revert", s.brokenRevert)
		}
	}
	t.Log(count)
	if count.sum() == 0 {
		t.Error("no operation failed: the suite saw nothing")
	}
	return count
}

// each tries one kind of fault at one operation after the other.
func (s Suite) each(t *testing.T, c Case, count tally, f fault, who string, try func(*testing.T, Case, *steps, string)) {
	t.Helper()
	for at := 1; ; at++ {
		if at > maxSteps {
			t.Fatalf("%s takes over %d operations", who, maxSteps)
		}
		host := &steps{at: at, fault: f}
		try(t, c, host, fmt.Sprintf("operation %d of %s", at, who))
		if host.n < at {
			return
		}
		count[host.name]++
	}
}

// fresh is the machine before, as a case has it.
func (s Suite) fresh(t *testing.T, c Case) (h executor.Host, before any, undo executor.Undo) {
	t.Helper()
	h = s.Host(t)
	if c.Setup != nil {
		c.Setup(t, h)
	}
	before = s.Snapshot(t, h)
	return h, before, s.capture(t, h, c)
}

func (s Suite) brokenApply(t *testing.T, c Case, f *steps, where string) {
	t.Helper()
	h, before, undo := s.fresh(t, c)
	change := s.check(t, h, c)
	f.Host = h
	_, err := s.Module.Apply(t.Context(), f, c.Contents, c.Params)
	if f.n < f.at {
		return
	}
	where += " (" + f.name + ") " + f.fault.name
	if err == nil && f.fault.dead {
		t.Fatalf("%s, and Apply says that it did it all", where)
	}
	if err == nil && !change.Always {
		if after := s.check(t, h, c); after.Needed {
			t.Fatalf("%s, and Apply says that it is done, where Check still wants:\n%s", where, after.Diff)
		}
	}
	if err := s.back(h, t, c, undo); err != nil {
		t.Fatalf("%s: Revert: %v", where, err)
	}
	s.same(t, h, before, where+": Revert did not restore the machine")
}

// brokenRevert: made once more, it restores the machine. One that says it is done has done it.
func (s Suite) brokenRevert(t *testing.T, c Case, f *steps, where string) {
	t.Helper()
	h, before, undo := s.fresh(t, c)
	if _, err := s.Module.Apply(t.Context(), h, c.Contents, c.Params); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	f.Host = h
	broken := s.back(f, t, c, undo)
	if f.n < f.at {
		return
	}
	where += " (" + f.name + ") " + f.fault.name
	if broken == nil && f.fault.dead {
		t.Fatalf("%s, and Revert says that it did it all", where)
	}
	if broken == nil && f.name != "sync" {
		s.same(t, h, before, where+", and Revert says that it is done")
	}
	if err := s.back(h, t, c, undo); err != nil {
		t.Fatalf("%s: the next Revert: %v", where, err)
	}
	s.same(t, h, before, where+": the next Revert did not restore the machine")
}

// back is what the engine does: it sweeps before, so that a folder can be removed, and after, when the folders are those of
// before.
func (s Suite) back(h executor.Host, t *testing.T, c Case, u executor.Undo) error {
	if err := s.sweep(h, c, u); err != nil {
		return err
	}
	if err := s.Module.Revert(t.Context(), h, c.Params, u); err != nil {
		return err
	}
	return s.sweep(h, c, u)
}

func (s Suite) sweep(h executor.Host, c Case, u executor.Undo) error {
	if staged := s.stages(c, u); len(staged) > 0 {
		return h.Unstage(staged)
	}
	return nil
}
