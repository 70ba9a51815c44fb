package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// do does one action of the Core. What is durable by now was made so before.
func (n *Node) do(a mesh.Action) {
	w, ctx := n.w, context.Background()
	switch a := a.(type) {
	case mesh.Send:
		n.send(a.To, a.Message)
	case mesh.SendObjects:
		n.later(w.millis(0, 2), func() { n.sendObjects(a) })
	case mesh.SendReport:
		if report, err := n.report(a.Node, a.Report); err == nil {
			n.send(a.To, mesh.WithReport(a.Message, report))
		}
	case mesh.StoreObjects:
		n.later(w.millis(1, 4), func() {
			if ev := n.store(a.Objects); n.up {
				n.step(ev)
			}
		})
	case mesh.VerifyObjects:
		n.later(w.millis(5, 20), func() { n.step(n.verify(a.Hashes)) })
	case mesh.ReachObjects:
		n.later(w.millis(5, 20+int(w.plan.Read.Milliseconds())), func() { n.reach(a, maxReads) })
	case mesh.DropObjects:
		n.later(w.millis(1, 10), func() { n.drop(a.Hashes) })
	case mesh.CheckTree:
		n.later(w.millis(1, 2), func() { n.step(mesh.DoCheckTree(ctx, a.Manifest, n.local, n.objects.Has)) })
	case mesh.Converge:
		n.converge(a)
	case mesh.Hint:
		w.net.rumour(n, a.Data)
	case mesh.Answer:
		n.answer(a)
	case mesh.AnswerReport:
		report, err := n.report(a.Node, a.Report)
		n.answer(mesh.Answer{ID: a.ID, Value: report, Err: err})
	case mesh.Note:
		w.note(n, "notes: %s", a)
	}
}

func (n *Node) report(of membership.NodeID, report store.Hash) ([]byte, error) {
	return mesh.ReadReport(of, report, func(key string) ([]byte, error) { return n.disk.Get(context.Background(), store.MetaKey(key)) })
}

func (n *Node) answer(a mesh.Answer) {
	answered, ok := n.waiting[a.ID]
	if !ok {
		return
	}
	delete(n.waiting, a.ID)
	n.w.judge.answers(n, a)
	life := n.life
	n.w.after(n.w.millis(0, 3), func() {
		if n.up && n.life == life {
			answered(a, nil)
		} else {
			answered(mesh.Answer{}, errLost)
		}
	})
}

func (n *Node) converge(a mesh.Converge) {
	n.w.note(n, "converges %s %d %s", a.Head.Env, a.Head.Version, a.Head.Revision.Short())
	n.w.judge.converges(n, a)
	n.later(n.w.millis(50, 1500), func() {
		n.step(mesh.Reported{Summary: mesh.Summary{
			Env: a.Head.Env, Version: a.Head.Version, Revision: a.Head.Revision, Result: "converged",
		}, Report: []byte("report of " + n.Name)})
	})
}

// store keeps objects on the disk, and says how that went.
func (n *Node) store(objects [][]byte) mesh.Stored {
	var ev mesh.Stored
	for _, data := range objects {
		ev.Objects = append(ev.Objects, mesh.Kept{Hash: store.HashOf(data), Size: len(data)})
	}
	_, ev.Err = n.objects.Put(context.Background(), objects)
	return ev
}

// verify reads objects for the scrub.
func (n *Node) verify(hashes []store.Hash) (ev mesh.Verified) {
	for _, h := range hashes {
		_, err := n.objects.Get(context.Background(), h)
		if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrNotFound) {
			ev.Bad = append(ev.Bad, h)
		}
	}
	return ev
}

// drop deletes objects.
func (n *Node) drop(hashes []store.Hash) {
	n.w.judge.drops(n, hashes)
	err := n.objects.Drop(context.Background(), hashes)
	if n.up {
		n.step(mesh.Dropped{Hashes: hashes, Err: err})
	}
}

// maxReads bounds how many objects one ReachObjects fetches from others.
const maxReads = 200

// reach reads what revisions are made of. What is not here is fetched, and all is begun anew.
func (n *Node) reach(a mesh.ReachObjects, left int) {
	var lacks []store.Hash
	ev := mesh.DoReach(context.Background(), a, func(ctx context.Context, h store.Hash) ([]byte, error) {
		data, err := n.local(ctx, h)
		if err != nil {
			lacks = []store.Hash{h}
		}
		return data, err
	})
	if ev.Err == nil || len(lacks) == 0 || left == 0 {
		n.step(ev)
		return
	}
	n.ask(func(id uint64) mesh.Event { return mesh.Want{ID: id, Hashes: lacks} }, func(answer mesh.Answer, err error) {
		switch {
		case err != nil: // the node is gone
		case answer.Err != nil:
			n.step(ev)
		default:
			n.reach(a, left-1)
		}
	})
}

// local reads an object. A damaged one counts as lost.
func (n *Node) local(ctx context.Context, h store.Hash) ([]byte, error) {
	data, err := n.objects.Get(ctx, h)
	if errors.Is(err, store.ErrCorrupt) {
		n.later(0, func() { n.step(mesh.Lost{Hash: h}) })
	}
	return data, err
}

func (n *Node) sendObjects(a mesh.SendObjects) {
	get := func(h store.Hash) ([]byte, error) { return n.local(context.Background(), h) }
	for _, m := range mesh.ObjectsFor(a.Hashes, get) {
		n.send(a.To, m)
	}
}

// send encodes as the transport does.
func (n *Node) send(id membership.NodeID, m mesh.Message) {
	w := n.w
	w.judge.sends(n, m)
	frame, err := mesh.Encode(m)
	if err != nil {
		w.judge.fail(n, "sends %T: %v", m, err)
		return
	}
	w.trace.frame(n.num, frame)
	if to := w.byID[id]; to != nil {
		w.talk(n, to, m)
		w.net.carry(n, to, frame)
		w.ambushed(n, to, m)
	}
}

// receive shows the sender's credential first, as the handshake does.
func (n *Node) receive(from *Node, frame []byte) {
	if n.halted {
		return
	}
	if _, ok := n.core.Roster().Lookup(from.ID, n.clock.at(n.w.now)); !ok {
		n.step(mesh.Admit{Peer: from.ID, Credential: from.first})
		if !n.up || n.halted {
			return
		}
	}
	m, err := mesh.Decode(frame)
	if err != nil {
		n.w.judge.fail(n, "cannot read a frame of %s: %v", from.Name, err)
		return
	}
	n.step(mesh.Received{From: from.ID, Message: m})
}

func (n *Node) gossip(about *Node, status membership.Status) {
	n.told[about.num] = status
	n.step(mesh.Gossiped{Event: membership.Event{Node: about.ID, Addr: fmt.Sprintf("10.0.0.%d:7000", about.num+1), Status: status}})
}

// times of the gossip: a node looks for the others that often, and takes one for dead that was not there so many times.
const (
	lookLow, lookHigh = 1200, 1800 // milliseconds
	deadAfter         = 4
	pauseSeen         = 2 * time.Second // until a process that does not run counts as not there
)

// watch is the node's gossip: it looks for the others again and again.
func (w *World) watch(n *Node) {
	if n.gone {
		return
	}
	if n.up && !n.paused {
		seen := w.net.component(n)
		for _, other := range w.nodes {
			if other != n && n.up && !n.halted {
				w.look(n, other, seen&(1<<other.num) != 0)
			}
		}
	}
	w.after(w.millis(lookLow, lookHigh), func() { w.watch(n) })
}

func (w *World) look(n, other *Node, there bool) {
	told := n.told[other.num]
	switch {
	case there:
		n.missed[other.num] = 0
		if told != membership.Alive {
			n.arrive(func() { n.gossip(other, membership.Alive) })
		}
	case told == membership.Alive:
		if n.missed[other.num]++; n.missed[other.num] >= deadAfter {
			n.arrive(func() { n.gossip(other, membership.Failed) })
		}
	}
}
