package mesh_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// TestRecoveryTakesWhatWasAccepted: version 2 was acknowledged by n1, and nobody who is left was told so. One acceptor has it.
func TestRecoveryTakesWhatWasAccepted(t *testing.T) {
	w := meshtest.New(7)
	for i := range 5 {
		w.Add(fmt.Sprintf("n%d", i+1), w.Node(fmt.Sprintf("n%d", i)))
	}
	w.Run(20 * time.Second)
	n1, n4, n5 := w.Node("n1"), w.Node("n4"), w.Node("n5")
	one := commit(t, w, n1, 1, store.Hash{})
	w.Tamper = func(_ *meshtest.Node, m mesh.Message) mesh.Message {
		if tell, ok := m.(*mesh.HeadTell); ok && tell.Head != nil {
			return &mesh.StatusAsk{}
		}
		return m
	}
	object, objects := w.Revision(store.Revision{Env: "production", Version: 2, Parent: store.HashOf(one), Kind: store.KindPush}, nil)
	id := n1.Push(object, objects)
	if !w.RunUntil(30*time.Second, func() bool { _, answered := n1.Answers[id]; return answered }) {
		t.Fatal("the push is not answered")
	}
	committed(t, n1, id)
	w.Run(500 * time.Millisecond) // what is on its way arrives; nobody has read the register by himself yet
	if n4.Version() != 1 || n5.Version() != 1 {
		t.Fatalf("n4 is at %d, n5 at %d: the test shows nothing", n4.Version(), n5.Version())
	}
	w.Tamper = func(_ *meshtest.Node, m mesh.Message) mesh.Message { return m }
	for _, n := range w.Nodes()[:3] {
		w.Kill(n)
	}
	w.Run(10 * time.Second)
	standing, err := standingOf(w, n4)
	if err != nil || !standing.Accepted || standing.Head.Version != 2 || standing.Answered != 2 {
		t.Fatalf("%+v, %v", standing, err)
	}
	if err := recoverWith(w, n4, standing.Recovery, "operator"); err != nil {
		t.Fatal(err)
	}
	w.Run(10 * time.Second)
	for _, n := range []*meshtest.Node{n4, n5} {
		if got := n.Core.Heads()["production"]; got != standing.Head {
			t.Errorf("%s is at %+v", n.Name, got)
		}
	}
	commit(t, w, n5, 3, standing.Head.Revision)
}

// TestARecoveryIsNotRepeated: what was signed once does not undo what came after, nor does another of the same number.
func TestARecoveryIsNotRepeated(t *testing.T) {
	w, nodes := three(t, 7)
	one := commit(t, w, nodes[0], 1, store.Hash{})
	first, err := standingOf(w, nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := recoverWith(w, nodes[0], first.Recovery, "operator"); err != nil {
		t.Fatal(err)
	}
	w.Run(10 * time.Second)
	commit(t, w, nodes[1], 2, store.HashOf(one))
	other := first.Recovery
	other.Seats = other.Seats[:1]
	if err := recoverWith(w, nodes[1], other, "operator"); err == nil {
		t.Error("a second recovery of the same number is taken")
	}
	second, err := standingOf(w, nodes[2])
	if err != nil || second.Recovery.Era != 2 || second.Head.Version != 2 {
		t.Fatalf("%+v, %v", second, err)
	}
	if err := recoverWith(w, nodes[2], second.Recovery, "operator"); err != nil {
		t.Fatal(err)
	}
	w.Run(10 * time.Second)
	if err := recoverWith(w, nodes[0], first.Recovery, "operator"); err == nil {
		t.Error("a recovery from before the last one is taken")
	}
	commit(t, w, nodes[0], 3, second.Head.Revision)
}

// TestARecoveryOfAnotherMeshIsRefused: the operators may run several.
func TestARecoveryOfAnotherMeshIsRefused(t *testing.T) {
	w, nodes := three(t, 7)
	commit(t, w, nodes[0], 1, store.Hash{})
	standing, err := standingOf(w, nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	standing.Recovery.Mesh[0]++
	if err := recoverWith(w, nodes[0], standing.Recovery, "operator"); !errors.Is(err, membership.ErrForeignMesh) {
		t.Errorf("taken: %v", err)
	}
}

// TestAJoinerKnowsTheRecoveryAlone: it never saw how the environment began, and needs not.
func TestAJoinerKnowsTheRecoveryAlone(t *testing.T) {
	w, nodes := three(t, 7)
	one := commit(t, w, nodes[0], 1, store.Hash{})
	standing, err := standingOf(w, nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := recoverWith(w, nodes[0], standing.Recovery, "operator"); err != nil {
		t.Fatal(err)
	}
	w.Run(5 * time.Second)
	n4 := w.Add("n4", nodes[1])
	w.Run(20 * time.Second)
	if n4.Version() != 1 {
		t.Fatalf("n4 applies %d", n4.Version())
	}
	if n4.Saved()[mesh.SavePrefix+"creation/production"] != nil {
		t.Error("it knows the creation: the test shows nothing")
	}
	w.Kill(n4)
	w.Restart(n4)
	w.Run(10 * time.Second)
	two := commit(t, w, n4, 2, store.HashOf(one))
	w.Add("n5", n4)
	w.Run(60 * time.Second)
	expectAcceptors(t, w, "[n1 n2 n3 n4 n5]")
	commit(t, w, w.Node("n5"), 3, store.HashOf(two))
}

// TestAHeadOfAnEraThatIsOverIsRefused: the same acceptors signed it, before the operators went back behind it.
func TestAHeadOfAnEraThatIsOverIsRefused(t *testing.T) {
	w, nodes := three(t, 7)
	one := commit(t, w, nodes[0], 1, store.Hash{})
	standing, err := standingOf(w, nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	commit(t, w, nodes[0], 2, store.HashOf(one))
	var two store.HeadRecord
	if err := codec.Unmarshal(nodes[0].Saved()[mesh.SavePrefix+"head/production"], &two); err != nil {
		t.Fatal(err)
	}
	if err := recoverWith(w, nodes[0], standing.Recovery, "operator"); err != nil {
		t.Fatal(err)
	}
	w.Run(5 * time.Second)
	nodes[1].Tell(nodes[0], &mesh.HeadTell{Head: &two})
	for _, n := range nodes {
		if got := n.Core.Heads()["production"].Version; got != 1 || n.Version() != 2 {
			t.Errorf("%s is at %d, applies %d", n.Name, got, n.Version())
		}
	}
}
