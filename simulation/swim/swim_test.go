package swim

import (
	"testing"
	"testing/synctest"
	"time"

	"shoal/membership/gossip"
)

// small is what every run of the tests can afford; docs/simulation.md has the figures of large meshes.
func small() Plan { return Plan{Nodes: 24, Seed: 1, Timing: gossip.DefaultTiming()} }

// TestLoss holds a small mesh to what is aimed at for large ones, in virtual time.
func TestLoss(t *testing.T) {
	for _, aim := range []struct {
		loss        float64
		p50, p99    time.Duration // until a death is seen
		falseDeaths bool          // are tolerated
	}{
		{0, 7 * time.Second, 12 * time.Second, false},
		{0.1, 12 * time.Second, 18 * time.Second, false},
		{0.25, 18 * time.Second, 30 * time.Second, true},
	} {
		p := small()
		p.Quiet, p.Hints, p.Crashes = 5*time.Minute, 10, 4
		f, err := p.Loss(t, aim.loss)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", f)
		if f.Detection.Count < 4*(p.Nodes-2*p.Crashes) || f.Detection.Missing > 0 || f.Detection.P50 > aim.p50 || f.Detection.P99 > aim.p99 {
			t.Errorf("loss of %.2f: deaths are seen too late: %+v", aim.loss, f.Detection)
		}
		if f.Deaths.Hours < 1.9 || !aim.falseDeaths && f.Deaths.Episodes > 0 {
			t.Errorf("loss of %.2f: living nodes are taken for dead: %+v", aim.loss, f.Deaths)
		}
		if f.Hints.Count+f.Hints.Missing != p.Hints*(p.Nodes-1) || f.Hints.P99 > 1300*time.Millisecond {
			t.Errorf("loss of %.2f: hints come too late: %+v", aim.loss, f.Hints)
		}
	}
}

func TestMerge(t *testing.T) {
	for _, cut := range []time.Duration{time.Minute, 10 * time.Minute} {
		h, err := small().Cut(t, cut)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", h)
		if h.Took > time.Minute || h.Sent == 0 || h.First == 0 {
			t.Errorf("after %s the halves are one again after %s: %+v", cut, h.Took, h)
		}
	}
}

// TestAcquainted: a mesh that starts acquainted takes nobody for dead, has nothing left to tell, and finds deaths, as one does that has met.
func TestAcquainted(t *testing.T) {
	met, acquainted := small(), small()
	acquainted.Acquainted = true
	var rates []float64
	for _, p := range []Plan{met, acquainted} {
		p.Quiet, p.Hints, p.Crashes = time.Minute, 3, 2
		f, err := p.Loss(t, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", f)
		rates = append(rates, f.Rate)
		if f.Deaths.Told > 0 || f.Hints.Missing > 0 || f.Detection.Missing > 0 || f.Detection.Latest > 12*time.Second {
			t.Errorf("acquainted: %v: %+v", p.Acquainted, f)
		}
	}
	if rates[1] > 1.1*rates[0] {
		t.Errorf("nodes that started acquainted send %.0f bytes a second, others %.0f", rates[1], rates[0])
	}
}

// TestNewcomersHints: who has just joined has news of everybody to pass on, which fill its packets for as long as they are told.
// Its hints do not wait for that.
func TestNewcomersHints(t *testing.T) {
	const nodes, hints = 50, 5
	synctest.Test(t, func(t *testing.T) {
		m, err := Start(nodes, 1, gossip.DefaultTiming(), nil)
		if err != nil {
			m.Close()
			t.Fatal(err)
		}
		defer m.Close()
		for i := range hints {
			if err := m.hint(nodes - 1 - i); err != nil {
				t.Fatal(err)
			}
		}
		s := m.heard(hints)
		t.Logf("%+v", s)
		if s.Count != hints*(nodes-1) || s.Latest > 1300*time.Millisecond {
			t.Errorf("hints of the newest nodes come too late: %+v", s)
		}
	})
}

// TestNobodyNotices: a partition that is too short to be seen is told, not counted as healed at once.
func TestNobodyNotices(t *testing.T) {
	if h, err := small().Cut(t, time.Second); err == nil {
		t.Errorf("%+v", h)
	}
}

func TestSpread(t *testing.T) {
	var took []time.Duration
	for i := range 1000 {
		took = append(took, time.Duration(1000-i))
	}
	if s := spread(took, 0); s.P50 != 500 || s.P99 != 990 || s.P999 != 999 || s.Latest != 1000 {
		t.Errorf("%+v", s)
	}
	if s := spread(took[:500], 500); s.Missing != 500 || s.P50 != s.Latest {
		t.Errorf("what is missing counts as late: %+v", s)
	}
	if s := spread(nil, 3); s.Count != 0 || s.Missing != 3 {
		t.Errorf("%+v", s)
	}
}
