package swim

import (
	"testing"
	"time"

	"shoal/membership/gossip"
)

// small is what every test run can afford.
func small() Plan { return Plan{Nodes: 24, Seed: 1, Timing: gossip.DefaultTiming()} }

func TestLoss(t *testing.T) {
	p := small()
	p.Quiet, p.Hints, p.Crashes = 5*time.Minute, 10, 4
	for _, loss := range []float64{0, 0.1, 0.25} {
		f, err := p.Loss(t, loss)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", f)
	}
}

func TestMerge(t *testing.T) {
	for _, cut := range []time.Duration{time.Minute, time.Hour} {
		h, err := small().Cut(t, cut)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", h)
	}
}
