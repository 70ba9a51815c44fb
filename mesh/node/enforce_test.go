package node

import (
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/mesh"
)

func TestEncodeReportAlwaysFits(t *testing.T) {
	long := strings.Repeat("x", 300)
	huge := executor.Report{Result: executor.RolledBackRun, Error: strings.Repeat("e", 1<<20), Left: make([]string, 300000)}
	for range maxTouched {
		huge.Drift = append(huge.Drift, executor.Drift{Name: strings.Repeat("n", 1<<14)})
	}
	for range 20000 {
		huge.States = append(huge.States, executor.StateReport{ID: long, Result: executor.Changed, Diff: long, Error: long})
	}
	diffs := executor.Report{Result: executor.Converged, States: []executor.StateReport{
		{ID: "a/b", Result: executor.Changed, Diff: strings.Repeat("d", 1<<20)}, {ID: "a/c", Result: executor.Unchanged},
	}}
	for name, r := range map[string]executor.Report{"empty": {}, "huge": huge, "diffs": diffs} {
		data := encodeReport(r)
		var back executor.Report
		if err := codec.Unmarshal(data, &back); err != nil || len(data) > mesh.MaxReport || back.Result != r.Result {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
		if name == "diffs" && len(back.States) != 2 {
			t.Errorf("%s: %d states are left", name, len(back.States))
		}
	}
}

// What was in force and failed once is looked at again at once; a revision that never held is not, nor is what goes on failing.
func TestPatience(t *testing.T) {
	e := NewEnforcement(Duty{FullCheck: time.Hour})
	waits := func(held bool) (all []time.Duration) {
		for e.held, e.failed = held, 0; e.failed < 4; e.failed++ {
			all = append(all, e.patience())
		}
		return all
	}
	if got := waits(true); !slices.Equal(got, []time.Duration{failedOnce, failedAgain, 2 * failedAgain, 4 * failedAgain}) {
		t.Errorf("of a revision that held: %v", got)
	}
	if got := waits(false); !slices.Equal(got, []time.Duration{failedAgain, 2 * failedAgain, 4 * failedAgain, 8 * failedAgain}) {
		t.Errorf("of one that never held: %v", got)
	}
	e.duty.FullCheck = time.Minute
	if e.failed = 50; e.patience() != time.Minute {
		t.Errorf("waits %s for longer than a full check takes to come", e.patience())
	}
}
