package mesh_test

import (
	"errors"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// What a member with bad intent can do: it has a key and a grant, and says what it likes.

// three is a mesh of n1 to n3 that has met.
func three(t *testing.T, seed uint64) (*meshtest.Network, []*meshtest.Node) {
	t.Helper()
	w := meshtest.New(seed)
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
	w, nodes := three(t, 7)
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
	w, nodes := three(t, 7)
	one := commit(t, w, nodes[0], 1, store.Hash{})
	for _, n := range nodes[1:] {
		n.Tell(nodes[0], &mesh.Prepare{Register: "head/production", Ballot: store.Ballot{Number: 1<<64 - 1, Proposer: nodes[0].ID}})
	}
	commit(t, w, nodes[1], 2, store.HashOf(one))
}

// TestAMemberCannotPartTheBallots: it has one acceptor promise, a step at a time, what the other does not follow in one step, and
// the third is gone (seed 402840 had two acceptors refuse each other's ballots for good).
func TestAMemberCannotPartTheBallots(t *testing.T) {
	for high := range 2 {
		w, nodes := three(t, 7)
		one := commit(t, w, nodes[0], 1, store.Hash{})
		for step := range uint64(12) {
			nodes[high].Tell(nodes[2], &mesh.Prepare{
				Register: "head/production", Ballot: store.Ballot{Number: (step + 1) * store.MaxBallotStep, Proposer: nodes[2].ID},
			})
		}
		w.Kill(nodes[2])
		silent := true
		w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
			if _, ok := m.(*mesh.Prepare); ok && silent && n == nodes[1] {
				return &mesh.StatusAsk{} // the other proposes: from above in the first round, from below in the second
			}
			return m
		}
		two := commit(t, w, nodes[0], 2, store.HashOf(one))
		silent = false
		commit(t, w, nodes[1], 3, store.HashOf(two))
	}
}

// outcome pushes a version at a node and returns how that ended.
func outcome(t *testing.T, w *meshtest.Network, n *meshtest.Node, version uint64, parent store.Hash) store.Outcome {
	t.Helper()
	object, objects := w.Revision(store.Revision{Env: "production", Version: version, Parent: parent, Kind: store.KindPush},
		map[string]string{"site.yaml": "another"})
	id := n.Push(object, objects)
	w.Run(30 * time.Second)
	p, ok := n.Answers[id].Value.(mesh.Pushed)
	if !ok {
		t.Fatalf("version %d: %+v", version, n.Answers[id])
	}
	return p.Outcome
}

// TestAMemberCannotChooseWhoDecides: it says that it alone is the electorate. Whose answer comes first differs with the seed.
func TestAMemberCannotChooseWhoDecides(t *testing.T) {
	for seed := range uint64(8) {
		w, nodes := three(t, seed)
		w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
			if p, ok := m.(*mesh.Promise); ok && n == nodes[2] {
				return &mesh.Promise{Register: p.Register, Ballot: p.Ballot, Refused: store.RefusedMembers, Members: []membership.NodeID{n.ID}}
			}
			if p, ok := m.(*mesh.Prepare); ok && len(p.Members) == 1 {
				t.Errorf("seed %d: one member is asked to decide alone", seed)
			}
			return m
		}
		commit(t, w, nodes[0], 1, store.Hash{})
	}
}

// TestOneDifferentRosterDoesNotStopACreation: that of a node with a wrong clock stays different for long.
func TestOneDifferentRosterDoesNotStopACreation(t *testing.T) {
	w, nodes := three(t, 7)
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if p, ok := m.(*mesh.Promise); ok && n == nodes[2] {
			return &mesh.Promise{Register: p.Register, Ballot: p.Ballot, Refused: store.RefusedMembers}
		}
		return m
	}
	commit(t, w, nodes[0], 1, store.Hash{})
}

// TestAVolatileNodeDoesNotVote: wiped and back it would promise again, and accept a second revision of one version.
func TestAVolatileNodeDoesNotVote(t *testing.T) {
	w := meshtest.New(7)
	w.Configure = func(n *meshtest.Node, c *mesh.Config) { c.Volatile = n.Name == "n3" }
	w.Add("n1", nil)
	w.Add("n2", w.Node("n1"))
	n3 := w.Add("n3", w.Node("n2"))
	w.Run(20 * time.Second)
	one := commit(t, w, w.Node("n1"), 1, store.Hash{})
	w.Kill(n3)
	n3.Wipe()
	w.Run(10 * time.Second)
	w.Restart(n3)
	w.Run(60 * time.Second)
	if n3.Version() != 1 {
		t.Errorf("n3 is back at version %d", n3.Version())
	}
	w.Kill(w.Node("n1"))
	w.Run(10 * time.Second)
	if got := outcome(t, w, w.Node("n2"), 2, store.HashOf(one)); got != store.Staged {
		t.Errorf("%s with the vote of a node that forgets", got)
	}
}

// TestAJoinerBeginsNothing: it has met nobody, and takes its ticket for the whole mesh.
func TestAJoinerBeginsNothing(t *testing.T) {
	w := meshtest.New(7)
	w.Configure = func(n *meshtest.Node, c *mesh.Config) { c.Joins = n.Name != "n1" }
	first := w.Add("n1", nil)
	w.Partition([]*meshtest.Node{first}, nil)
	joiner := w.Add("n2", nil)
	if got := outcome(t, w, joiner, 1, store.Hash{}); got != store.Staged {
		t.Errorf("a joiner that has met nobody: %s", got)
	}
	if got := outcome(t, w, first, 1, store.Hash{}); got != store.Committed {
		t.Errorf("the first of a mesh: %s", got)
	}
}

// TestJoinersWithoutTheirMeshBeginNothing: they have met each other, and nobody who belongs to the mesh that they were told to join. A
// restart does not change that; meeting it does.
func TestJoinersWithoutTheirMeshBeginNothing(t *testing.T) {
	w := meshtest.New(7)
	w.Configure = func(n *meshtest.Node, c *mesh.Config) { c.Joins = n.Name != "n1" }
	first := w.Add("n1", nil)
	w.Run(10 * time.Second)
	joiners := []*meshtest.Node{w.Add("n2", first), nil}
	w.Partition([]*meshtest.Node{first}, joiners[:1])
	joiners[1] = w.Add("n3", joiners[0])
	w.Partition([]*meshtest.Node{first}, joiners)
	w.Run(10 * time.Second)
	if got := outcome(t, w, joiners[1], 1, store.Hash{}); got != store.Staged {
		t.Errorf("two joiners by themselves: %s", got)
	}
	for _, n := range joiners {
		w.Kill(n)
		w.Restart(n)
	}
	w.Run(10 * time.Second)
	if got := outcome(t, w, joiners[0], 1, store.Hash{}); got != store.Staged {
		t.Errorf("two joiners by themselves, started again: %s", got)
	}
	w.Heal()
	w.Run(time.Minute)
	if epoch, seats := joiners[1].Core.Configuration("production"); len(seats) != 3 {
		t.Errorf("with their mesh: epoch %d has %d acceptors", epoch, len(seats))
	}
}

// TestAWipedNodeIsHeardAgain: it has forgotten how far its log was, and the others have not.
func TestAWipedNodeIsHeardAgain(t *testing.T) {
	w, nodes := three(t, 7)
	parent := store.Hash{}
	for version := range uint64(3) {
		parent = store.HashOf(commit(t, w, nodes[0], version+1, parent))
	}
	w.Kill(nodes[2])
	nodes[2].Wipe()
	w.Run(10 * time.Second)
	w.Restart(nodes[2])
	w.Run(60 * time.Second)
	commit(t, w, nodes[0], 4, parent)
	id := nodes[0].Ask(func(id uint64) mesh.Event { return mesh.AskStatus{ID: id} })
	w.Run(10 * time.Second)
	status, ok := nodes[0].Answers[id].Value.(mesh.Gathered)
	if !ok || len(status.Logs) != 3 {
		t.Fatalf("%+v", nodes[0].Answers[id])
	}
	for _, l := range status.Logs {
		if l.Version != 4 {
			t.Errorf("%s is said to be at version %d", l.Node.Short(), l.Version)
		}
	}
}

// TestAMemberCannotForgeACreation: nobody knows of staging yet, and n3 says that it alone decides there. It has at hand what the
// publisher signed for all, what the publisher signed for another environment, and its own key.
func TestAMemberCannotForgeACreation(t *testing.T) {
	w, nodes := three(t, 7)
	one := commit(t, w, nodes[0], 1, store.Hash{})
	n3 := nodes[2]
	first := store.Revision{Env: "staging", Version: 1, Kind: store.KindPush, Electorate: electorateAt(nodes[0], "staging")}
	signed, objects := w.Revision(first, map[string]string{"site.yaml": "staging"})
	own := first
	own.Electorate = store.ElectorateHash("staging", []membership.NodeID{n3.ID})
	forged, _ := meshtest.SignRevision(meshtest.Key("n3"), own, map[string]string{"site.yaml": "staging"})
	value := store.CreateHead([]store.Seat{{Node: n3.ID, Disk: 1}}, true)(nil)
	votes, err := membership.Sign(membership.DomainAccepted, store.Vote{
		Register: store.DirectoryRegister("staging"), Ballot: store.Ballot{Number: 1, Proposer: n3.ID}, Value: store.HashOf(value),
	}, meshtest.Key("n3"))
	if err != nil {
		t.Fatal(err)
	}
	for name, order := range map[string][]byte{"no order": nil, "the publisher's": signed, "another's": one, "its own": forged} {
		creation := &store.Creation{Env: "staging", Electorate: []membership.NodeID{n3.ID}, Order: order,
			Certificate: store.Certificate{Value: value, Votes: votes}}
		nodes[0].Tell(n3, &mesh.HeadTell{Creation: creation})
		if _, seats := nodes[0].Core.Configuration("staging"); seats != nil {
			t.Fatalf("%s: n1 takes n3 for the one that decides", name)
		}
	}
	id := nodes[0].Push(signed, objects)
	w.Run(10 * time.Second)
	if p, ok := nodes[0].Answers[id].Value.(mesh.Pushed); !ok || p.Outcome != store.Committed {
		t.Errorf("staging: %+v", nodes[0].Answers[id])
	}
}

// TestAPublisherNamesWhoDecides: a first push that was signed for other members is refused, and one that waited for a majority
// is committed although somebody joined since.
func TestAPublisherNamesWhoDecides(t *testing.T) {
	w, nodes := three(t, 7)
	first := store.Revision{Env: "production", Version: 1, Kind: store.KindPush, Electorate: electorateAt(nodes[0], "production")}
	other := first
	other.Electorate = store.ElectorateHash("production", []membership.NodeID{nodes[0].ID})
	object, objects := w.Revision(other, map[string]string{"site.yaml": "x"})
	if id := nodes[0].Push(object, objects); !errors.Is(nodes[0].Answers[id].Err, mesh.ErrElectorate) {
		t.Errorf("signed for n1 alone: %+v", nodes[0].Answers[id])
	}
	w.Partition(nodes[:1], nodes[1:])
	w.Run(5 * time.Second)
	object, objects = w.Revision(first, map[string]string{"site.yaml": "x"})
	id := nodes[0].Push(object, objects)
	w.Run(15 * time.Second)
	if p, ok := nodes[0].Answers[id].Value.(mesh.Pushed); !ok || p.Outcome != store.Staged {
		t.Fatalf("alone: %+v", nodes[0].Answers[id])
	}
	w.Kill(nodes[0])
	w.Restart(nodes[0])
	w.Add("n4", nodes[1])
	w.Run(10 * time.Second)
	w.Heal()
	w.Run(60 * time.Second)
	for _, n := range w.Nodes() {
		if n.Version() != 1 {
			t.Errorf("%s applies %d", n.Name, n.Version())
		}
	}
}
