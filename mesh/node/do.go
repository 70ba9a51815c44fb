package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// maxServing bounds the requests for objects that are being read for others; what comes on top is dropped and asked again.
const maxServing = 64

// maxReading of those read at the same time, each at most readAhead bytes and an object more: so what is held for others does
// not grow with how many ask.
const (
	maxReading = 2
	readAhead  = 1 << 20
)

func (n *Node) do(ctx context.Context, a mesh.Action) {
	switch a := a.(type) {
	case mesh.Send:
		n.send(a.To, a.Message)
	case mesh.SendObjects:
		n.serve(ctx, func() { n.sendObjects(ctx, a) })
	case mesh.SendReport:
		n.serve(ctx, func() { n.sendReport(ctx, a) })
	case mesh.SendSecretKeys:
		n.serve(ctx, func() { n.sendKeys(ctx, a) })
	case mesh.StoreObjects:
		n.work.Go(func() { n.post(ctx, n.storeObjects(ctx, a.Objects)) })
	case mesh.ReachObjects:
		n.work.Go(func() { n.post(ctx, mesh.DoReach(ctx, a, n.get)) })
	case mesh.DropObjects:
		n.work.Go(func() { n.post(ctx, mesh.Dropped{Hashes: a.Hashes, Err: n.objects.Drop(ctx, a.Hashes)}) })
	case mesh.VerifyObjects:
		n.work.Go(func() {
			n.verifyRecords(ctx) // one turn at a time: the Core waits for its answer
			n.post(ctx, n.verify(ctx, a.Hashes))
		})
	case mesh.CheckTree:
		n.work.Go(func() { n.post(ctx, mesh.DoCheckTree(ctx, a.Manifest, n.local, n.objects.Has)) })
	case mesh.Converge:
		n.enforce.Want(a)
	case mesh.Hint:
		if n.ports.Gossip != nil {
			if err := n.ports.Gossip.Hint(a.Data); err != nil {
				n.log.Warn("could not hint", "error", err)
			}
		}
	case mesh.UseKeys:
		if n.ports.Gossip != nil {
			if err := n.ports.Gossip.UseKeys(a.Keys); err != nil {
				n.log.Warn("could not use a gossip key", "error", err)
			}
		}
	case mesh.Learn:
		if n.ports.Transport != nil {
			n.ports.Transport.Learn(a.Peer, a.Addr)
		}
	case mesh.Drop:
		if n.ports.Transport != nil {
			n.ports.Transport.Drop(a.Peer)
		}
	case mesh.Answer:
		n.answer(a)
	case mesh.AnswerReport:
		n.work.Go(func() { n.answerReport(ctx, a) })
	case mesh.Note:
		n.note(a)
	}
}

func (n *Node) note(a mesh.Note) {
	args := []any{}
	if a.Env != "" {
		args = append(args, "env", a.Env)
	}
	if a.Node != "" {
		args = append(args, "node", a.Node)
	}
	if a.Err != nil {
		args = append(args, "error", a.Err)
	}
	level := slog.LevelInfo
	if a.Err != nil {
		level = slog.LevelWarn
	}
	n.log.Log(context.Background(), level, a.What, args...)
}

// post tells the loop what became of some work.
func (n *Node) post(ctx context.Context, what any) {
	select {
	case n.done <- what:
	case <-ctx.Done():
	}
}

func (n *Node) answer(a mesh.Answer) {
	if reply, ok := n.replies[a.ID]; ok {
		delete(n.replies, a.ID)
		reply <- a // has room for the one answer
	}
}

// answerReport reads a report for whoever asked. The reply is taken by the loop alone, so the answer goes through it.
func (n *Node) answerReport(ctx context.Context, a mesh.AnswerReport) {
	data, err := n.readReport(ctx, a.Node, a.Report)
	if err != nil {
		err = fmt.Errorf("%w: %w", mesh.ErrNoReport, err)
	}
	n.post(ctx, mesh.Answer{ID: a.ID, Value: data, Err: err})
}

// readReport reads a report that the Core keeps. What cannot be read is lost, and is fetched again.
func (n *Node) readReport(ctx context.Context, of membership.NodeID, report store.Hash) ([]byte, error) {
	data, err := mesh.ReadReport(of, report, func(key string) ([]byte, error) { return n.ports.KV.Get(ctx, store.MetaKey(key)) })
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) {
		n.log.Warn("a report cannot be read", "node", of, "error", err)
		n.post(ctx, mesh.ReportLost{Node: of, Report: report})
	}
	return data, err
}

func (n *Node) send(to membership.NodeID, m mesh.Message) {
	if n.ports.Transport == nil {
		return
	}
	frame, err := mesh.Encode(m)
	if err == nil {
		err = n.ports.Transport.Send(to, frame)
	}
	if err != nil {
		n.log.Debug("could not send", "to", to, "message", fmt.Sprintf("%T", m), "error", err)
	}
}

// serve runs work for a peer, if there is room.
func (n *Node) serve(ctx context.Context, work func()) {
	if n.serving.Add(1) > maxServing || ctx.Err() != nil {
		n.serving.Add(-1)
		return
	}
	n.work.Go(func() {
		defer n.serving.Add(-1)
		work()
	})
}

func (n *Node) sendObjects(ctx context.Context, a mesh.SendObjects) {
	select {
	case n.reading <- struct{}{}:
		defer func() { <-n.reading }()
	case <-ctx.Done():
		return
	}
	var objects []mesh.Object
	size := 0
	lacks := &mesh.Lacks{}
	flush := func() {
		for _, put := range mesh.PackObjects(objects) {
			n.send(a.To, put)
		}
		objects, size = nil, 0
	}
	for _, h := range a.Hashes {
		data, err := n.toSend(ctx, h)
		if err != nil {
			lacks.Hashes = append(lacks.Hashes, h)
			continue
		}
		objects, size = append(objects, mesh.Object{Hash: h, Data: data}), size+len(data)
		if size > readAhead {
			flush()
		}
	}
	flush()
	if len(lacks.Hashes) > 0 {
		n.send(a.To, lacks)
	}
}

func (n *Node) sendReport(ctx context.Context, a mesh.SendReport) {
	report, err := n.readReport(ctx, a.Node, a.Report)
	if err != nil {
		return
	}
	n.send(a.To, mesh.WithReport(a.Message, report))
}

func (n *Node) storeObjects(ctx context.Context, objects [][]byte) mesh.Stored {
	var ev mesh.Stored
	for _, data := range objects {
		ev.Objects = append(ev.Objects, mesh.Kept{Hash: store.HashOf(data), Size: len(data)})
	}
	_, ev.Err = n.objects.Put(ctx, objects)
	return ev
}

// scrubRecords is how many records are read with each turn of the scrub.
const scrubRecords = 256

// rereader is a KV that knows which records it should have, and which of them it cannot read.
type rereader interface {
	Unreadable(ctx context.Context, after string, limit int) (bad []string, last string, err error)
}

// verifyRecords reads some of what the Core saved again, as the scrub does with objects. The Core has all of it in memory.
func (n *Node) verifyRecords(ctx context.Context) {
	kv, ok := n.ports.KV.(rereader)
	if !ok {
		return
	}
	bad, last, err := kv.Unreadable(ctx, n.scrubbed, scrubRecords)
	n.scrubbed = last
	if err != nil && ctx.Err() == nil {
		n.log.Warn("scrub cannot read", "error", err)
	}
	var ev mesh.RecordsLost
	for _, key := range bad {
		ev.Keys = append(ev.Keys, store.Name([]byte(key)))
	}
	if len(ev.Keys) > 0 {
		n.post(ctx, ev)
	}
}

// verify reads objects for the scrub. Only what is surely bad is told: a store that cannot be read at all is another matter.
func (n *Node) verify(ctx context.Context, hashes []store.Hash) (ev mesh.Verified) {
	for _, h := range hashes {
		_, err := n.objects.Get(ctx, h)
		if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrNotFound) {
			ev.Bad = append(ev.Bad, h)
		} else if err != nil && ctx.Err() == nil {
			n.log.Warn("scrub cannot read", "error", err)
			break
		}
	}
	return ev
}

func (n *Node) toSend(ctx context.Context, h store.Hash) ([]byte, error) {
	if data, ok := n.recent.get(h); ok {
		return data, nil
	}
	return n.local(ctx, h)
}

// local reads an object of this node. A damaged one counts as lost, and is fetched again.
func (n *Node) local(ctx context.Context, h store.Hash) ([]byte, error) {
	data, err := n.objects.Get(ctx, h)
	if errors.Is(err, store.ErrCorrupt) {
		select {
		case n.done <- mesh.Lost{Hash: h}:
		default: // the loop is busy; the next reader tells
		}
	}
	return data, err
}
