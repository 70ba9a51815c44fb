package mesh_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// heard counts the messages of one mesh, and remembers which value stood under which ballot.
type heard struct {
	prepares map[string]int // node -> to registers of heads
	values   map[string]store.Hash
	twice    string
}

func overhear(w *meshtest.Network) *heard {
	h := &heard{prepares: map[string]int{}, values: map[string]store.Hash{}}
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		switch m := m.(type) {
		case *mesh.Prepare:
			if m.Register == store.HeadRegister("production") {
				h.prepares[n.Name]++
			}
		case *mesh.Accept:
			at := fmt.Sprint(m.Register, m.Epoch, m.Ballot.Number, m.Ballot.Proposer, m.Ballot.Run)
			if value, seen := h.values[at]; seen && value != store.HashOf(m.Value) {
				h.twice = at
			}
			h.values[at] = store.HashOf(m.Value)
		}
		return m
	}
	return h
}

type line struct {
	t       *testing.T
	w       *meshtest.Network
	version uint64
	head    store.Hash
}

func (l *line) next() (object []byte, objects [][]byte) {
	return l.w.Revision(store.Revision{
		Env: "production", Version: l.version + 1, Parent: l.head, Kind: store.KindPush,
	}, map[string]string{"site.yaml": fmt.Sprint(l.version + 1)})
}

func (l *line) push(n *meshtest.Node) {
	l.t.Helper()
	object, objects := l.next()
	id := n.Push(object, objects)
	l.w.Run(3 * time.Second)
	if got, ok := n.Answers[id].Value.(mesh.Pushed); !ok || got.Outcome != store.Committed {
		l.t.Fatalf("%s, version %d: %+v", n.Name, l.version+1, n.Answers[id])
	}
	l.version, l.head = l.version+1, store.HashOf(object)
}

// TestSecondPushIsPreparedWithTheFirst: pushes at one node take one round trip each after the first, until another node pushes.
func TestSecondPushIsPreparedWithTheFirst(t *testing.T) {
	w := meshtest.New(1)
	n1 := w.Add("n1", nil)
	n2, n3 := w.Add("n2", n1), w.Add("n3", n1)
	w.Run(8 * time.Second)
	h := overhear(w)
	l := &line{t: t, w: w}
	l.push(n1)
	first := h.prepares["n1"]
	l.push(n1)
	l.push(n1)
	if first == 0 || h.prepares["n1"] != first {
		t.Errorf("%d prepares for the first, %d in all", first, h.prepares["n1"])
	}
	l.push(n2)
	l.push(n1)
	if h.prepares["n2"] == 0 || h.prepares["n1"] == first {
		t.Error("n2 pushed, or n1 after it, without a prepare")
	}
	for _, n := range []*meshtest.Node{n1, n2, n3} {
		w.Kill(n)
		w.Restart(n)
	}
	w.Run(5 * time.Second)
	l.push(n1)
	l.push(n3)
}

// TestNoBallotHasTwoValues: whatever is lost, and whoever pushes beside, a node never proposes two values under one ballot.
func TestNoBallotHasTwoValues(t *testing.T) {
	dice := rand.New(rand.NewPCG(2, 3))
	w := meshtest.New(4)
	var nodes []*meshtest.Node
	for i := range 5 {
		var via *meshtest.Node
		if i > 0 {
			via = nodes[0]
		}
		nodes = append(nodes, w.Add(fmt.Sprint("n", i+1), via))
	}
	w.Run(8 * time.Second)
	h := overhear(w)
	l := &line{t: t, w: w}
	l.push(nodes[0])
	w.Faults = meshtest.Faults{Loss: 20, Repeat: 10, Reorder: true}
	for range 60 {
		for _, n := range dice.Perm(5)[:1+dice.IntN(3)] {
			head := nodes[n].Core.Heads()["production"]
			object, objects := w.Revision(store.Revision{
				Env: "production", Version: head.Version + 1, Parent: head.Revision, Kind: store.KindPush,
			}, map[string]string{"site.yaml": fmt.Sprint(dice.Uint64())})
			nodes[n].Push(object, objects)
		}
		w.Run(time.Duration(dice.IntN(4000)) * time.Millisecond)
	}
	if h.twice != "" {
		t.Errorf("two values at ballot %s", h.twice)
	}
	if len(h.values) < 60 {
		t.Errorf("only %d values were proposed", len(h.values))
	}
}

// TestHeadIsReadFromAMajority: a node that was cut off knows an old head, and reads the new one; in a minority it reads none.
func TestHeadIsReadFromAMajority(t *testing.T) {
	w := meshtest.New(5)
	n1 := w.Add("n1", nil)
	n2, n3 := w.Add("n2", n1), w.Add("n3", n1)
	w.Run(8 * time.Second)
	l := &line{t: t, w: w}
	l.push(n1)
	w.Partition([]*meshtest.Node{n3}, []*meshtest.Node{n1, n2})
	w.Run(time.Second)
	l.push(n1)
	read := func(n *meshtest.Node) mesh.Answer {
		id := n.Ask(func(id uint64) mesh.Event { return mesh.AskHead{ID: id, Env: "production"} })
		w.Run(3 * time.Second)
		return n.Answers[id]
	}
	if got := read(n3); got.Err == nil {
		t.Errorf("alone it reads %+v", got.Value)
	}
	w.Heal()
	n3.Tell(n1, &mesh.HeadAsk{}) // nothing that would tell it of the head
	id := n3.Ask(func(id uint64) mesh.Event { return mesh.AskHead{ID: id, Env: "production"} })
	if !w.RunUntil(3*time.Second, func() bool { _, ok := n3.Answers[id]; return ok }) {
		t.Fatal("no answer")
	}
	if got, ok := n3.Answers[id].Value.(store.Head); !ok || got.Version != 2 || got.Revision != l.head {
		t.Errorf("reads %+v", n3.Answers[id])
	}
	if got, ok := read(n2).Value.(store.Head); !ok || got.Version != 2 {
		t.Errorf("n2 reads %+v", got)
	}
}
