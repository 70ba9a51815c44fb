package mesh_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// away is a mesh of five, of which n3 is cut off from the others for long enough to be taken for dead, and alone has an object.
func away(t *testing.T) (w *meshtest.Network, asker, owner *meshtest.Node, h store.Hash) {
	t.Helper()
	w = meshtest.New(1)
	var via *meshtest.Node
	for i := range 5 {
		via = w.Add(fmt.Sprint("n", i+1), via)
		w.Run(time.Second)
	}
	w.Run(8 * time.Second)
	asker, owner = w.Node("n1"), w.Node("n3")
	w.Partition([]*meshtest.Node{owner}, []*meshtest.Node{asker, w.Node("n2"), w.Node("n4"), w.Node("n5")})
	w.Run(5 * time.Second)
	for _, m := range asker.Core.Members() {
		if m.ID == owner.ID && m.Status != membership.Failed {
			t.Fatalf("n3 is %s", m.Status)
		}
	}
	object := []byte("only n3 has this")
	owner.Keep(object)
	return w, asker, owner, store.HashOf(object)
}

func want(n *meshtest.Node, h store.Hash, hasty bool) (id uint64) {
	return n.Ask(func(id uint64) mesh.Event { return mesh.Want{ID: id, Hashes: []store.Hash{h}, Hasty: hasty} })
}

// answered lets time pass until there is an answer.
func answered(t *testing.T, w *meshtest.Network, n *meshtest.Node, id uint64) error {
	t.Helper()
	if !w.RunUntil(time.Minute, func() bool { _, ok := n.Answers[id]; return ok }) {
		t.Fatal("no answer")
	}
	return n.Answers[id].Err
}

// TestAFetchWaitsForOneWhoIsAway: one that was stopped for some seconds is taken for dead. That all the others lack an object does not mean
// that nobody has it.
func TestAFetchWaitsForOneWhoIsAway(t *testing.T) {
	w, asker, _, h := away(t)
	id := want(asker, h, false)
	w.Run(5 * time.Second)
	if a, ok := asker.Answers[id]; ok {
		t.Fatalf("answers %v while n3 is away", a.Err)
	}
	w.Heal()
	if err := answered(t, w, asker, id); err != nil {
		t.Error(err)
	}
}

// TestAFetchAsksWhomTheGossipTakesForDead: what the gossip says is a hint.
func TestAFetchAsksWhomTheGossipTakesForDead(t *testing.T) {
	w, asker, owner, h := away(t)
	w.HealSilently()
	if err := answered(t, w, asker, want(asker, h, false)); err != nil {
		t.Error(err)
	}
	for _, m := range asker.Core.Members() {
		if m.ID == owner.ID && m.Status != membership.Failed {
			t.Errorf("the test shows nothing: n3 is %s", m.Status)
		}
	}
}

// TestAFetchNamesWhoDidNotAnswer and does not say that nobody has the object.
func TestAFetchNamesWhoDidNotAnswer(t *testing.T) {
	w, asker, _, h := away(t)
	err := answered(t, w, asker, want(asker, h, false))
	if !errors.Is(err, mesh.ErrUnreached) || errors.Is(err, mesh.ErrUnobtainable) || !strings.Contains(err.Error(), "n3") || strings.Contains(err.Error(), "n2") {
		t.Error(err)
	}
}

// TestAHastyFetchWaitsForNobody who is away, nor does any when all have said that they lack the object.
func TestAHastyFetchWaitsForNobody(t *testing.T) {
	w, asker, _, h := away(t)
	began := w.Now()
	if err := answered(t, w, asker, want(asker, h, true)); !errors.Is(err, mesh.ErrUnreached) {
		t.Error(err)
	}
	if took := w.Now().Sub(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	w.Heal()
	w.Run(30 * time.Second)
	began = w.Now()
	if err := answered(t, w, asker, want(asker, store.HashOf([]byte("nobody has this")), false)); !errors.Is(err, mesh.ErrUnobtainable) {
		t.Error(err)
	}
	if took := w.Now().Sub(began); took > time.Second {
		t.Errorf("all lack it, and it took %s to say so", took)
	}
}

// Who said goodbye has left, also where the gossip only finds that it is gone; who comes back and is gone again has not.
func TestAGoodbyeIsBelieved(t *testing.T) {
	w, nodes := three(t, 7)
	gone := nodes[2]
	status := func() membership.Status {
		for _, m := range nodes[0].Core.Members() {
			if m.ID == gone.ID {
				return m.Status
			}
		}
		return ""
	}
	nodes[0].Tell(gone, &mesh.Goodbye{})
	for _, want := range []membership.Status{membership.Left, membership.Failed} {
		w.Kill(gone)
		w.Run(20 * time.Second)
		if got := status(); got != want {
			t.Errorf("it is %q, not %q", got, want)
		}
		w.Restart(gone)
		w.Run(20 * time.Second)
		if got := status(); got != membership.Alive {
			t.Errorf("it is %q when it is back", got)
		}
	}
}
