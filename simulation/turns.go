package simulation

import (
	"context"
	"slices"
	"time"

	"shoal/mesh"
	"shoal/store"
)

// The Core goes on while the disk writes, as in mesh/node: what it says is done in order, and nothing before all that was to be
// kept up to then is durable. Questions go out beside the write.

// Late Saves wait for others to go with, for a while.
const (
	lateTime = 50 * time.Millisecond
	maxLate  = 256
)

// said is what the Core said to one event, of which nothing is done yet.
type said struct {
	actions []mesh.Action
	keeps   bool // some of it must be durable first
}

// turns is what is on its way from the Core to the world.
type turns struct {
	said    []said
	writing []said
	changes []store.Change // of writing; nil: nothing is written now
	late    []store.Change
	flush   bool // of late is set
}

// step gives the Core an event.
func (n *Node) step(ev mesh.Event) {
	w := n.w
	if !n.up || n.halted {
		return
	}
	w.steps++
	w.judge.step()
	w.trace.event(w.now, n.num, ev)
	s := said{actions: n.core.Step(n.clock.at(w.now), ev)}
	w.judge.learns(n, s.actions)
	w.judge.hears(n, s.actions)
	s.keeps = slices.ContainsFunc(s.actions, func(a mesh.Action) bool {
		save, ok := a.(mesh.Save)
		return ok && !save.Late
	})
	n.turns.said = append(n.turns.said, s)
	n.setTimer()
	n.turn(false)
}

// turn does what may be done, and begins to write what must be kept first.
func (n *Node) turn(flush bool) {
	t := &n.turns
	if !n.up || n.halted || t.changes != nil {
		return
	}
	for len(t.said) > 0 && !t.said[0].keeps && len(t.late) < maxLate {
		first := t.said[0]
		t.said = t.said[1:]
		n.enterLate(first)
		if !n.perform(first, true) {
			return
		}
		if t.changes != nil {
			return // what was done has led to more
		}
	}
	if len(t.said) == 0 && (len(t.late) == 0 || !flush && len(t.late) < maxLate) {
		n.flushLate()
		return
	}
	t.writing, t.said = t.said, nil
	for _, s := range t.writing {
		n.enterLate(s)
	}
	t.changes, t.late = t.late, nil
	for _, s := range t.writing {
		for _, a := range s.actions {
			if send, ok := a.(mesh.Send); ok && send.Early {
				n.send(send.To, send.Message)
			}
		}
	}
	life := n.life
	n.w.after(n.syncTime(), func() {
		if n.up && n.life == life {
			n.written()
		}
	})
}

// syncTime is how long a write takes.
func (n *Node) syncTime() time.Duration {
	return 50*time.Microsecond + time.Duration(n.w.dice.IntN(1000))*time.Microsecond
}

func (n *Node) flushLate() {
	if len(n.turns.late) > 0 && !n.turns.flush {
		n.turns.flush = true
		n.later(lateTime, func() {
			n.turns.flush = false
			n.turn(true)
		})
	}
}

// enterLate takes the Saves of a Step, in their order.
func (n *Node) enterLate(s said) {
	for _, a := range s.actions {
		if save, ok := a.(mesh.Save); ok {
			n.turns.late = append(n.turns.late, store.Change{Key: store.MetaKey(save.Key), Value: save.Value})
		}
	}
}

// written ends a write, and does what waited for it.
func (n *Node) written() {
	t, life := &n.turns, n.life
	changes, all := t.changes, t.writing
	t.changes, t.writing = nil, nil
	err := mesh.Persist(context.Background(), n.disk, changes)
	if !n.up || n.life != life {
		return // the power went in the middle of it
	}
	if err != nil {
		n.halt(err)
		return
	}
	for _, s := range all {
		n.w.judge.kept(n, s.actions)
	}
	for _, s := range all {
		if !n.perform(s, false) {
			return
		}
	}
	n.turn(false)
}

// perform does what the Core said, unless the node dies in the middle of it.
func (n *Node) perform(s said, early bool) (lives bool) {
	life := n.life
	for _, a := range s.actions {
		if send, ok := a.(mesh.Send); ok && send.Early && !early {
			continue // is out
		}
		if n.effects > 0 {
			if n.effects--; n.effects == 0 {
				n.dieBriefly()
			}
		}
		if !n.up || n.halted || n.life != life {
			return false
		}
		n.do(a)
	}
	return n.up && !n.halted && n.life == life
}

// cutTurns is a crash: what was being written is on the disk, or is not.
func (n *Node) cutTurns() {
	if n.turns.changes != nil && n.w.percent(50) && n.disk.CutIn == 0 && n.disk.FailSync == 0 {
		_ = mesh.Persist(context.Background(), n.disk, n.turns.changes)
	}
	n.turns = turns{}
}
