package mesh_test

import (
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// What a member with bad intent can do: it has a key and a grant, and says what it likes.

// three is a mesh of n1 to n3 that has met.
func three(t *testing.T) (*meshtest.Network, []*meshtest.Node) {
	t.Helper()
	w := meshtest.New(7)
	w.Add("n1", nil)
	w.Add("n2", w.Node("n1"))
	w.Add("n3", w.Node("n2"))
	w.Run(20 * time.Second)
	return w, w.Nodes()
}

// commit pushes a version at a node and returns its object.
func commit(t *testing.T, w *meshtest.Network, n *meshtest.Node, version uint64, parent store.Hash) []byte {
	t.Helper()
	object, objects := w.Revision(store.Revision{Env: "production", Version: version, Parent: parent, Kind: store.KindPush}, map[string]string{
		"site.yaml": "version " + time.Duration(version).String(),
	})
	id := n.Push(object, objects)
	w.Run(30 * time.Second)
	if p, ok := n.Answers[id].Value.(mesh.Pushed); !ok || p.Outcome != store.Committed {
		t.Fatalf("version %d: %+v", version, n.Answers[id])
	}
	return object
}

// TestAMemberCannotTakeAHeadBack: it proposes by itself, without asking what is there, what a publisher signed once.
func TestAMemberCannotTakeAHeadBack(t *testing.T) {
	w, nodes := three(t)
	one := commit(t, w, nodes[0], 1, store.Hash{})
	two := commit(t, w, nodes[1], 2, store.HashOf(one))
	old, err := codec.Marshal(store.HeadValue{Version: 1, Revision: one})
	if err != nil {
		t.Fatal(err)
	}
	ballot := store.Ballot{Number: 1000, Proposer: nodes[0].ID, Run: 1}
	for _, n := range nodes[1:] {
		n.Tell(nodes[0], &mesh.Prepare{Register: "head/production", Ballot: ballot})
		n.Tell(nodes[0], &mesh.Accept{Register: "head/production", Ballot: ballot, Value: old})
	}
	commit(t, w, nodes[1], 3, store.HashOf(two))
}

// TestAMemberCannotUseUpTheBallots: it prepares with the highest there is.
func TestAMemberCannotUseUpTheBallots(t *testing.T) {
	w, nodes := three(t)
	one := commit(t, w, nodes[0], 1, store.Hash{})
	for _, n := range nodes[1:] {
		n.Tell(nodes[0], &mesh.Prepare{Register: "head/production", Ballot: store.Ballot{Number: 1<<64 - 1, Proposer: nodes[0].ID}})
	}
	commit(t, w, nodes[1], 2, store.HashOf(one))
}
