package moduletest

import (
	"reflect"
	"testing"

	"shoal/executor"
	"shoal/states"
)

// outputs: what Check and Apply return is what the function declares, by name and type, since later states are compiled
// against that.
func (s Suite) outputs(t *testing.T, who string, got map[string]any) {
	t.Helper()
	declared := map[string]states.Type{}
	for _, out := range s.Module.Function().Outputs {
		declared[out.Name] = out.Type
	}
	for name, v := range got {
		want, ok := declared[name]
		switch {
		case !ok && name == "changed": // every state has it
		case !ok:
			t.Errorf("%s returns the output %q, which the function does not declare", who, name)
		case !executor.OutputFits(want, v):
			t.Errorf("%s returns %q = %#v (%T), which is no %s", who, name, v, v, want)
		}
	}
}

// allOutputs: Apply returns all that the function declares, and what Check foresaw is what comes: a plan is the run.
func (s Suite) allOutputs(t *testing.T, foreseen, got map[string]any) {
	t.Helper()
	for _, out := range s.Module.Function().Outputs {
		if _, ok := got[out.Name]; !ok {
			t.Errorf("Apply does not return %q, which the function declares", out.Name)
		}
	}
	for name, v := range foreseen {
		if now := got[name]; !reflect.DeepEqual(v, now) {
			t.Errorf("Check says that %q will be %#v, and Apply returns %#v", name, v, now)
		}
	}
}
