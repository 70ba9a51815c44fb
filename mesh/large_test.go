package mesh_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// noise is a file that nothing can make smaller.
func noise(seed byte, n int) []byte {
	out := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(out)
	return out
}

// sent counts the objects that nodes send to each other.
type sent struct{ objects int }

func count(w *meshtest.Network) *sent {
	s := &sent{}
	w.Tamper = func(_ *meshtest.Node, m mesh.Message) mesh.Message {
		if put, ok := m.(*mesh.Put); ok {
			s.objects += len(put.Objects)
		}
		return m
	}
	return s
}

func committed(t *testing.T, n *meshtest.Node, id uint64) store.Head {
	t.Helper()
	p, ok := n.Answers[id].Value.(mesh.Pushed)
	if !ok || p.Outcome != store.Committed {
		t.Fatalf("the push was answered %+v", n.Answers[id])
	}
	return p.Head
}

// Between nodes a change of 1 % moves at most 1.2 times what it touches; all three nodes keep all.
func TestSmallChangeMovesLittle(t *testing.T) {
	w := threeNodes(t, 3)
	n := w.Nodes()[0]
	data := noise(1, 48<<20)
	object, objects := w.Revision(store.Revision{Env: "production", Version: 1, Kind: store.KindPush}, map[string]string{"large": string(data)})
	id := n.Push(object, objects)
	w.Run(30 * time.Second)
	head := committed(t, n, id)
	have := map[store.Hash]bool{}
	for _, o := range objects {
		have[store.HashOf(o)] = true
	}
	// A page in each of some chunks far from each other: they touch one chunk each, or two.
	touched := 0
	for at := 1 << 20; at < len(data); at += 8 << 20 {
		copy(data[at:], noise(2, 4096))
		touched++
	}
	moved := count(w)
	object, objects = w.Revision(store.Revision{Env: "production", Version: 2, Parent: head.Revision, Kind: store.KindPush}, map[string]string{"large": string(data)})
	fresh := 0
	for _, o := range objects {
		if !have[store.HashOf(o)] {
			fresh++
		}
	}
	id = n.Push(object, objects)
	w.Run(30 * time.Second)
	committed(t, n, id)
	t.Logf("%d of %d objects touched, %d new, %d sent to two nodes", touched, len(objects), fresh, moved.objects)
	if limit := 2 * (touched*12/10 + 2); moved.objects > limit { // and two: the manifest and the revision
		t.Errorf("%d objects sent to two nodes, at most %d", moved.objects, limit)
	}
	for _, node := range w.Nodes() {
		if node.Version() != 2 {
			t.Errorf("%s is at %d", node.Name, node.Version())
		}
	}
}

func threeNodes(t *testing.T, count int) *meshtest.Network {
	t.Helper()
	w := meshtest.New(5)
	var via *meshtest.Node
	for i := range count {
		via = w.Add(string(rune('a'+i)), via)
		w.Run(time.Second)
	}
	w.Run(8 * time.Second)
	return w
}

// A node that is killed in the middle, whether it pulls or was pushed to, goes on where it was: what is on its disk is not
// sent again.
func TestTransferIsResumed(t *testing.T) {
	for _, victim := range []int{0, 2} {
		w := threeNodes(t, 3)
		moved := count(w)
		n := w.Nodes()[0]
		object, objects := w.Revision(store.Revision{Env: "production", Version: 1, Kind: store.KindPush}, map[string]string{"large": string(noise(1, 48<<20))})
		id := n.Push(object, objects)
		if !w.RunUntil(30*time.Second, func() bool { return moved.objects > len(objects) }) {
			t.Fatalf("only %d objects moved", moved.objects)
		}
		w.Kill(w.Nodes()[victim])
		w.Run(time.Second)
		w.Restart(w.Nodes()[victim])
		if victim == 0 { // the operator pushes again
			id = n.Push(object, objects)
		}
		w.Run(60 * time.Second)
		committed(t, n, id)
		for _, node := range w.Nodes() {
			for _, o := range objects {
				if !node.Holds(store.HashOf(o)) {
					t.Fatalf("%s lacks an object", node.Name)
				}
			}
		}
		t.Logf("%d objects to two nodes, %d sent", len(objects), moved.objects)
		// What was on its way at the kill is lost: two windows.
		if limit := 2*len(objects) + 2*(48+16); moved.objects > limit {
			t.Errorf("%d objects sent, at most %d", moved.objects, limit)
		}
	}
}
