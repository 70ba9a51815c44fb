package simulation

import (
	"fmt"
	"runtime/debug"
	"time"
)

// Result is how a course ended.
type Result struct {
	Plan      Plan
	Hash      uint64 // of all that happened
	Sized     uint64 // of all that happened but for the bytes of frames
	Steps     int
	Lasted    time.Duration // of the world's time
	Committed int
	Load      int        // most steps of a node in a second, on average over the nodes
	Violation *Violation // nil: none
	Timeline  string     // when it was asked for
	Lanes     string     // its end, node by node
}

// Run runs one world to its end. With told the timeline is kept.
func Run(plan Plan, shared *Shared, told bool) (r Result) {
	w := newWorld(plan, shared)
	w.trace.told = told
	defer func() {
		if p := recover(); p != nil {
			w.judge.fail(nil, "panic: %v\n%s", p, debug.Stack())
		}
		r = Result{
			Plan: plan, Hash: w.trace.hash, Sized: w.trace.sized, Steps: w.steps, Lasted: w.now, Committed: len(w.judge.acked), Load: w.judge.load.most,
			Violation: w.judge.first, Timeline: w.trace.timeline(), Lanes: w.trace.lanes(25),
		}
	}()
	w.live()
	return r
}

// live is the course of a world: nodes come together, faults and pushes happen, all is mended, all is well.
func (w *World) live() {
	w.begin()
	w.schedule()
	w.run(settling+w.plan.Length, never)
	w.calm()
	end := w.now + calmTime
	for w.now < end && !w.judge.broken() {
		w.run(w.now+5*time.Second, never)
		if w.judge.wrong() == "" {
			break
		}
	}
	w.judge.final()
}

func (w *World) begin() {
	for i := range w.plan.Nodes {
		w.at(time.Duration(i)*200*time.Millisecond, func() {
			var via *Node
			if i > 0 {
				via = w.nodes[w.dice.IntN(i)]
			}
			w.add(via)
		})
	}
	for _, c := range w.crowd.clients {
		w.at(settling-second+c.pause(), c.act)
	}
	w.at(settling, w.imaging)
}

// calm ends all faults. Disks that cannot be read are replaced, and what is down starts.
func (w *World) calm() {
	w.note(nil, "all faults end")
	for i := range time.Duration(8) { // what a majority accepted may be known to nobody who is left, before somebody asks
		w.after((15+20*i)*second, w.crowd.readAll)
	}
	w.calmed = true
	w.net.loss, w.net.repeat, w.net.replay, w.net.reorder = 0, 0, 0, false
	w.each(func(_, _ *Node, l *link) {
		l.cut, l.slow, l.clogged = 0, 0, 0
		l.flush(w)
	})
	for _, n := range w.nodes {
		n.slow, n.effects = 0, 0
		n.disk.Full, n.disk.Lies, n.disk.FailSync, n.disk.CutIn = false, false, 0, 0
		n.resume()
		if n.evicted && !n.gone {
			w.end(n)
		}
		n.restart()
		if n.lost && !n.gone {
			w.wipe(n)
			n.restart()
		}
	}
}

// String tells the result in a line.
func (r Result) String() string {
	s := fmt.Sprintf("seed %d: %016x, %d nodes, %d faults, %d steps, %s, load %d, %d committed",
		r.Plan.Seed, r.Hash, r.Plan.Nodes, len(r.Plan.Faults), r.Steps, r.Lasted.Round(time.Millisecond), r.Load, r.Committed)
	if r.Violation != nil {
		s += "\n  BROKEN at " + r.Violation.String()
	}
	return s
}
