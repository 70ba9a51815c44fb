package simulation

import (
	"time"

	"shoal/mesh"
)

// An ambush waits for a message of one kind, or until somebody is the first to know something, and strikes one of its ends in the very moment in which an answer is on its way, and
// then has everybody push. It may do so several times. What takes a thousand courses to happen by chance happens here in one of ten.
type ambush struct {
	armed   bool
	lure    lure
	strike  strike
	reseats bool
	pass    int // messages that pass before each strike
	passed  int
	shots   int // strikes that are left
}

// lure is what an ambush waits for: a message, or news.
type lure struct {
	takes func(mesh.Message) bool
	news  news
}

// news is what one node knows, and no other yet.
type news string

const (
	newSeal news = "a seal"
	newHead news = "a head"
)

// lures are what an ambush may wait for. Their order is part of what a plan means.
func lures() []lure {
	return []lure{
		{news: newHead},
		{takes: func(m mesh.Message) bool { a, ok := m.(*mesh.Accept); return ok && len(a.Next) == 0 }},
		{takes: func(m mesh.Message) bool { a, ok := m.(*mesh.Accept); return ok && len(a.Next) == 0 }},
		{takes: func(m mesh.Message) bool { a, ok := m.(*mesh.Accepted); return ok && a.Refused == "" }},
		{takes: func(m mesh.Message) bool { p, ok := m.(*mesh.Promise); return ok && p.Refused == "" }},
		{takes: func(m mesh.Message) bool { f, ok := m.(*mesh.FenceTell); return ok && f.Register != "" }},
		{takes: func(m mesh.Message) bool { h, ok := m.(*mesh.Have); return ok && len(h.Have) > 0 }},
		{takes: func(m mesh.Message) bool { _, ok := m.(*mesh.KeepTell); return ok }},
		{takes: func(m mesh.Message) bool { _, ok := m.(*mesh.KeepAsk); return ok }},
		{takes: func(m mesh.Message) bool { c, ok := m.(*mesh.CollectTell); return ok && !c.Ahead }},
	}
}

// seatLures come when acceptors change.
func seatLures() []lure {
	return []lure{
		{news: newSeal}, {news: newSeal}, {news: newSeal},
		{takes: func(m mesh.Message) bool { a, ok := m.(*mesh.Accept); return ok && len(a.Next) > 0 }},
		{takes: func(m mesh.Message) bool { h, ok := m.(*mesh.HeadTell); return ok && len(h.Seals) > 0 }},
	}
}

// strike is what an ambush does. After one that is quiet nobody pushes but those whom it has push itself.
type strike struct {
	does  func(w *World, from, to *Node)
	quiet bool
}

func strikes() []strike {
	isolateFrom := strike{does: func(w *World, from, _ *Node) { w.isolate(from) }}
	halfTold := strike{does: func(w *World, from, _ *Node) { w.halfTold(from) }, quiet: true}
	return []strike{
		{does: func(_ *World, from, _ *Node) { from.dieBriefly() }},
		{does: func(_ *World, _, to *Node) { to.dieBriefly() }},
		isolateFrom, isolateFrom,
		{does: func(w *World, _, to *Node) { w.isolate(to) }},
		{does: func(w *World, from, to *Node) { w.isolate(to); w.wipe(from); w.after(w.millis(0, 50), from.restart) }},
		{does: func(w *World, from, to *Node) {
			w.isolate(to)
			w.rewind(from, 1)
			w.after(w.millis(0, 50), from.restart)
		}},
		halfTold, halfTold,
		{does: func(*World, *Node, *Node) {}}, // all push
	}
}

// newAmbush is what the number of a fault stands for.
func newAmbush(n int, lures []lure) *ambush {
	strikes := strikes()
	draw := func(of int) int {
		rest := n % of
		n /= of
		return rest
	}
	return &ambush{
		armed: true, lure: lures[draw(len(lures))], strike: strikes[draw(len(strikes))], pass: draw(3), shots: 1 + draw(4),
	}
}

// lay arms an ambush until it has struck or its time is over.
func lay(w *World, f Fault) {
	a := newAmbush(f.N, lures())
	w.arm(a, f)
}

// layReseat arms one that waits for a change of acceptors, and sees to it that there is one.
func layReseat(w *World, f Fault) {
	a := newAmbush(f.N, seatLures())
	a.reseats = true
	w.arm(a, f)
	w.reseat(w.victim(f))
}

func (w *World) arm(a *ambush, f Fault) {
	w.ambushes = append(w.ambushes, a)
	w.after(f.For, func() { a.armed, a.shots = false, 0 })
	w.crowd.rush(nil, nil)
}

// reseat lets acceptors change: with another disk a node loses its seat, and where there are few a new one gets one.
func (w *World) reseat(victim *Node) {
	if w.percent(70) {
		w.wipe(victim)
		victim.restart()
		return
	}
	join(w, Fault{N: victim.num})
}

// ambushed looks at each message that is sent.
func (w *World) ambushed(from, to *Node, m mesh.Message) {
	for _, a := range w.ambushes {
		if a.armed && a.lure.takes != nil && a.lure.takes(m) {
			w.meets(a, from, to, m)
		}
	}
}

// knowsFirst looks at what one node has just come to know, and has neither kept nor told.
func (w *World) knowsFirst(n *Node, what news) {
	for _, a := range w.ambushes {
		if a.armed && a.lure.news == what {
			w.meets(a, n, w.nodes[w.dice.IntN(len(w.nodes))], what)
		}
	}
}

// meets strikes, now or a little later, unless this one passes.
func (w *World) meets(a *ambush, from, to *Node, what any) {
	if a.passed++; a.passed <= a.pass {
		return
	}
	a.armed, a.passed = false, 0
	a.shots--
	soon := w.millis(0, 8)
	if w.percent(50) {
		soon = 0
	}
	w.after(soon, func() { w.strike(a, from, to, what) })
}

func (w *World) strike(a *ambush, from, to *Node, what any) {
	if w.crowd.over || w.calmed {
		return
	}
	w.note(from, "ambush on %T, at %s", what, to.Name)
	a.strike.does(w, from, to)
	for _, most := range []int{300, 300, 3000} {
		if !a.strike.quiet {
			w.after(w.millis(5, most), func() { w.crowd.rush(from, to) })
		}
	}
	w.after(w.millis(500, 3000), func() {
		if a.shots > 0 && !w.calmed {
			a.armed = true
			if a.reseats {
				w.reseat(w.nodes[w.dice.IntN(len(w.nodes))])
			}
		}
	})
}

// halfTold: of what a node says in this moment only some get their part. It dies, and while it starts again those who know are cut
// off, and others push there. So a value is known to a minority, which comes back when the others have gone on.
func (w *World) halfTold(from *Node) {
	var told, untold uint64
	for _, n := range w.nodes {
		if n != from && w.percent(35) {
			told |= 1 << n.num
		} else {
			untold |= 1 << n.num
		}
	}
	lost := func(a, b *Node) bool { return a == from && untold>>b.num&1 == 1 }
	w.cuts(1, lost)
	from.crash()
	w.after(w.millis(6, 12), func() {
		w.cuts(-1, lost)
		from.restart()
		if w.calmed {
			return
		}
		for _, n := range w.nodes {
			if told>>n.num&1 == 1 && w.percent(80) {
				w.isolate(n)
			}
		}
		for range 2 {
			w.after(w.millis(0, 1500), func() { w.crowd.pushAt(from) })
		}
	})
}

// isolate cuts a node off for some seconds.
func (w *World) isolate(n *Node) {
	own := func(a, b *Node) bool { return a == n || b == n }
	w.cuts(1, own)
	w.after(w.millis(500, 6000), func() { w.cuts(-1, own) })
}

// ambushTime is the longest that an ambush waits.
const ambushTime = 20 * time.Second
