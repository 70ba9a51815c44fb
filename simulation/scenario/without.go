package scenario

import (
	"fmt"
	"slices"
	"strings"
)

// Faults are the steps without which a scenario could still go wrong: what is done to nodes and to the network.
func (s *Scenario) Faults() []Step {
	var faults []Step
	for _, step := range s.Steps {
		if a := step.Action; a != nil && !slices.Contains([]Verb{Push, Retry, Start, Resume, Wait, Heal}, a.Verb) {
			faults = append(faults, step)
		}
	}
	return faults
}

// Without is the scenario's text with nothing but the waiting left of a step's line.
func (s *Scenario) Without(step Step) string {
	lines := strings.Split(s.Text, "\n")
	clock := string(step.Clock)
	if step.Clock == After && step.When == 0 {
		lines[step.Pos.Line-1] = "then wait"
	} else {
		lines[step.Pos.Line-1] = fmt.Sprintf("%s %s wait", clock, step.When)
	}
	return strings.Join(lines, "\n")
}
