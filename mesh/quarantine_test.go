package mesh_test

import (
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// liar makes an acceptor say one thing to one proposer and another to the next: it promises as if it had accepted nothing, and votes
// for whatever it is asked to.
type liar struct {
	key    string
	node   *meshtest.Node
	asked  store.Accept // what was asked for last
	signed bool         // it signs its lies
}

func (l *liar) tamper(t *testing.T, n *meshtest.Node, m mesh.Message) mesh.Message {
	if a, ok := m.(*mesh.Accept); ok && n != l.node {
		l.asked = store.Accept{Register: a.Register, Epoch: a.Epoch, Ballot: a.Ballot, Value: a.Value}
	}
	if n != l.node {
		return m
	}
	switch m := m.(type) {
	case *mesh.HeadTell:
		return &mesh.StatusAsk{}
	case *mesh.Promise:
		if m.Refused != "" || m.Register != "head/production" {
			return m
		}
		out := &mesh.Promise{Register: m.Register, Ballot: m.Ballot, Starts: m.Starts}
		if sig, err := (store.Word{Register: m.Register, Epoch: l.asked.Epoch, Ballot: m.Ballot}).Sign(meshtest.Key(l.key)); err != nil {
			t.Fatal(err)
		} else if l.signed {
			out.Word = &sig
		}
		return out
	case *mesh.Accepted:
		vote, err := membership.Sign(membership.DomainAccepted, store.Vote{
			Register: m.Register, Epoch: l.asked.Epoch, Ballot: m.Ballot, Value: store.HashOf(l.asked.Value),
		}, meshtest.Key(l.key))
		if err != nil {
			t.Fatal(err)
		}
		return &mesh.Accepted{Register: m.Register, Ballot: m.Ballot, Vote: vote.Signatures[0], Starts: m.Starts}
	}
	return m
}

// forked is a mesh of four in which n3 has told n1 and n2 different things, so that each has a certified version 2.
func forked(t *testing.T, signed bool) *meshtest.Network {
	w, nodes := three(t, 7)
	n1, n2, n3 := nodes[0], nodes[1], nodes[2]
	one := commit(t, w, n1, 1, store.Hash{})
	w.Partition([]*meshtest.Node{n1, n3}, []*meshtest.Node{n2})
	w.Run(10 * time.Second)
	commit(t, w, n1, 2, store.HashOf(one))
	l := &liar{key: "n3", node: n3, signed: signed}
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message { return l.tamper(t, n, m) }
	w.Partition([]*meshtest.Node{n2, n3}, []*meshtest.Node{n1})
	w.Run(10 * time.Second)
	object, objects := w.Revision(store.Revision{Env: "production", Version: 2, Parent: store.HashOf(one), Kind: store.KindPush},
		map[string]string{"site.yaml": "kept"})
	id := n2.Push(object, objects)
	w.Run(20 * time.Second)
	if p, ok := n2.Answers[id].Value.(mesh.Pushed); !ok || p.Outcome != store.Committed {
		t.Fatalf("the lie does not work, so the test shows nothing: %+v", n2.Answers[id])
	}
	w.Tamper = func(_ *meshtest.Node, m mesh.Message) mesh.Message { return m }
	w.Heal()
	w.Add("n4", n1)
	w.Run(60 * time.Second)
	return w
}

// TestALiarIsConvicted: both see both certificates, and one has the liar's word.
func TestALiarIsConvicted(t *testing.T) {
	w := forked(t, true)
	n2, n3 := w.Node("n2"), w.Node("n3")
	w.Kill(n2)
	w.Partition([]*meshtest.Node{n2})
	w.Restart(n2)
	if len(n2.Core.Convicted()) != 1 {
		t.Error("n2 has forgotten it at a restart")
	}
	w.Heal()
	n5 := w.Add("n5", w.Node("n4"))
	w.Run(30 * time.Second)
	for _, n := range []*meshtest.Node{w.Node("n1"), n2, w.Node("n4"), n5} {
		if got := n.Core.Convicted(); len(got) != 1 || got[0] != n3.ID {
			t.Errorf("%s has convicted %v", n.Name, got)
		}
	}
	// Which of the two counts is for the operators to say. The liar has no part in it.
	standing, err := standingOf(w, n2)
	if err != nil {
		t.Fatal(err)
	}
	if err := recoverWith(w, n2, standing.Recovery, "operator"); err != nil {
		t.Fatal(err)
	}
	w.Run(20 * time.Second)
	for _, seat := range standing.Recovery.Seats {
		if seat.Node == n3.ID {
			t.Error("the liar gets a seat")
		}
	}
	commit(t, w, w.Node("n1"), 3, standing.Head.Revision)
	for _, n := range w.Nodes() {
		if n.Version() != 3 {
			t.Errorf("%s applies %d", n.Name, n.Version())
		}
	}
}

// TestALiarThatDoesNotSignLosesItsSeat: it cannot be shown to others, but whoever it lied to gives its seat away.
func TestALiarThatDoesNotSignLosesItsSeat(t *testing.T) {
	w := forked(t, false)
	n2, n3 := w.Node("n2"), w.Node("n3")
	if len(n2.Core.Convicted()) != 0 {
		t.Error("n3 is convicted without evidence")
	}
	standing, err := standingOf(w, n2)
	if err != nil {
		t.Fatal(err)
	}
	for _, seat := range standing.Recovery.Seats {
		if seat.Node == n3.ID {
			t.Error("the liar gets a seat")
		}
	}
}

// TestNobodyIsAccusedForNothing: in courses with losses, kills and partitions all keep their promises.
func TestNobodyIsAccusedForNothing(t *testing.T) {
	for seed := range uint64(seeds(20)) {
		c := course(t, seed+500)
		for _, n := range c.w.Nodes() {
			if n.Up && len(n.Core.Convicted()) > 0 {
				t.Fatalf("seed %d: %s has convicted %v", seed+500, n.Name, n.Core.Convicted())
			}
		}
	}
}
