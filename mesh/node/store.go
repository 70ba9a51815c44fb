package node

import (
	"context"
	"errors"
	"fmt"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// Store is the mesh as a store: what Put and Advance acknowledge is on a quorum.
func (n *Node) Store() store.Store { return meshStore{n} }

// Intake is Store, but for a Put that keeps objects on this node alone: a push brings them to their owners itself, and a
// node that is cut off can still stage it.
func (n *Node) Intake() store.Store { return intake{meshStore{n}} }

type meshStore struct{ n *Node }

type intake struct{ meshStore }

// Put implements store.Store.
func (s intake) Put(ctx context.Context, objects [][]byte) error {
	_, err := s.n.keep(ctx, objects)
	return err
}

// keep makes objects durable here, and tells the Core.
func (n *Node) keep(ctx context.Context, objects [][]byte) ([]store.Hash, error) {
	names, err := n.objects.Put(ctx, objects)
	if err != nil {
		return nil, err
	}
	n.recent.add(names, objects)
	var ev mesh.Stored
	for i, h := range names {
		ev.Objects = append(ev.Objects, mesh.Kept{Hash: h, Size: len(objects[i])})
	}
	return names, n.tell(ctx, ev)
}

// Put implements store.Store.
func (s meshStore) Put(ctx context.Context, objects [][]byte) error {
	if len(objects) == 0 {
		return nil
	}
	names, err := s.n.keep(ctx, objects)
	if err != nil {
		return err
	}
	_, err = s.n.call(ctx, func(id uint64) mesh.Event { return mesh.Replicate{ID: id, Hashes: names} })
	return err
}

// Get implements store.Store: from here, or from whoever has it.
func (s meshStore) Get(ctx context.Context, hash store.Hash) ([]byte, error) {
	return s.n.get(ctx, hash)
}

func (n *Node) get(ctx context.Context, hash store.Hash) ([]byte, error) {
	return n.obtain(ctx, hash, false)
}

// obtain reads an object, hasty: without waiting for members that are not there.
func (n *Node) obtain(ctx context.Context, hash store.Hash, hasty bool) ([]byte, error) {
	data, err := n.local(ctx, hash)
	for again := false; errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt); again = true {
		if again || errors.Is(err, store.ErrCorrupt) { // or the Core would answer that it is here
			if err := n.tell(ctx, mesh.Lost{Hash: hash}); err != nil {
				return nil, err
			}
		}
		if err := n.want(ctx, hash, hasty); err != nil {
			return nil, err
		}
		if data, err = n.objects.Get(ctx, hash); again {
			break
		}
	}
	return data, err
}

// want returns when the object is here, as far as the Core knows.
func (n *Node) want(ctx context.Context, hash store.Hash, hasty bool) error {
	_, err := n.call(ctx, func(id uint64) mesh.Event { return mesh.Want{ID: id, Hashes: []store.Hash{hash}, Hasty: hasty} })
	if errors.Is(err, mesh.ErrUnobtainable) {
		return fmt.Errorf("object %s: %w: %w", hash.Short(), store.ErrNotFound, err)
	}
	if err != nil {
		return fmt.Errorf("object %s: %w", hash.Short(), err)
	}
	return nil
}

// Head implements store.Store: the newest head that this node knows.
func (s meshStore) Head(ctx context.Context, env string) (store.Head, error) {
	if err := ctx.Err(); err != nil {
		return store.Head{}, err
	}
	h, ok := s.n.shown.Load().heads[env]
	if !ok {
		return store.Head{}, fmt.Errorf("head of %s: %w", env, store.ErrNotFound)
	}
	return h, nil
}

// ConfirmedHead is the newest head that there is, as a majority of its acceptors has it.
func (n *Node) ConfirmedHead(ctx context.Context, env string) (store.Head, error) {
	v, err := n.call(ctx, func(id uint64) mesh.Event { return mesh.AskHead{ID: id, Env: env} })
	if err != nil {
		return store.Head{}, err
	}
	return v.(store.Head), nil
}

// Advance implements store.Store.
func (s meshStore) Advance(ctx context.Context, revision store.Hash) (store.Outcome, store.Head, error) {
	p, _, err := s.n.advance(ctx, revision, nil)
	return p.Outcome, p.Head, err
}

func revisionOf(object []byte) (store.Revision, error) {
	var signed membership.Signed
	var r store.Revision
	if err := codec.Unmarshal(object, &signed); err != nil {
		return r, err
	}
	return r, codec.Unmarshal(signed.Body, &r)
}

func (n *Node) advance(ctx context.Context, revision store.Hash, object []byte) (mesh.Pushed, store.Revision, error) {
	if object == nil {
		var err error
		if object, err = n.get(ctx, revision); err != nil {
			return mesh.Pushed{}, store.Revision{}, fmt.Errorf("push: %w", err)
		}
	}
	v, err := n.call(ctx, func(id uint64) mesh.Event { return mesh.Push{ID: id, Object: object} })
	if err != nil {
		return mesh.Pushed{}, store.Revision{}, err
	}
	r, err := revisionOf(object)
	return v.(mesh.Pushed), r, err
}

// Push makes a revision, whose tree was put before, the head of its environment. Its object may be nil when it was put too.
func (n *Node) Push(ctx context.Context, revision store.Hash, object []byte) (mesh.PushResult, error) {
	p, r, err := n.advance(ctx, revision, object)
	if err != nil {
		return mesh.PushResult{}, err
	}
	if p.Outcome == store.Diverged && p.Head.Version > r.Version+store.MaxBefore {
		was, err := n.wasCommitted(ctx, p.Head, r.Version, revision)
		if err != nil {
			return mesh.PushResult{}, err
		}
		if was {
			p = mesh.Pushed{Outcome: store.Committed, Head: p.Head}
		}
	}
	result := mesh.PushResult{Env: r.Env, Version: r.Version, Revision: revision, Status: p.Outcome, Why: p.Why}
	if p.Outcome != store.Committed && p.Head.Version > 0 {
		result.Head = &mesh.EnvHead{Version: p.Head.Version, Revision: p.Head.Revision}
	}
	return result, nil
}

// wasCommitted looks in the log for a revision that is repeated so late that the head does not name it any more.
func (n *Node) wasCommitted(ctx context.Context, head store.Head, version uint64, revision store.Hash) (bool, error) {
	hash := head.Revision
	for at := head.Version; at > version; at-- {
		object, err := n.get(ctx, hash)
		if errors.Is(err, store.ErrNotFound) {
			return false, fmt.Errorf("push: version %d of %s was collected, so whether it was this revision cannot be told: %w", version, head.Env, mesh.ErrUnobtainable)
		}
		var r store.Revision
		if err == nil {
			r, err = revisionOf(object)
		}
		if err != nil {
			return false, fmt.Errorf("push: log of %s: %w", head.Env, err)
		}
		hash = r.Parent
	}
	return hash == revision, nil
}

// Missing are those of the objects that a push must send: they are not here.
func (n *Node) Missing(ctx context.Context, hashes []store.Hash) ([]store.Hash, error) {
	here, err := n.objects.Has(ctx, hashes)
	if err != nil {
		return nil, err
	}
	missing := []store.Hash{}
	for i, h := range hashes {
		if !here[i] {
			missing = append(missing, h)
		}
	}
	return missing, nil
}
