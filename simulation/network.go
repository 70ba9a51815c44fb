package simulation

import (
	"time"

	"shoal/membership"
	"shoal/mesh"
)

// network carries frames between nodes, and loses, repeats, delays and reorders them.
type network struct {
	w     *World
	links [][]link // from, to
	// In a hundred of frames.
	loss, repeat, replay int
	reorder              bool
}

// link is one direction between two nodes.
type link struct {
	cut     int // faults that cut it
	slow    time.Duration
	clogged int // faults that hold what is sent
	held    []heldFrame
	last    time.Duration // arrival of the newest frame
}

// heldFrame waits until a link is clogged no more.
type heldFrame struct {
	since   time.Duration
	arrives func()
}

// How long a frame may wait for a process, and for a link: the connection that it is on does not live for longer.
const (
	holdTime = time.Minute
	clogTime = 20 * time.Second
)

func newNetwork(w *World) *network { return &network{w: w} }

// grow makes room for one more node. It stands on no side of a partition that is there already.
func (t *network) grow() {
	n := len(t.w.nodes)
	for i := range t.links {
		t.links[i] = append(t.links[i], link{})
	}
	t.links = append(t.links, make([]link, n))
}

// open tells whether frames from a reach b.
func (t *network) open(a, b *Node) bool { return t.links[a.num][b.num].cut == 0 }

// responds tells whether a node's gossip answers.
func (t *network) responds(n *Node) bool {
	return n.up && !n.gone && (!n.paused || t.w.now-n.pausedAt < pauseSeen)
}

// component is the set of nodes that a node can reach and be reached by, over others if need be: the gossip goes round a cut.
func (t *network) component(n *Node) (seen uint64) {
	seen = 1 << n.num
	todo := []*Node{n}
	for len(todo) > 0 {
		a := todo[0]
		todo = todo[1:]
		for _, b := range t.w.nodes {
			if seen&(1<<b.num) == 0 && t.responds(b) && t.open(a, b) && t.open(b, a) {
				seen |= 1 << b.num
				todo = append(todo, b)
			}
		}
	}
	return seen
}

// carry delivers a frame after a while, if at all.
func (t *network) carry(from, to *Node, frame []byte) {
	w := t.w
	if !t.open(from, to) || w.percent(t.loss) {
		return
	}
	t.deliver(from, to, frame, w.millis(0, 5))
	if w.percent(t.repeat) {
		t.deliver(from, to, frame, w.millis(0, 50))
	}
	if w.percent(t.replay) {
		t.deliver(from, to, frame, w.millis(100, 60_000))
	}
}

func (t *network) deliver(from, to *Node, frame []byte, d time.Duration) {
	w, l := t.w, &t.links[from.num][to.num]
	arrives := func() {
		if !t.open(from, to) || !to.up {
			return
		}
		since := w.now
		to.arrive(func() {
			if w.now-since <= holdTime {
				to.receive(from, frame)
			}
		})
	}
	if l.clogged > 0 && len(l.held) < maxInbox {
		l.held = append(l.held, heldFrame{w.now, arrives})
		return
	}
	at := w.now + d + l.slow
	if !t.reorder && d < 100*time.Millisecond {
		at = max(at, l.last)
		l.last = at
	}
	w.at(at, arrives)
}

// flush lets go what a clogged link held.
func (l *link) flush(w *World) {
	w.judge.load.letGo(len(l.held))
	for _, f := range l.held {
		if w.now-f.since <= clogTime {
			w.after(0, f.arrives)
		}
	}
	l.held = nil
}

// rumour tells all whom the gossip reaches.
func (t *network) rumour(from *Node, data []byte) {
	seen := t.component(from)
	for _, to := range t.w.nodes {
		if to == from || seen&(1<<to.num) == 0 || t.w.percent(t.loss/2) {
			continue
		}
		t.w.after(t.w.millis(50, 450), func() {
			to.arrive(func() { to.step(mesh.Gossiped{Event: membership.Event{Hint: data}}) })
		})
	}
}
