package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// What every shell of a Core does in the same way.

// maxPutBytes bounds the objects of one Put, so that it fits into a frame with one more of the largest size.
const maxPutBytes = MaxFrame - store.MaxObject - 4096

// PackObjects divides objects among as few Puts as fit into frames.
func PackObjects(objects []Object) []*Put {
	var out []*Put
	size := 0
	for _, o := range objects {
		if len(out) == 0 || size > maxPutBytes || len(out[len(out)-1].Objects) == maxHashes {
			out, size = append(out, &Put{}), 0
		}
		last := out[len(out)-1]
		last.Objects = append(last.Objects, o)
		size += len(o.Data) + 48
	}
	return out
}

// WithReport puts a report's bytes into the message of a SendReport.
func WithReport(m Message, report []byte) Message {
	switch m := m.(type) {
	case *LogTell:
		return &LogTell{Record: m.Record, Report: report}
	case *ReportTell:
		return &ReportTell{ID: m.ID, Record: m.Record, Report: report}
	case *RunTell:
		return &RunTell{ID: m.ID, Node: m.Node, Report: report}
	}
	return m
}

// ReadReport reads a report of a node from the records that its Core saved.
func ReadReport(node membership.NodeID, report store.Hash, get func(key string) ([]byte, error)) ([]byte, error) {
	data, err := get(RunKey(node, report))
	if errors.Is(err, store.ErrNotFound) {
		data, err = get(keyReport + string(node)) // of version 2
	}
	if err == nil && store.HashOf(data) != report {
		err = store.ErrCorrupt
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// ObjectsFor are the messages that answer a SendObjects with what get has: the objects, packed, and then what it lacks.
func ObjectsFor(hashes []store.Hash, get func(store.Hash) ([]byte, error)) (answer []Message) {
	var objects []Object
	lacks := &Lacks{}
	for _, h := range hashes {
		data, err := get(h)
		if err != nil {
			lacks.Hashes = append(lacks.Hashes, h)
			continue
		}
		objects = append(objects, Object{Hash: h, Data: data})
	}
	for _, put := range PackObjects(objects) {
		answer = append(answer, put)
	}
	if len(lacks.Hashes) > 0 {
		answer = append(answer, lacks)
	}
	return answer
}

// DoCheckTree does the action CheckTree with what is here.
func DoCheckTree(ctx context.Context, manifest store.Hash, get store.Getter,
	has func(context.Context, []store.Hash) ([]bool, error)) TreeChecked {
	out := TreeChecked{Manifest: manifest}
	if out.Missing, out.Err = store.Missing(ctx, manifest, get, has); out.Err != nil || len(out.Missing) > 0 {
		return out
	}
	root, err := get(ctx, manifest)
	if err != nil {
		out.Err = err
		return out
	}
	pieces, err := store.Pieces(root)
	if err != nil {
		out.Err = err
		return out
	}
	m, err := store.OpenManifest(ctx, manifest, get)
	if err != nil {
		out.Err = err
		return out
	}
	out.Objects = append([]store.Hash{manifest}, m.Needed()...)
	for _, p := range pieces {
		out.Objects = append(out.Objects, p.Hash)
	}
	return out
}

// DoReach does the action ReachObjects; get may ask other nodes.
func DoReach(ctx context.Context, a ReachObjects, get store.Getter) Reached {
	r := reacher{ctx: ctx, get: get, out: Reached{Round: a.Round}}
	for _, h := range a.Revisions {
		for n := 0; n < a.Keep && !h.IsZero(); n++ {
			h = r.revision(h)
		}
	}
	for _, h := range a.Staged {
		r.revision(h)
	}
	for _, h := range a.Here {
		r.tree(h, true)
	}
	return r.out
}

type reacher struct {
	ctx context.Context // of the one action that this value lives for
	get store.Getter
	out Reached
}

// revision enters a revision and its tree, and returns its parent.
func (r *reacher) revision(h store.Hash) (parent store.Hash) {
	if r.out.Err != nil {
		return store.Hash{}
	}
	object, err := r.get(r.ctx, h)
	if err == nil && store.HashOf(object) != h {
		err = store.ErrCorrupt
	}
	var signed membership.Signed
	var revision store.Revision
	if err == nil {
		err = codec.Unmarshal(object, &signed)
	}
	if err == nil {
		err = codec.Unmarshal(signed.Body, &revision)
	}
	if err != nil {
		r.out.Err = fmt.Errorf("revision %s: %w", h.Short(), err)
		return store.Hash{}
	}
	r.out.Here = append(r.out.Here, h)
	r.tree(revision.Manifest, false)
	return revision.Parent
}

// tree enters what a manifest names; its files are needed here, or only kept by their owners.
func (r *reacher) tree(manifest store.Hash, here bool) {
	if r.out.Err != nil || manifest.IsZero() {
		return
	}
	root, err := r.get(r.ctx, manifest)
	var pieces []store.Chunk
	if err == nil {
		pieces, err = store.Pieces(root)
	}
	var m store.Manifest
	if err == nil {
		m, err = store.OpenManifest(r.ctx, manifest, r.get)
	}
	if err != nil {
		r.out.Err = fmt.Errorf("manifest %s: %w", manifest.Short(), err)
		return
	}
	r.out.Here = append(r.out.Here, manifest)
	for _, p := range pieces {
		r.out.Here = append(r.out.Here, p.Hash)
	}
	if here {
		r.out.Here = append(r.out.Here, m.Needed()...)
	} else {
		r.out.Kept = append(r.out.Kept, m.Needed()...)
	}
}

// SavedRoster makes the roster of a node that was a member before it restarted, from the records that it saved; ok is
// false when there are none. It needs the beginning of the trust chain alone: New takes the rest, and leaves out what is damaged.
func SavedRoster(saved []store.Pair) (roster *membership.Roster, ok bool, err error) {
	type numbered struct {
		height uint64
		signed membership.Signed
	}
	var statements []numbered
	for _, p := range saved {
		var s membership.Signed
		if key := string(p.Key); len(key) < len(keyRoster) || key[:len(keyRoster)] != keyRoster {
			continue
		}
		if codec.Unmarshal(p.Value, &s) != nil || s.Domain != membership.DomainStatement {
			continue
		}
		var st membership.Statement
		if codec.Unmarshal(s.Body, &st) != nil {
			continue
		}
		statements = append(statements, numbered{st.Height, s})
	}
	if len(statements) == 0 {
		return nil, false, nil
	}
	slices.SortStableFunc(statements, func(a, b numbered) int { return int(a.height) - int(b.height) })
	chain, err := membership.OpenChain([]membership.Signed{statements[0].signed})
	if err != nil {
		return nil, false, fmt.Errorf("the beginning of the trust chain cannot be read; start the node with a ticket once more: %w", err)
	}
	roster = membership.NewRoster(chain)
	return roster, true, nil
}
