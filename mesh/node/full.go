package node

import (
	"context"
	"fmt"
	"time"

	"shoal/mesh"
	"shoal/store"
)

// A disk that has reached its reserve takes no writes, so a node on it must say nothing: its Core would speak of what is not kept.
// But nothing is lost by waiting. What could not be written is held, with what was to be done after it and with what happens
// meanwhile, and all of it is done when there is room again. Until then the node enforces what it has, serves objects, and
// answers that it is read-only.

// Times and limits of a node that waits for room.
const (
	fullAgain = 2 * time.Second // between two attempts to write
	maxHeld   = 1024            // events that are kept meanwhile; more than the Core has under way at a time
)

// held is what a node has not done since its disk is full.
type held struct {
	reason  error
	changes []store.Change // that were refused
	writing []said         // to be done when they are durable
	shows   *snapshot
	events  []mesh.Event
	reads   []mesh.SendObjects
	again   time.Time
	shut    bool // no more events fit
}

// hold begins to wait for room.
func (n *Node) hold(writing []said, reason error) {
	n.log.Error("read-only until the disk has room; enforcing what is here", "error", reason)
	t := &n.turns
	n.held = &held{
		reason: fmt.Errorf("this node is read-only: %w", reason), again: time.Now().Add(fullAgain),
		changes: t.changes, writing: writing, shows: t.shows,
	}
	n.refuse(writing, n.held.reason)
	n.refuse(t.said, n.held.reason)
	for id, reply := range n.replies {
		reply <- mesh.Answer{ID: id, Err: n.held.reason}
		delete(n.replies, id)
	}
}

// keepFor keeps an event until there is room. Of what the gossip says of one node the last counts, and hints come again.
func (h *held) keepFor(ev mesh.Event) {
	switch ev := ev.(type) {
	case mesh.Received, mesh.Tick:
		return // peers ask again, and time passes by itself
	case mesh.Gossiped:
		if ev.Hint != nil {
			return
		}
		for i, old := range h.events {
			if o, ok := old.(mesh.Gossiped); ok && o.Node == ev.Node {
				h.events[i] = ev
				return
			}
		}
	}
	if len(h.events) >= maxHeld {
		h.shut = true
		return
	}
	h.events = append(h.events, ev)
}

// read notes a peer's question that needs nothing to be kept.
func (h *held) read(a mesh.SendObjects) {
	if len(h.reads) < maxServing {
		h.reads = append(h.reads, a)
	}
}

func (n *Node) serveReads(ctx context.Context) {
	reads := n.held.reads
	n.held.reads = nil
	for _, a := range reads {
		n.do(ctx, a)
	}
}

// resume tries again to write what was refused, and goes on where it stopped.
func (n *Node) resume(ctx context.Context) {
	h := n.held
	h.again = time.Now().Add(fullAgain)
	if err := mesh.Persist(context.Background(), n.ports.KV, h.changes); err != nil {
		if !isFull(err) {
			n.held, n.turns.said = nil, nil
			n.halt(err)
		}
		return
	}
	n.held = nil
	n.log.Info("the disk has room again; taking part again")
	n.show(h.shows)
	for _, s := range h.writing {
		n.perform(ctx, s, false)
	}
	for _, ev := range h.events {
		n.step(ev, nil)
	}
	n.step(mesh.Occurred{What: "was read-only while the disk was full", Err: h.reason}, nil)
	if h.shut {
		n.log.Warn("some of what happened meanwhile was not kept; it is found out again")
	}
}
