package simulation

import (
	"time"

	"shoal/mesh"
)

// An ambush waits for a message of one kind, and strikes one of its ends in the very moment in which an answer is on its way, and
// then has everybody push. What takes a thousand courses to happen by chance happens here in one of ten.
type ambush struct {
	armed   bool
	waits   func(mesh.Message) bool
	strikes func(w *World, from, to *Node)
	left    int // messages that pass first
}

// lures are what an ambush may wait for, the first seals of them for a change of acceptors. Their order is part of what a plan means.
func lures() []func(mesh.Message) bool {
	seal := func(m mesh.Message) bool { a, ok := m.(*mesh.Accept); return ok && len(a.Next) > 0 }
	return []func(mesh.Message) bool{
		seal, seal,
		func(m mesh.Message) bool { h, ok := m.(*mesh.HeadTell); return ok && len(h.Seals) > 0 },
		func(m mesh.Message) bool { a, ok := m.(*mesh.Accept); return ok && len(a.Next) == 0 },
		func(m mesh.Message) bool { a, ok := m.(*mesh.Accepted); return ok && a.Refused == "" },
		func(m mesh.Message) bool { p, ok := m.(*mesh.Promise); return ok && p.Refused == "" },
		func(m mesh.Message) bool { f, ok := m.(*mesh.FenceTell); return ok && f.Register != "" },
		func(m mesh.Message) bool { h, ok := m.(*mesh.Have); return ok && len(h.Have) > 0 },
		func(m mesh.Message) bool { _, ok := m.(*mesh.KeepTell); return ok },
	}
}

const seals = 3

func strikes() []func(w *World, from, to *Node) {
	return []func(w *World, from, to *Node){
		func(_ *World, from, _ *Node) { from.dieBriefly() },
		func(_ *World, _, to *Node) { to.dieBriefly() },
		func(w *World, from, _ *Node) { w.isolate(from) },
		func(w *World, from, _ *Node) { w.isolate(from) },
		func(w *World, _, to *Node) { w.isolate(to) },
		func(w *World, from, to *Node) { w.isolate(to); w.wipe(from); w.after(w.millis(0, 50), from.restart) },
		func(w *World, from, to *Node) {
			w.isolate(to)
			w.rewind(from, 1)
			w.after(w.millis(0, 50), from.restart)
		},
	}
}

// lay arms an ambush until it has struck or its time is over.
func lay(w *World, f Fault) {
	lures, strikes := lures(), strikes()
	n := f.N
	a := &ambush{armed: true, waits: lures[n%len(lures)]}
	n /= len(lures)
	a.strikes = strikes[n%len(strikes)]
	a.left = n / len(strikes) % 4
	w.ambushes = append(w.ambushes, a)
	w.after(f.For, func() { a.armed = false })
	if f.N%len(lures) < seals { // with another disk a node loses its seat, and the others change the acceptors
		w.wipe(w.victim(f))
		w.victim(f).restart()
	}
	w.crowd.rush(nil, nil)
}

// ambushed looks at each message that is sent.
func (w *World) ambushed(from, to *Node, m mesh.Message) {
	for _, a := range w.ambushes {
		if !a.armed || !a.waits(m) {
			continue
		}
		if a.left--; a.left >= 0 {
			continue
		}
		a.armed = false
		soon := w.millis(0, 8)
		if w.percent(50) {
			soon = 0
		}
		w.after(soon, func() {
			if w.crowd.over || w.calmed {
				return
			}
			w.note(from, "ambush on %T to %s", m, to.Name)
			a.strikes(w, from, to)
			for range 2 {
				w.after(w.millis(5, 300), func() { w.crowd.rush(from, to) })
			}
		})
	}
}

// isolate cuts a node off for some seconds.
func (w *World) isolate(n *Node) {
	own := func(a, b *Node) bool { return a == n || b == n }
	w.cuts(1, own)
	w.after(w.millis(500, 6000), func() { w.cuts(-1, own) })
}

// ambushTime is the longest that an ambush waits.
const ambushTime = 20 * time.Second
