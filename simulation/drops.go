package simulation

import (
	"slices"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/ring"
	"shoal/store"
)

// Collection may delete what nothing refers to, and a copy that moved. Who deletes must have asked; and a node keeps what it
// needs itself, whoever else has it.

// copyFor is an object of which a node may have no copy, if others sign that they have one.
type copyFor struct {
	node   *Node
	object store.Hash
}

// asking is the longest time between the question for newer heads and the reading of what those that are known refer to.
const asking = 6 * time.Second

// collects looks at what a Core decides to read and to delete.
func (j *judge) collects(n *Node, a mesh.Action) {
	switch a := a.(type) {
	case mesh.ReachObjects:
		j.reading[n] = j.w.now
		j.overlooked(n, a)
	case mesh.DropObjects:
		if a.Moved {
			j.movedAway(n, a.Hashes)
		} else {
			j.unreferenced(n, a.Hashes)
		}
		j.stagedHere(n, a.Hashes)
	}
}

// overlooked: a round reads all that the node has staged before it calls anything garbage.
func (j *judge) overlooked(n *Node, a mesh.ReachObjects) {
	for _, h := range j.order {
		if j.staged[n][h] && !j.decidedAt(n, h) && !slices.Contains(a.Staged, h) {
			j.fail(n, "invariant 9: collects without a look at %s, which is staged here", h.Short())
		}
	}
}

// signs notes an owner's word that it has objects that another wants to delete.
func (j *judge) signs(n *Node, m *mesh.KeepTell) {
	var receipt mesh.KeptReceipt
	if err := codec.Unmarshal(m.Receipt.Body, &receipt); err != nil {
		j.fail(n, "signs a receipt that does not decode: %v", err)
		return
	}
	for _, h := range receipt.Hashes {
		at := copyFor{j.w.byID[receipt.For], h}
		if j.signed[at] == nil {
			j.signed[at] = map[membership.NodeID]time.Duration{}
		}
		j.signed[at][n.ID] = j.w.now
	}
}

// movedAway: all owners, as the node sees them, have signed since it began to read.
func (j *judge) movedAway(n *Node, hashes []store.Hash) {
	for _, h := range hashes {
		at := copyFor{n, h}
		for _, owner := range n.core.Ring().Owners(ring.PartitionOf(h[:]), mesh.DefaultReplicas) {
			if signed, ok := j.signed[at][owner]; !ok || signed < j.reading[n] {
				j.fail(n, "invariant 9: deletes its copy of %s without the word of %s", h.Short(), j.w.byID[owner].Name)
			}
		}
		delete(j.signed, at)
	}
}

// unreferenced: what was certified before the node asked for newer heads is known to it when it decides what to keep.
func (j *judge) unreferenced(n *Node, hashes []store.Hash) {
	if n.evicted || n.gone {
		return
	}
	for _, h := range j.order {
		if since, ok := j.since[h]; !ok || !j.needs(h) || since > j.reading[n]-asking {
			continue
		}
		if name, ok := j.among(hashes, h); ok {
			j.fail(n, "invariant 9: takes object %s for garbage, of %s, which was certified %s before", name.Short(), h.Short(), j.w.now-j.since[h])
		}
	}
}

// stagedHere: what a node has staged it can go on with whenever it meets the others.
func (j *judge) stagedHere(n *Node, hashes []store.Hash) {
	for _, h := range j.order {
		if !j.staged[n][h] || j.decidedAt(n, h) {
			continue
		}
		if name, ok := j.among(hashes, h); ok {
			j.fail(n, "invariant 9: deletes object %s of %s, which is staged here", name.Short(), h.Short())
		}
	}
}

// among finds an object of a revision among some.
func (j *judge) among(hashes []store.Hash, revision store.Hash) (store.Hash, bool) {
	for _, object := range j.made[revision].objects {
		if name := store.HashOf(object); slices.Contains(hashes, name) {
			return name, true
		}
	}
	return store.Hash{}, false
}

// drops looks at the moment at which objects go: enough others have them, and none is of what the node enforces, alone if need be.
func (j *judge) drops(n *Node, hashes []store.Hash) {
	if h, ok := j.applies[n]; ok {
		objects := j.made[h].objects
		for _, object := range objects[:len(objects)-1] { // the revision itself is kept with the head
			if name := store.HashOf(object); slices.Contains(hashes, name) {
				j.fail(n, "invariant 9: deletes object %s of %s, which it applies", name.Short(), h.Short())
			}
		}
	}
	for _, h := range j.order {
		if !j.needs(h) {
			continue
		}
		for _, object := range j.made[h].objects {
			if name := store.HashOf(object); slices.Contains(hashes, name) && j.present(name, n) < j.least() {
				j.fail(n, "invariant 9: deletes object %s of %s, of which there are %d other copies", name.Short(), h.Short(), j.present(name, n))
			}
		}
	}
}
