package mesh_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/ring"
	"shoal/store"
)

// mixed is a mesh of which some nodes place in a circle.
func mixed(n int, circular string) *meshtest.Network {
	return grown(51, n, func(node *meshtest.Node, c *mesh.Config) {
		if strings.Contains(circular, node.Name) {
			c.Place = ring.NewCircular
		}
	})
}

// pushed pushes a tree of some files and returns the answer.
func pushed(w *meshtest.Network, n *meshtest.Node, files map[string]string) (objects [][]byte, p mesh.Pushed) {
	object, objects := w.Revision(store.Revision{Env: "production", Version: 1, Kind: store.KindPush}, files)
	id := n.Push(object, objects)
	w.RunUntil(30*time.Second, func() bool { _, ok := n.Answers[id]; return ok })
	p, _ = n.Answers[id].Value.(mesh.Pushed)
	return objects, p
}

// Where most owners place by another algorithm nothing is acknowledged, and the answer says why.
func TestNoQuorumOfAnotherPlacement(t *testing.T) {
	w := mixed(3, "n2 n3")
	n := w.Nodes()
	_, p := pushed(w, n[0], map[string]string{"site.yaml": "x"})
	if p.Outcome != store.Staged || !strings.Contains(p.Why, "n2 by circular/1") || !strings.Contains(p.Why, "token/2") {
		t.Errorf("%+v", p)
	}
	object := []byte("an object alone")
	n[0].Keep(object)
	id := n[0].Ask(func(id uint64) mesh.Event { return mesh.Replicate{ID: id, Hashes: []store.Hash{store.HashOf(object)}} })
	w.Run(30 * time.Second)
	if err := n[0].Answers[id].Err; !errors.Is(err, mesh.ErrUnavailable) || !strings.Contains(err.Error(), "n3 by circular/1") {
		t.Errorf("put: %v", err)
	}
	for _, other := range n[1:] {
		if other.Holds(store.HashOf(object)) {
			t.Errorf("%s took it", other.Name)
		}
	}
}

// Where few do, others stand in for them: a write has its quorum on nodes that mean the same by owner, and survives one of those.
func TestOthersStandInForAnotherPlacement(t *testing.T) {
	w := mixed(6, "n5 n6")
	n := w.Nodes()
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprint("f", i)] = strings.Repeat(string(rune('a'+i%26)), 100+i)
	}
	objects, p := pushed(w, n[0], files)
	if p.Outcome != store.Committed {
		t.Fatalf("%+v", p)
	}
	for _, o := range objects {
		copies := 0
		for _, at := range n[:4] {
			if at.Holds(store.HashOf(o)) {
				copies++
			}
		}
		if copies < 2 {
			t.Errorf("%d copies on nodes of this placement", copies)
		}
	}
	w.Run(time.Minute)
	for _, at := range n {
		if at.Version() != 1 {
			t.Errorf("%s applies %d", at.Name, at.Version())
		}
	}
	if holdings := placements(w, n[0]); holdings["n5"] != "circular/1" || holdings["n1"] != "token/2" {
		t.Errorf("status: %v", holdings)
	}
}

func placements(w *meshtest.Network, n *meshtest.Node) map[string]string {
	id := n.Ask(func(id uint64) mesh.Event { return mesh.AskStatus{ID: id} })
	w.Run(5 * time.Second)
	out := map[string]string{}
	for _, h := range n.Answers[id].Value.(mesh.Gathered).Holdings {
		for _, of := range w.Nodes() {
			if of.ID == h.Node {
				out[of.Name] = h.Placement
			}
		}
	}
	return out
}

// A node that is put right takes part again at once, and gets what it owns.
func TestPlacementPutRight(t *testing.T) {
	circular := "n2"
	w := grown(52, 3, func(node *meshtest.Node, c *mesh.Config) {
		if strings.Contains(circular, node.Name) {
			c.Place = ring.NewCircular
		}
	})
	notes := 0
	w.Watch = func(_ *meshtest.Node, what string) {
		if strings.Contains(what, "places by") {
			notes++
		}
	}
	n := w.Nodes()
	objects, p := pushed(w, n[0], map[string]string{"site.yaml": "x"})
	if p.Outcome != store.Committed {
		t.Fatalf("%+v", p)
	}
	w.Run(time.Minute)
	w.Kill(n[1])
	for _, o := range objects {
		n[1].Forget(store.HashOf(o))
	}
	circular = ""
	w.Run(10 * time.Second)
	w.Restart(n[1])
	w.Run(2 * time.Minute)
	for _, o := range objects {
		if !n[1].Holds(store.HashOf(o)) {
			t.Error("n2 lacks an object")
		}
	}
	w.Kill(n[2])
	w.Run(10 * time.Second)
	if _, p := pushed2(w, n[0], p.Head); p.Outcome != store.Committed {
		t.Errorf("a push that needs n2: %+v", p)
	}
	if notes > 12 {
		t.Errorf("it was noted %d times", notes)
	}
}

func pushed2(w *meshtest.Network, n *meshtest.Node, parent store.Head) (objects [][]byte, p mesh.Pushed) {
	object, objects := w.Revision(store.Revision{
		Env: "production", Version: 2, Parent: parent.Revision, Kind: store.KindPush,
	}, map[string]string{"site.yaml": "y"})
	id := n.Push(object, objects)
	w.RunUntil(30*time.Second, func() bool { _, ok := n.Answers[id]; return ok })
	p, _ = n.Answers[id].Value.(mesh.Pushed)
	return objects, p
}

// The word of another placement may be lost or late: a request names the sender's, so nothing is taken for it.
func TestOfferNamesItsPlacement(t *testing.T) {
	w := mixed(3, "n2 n3")
	w.Tamper = func(_ *meshtest.Node, m mesh.Message) mesh.Message {
		if _, word := m.(*mesh.Placed); word {
			return &mesh.Lacks{}
		}
		return m
	}
	for _, n := range w.Nodes() {
		w.Kill(n)
	}
	for _, n := range w.Nodes() {
		w.Restart(n)
	}
	w.Run(8 * time.Second)
	if _, p := pushed(w, w.Node("n1"), map[string]string{"site.yaml": "x"}); p.Outcome != store.Staged {
		t.Errorf("%+v", p)
	}
}
