package mesh_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// acceptors names those that a node has for the acceptors of production.
func acceptors(w *meshtest.Network, at *meshtest.Node) (names []string) {
	_, seats := at.Core.Configuration("production")
	for _, s := range seats {
		for _, n := range w.Nodes() {
			if n.ID == s.Node {
				names = append(names, n.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func expectAcceptors(t *testing.T, w *meshtest.Network, want string) {
	t.Helper()
	for _, n := range w.Nodes() {
		if !n.Up {
			continue
		}
		if got := fmt.Sprint(acceptors(w, n)); got != want {
			t.Errorf("%s has %s for the acceptors, not %s", n.Name, got, want)
		}
	}
}

// TestAcceptorsGrowToFive: the first push met one node.
func TestAcceptorsGrowToFive(t *testing.T) {
	w := meshtest.New(7)
	first := w.Add("n1", nil)
	w.Run(5 * time.Second)
	parent := store.HashOf(commit(t, w, first, 1, store.Hash{}))
	for i, want := range []string{"[n1]", "[n1 n2 n3]", "[n1 n2 n3]", "[n1 n2 n3 n4 n5]", "[n1 n2 n3 n4 n5]"} {
		w.Add(fmt.Sprintf("n%d", i+2), w.Nodes()[i])
		w.Run(30 * time.Second)
		if i < 4 {
			expectAcceptors(t, w, want)
		}
		parent = store.HashOf(commit(t, w, w.Nodes()[i+1], uint64(i)+2, parent))
	}
	if got := acceptors(w, first); len(got) != 5 {
		t.Errorf("six nodes have %v", got)
	}
	w.Kill(w.Node("n1"))
	w.Kill(w.Node("n2"))
	w.Run(10 * time.Second)
	commit(t, w, w.Node("n5"), 7, parent)
}

// TestAnotherTakesOver: an acceptor that is gone for longer than the grace time loses its seat, and does not get it back.
func TestAnotherTakesOver(t *testing.T) {
	w := meshtest.New(7)
	w.Configure = func(_ *meshtest.Node, c *mesh.Config) { c.Grace = time.Minute }
	for i := range 5 {
		w.Add(fmt.Sprintf("n%d", i+1), w.Node(fmt.Sprintf("n%d", i)))
	}
	w.Run(20 * time.Second)
	parent := store.HashOf(commit(t, w, w.Node("n1"), 1, store.Hash{}))
	w.Add("n6", w.Node("n1"))
	w.Run(30 * time.Second)
	w.Kill(w.Node("n2"))
	w.Run(45 * time.Second)
	expectAcceptors(t, w, "[n1 n2 n3 n4 n5]")
	w.Run(45 * time.Second)
	expectAcceptors(t, w, "[n1 n3 n4 n5 n6]")
	w.Restart(w.Node("n2"))
	w.Run(30 * time.Second)
	expectAcceptors(t, w, "[n1 n3 n4 n5 n6]")
	commit(t, w, w.Node("n2"), 2, parent)
}

// lostByOne brings a mesh of three to where n1 and n2 alone have committed version 2, and n3 knows of version 1.
func lostByOne(t *testing.T, seed uint64) (w *meshtest.Network, one []byte, before map[string][]byte) {
	w, nodes := three(t, seed)
	one = commit(t, w, nodes[0], 1, store.Hash{})
	before = nodes[1].Image()
	w.Partition(nodes[:2], nodes[2:])
	w.Run(10 * time.Second)
	commit(t, w, nodes[0], 2, store.HashOf(one))
	return w, one, before
}

// TestAWipedAcceptorDoesNotVote: with its vote a second revision of version 2 would be committed.
func TestAWipedAcceptorDoesNotVote(t *testing.T) {
	w, one, _ := lostByOne(t, 7)
	n1, n2, n3 := w.Node("n1"), w.Node("n2"), w.Node("n3")
	w.Kill(n1)
	w.Kill(n2)
	n2.Wipe()
	w.Heal()
	w.Run(10 * time.Second)
	w.Restart(n2)
	w.Run(60 * time.Second)
	if got := outcome(t, w, n3, 2, store.HashOf(one)); got != store.Staged {
		t.Fatalf("%s with the vote of a wiped disk", got)
	}
	w.Restart(n1)
	w.Run(60 * time.Second)
	if n3.Version() != 2 || n2.Version() != 2 {
		t.Errorf("n2 is at %d, n3 at %d", n2.Version(), n3.Version())
	}
	w.Kill(n1) // by now n2 has a seat of its own again
	w.Run(10 * time.Second)
	commit(t, w, n3, 3, n3.Core.Heads()["production"].Revision)
}

// TestADiskThatWentBackAsksFirst: nobody but n1 knows of version 2 then, and n1 tells n2 alone.
func TestADiskThatWentBackAsksFirst(t *testing.T) {
	w, one, before := lostByOne(t, 7)
	n1, n2, n3 := w.Node("n1"), w.Node("n2"), w.Node("n3")
	w.Kill(n2)
	n2.Restore(before)
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if _, asks := m.(*mesh.FenceTell); n == n1 && !asks {
			return &mesh.StatusAsk{}
		}
		return m
	}
	w.Heal()
	w.Restart(n2)
	w.Run(4 * time.Second)
	if got := outcome(t, w, n3, 2, store.HashOf(one)); got == store.Committed {
		t.Error("a second revision of version 2 is committed")
	}
}

// TestADiskThatWentBackBehindAStartIsAnother: the others saw a later start of it.
func TestADiskThatWentBackBehindAStartIsAnother(t *testing.T) {
	w, one, before := lostByOne(t, 7)
	var noted []string
	w.Watch = func(n *meshtest.Node, what string) {
		if strings.Contains(what, "back in time") {
			noted = append(noted, n.Name)
		}
	}
	n1, n2, n3 := w.Node("n1"), w.Node("n2"), w.Node("n3")
	w.Heal()
	w.Kill(n2)
	w.Restart(n2)
	w.Run(30 * time.Second)
	w.Kill(n2)
	n2.Restore(before)
	w.Restart(n2)
	w.Run(60 * time.Second)
	if fmt.Sprint(noted) != "[n2]" {
		t.Errorf("noted at %v", noted)
	}
	epoch, seats := n3.Core.Configuration("production")
	if epoch != 1 || len(seats) != 3 {
		t.Errorf("epoch %d, %v", epoch, seats)
	}
	w.Kill(n1)
	w.Run(10 * time.Second)
	two := n3.Core.Heads()["production"]
	if two.Version != 2 || two.Revision == store.HashOf(one) {
		t.Fatalf("n3 is at %+v", two)
	}
	commit(t, w, n3, 3, two.Revision)
}

// TestADiskThatWentBackWaitsForWhoMayKnow: nobody but n1 knows of version 2, and n1 is not there for a while (seed 59668).
func TestADiskThatWentBackWaitsForWhoMayKnow(t *testing.T) {
	w, one, before := lostByOne(t, 7)
	n1, n2, n3 := w.Node("n1"), w.Node("n2"), w.Node("n3")
	w.Kill(n1)
	w.Kill(n2)
	n2.Restore(before)
	w.Heal()
	w.Restart(n2)
	w.Run(5 * time.Minute)
	object, objects := w.Revision(store.Revision{Env: "production", Version: 2, Parent: store.HashOf(one), Kind: store.KindPush},
		map[string]string{"site.yaml": "another"})
	id := n3.Push(object, objects)
	w.Run(30 * time.Second)
	if got, _ := n3.Answers[id].Value.(mesh.Pushed); got.Outcome != store.Staged || !strings.Contains(got.Why, "; n2 started again") ||
		!strings.Contains(got.Why, "asked of n1, who cannot be reached") {
		t.Fatalf("a second revision of version 2 is %+v", n3.Answers[id])
	}
	w.Restart(n1)
	w.Run(time.Minute)
	two := n1.Core.Heads()["production"]
	if n2.Version() != 2 || n3.Version() != 2 || n3.Core.Heads()["production"] != two {
		t.Errorf("n2 is at %d, n3 at %d", n2.Version(), n3.Version())
	}
}

// afterAPowerCut brings a mesh of five, whose head is at version 1, to where three of them have started again.
func afterAPowerCut(t *testing.T, configure func(*meshtest.Node, *mesh.Config)) (w *meshtest.Network, parent store.Hash) {
	t.Helper()
	w = meshtest.New(7)
	w.Configure = configure
	for i := range 5 {
		w.Add(fmt.Sprintf("n%d", i+1), w.Node(fmt.Sprintf("n%d", i)))
	}
	w.Run(20 * time.Second)
	parent = store.HashOf(commit(t, w, w.Node("n1"), 1, store.Hash{}))
	for _, n := range w.Nodes() {
		w.Kill(n)
	}
	for _, n := range w.Nodes()[:3] {
		w.Restart(n)
	}
	w.Run(10 * time.Second)
	return w, parent
}

// TestThreeOfFiveWaitAfterAPowerCut, for one more or until the others are given up: each may have accepted what a disk of theirs lost.
func TestThreeOfFiveWaitAfterAPowerCut(t *testing.T) {
	grace := func(_ *meshtest.Node, c *mesh.Config) { c.Grace = 3 * time.Minute }
	w, parent := afterAPowerCut(t, grace)
	if got := outcome(t, w, w.Node("n2"), 2, parent); got != store.Staged {
		t.Fatalf("%s while two may know of more", got)
	}
	w.Restart(w.Node("n4"))
	w.Run(time.Minute)
	if got := w.Node("n1").Version(); got != 2 {
		t.Errorf("with four of five n1 is at version %d", got)
	}

	w, parent = afterAPowerCut(t, grace)
	if got := outcome(t, w, w.Node("n2"), 2, parent); got != store.Staged {
		t.Fatalf("%s while two may know of more", got)
	}
	w.Run(4 * time.Minute)
	if got := w.Node("n1").Version(); got != 2 {
		t.Errorf("after the grace time n1 is at version %d", got)
	}
}

// TestThreeOfFiveGoOnWhereOnlyProcessesEnded: their machines ran on, and know that the disks did not go back. One that was put
// back has a lineage of its own, and waits.
func TestThreeOfFiveGoOnWhereOnlyProcessesEnded(t *testing.T) {
	lineage := uint64(1)
	w, parent := afterAPowerCut(t, func(_ *meshtest.Node, c *mesh.Config) { c.Lineage = lineage })
	own := func() string { return string(w.Node("n3").Saved()[mesh.SavePrefix+"disk/own"]) }
	start := own()
	parent = store.HashOf(commit(t, w, w.Node("n3"), 2, parent))
	w.Kill(w.Node("n3"))
	w.Restart(w.Node("n3"))
	if own() != start { // one that nobody was told of: a disk that went back would take its number (seed 315905)
		t.Error("a start that forgot nothing has a number of its own")
	}
	w.Kill(w.Node("n3"))
	lineage = 2
	w.Restart(w.Node("n3"))
	if own() == start {
		t.Error("a start that may have forgotten has the number of the last")
	}
	w.Run(10 * time.Second)
	if got := outcome(t, w, w.Node("n1"), 3, parent); got != store.Staged {
		t.Errorf("%s by the word of one that may have forgotten", got)
	}
}

// TestAMemberCannotSealAlone: it would be the only acceptor.
func TestAMemberCannotSealAlone(t *testing.T) {
	w, nodes := three(t, 7)
	one := commit(t, w, nodes[0], 1, store.Hash{})
	_, seats := nodes[1].Core.Configuration("production")
	votes, err := membership.Sign(membership.DomainAccepted, store.Vote{
		Register: "head/production", Ballot: store.Ballot{Number: 99, Proposer: nodes[0].ID},
		Value: store.HashOf(one), Next: seats[:1],
	}, meshtest.Key("n1"))
	if err != nil {
		t.Fatal(err)
	}
	creation := &store.Creation{}
	if err := codec.Unmarshal(nodes[0].Saved()[mesh.SavePrefix+"creation/production"], creation); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes[1:] {
		n.Tell(nodes[0], &mesh.HeadTell{Creation: creation, Seals: []membership.Signed{votes}})
		if epoch, _ := n.Core.Configuration("production"); epoch != 0 {
			t.Errorf("%s is at epoch %d by the word of n1", n.Name, epoch)
		}
	}
	commit(t, w, nodes[1], 2, store.HashOf(one))
}

// TestAnotherValueOfTheSameVersion: n2 accepted a first revision that came to nothing, and is asked to accept the one that the others
// have. It must, or with one of those lost nothing could be decided any more (seed 316627).
func TestAnotherValueOfTheSameVersion(t *testing.T) {
	w, nodes := three(t, 7)
	var answers []store.Refusal
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		switch m := m.(type) {
		case *mesh.Prepare:
			if m.Register == "head/production" {
				return &mesh.StatusAsk{} // nobody but this test proposes
			}
		case *mesh.Accepted:
			if n == nodes[1] && m.Register == "head/production" {
				answers = append(answers, m.Refused)
			}
		}
		return m
	}
	for i, files := range []string{"one", "another"} {
		object, objects := w.Revision(store.Revision{Env: "production", Version: 1, Kind: store.KindPush}, map[string]string{"site.yaml": files})
		if i == 0 {
			nodes[0].Push(object, objects)
			w.Run(30 * time.Second)
		}
		value, err := codec.Marshal(store.HeadValue{Version: 1, Revision: object})
		if err != nil {
			t.Fatal(err)
		}
		from := nodes[2*i]
		ballot := store.Ballot{Number: uint64(1000 * (i + 1)), Proposer: from.ID, Run: 1}
		nodes[1].Tell(from, &mesh.Prepare{Register: "head/production", Ballot: ballot})
		nodes[1].Tell(from, &mesh.Accept{Register: "head/production", Ballot: ballot, Value: value})
		w.Run(time.Second)
	}
	if fmt.Sprintf("%q", answers) != `["" ""]` {
		t.Errorf("n2 answered %q", answers)
	}
}

// TestASeatInAnEpochThatBeganWithoutAHead: n5 hears of the change of acceptors, which came before the first head was chosen, and of
// that head at once (seed 66270 had it take the head's votes for those of no value at all, and say so to proposers).
func TestASeatInAnEpochThatBeganWithoutAHead(t *testing.T) {
	w, nodes := three(t, 7)
	headless := true
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if p, ok := m.(*mesh.Prepare); ok && headless && n == nodes[0] && p.Register == "head/production" {
			return &mesh.StatusAsk{} // the others go on: they change the acceptors
		}
		return m
	}
	one, objects := w.Revision(store.Revision{Env: "production", Version: 1, Kind: store.KindPush}, map[string]string{"site.yaml": "1"})
	nodes[0].Push(one, objects)
	w.Run(30 * time.Second)
	n5 := w.Add("n5", w.Add("n4", nodes[2]))
	begun := w.RunUntil(time.Minute, func() bool {
		epoch, _ := nodes[1].Core.Configuration("production")
		return epoch == 1
	})
	if epoch, seats := n5.Core.Configuration("production"); !begun || epoch != 0 {
		t.Fatalf("the change of acceptors did not begin, or n5 knows of it: epoch %d, %v", epoch, seats)
	}
	w.Partition([]*meshtest.Node{n5}, slices.DeleteFunc(w.Nodes(), func(n *meshtest.Node) bool { return n == n5 }))
	headless = false
	w.Run(60 * time.Second)
	if nodes[1].Version() != 1 {
		t.Fatalf("the first version is not committed: %d", nodes[1].Version())
	}
	w.Heal()
	w.Run(30 * time.Second)
	expectAcceptors(t, w, "[n1 n2 n3 n4 n5]")
	commit(t, w, n5, 2, store.HashOf(one))
}
