package simulation

import (
	"flag"
	"testing"
)

var (
	seeds = flag.Uint64("seeds", 100, "courses to run")
	from  = flag.Uint64("from", 1, "the first of them")
)

func TestSeeds(t *testing.T) {
	shared, err := NewShared()
	if err != nil {
		t.Fatal(err)
	}
	committed, steps, failed := 0, 0, 0
	for seed := *from; seed < *from+*seeds; seed++ {
		r := Run(NewPlan(seed), shared, false)
		committed += r.Committed
		steps += r.Steps
		if r.Violation != nil {
			t.Error(r)
			if failed++; failed > 20 {
				break
			}
		}
	}
	t.Logf("%d committed, %d steps", committed, steps)
}
