package moduletest

import (
	"fmt"
	"testing"

	"shoal/executor"
)

// Interrupt lets each operation of each Apply fail once and the process die at it, as Suite.Faults does, and then does the
// same to each Revert: made once more, it restores the machine. The host of the suite has to be a fresh one each time.
func Interrupt(t *testing.T, s Suite) (count int) {
	t.Helper()
	for _, c := range s.Cases {
		if c.Matches || c.Fails || c.Irreversible {
			continue
		}
		t.Run(c.Name+", interrupted", func(t *testing.T) { count += s.faults(t, c) })
		t.Run(c.Name+", its undo interrupted", func(t *testing.T) {
			for _, kind := range faultKinds {
				for at := 1; s.brokenRevert(t, c, kind.name, &steps{at: at, dead: kind.dead, after: kind.after}); at++ {
					if count++; at > maxSteps {
						t.Fatalf("Revert takes over %d operations", maxSteps)
					}
				}
			}
		})
	}
	t.Logf("%d interruptions", count)
	return count
}

// Both runs the laws, and the laws under interruption.
func Both(t *testing.T, s Suite) {
	t.Helper()
	Run(t, s)
	if n := Interrupt(t, s); n == 0 {
		t.Error("nothing was interrupted")
	}
}

// brokenRevert tries one; false: Revert has no such operation.
func (s Suite) brokenRevert(t *testing.T, c Case, kind string, f *steps) bool {
	t.Helper()
	h := s.Host(t)
	if c.Setup != nil {
		c.Setup(t, h)
	}
	before := s.Snapshot(t, h)
	undo := s.capture(t, h, c)
	if _, err := s.Module.Apply(t.Context(), h, c.Contents, c.Params); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	f.Host = h
	_ = s.back(t, f, c, undo) // what matters is what is left
	if f.n < f.at {
		return false
	}
	name := fmt.Sprintf("operation %d of Revert (%s) %s", f.at, f.name, kind)
	if err := s.back(t, h, c, undo); err != nil {
		t.Fatalf("%s: the next Revert: %v", name, err)
	}
	s.same(t, h, before, name+": the next Revert did not restore the machine")
	return true
}

// back is what the engine does: it sweeps before, so that a folder can be removed, and after, when the folders are those of
// before.
func (s Suite) back(t *testing.T, h executor.Host, c Case, u executor.Undo) error {
	t.Helper()
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
