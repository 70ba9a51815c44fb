package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shoal/mesh"
	"shoal/store"
)

// The Core goes on while the disk writes:
//
//	events ──▶ Step ──▶ said ──▶ writing ──▶ done
//	                     │          one write at a time, of all that was said by then
//	                     └─ nothing to keep, and nothing unwritten before it: done at once
//
// What it says is done in order, and nothing before all that was to be kept up to then is durable.

const (
	maxTurn = 64  // events that are taken before the disk is looked after again
	maxSaid = 512 // Steps that wait for the disk; past it no event is taken
)

// Late Saves wait for others to go with, for a while.
const (
	lateTime = 50 * time.Millisecond
	maxLate  = 256
)

// said is what the Core said to one event, of which nothing is done yet.
type said struct {
	actions []mesh.Action
	keeps   bool // some of it must be durable first
	starts  bool
	told    chan mesh.Answer // to be answered when it is done; may be nil
}

// turns is what is on its way from the Core to the world.
type turns struct {
	said    []said
	writing []said
	written chan error     // of writing; nil: nothing is written now
	shows   *snapshot      // to be seen once it is written
	changes []store.Change // being written
	late    []store.Change
	since   time.Time // when the first of late came
}

// step gives the Core an event; turn does what it says.
func (n *Node) step(ev mesh.Event, told chan mesh.Answer) {
	if n.halted != nil {
		if told != nil {
			told <- mesh.Answer{Err: n.halted}
		}
		return
	}
	if n.held != nil {
		n.held.keepFor(ev) // it has happened, whatever becomes of the answer
		if told != nil {
			told <- mesh.Answer{Err: n.held.reason}
		}
		return
	}
	s := said{actions: n.core.Step(time.Now(), ev), told: told}
	_, s.starts = ev.(mesh.Start)
	for _, a := range s.actions {
		if save, ok := a.(mesh.Save); ok && !save.Late {
			s.keeps = true
		}
	}
	n.turns.said = append(n.turns.said, s)
}

// turn does what may be done, and begins to write what must be kept first. Questions go out beside the write, so that disks
// work side by side; all that was said before them is durable by then.
func (n *Node) turn(ctx context.Context) {
	t := &n.turns
	if n.held != nil {
		n.serveReads(ctx)
		return
	}
	if n.halted != nil || t.written != nil {
		return
	}
	if len(t.said) > 0 && !t.said[0].keeps {
		n.publish() // whoever is answered may look at once
	}
	for len(t.said) > 0 && !t.said[0].keeps && len(t.late) < maxLate {
		first := t.said[0]
		t.said = t.said[1:]
		n.enterLate(first)
		n.perform(ctx, first, true)
	}
	if len(t.said) == 0 && (len(t.late) == 0 || time.Since(t.since) < lateTime) {
		return
	}
	t.writing, t.said = t.said, nil
	for _, s := range t.writing {
		n.enterLate(s)
		for _, a := range s.actions {
			if send, ok := a.(mesh.Send); ok && send.Early {
				n.send(send.To, send.Message)
			}
		}
	}
	changes, written := t.late, make(chan error, 1)
	t.changes = changes
	t.late, t.written, t.shows = nil, written, n.look()
	n.work.Go(func() { written <- mesh.Persist(context.Background(), n.ports.KV, changes) })
}

// enterLate takes the Saves of a Step, in their order.
func (n *Node) enterLate(s said) {
	for _, a := range s.actions {
		if save, ok := a.(mesh.Save); ok {
			if len(n.turns.late) == 0 {
				n.turns.since = time.Now()
			}
			n.turns.late = append(n.turns.late, store.Change{Key: store.MetaKey(save.Key), Value: save.Value})
		}
	}
}

func (n *Node) perform(ctx context.Context, s said, early bool) {
	for _, a := range s.actions {
		if send, ok := a.(mesh.Send); ok && send.Early && !early {
			continue // is out
		}
		n.do(ctx, a)
	}
	if s.told != nil {
		s.told <- mesh.Answer{}
	}
}

// afterWrite does what waited for a write. When nothing can be kept, nothing may be said either: on a full disk the node waits for
// room (full.go); after a failed sync it stops taking part for good. In either case it goes on enforcing.
func (n *Node) afterWrite(ctx context.Context, err error) {
	t := &n.turns
	all := t.writing
	t.writing, t.written = nil, nil
	if err == nil {
		n.show(t.shows)
		for _, s := range all {
			n.perform(ctx, s, false)
		}
		return
	}
	for _, s := range append(all, t.said...) {
		if s.starts {
			n.enforceAll(ctx, s)
		}
	}
	if isFull(err) {
		n.hold(all, err)
		return
	}
	n.halt(err)
	n.refuse(all, n.halted)
	n.refuse(t.said, n.halted)
	t.said = nil
}

// refuse answers those who wait for what cannot be done now.
func (n *Node) refuse(all []said, err error) {
	for i := range all {
		if all[i].told != nil {
			all[i].told <- mesh.Answer{Err: err}
			all[i].told = nil
		}
	}
}

// isFull tells an error that ends by itself when there is room from one after which nobody knows what the disk has.
func isFull(err error) bool {
	return errors.Is(err, store.ErrReserve) && !errors.Is(err, store.ErrBroken)
}

// enforceAll lets a node that starts with a disk that takes nothing enforce what an earlier start kept. What is new is not
// enforced: after a restart it would be forgotten, and the node go back.
func (n *Node) enforceAll(ctx context.Context, s said) {
	for _, a := range s.actions {
		if a, ok := a.(mesh.Converge); ok {
			n.do(ctx, a)
		}
	}
}

func (n *Node) halt(err error) {
	n.halted = fmt.Errorf("the disk refused a write: %w", err)
	n.log.Error("leaving the mesh, and enforcing what is here", "error", n.halted)
	for id, reply := range n.replies {
		reply <- mesh.Answer{ID: id, Err: n.halted}
		delete(n.replies, id)
	}
}

// settleTurns ends what is being written, and writes what may still wait: the node stops. Nobody is told any more.
func (n *Node) settleTurns() {
	if n.turns.written != nil {
		if err := <-n.turns.written; err != nil && n.halted == nil && !isFull(err) {
			n.halt(err)
		}
		n.turns.written = nil
	}
	if n.halted == nil && n.held == nil && len(n.turns.late) > 0 {
		if err := mesh.Persist(context.Background(), n.ports.KV, n.turns.late); err != nil {
			n.log.Warn("could not keep what is known elsewhere too", "error", err)
		}
	}
}
