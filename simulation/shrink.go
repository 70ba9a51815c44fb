package simulation

import (
	"slices"
	"strings"
)

// Shrunk is a smaller plan that breaks the same invariant.
type Shrunk struct {
	Result
	Runs int // that it took
	Of   int // faults that there were
}

// shrinkRuns bounds the runs that a shrinking takes.
const shrinkRuns = 400

// Shrink makes the plan of a course that broke something smaller: by faults (Zeller and Hildebrandt, "Simplifying and isolating
// failure-inducing input", 2002), then by clients, then by nodes, then it begins the calm sooner.
func Shrink(broken Result, shared *Shared) Shrunk {
	s := shrinking{shared: shared, best: broken}
	for before := -1; before != s.size() && s.runs < shrinkRuns; {
		before = s.size()
		s.faults()
		s.clients()
		s.nodes()
		s.shorter()
	}
	return Shrunk{Result: Run(s.best.Plan, shared, true), Runs: s.runs, Of: len(broken.Plan.Faults)}
}

type shrinking struct {
	shared *Shared
	best   Result
	runs   int
}

func (s *shrinking) size() int {
	p := s.best.Plan
	return 1000*len(p.Faults) + 10*p.Nodes + p.Clients + p.Envs
}

// kind is what a violation begins with: the same invariant is to be broken.
func (v Violation) kind() string {
	kind, _, _ := strings.Cut(v.What, ":")
	return kind
}

// try keeps a plan that breaks the same.
func (s *shrinking) try(p Plan) bool {
	if s.runs >= shrinkRuns {
		return false
	}
	s.runs++
	r := Run(p, s.shared, false)
	if r.Violation == nil || r.Violation.kind() != s.best.Violation.kind() {
		return false
	}
	s.best = r
	return true
}

// faults leaves out pieces of the list, of half its length, then of a quarter, down to one.
func (s *shrinking) faults() {
	for piece := max(1, len(s.best.Plan.Faults)/2); piece >= 1; piece /= 2 {
		for i := 0; i < len(s.best.Plan.Faults); {
			p := s.best.Plan
			p.Faults = slices.Delete(slices.Clone(p.Faults), i, min(i+piece, len(p.Faults)))
			if !s.try(p) {
				i += piece
			}
		}
	}
}

func (s *shrinking) clients() {
	for s.best.Plan.Clients > 1 {
		p := s.best.Plan
		p.Clients--
		if !s.try(p) {
			return
		}
	}
	if p := s.best.Plan; p.Envs > 1 {
		p.Envs = 1
		s.try(p)
	}
}

func (s *shrinking) nodes() {
	for n := minNodes; n < s.best.Plan.Nodes; n++ {
		p := s.best.Plan
		p.Nodes = n
		if s.try(p) {
			return
		}
	}
}

func (s *shrinking) shorter() {
	for range 4 {
		p := s.best.Plan
		p.Length = p.Length * 3 / 4
		if p.Length < second || !s.try(p) {
			return
		}
	}
}
