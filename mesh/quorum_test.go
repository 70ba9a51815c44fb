package mesh_test

import (
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// TestCopiesOutliveASplit: a node that was alone for longer than the grace time has the ring to itself. What it pushes then is not
// acknowledged with its own copy alone when the others are back, and before the ring knows of them.
func TestCopiesOutliveASplit(t *testing.T) {
	w := meshtest.New(7)
	w.Configure = func(_ *meshtest.Node, c *mesh.Config) { c.Grace = time.Minute }
	w.Add("n1", nil)
	w.Add("n2", w.Node("n1"))
	w.Add("n3", w.Node("n2"))
	w.Run(20 * time.Second)
	n1, n2, n3 := w.Node("n1"), w.Node("n2"), w.Node("n3")
	one := commit(t, w, n1, 1, store.Hash{})
	w.Partition([]*meshtest.Node{n1}, []*meshtest.Node{n2, n3})
	w.Run(3 * time.Minute)
	if got := len(n1.Core.Ring().Nodes()); got != 1 {
		t.Fatalf("the ring of the one that is alone has %d nodes", got)
	}
	object, objects := w.Revision(store.Revision{Env: "production", Version: 2, Parent: store.HashOf(one), Kind: store.KindPush},
		map[string]string{"site.yaml": "after the split"})
	id := n1.Push(object, objects)
	w.Run(5 * time.Second)
	w.Heal()
	if !w.RunUntil(time.Minute, func() bool { _, answered := n1.Answers[id]; return answered }) {
		t.Fatal("the push is not answered")
	}
	committed(t, n1, id)
	for _, o := range objects {
		h, copies := store.HashOf(o), 0
		for _, n := range w.Nodes() {
			if n.Holds(h) {
				copies++
			}
		}
		if copies < 2 {
			t.Errorf("%s was acknowledged with %d copies", h.Short(), copies)
		}
	}
}
