package simulation

import (
	"context"
	"time"

	"shoal/mesh"
	"shoal/store"
)

// Limits of what a mesh of this size may need: several times what it does need under the worst faults.
const (
	mostStepsASecond = 600  // of each node that there ever was, in one second of virtual time
	mostUnderWay     = 4000 // frames and timers, of each node
	mostRecords      = 100  // saved by one node, and recordsEach more for each node that there ever was
	recordsEach      = 24 + 2*2*logEntries

	// logEntries is what a node keeps of its own log: few, so that low-water marks are met. Each may have a report, and a keeper takes
	// twice as many.
	logEntries = 80
)

// load counts what happens in one second.
type load struct {
	second time.Duration
	steps  int
	most   int
	// held counts the frames that links let go in this second and the one before, and soon those of this one: what was sent in a
	// minute may then come in a moment, and have its answers.
	held, soon int
}

// stepsOfHeld is how many steps a frame may lead to: its own, that of the answer, and those of what follows.
const stepsOfHeld = 4

func (l *load) letGo(frames int) { l.held, l.soon = l.held+frames, l.soon+frames }

// step counts one more.
func (j *judge) step() {
	l, nodes := &j.load, len(j.w.nodes)
	if now := j.w.now.Truncate(time.Second); now != l.second {
		l.second, l.steps, l.held, l.soon = now, 0, l.soon, 0
	}
	l.steps++
	l.most = max(l.most, l.steps/nodes)
	if l.steps > mostStepsASecond*nodes+stepsOfHeld*l.held {
		j.fail(nil, "invariant 11: %d steps of %d nodes in a second", l.steps, nodes)
	}
	if n := len(j.w.agenda.heap); n > mostUnderWay*nodes {
		j.fail(nil, "invariant 11: %d frames and timers of %d nodes under way", n, nodes)
	}
}

// bounded: nothing that a node saves grows without an end.
func (j *judge) bounded() {
	limit := mostRecords + recordsEach*len(j.w.nodes) + len(j.seals)
	for _, n := range j.w.members() {
		records, err := n.disk.medium.Scan(context.Background(), store.MetaKey(mesh.SavePrefix), nil, store.MaxScan, true)
		if err != nil || len(records) > limit {
			j.fail(n, "invariant 11: %d saved records, more than %d (%v)", len(records), limit, err)
		}
	}
}
