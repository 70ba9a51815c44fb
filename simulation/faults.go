package simulation

import (
	"slices"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// kinds are all faults that there are. Their order is part of what a seed means.
func kinds() []kindOf {
	return []kindOf{
		{kind: "loss", weight: 4, low: 1, high: 30, short: 5 * second, long: 60 * second, begin: setNet, finish: unsetNet},
		{kind: "repeat", weight: 2, low: 5, high: 40, short: 5 * second, long: 60 * second, begin: setNet, finish: unsetNet},
		{kind: "replay", weight: 2, low: 1, high: 15, short: 5 * second, long: 60 * second, begin: setNet, finish: unsetNet},
		{kind: "reorder", weight: 2, low: 1, high: 1, short: 5 * second, long: 60 * second, begin: setNet, finish: unsetNet},
		{kind: "split", weight: 6, short: second, long: 40 * second, many: true, begin: split, finish: unsplit},
		{kind: "oneway", weight: 4, short: second, long: 30 * second, many: true, begin: oneWay, finish: unOneWay},
		{kind: "bridge", weight: 3, high: maxNodes, short: 2 * second, long: 30 * second, many: true, begin: bridge, finish: unbridge},
		{kind: "ring", weight: 2, short: 2 * second, long: 20 * second, begin: ringOnly, finish: unring},
		{kind: "flap", weight: 3, low: 50, high: 3000, short: 5 * second, long: 30 * second, begin: flap},
		{kind: "slow", weight: 3, low: 20, high: 1500, short: 5 * second, long: 30 * second, begin: slowLinks, finish: quickLinks},
		{kind: "clog", weight: 3, short: second, long: 20 * second, many: true, begin: clog, finish: unclog},
		{kind: "rumour", weight: 2, high: maxNodes, many: true, begin: falseDeath},

		{kind: "crash", weight: 8, short: 10 * time.Millisecond, long: 30 * second, begin: crash, finish: restart},
		{kind: "crashin", weight: 8, low: 1, high: 120, short: 5 * second, long: 30 * second, begin: crashIn, finish: disarm},
		{kind: "cutwrite", weight: 6, low: 1, high: 30, short: 5 * second, long: 30 * second, begin: cutWrite, finish: disarm},
		{kind: "pause", weight: 4, short: second, long: 60 * second, begin: pause, finish: resume},
		{kind: "starve", weight: 3, low: 5, high: 300, short: 5 * second, long: 30 * second, begin: starve, finish: feed},
		{kind: "massacre", weight: 3, low: 1, high: 5000, short: second, long: 5 * second, many: true, begin: massacre},
		{kind: "storm", weight: 8, low: 2, high: 10, begin: storm},
		{kind: "misplace", weight: 3, short: 5 * second, long: 30 * second, many: true, begin: misplace, finish: placeAlike},
		{kind: "jump", weight: 2, low: -60, high: 60, short: second, long: 10 * second, begin: jump, finish: restart},
		{kind: "drift", weight: 2, low: -200, high: 200, short: 10 * second, long: 60 * second, begin: drift, finish: undrift},

		{kind: "syncfail", weight: 4, low: 1, high: 20, short: 5 * second, long: 30 * second, begin: syncFail, finish: restart},
		{kind: "full", weight: 3, short: 5 * second, long: 30 * second, begin: full, finish: unfull},
		{kind: "flip", weight: 4, low: 1, high: 4, begin: flip},
		{kind: "rot", weight: 2, short: 5 * second, long: 20 * second, begin: rot, finish: wipeIfDown},
		{kind: "wipe", weight: 4, short: second, long: 20 * second, begin: wipe, finish: restart},
		{kind: "rewind", weight: 5, low: 1, high: 8, short: 100 * time.Millisecond, long: 10 * second, begin: rewind, finish: restart},

		{kind: "ambush", weight: 14, high: 1<<16 - 1, short: 5 * second, long: ambushTime, begin: lay},
		{kind: "reseat", weight: 6, high: 1<<16 - 1, short: 5 * second, long: ambushTime, begin: layReseat},
		{kind: "halftold", weight: 6, high: 1<<16 - 1, short: 5 * second, long: ambushTime, begin: layHalfTold},
		{kind: "forge", weight: 8, high: 100, begin: forge},

		{kind: "join", weight: 4, high: maxNodes, begin: join},
		{kind: "leave", weight: 3, begin: leave},
		{kind: "evict", weight: 3, high: maxNodes, short: second, long: 20 * second, begin: evict, finish: remove},

		{kind: "alone", weight: 4, short: second, long: 40 * second, begin: alone, finish: unalone},
		{kind: "island", weight: 3, low: 1, high: 3, short: second, long: 20 * second, begin: island, finish: unisland},
	}
}

// planted breaks an invariant by itself: for tests of what comes afterwards.
var planted = kindOf{kind: "plant", begin: func(w *World, _ Fault) { w.judge.fail(nil, "invariant 0: planted") }}

func kindNamed(name Kind) kindOf {
	if name == planted.kind {
		return planted
	}
	for _, k := range kinds() {
		if k.kind == name {
			return k
		}
	}
	return kindOf{}
}

// schedule puts the plan's faults onto the agenda. What is over by the end of the plan is over then.
func (w *World) schedule() {
	end := settling + w.plan.Length
	for _, f := range w.plan.Faults {
		k := kindNamed(f.Kind)
		if k.begin == nil || f.At >= end { // of a course that was shortened: its end would come before its beginning, and never again
			continue
		}
		w.at(f.At, func() {
			f.Who, f.size = w.resolve(f.Who), len(w.nodes)
			w.note(nil, "fault: %s", f)
			k.begin(w, f)
		})
		if k.finish != nil {
			w.at(min(f.At+max(f.For, time.Millisecond), end), func() { k.finish(w, f) })
		}
	}
}

// resolve says which of the nodes that there are now a fault means.
func (w *World) resolve(who uint64) (out uint64) {
	for i := range mostEver {
		if who&(1<<i) != 0 {
			out |= 1 << (i % len(w.nodes))
		}
	}
	return out
}

// hit are the nodes that a fault means.
func (w *World) hit(f Fault) (out []*Node) {
	for _, n := range w.nodes {
		if f.Who&(1<<n.num) != 0 {
			out = append(out, n)
		}
	}
	return out
}

func (w *World) victim(f Fault) *Node { return w.hit(f)[0] }

func (w *World) sides(f Fault) (in func(*Node) bool) {
	var set uint64
	for _, n := range w.hit(f) {
		set |= 1 << n.num
	}
	return func(n *Node) bool { return set&(1<<n.num) != 0 }
}

func (t *network) set(f Fault, on bool) {
	n := f.N
	if !on {
		n = 0
	}
	switch f.Kind {
	case "loss":
		t.loss = n
	case "repeat":
		t.repeat = n
	case "replay":
		t.replay = n
	case "reorder":
		t.reorder = on
	}
}

func setNet(w *World, f Fault)   { w.net.set(f, true) }
func unsetNet(w *World, f Fault) { w.net.set(f, false) }

// each goes over all directions between two nodes.
func (w *World) each(run func(a, b *Node, l *link)) {
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if a != b {
				run(a, b, &w.net.links[a.num][b.num])
			}
		}
	}
}

// cuts changes the links that a fault cuts. Those that grew since count from nothing, and never fall below it.
func (w *World) cuts(by int, which func(a, b *Node) bool) {
	w.each(func(a, b *Node, l *link) {
		if which(a, b) {
			l.cut = max(0, l.cut+by)
		}
	})
}

func split(w *World, f Fault) {
	in := w.sides(f)
	w.cuts(1, func(a, b *Node) bool { return in(a) != in(b) })
}

func unsplit(w *World, f Fault) {
	in := w.sides(f)
	w.cuts(-1, func(a, b *Node) bool { return in(a) != in(b) })
}

func oneWay(w *World, f Fault) {
	in := w.sides(f)
	w.cuts(1, func(a, b *Node) bool { return in(a) && !in(b) })
}

func unOneWay(w *World, f Fault) {
	in := w.sides(f)
	w.cuts(-1, func(a, b *Node) bool { return in(a) && !in(b) })
}

// alone cuts one node off; when it is back, all push, some of them there.
func alone(w *World, f Fault) {
	n := w.victim(f)
	w.cuts(1, func(a, b *Node) bool { return a == n || b == n })
	w.crowd.rush(n, nil)
}

func unalone(w *World, f Fault) {
	n := w.victim(f)
	w.crowd.rush(n, nil)
	w.cuts(-1, func(a, b *Node) bool { return a == n || b == n })
	w.after(w.millis(0, 3000), func() { w.crowd.rush(n, nil) })
}

// island: N nodes join each other, and meet the mesh only later. One of them was in the mesh, and has a new disk.
func island(w *World, f Fault) {
	first := w.victim(f)
	if w.strangers != 0 || len(w.nodes)+f.N > mostEver || !w.judge.allCreated() || !w.judge.maySpoil(first) {
		return
	}
	w.wipe(first)
	w.away = 1 << first.num
	for range f.N {
		w.away |= 1 << len(w.nodes)
		w.add(first)
	}
	w.strangers = w.away
	w.cuts(1, w.ashore)
	first.restart()
	for range 3 {
		w.after(w.millis(500, 4000), func() { w.crowd.rush(first, w.nodes[len(w.nodes)-1]) })
	}
}

// ashore tells of two nodes of which one is on the island.
func (w *World) ashore(a, b *Node) bool { return w.away>>a.num&1 != w.away>>b.num&1 }

func unisland(w *World, _ Fault) {
	w.cuts(-1, w.ashore)
	w.away = 0
	w.after(metTime, func() { w.strangers = 0 })
}

// metTime is how long it takes at most until those of an island have met the others: they call one another every half minute.
const metTime = time.Minute

func acrossBridge(w *World, f Fault) func(a, b *Node) bool {
	in, bridge := w.sides(f), f.N%f.size
	return func(a, b *Node) bool { return in(a) != in(b) && a.num != bridge && b.num != bridge }
}

func bridge(w *World, f Fault)   { w.cuts(1, acrossBridge(w, f)) }
func unbridge(w *World, f Fault) { w.cuts(-1, acrossBridge(w, f)) }

// distant tells of two nodes that are not neighbours in the order of their numbers.
func (f Fault) distant(a, b *Node) bool {
	d := (a.num - b.num + f.size) % f.size
	return a.num < f.size && b.num < f.size && d != 1 && d != f.size-1
}

func ringOnly(w *World, f Fault) { w.cuts(1, f.distant) }
func unring(w *World, f Fault)   { w.cuts(-1, f.distant) }

// flap cuts a node off and lets it back again and again.
func flap(w *World, f Fault) {
	n, end := w.victim(f), min(w.now+f.For, settling+w.plan.Length)
	own := func(a, b *Node) bool { return a == n || b == n }
	var off, on func()
	off = func() {
		if w.now < end {
			w.cuts(1, own)
			w.after(time.Duration(f.N)*time.Millisecond, on)
		}
	}
	on = func() {
		w.cuts(-1, own)
		w.after(time.Duration(f.N)*time.Millisecond, off)
	}
	off()
}

func setSlow(w *World, f Fault, d time.Duration) {
	n := w.victim(f)
	w.each(func(a, b *Node, l *link) {
		if a == n || b == n {
			l.slow = d
		}
	})
}

func slowLinks(w *World, f Fault)  { setSlow(w, f, time.Duration(f.N)*time.Millisecond) }
func quickLinks(w *World, f Fault) { setSlow(w, f, 0) }

func clog(w *World, f Fault) {
	in := w.sides(f)
	w.each(func(a, _ *Node, l *link) {
		if in(a) {
			l.clogged++
		}
	})
}

func unclog(w *World, f Fault) {
	in := w.sides(f)
	w.each(func(a, _ *Node, l *link) {
		if in(a) {
			if l.clogged = max(0, l.clogged-1); l.clogged == 0 {
				l.flush(w)
			}
		}
	})
}

// falseDeath: some nodes take one for dead that is not, until their next look.
func falseDeath(w *World, f Fault) {
	dead := w.nodes[f.N%len(w.nodes)]
	for _, n := range w.hit(f) {
		if n != dead && n.up && n.told[dead.num] == membership.Alive {
			n.arrive(func() { n.gossip(dead, membership.Failed) })
		}
	}
}

func crash(w *World, f Fault)    { w.victim(f).crash() }
func restart(w *World, f Fault)  { w.victim(f).restart() }
func crashIn(w *World, f Fault)  { w.victim(f).effects = f.N }
func cutWrite(w *World, f Fault) { w.victim(f).disk.CutIn = f.N }

// disarm ends a death that has not come.
func disarm(w *World, f Fault) {
	n := w.victim(f)
	n.effects, n.disk.CutIn = 0, 0
	n.restart()
}

// misplace has some nodes start with the other placement, as when a mesh is upgraded, or one who sets up a machine errs.
func misplace(w *World, f Fault) { w.place(f, true) }

func placeAlike(w *World, f Fault) { w.place(f, false) }

func (w *World) place(f Fault, circular bool) {
	for _, n := range w.hit(f) {
		up := n.up
		n.crash()
		if n.circular = circular; up {
			n.restart()
		}
	}
}

func pause(w *World, f Fault)  { w.victim(f).pause() }
func resume(w *World, f Fault) { w.victim(f).resume() }
func starve(w *World, f Fault) { w.victim(f).slow = time.Duration(f.N) * time.Millisecond }
func feed(w *World, f Fault)   { w.victim(f).slow = 0 }

// massacre kills many at once; each comes back within N milliseconds.
func massacre(w *World, f Fault) {
	for _, n := range w.hit(f) {
		n.crash()
		w.after(w.millis(0, f.N), n.restart)
	}
}

// storm: all clients push, and meanwhile N nodes die and start again at once. Here one that forgets would do harm.
func storm(w *World, f Fault) {
	w.crowd.rush(nil, nil)
	for range f.N {
		w.after(w.millis(0, 25*f.N), func() {
			n := w.nodes[w.dice.IntN(len(w.nodes))]
			n.crash()
			n.restart()
		})
	}
}

func jump(w *World, f Fault) {
	n := w.victim(f)
	n.crash()
	n.clock.jumped += time.Duration(f.N) * time.Minute
}

func drift(w *World, f Fault)   { w.victim(f).setDrift(float64(f.N) / 1000) }
func undrift(w *World, f Fault) { w.victim(f).setDrift(0) }

func (n *Node) setDrift(drift float64) {
	n.clock.base, n.clock.since = n.clock.at(n.w.now), n.w.now
	n.clock.drift = drift
}

func syncFail(w *World, f Fault) { w.victim(f).disk.FailSync = f.N }
func full(w *World, f Fault)     { w.victim(f).disk.Full = true }

func unfull(w *World, f Fault) {
	n := w.victim(f)
	n.disk.Full = false
	n.restart()
}

// wipe gives a node an empty disk.
func wipe(w *World, f Fault) { w.wipe(w.victim(f)) }

func (w *World) wipe(n *Node) {
	if !n.lost && !w.judge.maySpoil(n) {
		return
	}
	n.crash()
	n.disk = NewDisk(w.dice)
	if members := slices.DeleteFunc(w.members(), func(m *Node) bool { return m == n }); n.via == nil || n.via.gone {
		n.via = members[w.dice.IntN(len(members))] // who began the mesh joins it now, or it would begin another
	}
	n.images = nil
	w.judge.spoilt(n)
	w.note(n, "has an empty disk")
}

// rewind gives a node its disk as it was a while ago.
func rewind(w *World, f Fault) { w.rewind(w.victim(f), f.N) }

func (w *World) rewind(n *Node, back int) {
	if len(n.images) == 0 || n.lost || !w.judge.maySpoil(n) {
		return
	}
	n.crash()
	i := max(0, len(n.images)-back)
	n.disk = n.images[i].Image()
	n.images = n.images[:i+1]
	w.judge.spoilt(n)
	w.judge.rewound(n)
	w.note(n, "has an older disk")
}

// imageEvery is how often an image of each disk is made, and maxImages how many of them are kept.
const (
	imageEvery = 7 * second
	maxImages  = 8
)

func (w *World) imaging() {
	for _, f := range w.plan.Faults {
		if f.Kind == "rewind" || f.Kind == "ambush" || f.Kind == "reseat" {
			w.image()
			return
		}
	}
}

func (w *World) image() {
	for _, n := range w.nodes {
		n.images = append(n.images, n.disk.Image())
		n.images = n.images[max(0, len(n.images)-maxImages):]
	}
	w.after(imageEvery, w.image)
}

// flip changes bits of objects.
func flip(w *World, f Fault) {
	n := w.victim(f)
	for _, key := range n.disk.some([]byte("o/"), f.N) {
		if w.judge.mayLose(n, key) {
			n.disk.Flip(key)
		}
	}
}

// rot spoils a record of the Core and restarts the node. It leaves the record out, and counts as one that forgot where that was a
// promise.
func rot(w *World, f Fault) {
	n := w.victim(f)
	if !w.judge.maySpoil(n) {
		return
	}
	for _, key := range n.disk.some([]byte("m/mesh/"), 1) {
		if mesh.Loaded(store.Name(key)) {
			n.crash()
			n.disk.Rot(key)
			w.judge.spoilt(n)
			n.restart()
		}
	}
}

// wipeIfDown is what an operator does with a disk that cannot be read.
func wipeIfDown(w *World, f Fault) {
	if n := w.victim(f); !n.up && !n.gone {
		w.wipe(n)
		n.restart()
	}
}

func join(w *World, f Fault) {
	if len(w.nodes) >= mostEver || !w.judge.allCreated() {
		return
	}
	for i := range w.nodes {
		if via := w.nodes[(i+f.N)%len(w.nodes)]; via.up && !via.halted && !via.gone {
			w.add(via)
			return
		}
	}
}

// leave is a planned end: the node says goodbye, and its disk goes with it.
func leave(w *World, f Fault) {
	n := w.victim(f)
	if !n.up || n.gone || len(w.members()) <= minNodes || !w.judge.maySpoil(n) {
		return
	}
	seen := w.net.component(n)
	w.end(n)
	for _, other := range w.nodes {
		if other != n && seen&(1<<other.num) != 0 && other.up {
			other.arrive(func() { other.gossip(n, membership.Left) })
		}
	}
}

// end takes a node away for good.
func (w *World) end(n *Node) {
	n.crash()
	n.gone = true
	w.judge.spoilt(n)
	w.note(n, "is gone for good")
}

// evict has an operator take a node out; it goes on for a while, since it may not know it yet.
func evict(w *World, f Fault) {
	n := w.victim(f)
	at := w.nodes[f.N%len(w.nodes)]
	if n.gone || n == at || !at.up || at.halted || at.gone || len(w.members()) <= minNodes || !w.judge.maySpoil(n) {
		return
	}
	revoked, err := membership.SignRevocation(membership.Revocation{Mesh: w.shared.chain.Mesh(), Node: n.ID}, w.shared.operator)
	if err != nil {
		panic(err)
	}
	n.evicted = true
	w.judge.spoilt(n)
	at.ask(func(id uint64) mesh.Event { return mesh.Submit{ID: id, Records: []membership.Signed{revoked}} },
		func(mesh.Answer, error) {})
}

func remove(w *World, f Fault) {
	if n := w.victim(f); n.evicted && !n.gone {
		w.end(n)
	}
}
