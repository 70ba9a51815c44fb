package mesh_test

import (
	"fmt"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// collecting is a mesh that keeps two revisions.
func collecting(t *testing.T, nodes, keep int) *meshtest.Network {
	t.Helper()
	w := meshtest.New(11)
	w.Configure = func(_ *meshtest.Node, c *mesh.Config) {
		c.Keep, c.Forget, c.Collect = keep, 2*time.Hour, 10*time.Minute
	}
	var via *meshtest.Node
	for i := range nodes {
		via = w.Add(fmt.Sprintf("n%d", i+1), via)
		w.Run(time.Second)
	}
	w.Run(8 * time.Second)
	return w
}

// history pushes n revisions, each with files of its own and one that all have, and returns their objects.
func history(t *testing.T, w *meshtest.Network, n int) (objects [][][]byte, head store.Head) {
	t.Helper()
	for v := 1; v <= n; v++ {
		files := map[string]string{"same": "same"}
		for i := range 20 {
			files[fmt.Sprint("f", i)] = fmt.Sprintf("file %d of version %d", i, v)
		}
		object, all := w.Revision(store.Revision{Env: "production", Version: uint64(v), Parent: head.Revision, Kind: store.KindPush}, files)
		at := w.Nodes()[v%len(w.Nodes())]
		id := at.Push(object, all)
		w.Run(20 * time.Second)
		head = committed(t, at, id)
		objects = append(objects, all)
	}
	return objects, head
}

func owned(w *meshtest.Network, h store.Hash) map[*meshtest.Node]bool {
	out := map[*meshtest.Node]bool{}
	r := w.Nodes()[0].Core.Ring()
	for _, id := range r.Owners(r.PartitionOf(h[:]), mesh.DefaultReplicas) {
		for _, n := range w.Nodes() {
			if n.ID == id {
				out[n] = true
			}
		}
	}
	return out
}

// What no kept revision refers to goes from all disks; what one does stays with all owners, and with all nodes what they apply.
func TestCollection(t *testing.T) {
	w := collecting(t, 5, 2)
	objects, _ := history(t, w, 5)
	shared := store.HashOf([]byte("same"))
	w.Run(time.Hour)
	for _, o := range objects[0] {
		if !w.Nodes()[0].Holds(store.HashOf(o)) && owned(w, store.HashOf(o))[w.Nodes()[0]] {
			t.Fatal("an object went before its time")
		}
	}
	w.Run(5 * time.Hour)
	for v, all := range objects {
		for _, o := range all {
			h := store.HashOf(o)
			for _, n := range w.Nodes() {
				old := v < 3 && h != shared
				applied := v == 4 || h == shared
				switch holds := n.Holds(h); {
				case old && holds:
					t.Errorf("%s keeps %s of version %d", n.Name, h.Short(), v+1)
				case !old && !holds && (owned(w, h)[n] || applied):
					t.Errorf("%s lost %s of version %d", n.Name, h.Short(), v+1)
				}
			}
		}
	}
}

// A node that was cut off between taking objects in and hearing of the head that names them keeps them, however long that lasts.
func TestCutOffCollectsNothing(t *testing.T) {
	w := collecting(t, 3, 2)
	_, head := history(t, w, 2)
	object, all := w.Revision(store.Revision{Env: "production", Version: 3, Parent: head.Revision, Kind: store.KindPush}, map[string]string{"new": "new"})
	at, victim := w.Nodes()[0], w.Nodes()[2]
	id := at.Push(object, all)
	file := store.HashOf([]byte("new"))
	if !w.RunUntil(10*time.Second, func() bool { return victim.Holds(file) && victim.Core.Heads()["production"].Version == 2 }) {
		t.Fatal("the objects never came before the head")
	}
	w.Partition([]*meshtest.Node{victim}, w.Nodes()[:2])
	w.Run(30 * time.Second)
	committed(t, at, id)
	w.Run(6 * time.Hour)
	if !victim.Holds(file) {
		t.Error("a copy of what was acknowledged is gone")
	}
}

// What nobody committed is collected, but for the node where it is staged.
func TestStagedIsKept(t *testing.T) {
	w := collecting(t, 3, 2)
	_, head := history(t, w, 1)
	n := w.Nodes()[0]
	w.Partition([]*meshtest.Node{n}, w.Nodes()[1:])
	w.Run(5 * time.Second)
	object, all := w.Revision(store.Revision{Env: "production", Version: 2, Parent: head.Revision, Kind: store.KindPush}, map[string]string{"staged": "staged"})
	n.Push(object, all)
	w.Run(6 * time.Hour)
	w.Heal()
	w.Run(2 * time.Minute)
	for _, node := range w.Nodes() {
		if node.Version() != 2 {
			t.Errorf("%s is at %d", node.Name, node.Version())
		}
	}
}

// Copies that a node neither owns nor needs go when all owners have signed that they have theirs, and not before.
func TestDropsOnlyWhatAllOwnersSignedFor(t *testing.T) {
	w := collecting(t, 6, 20)
	// Two owners of what version 1 had will lose it, and nothing but their signatures tells: repair is silent.
	repair := true
	w.Tamper = func(_ *meshtest.Node, m mesh.Message) mesh.Message {
		switch m.(type) {
		case *mesh.Compare, *mesh.Digests, *mesh.Hashes, *mesh.Offer:
			if !repair {
				return &mesh.StatusAsk{}
			}
		}
		return m
	}
	objects, _ := history(t, w, 2)
	missing := store.HashOf([]byte("file 3 of version 1"))
	repair = false
	count := 0
	for n := range owned(w, missing) {
		if count++; count < 3 {
			w.Kill(n)
			n.Forget(missing)
			w.Restart(n)
		}
	}
	w.Run(time.Hour)
	holders := 0
	for _, n := range w.Nodes() {
		if n.Holds(missing) {
			holders++
		}
	}
	if holders != 4 {
		t.Errorf("%d nodes hold what two owners of three lack; the other four should", holders)
	}
	dropped := 0
	for _, o := range objects[0] {
		for _, n := range w.Nodes() {
			if h := store.HashOf(o); !n.Holds(h) && !owned(w, h)[n] {
				dropped++
			}
		}
	}
	if dropped < 20 {
		t.Errorf("only %d copies that nobody needs are gone", dropped)
	}
	repair = true
	w.Run(2 * time.Hour)
	for n := range owned(w, missing) {
		if !n.Holds(missing) {
			t.Errorf("%s owns it and did not get it", n.Name)
		}
	}
}
