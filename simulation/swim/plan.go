package swim

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"shoal/membership/gossip"
	"shoal/simulation/bubble"
)

// settleTime is how long a mesh has met before it is measured.
const settleTime = 30 * time.Second

// Plan says what is measured. What is zero is left out.
type Plan struct {
	Nodes   int
	Seed    uint64
	Timing  gossip.Timing
	Losses  []float64       // of packets; each has a mesh of its own
	Quiet   time.Duration   // in which living nodes may be taken for dead
	Hints   int             // for each loss
	Crashes int             // for each loss
	Cuts    []time.Duration // how long partitions last; each has a mesh of its own
	// Acquainted meshes start with StartAcquainted.
	Acquainted bool
}

// Figures are of one loss.
type Figures struct {
	Loss      float64
	Deaths    Deaths
	Hints     Spread
	Detection Spread
	Rate      float64 // bytes that a node sends in a second while nothing happens
	Wall      time.Duration
}

// Healed is of one partition.
type Healed struct {
	Cut time.Duration
	Merge
	Wall time.Duration
}

// inBubble makes a mesh, gives it to do, and ends it. It must not be called in a bubble.
func (p Plan) inBubble(t *testing.T, do func(m *Mesh) error) (wall time.Duration, err error) {
	beat := &atomic.Uint64{}
	defer bubble.Watch(beat, "gossip")()
	began := time.Now()
	synctest.Test(t, func(*testing.T) {
		var m *Mesh
		start := Start
		if p.Acquainted {
			start = StartAcquainted
		}
		if m, err = start(p.Nodes, p.Seed, p.Timing, beat); err == nil {
			m.sleep(settleTime)
			err = do(m)
		}
		m.Close() // also those that started before one could not
	})
	return time.Since(began), err
}

// Loss measures a mesh that has met and then loses so many of its packets.
func (p Plan) Loss(t *testing.T, loss float64) (f Figures, err error) {
	f.Loss = loss
	f.Wall, err = p.inBubble(t, func(m *Mesh) (err error) {
		m.Fabric.Lose(loss)
		m.sleep(settleTime)
		before := m.sent()
		if f.Deaths = m.FalseDeaths(p.Quiet); p.Quiet > 0 {
			f.Rate = float64(m.sent()-before) / p.Quiet.Seconds() / float64(p.Nodes)
		}
		if f.Hints, err = m.Hints(p.Hints); err == nil {
			f.Detection, err = m.Detection(p.Crashes)
		}
		return err
	})
	return f, err
}

// Cut measures how a mesh becomes one again.
func (p Plan) Cut(t *testing.T, cut time.Duration) (h Healed, err error) {
	h.Cut = cut
	h.Wall, err = p.inBubble(t, func(m *Mesh) (err error) {
		h.Merge, err = m.Merge(cut)
		return err
	})
	return h, err
}

// Print measures all of it, one mesh after the other, and prints each line as soon as it is known.
func (p Plan) Print(t *testing.T, out io.Writer) error {
	g := p.Timing
	fmt.Fprintf(out, "%d nodes; probe every %s, answer within %s, %d helpers, suspicion %d to %d times; gossip every %s to %d, %d times; all every %s\n\n",
		p.Nodes, g.ProbeInterval, g.ProbeTimeout, g.Helpers, g.Suspicion, g.Suspicion*g.SuspicionMost, g.GossipInterval, g.GossipNodes, g.Retransmit, g.PushPullInterval)
	if len(p.Losses) > 0 {
		fmt.Fprint(out, "| loss | a death is seen: 50 % · 99 % · all | a hint is heard: 50 % · 99 % · 99.9 % · all | false deaths in 1,000 hours (of) | bytes/s | wall |\n",
			"|---|---|---|---|---|---|\n")
	}
	for _, loss := range p.Losses {
		f, err := p.Loss(t, loss)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "| %.0f %% | %s | %s | %.2f (%.0f h, told %d times) | %.0f | %s |\n", 100*f.Loss, f.Detection.line(false), f.Hints.line(true),
			f.Deaths.PerThousand(), f.Deaths.Hours, f.Deaths.Told, f.Rate, f.Wall.Round(time.Second))
	}
	if len(p.Cuts) > 0 {
		fmt.Fprint(out, "\n| cut in two for | first sight of the other half | all see all | sent by each node until then | wall |\n|---|---|---|---|---|\n")
	}
	for _, cut := range p.Cuts {
		h, err := p.Cut(t, cut)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "| %s | %s | %s | %d KiB | %s |\n", cut, seconds(h.First), seconds(h.Took), h.Sent/int64(p.Nodes)>>10, h.Wall.Round(time.Second))
	}
	return nil
}

func (s Spread) line(rare bool) string {
	if s.Count == 0 {
		return "–"
	}
	text := seconds(s.P50) + " · " + seconds(s.P99)
	if rare {
		text += " · " + seconds(s.P999)
	}
	text += " · " + seconds(s.Latest)
	if s.Missing > 0 {
		text += fmt.Sprintf("; %d of %d never", s.Missing, s.Count+s.Missing)
	}
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
