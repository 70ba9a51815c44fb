package node

import (
	"context"
	"fmt"
	"time"

	"shoal/membership"
	"shoal/mesh"
)

// A disk that has reached its reserve takes no writes, so a node on it must say nothing: its Core would speak of what is not kept.
// But nothing is lost by waiting. The actions of the step that could not be saved are held, with what happens meanwhile, and done
// when there is room again. Until then the node enforces what it has, serves objects, and answers that it is read-only.

// Times and limits of a node that waits for room.
const (
	fullAgain = 2 * time.Second // between two attempts to save
	maxHeld   = 1024            // events that are kept meanwhile; more than the Core has under way at a time
)

// held is what a node has not done since its disk is full.
type held struct {
	reason  error
	actions []mesh.Action
	events  []mesh.Event
	again   time.Time
	shut    bool // no more events fit
}

// hold begins to wait for room.
func (n *Node) hold(actions []mesh.Action, reason error) {
	n.log.Error("read-only until the disk has room; enforcing what is here", "error", reason)
	n.held = &held{reason: fmt.Errorf("this node is read-only: %w", reason), actions: actions, again: time.Now().Add(fullAgain)}
	for id, reply := range n.replies {
		reply <- mesh.Answer{ID: id, Err: n.held.reason}
		delete(n.replies, id)
	}
}

// keepFor keeps an event until there is room. Of what the gossip says of one node the last counts, and hints come again.
func (h *held) keepFor(ev mesh.Event) {
	if g, gossip := ev.(mesh.Gossiped); gossip {
		if g.Hint != nil {
			return
		}
		for i, old := range h.events {
			if o, ok := old.(mesh.Gossiped); ok && o.Node == g.Node {
				h.events[i] = ev
				return
			}
		}
	}
	switch ev.(type) {
	case mesh.Received, mesh.Tick:
		return // peers ask again, and time passes by itself
	}
	if len(h.events) >= maxHeld {
		h.shut = true
		return
	}
	h.events = append(h.events, ev)
}

// serveReads answers what needs nothing to be kept.
func (n *Node) serveReads(ctx context.Context, from membership.NodeID, m mesh.Message) {
	if get, ok := m.(*mesh.Get); ok && n.Known(from) {
		n.serve(ctx, func() { n.sendObjects(ctx, mesh.SendObjects{To: from, Hashes: get.Hashes}) })
	}
}

// resume tries to save what could not be saved, and goes on where it stopped.
func (n *Node) resume(ctx context.Context) {
	h := n.held
	h.again = time.Now().Add(fullAgain)
	if err := n.save(h.actions); err != nil {
		if !isFull(err) {
			n.held = nil
			n.halt(err)
		}
		return
	}
	n.held = nil
	n.log.Info("the disk has room again; taking part again")
	n.publish()
	for _, a := range h.actions {
		n.do(ctx, a)
	}
	for _, ev := range h.events {
		n.step(ctx, ev)
	}
	n.step(ctx, mesh.Occurred{What: "was read-only while the disk was full", Err: h.reason})
	if h.shut {
		n.log.Warn("some of what happened meanwhile was not kept; it is found out again")
	}
}
