package mesh_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// frozen is a mesh of four, one of them, n4 for short, no acceptor, in which somebody keeps back what a function says, from n4 and
// from all others, which is as good.
func frozen(t *testing.T, keepBack func(n *meshtest.Node, m mesh.Message) bool) (*meshtest.Network, *meshtest.Node, []byte) {
	w, nodes := three(t, 7)
	w.Add("n4", nodes[0])
	w.Run(20 * time.Second)
	one := commit(t, w, nodes[0], 1, store.Hash{})
	_, seats := nodes[0].Core.Configuration("production")
	var n4 *meshtest.Node
	for _, n := range w.Nodes() {
		if !slices.Contains(store.NodesOf(seats), n.ID) {
			n4 = n
		}
	}
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if keepBack(n, m) {
			return &mesh.Placed{Version: "token/2"}
		}
		return m
	}
	return w, n4, one
}

func others(w *meshtest.Network, n *meshtest.Node) []*meshtest.Node {
	return slices.DeleteFunc(w.Nodes(), func(o *meshtest.Node) bool { return o == n })
}

func events(t *testing.T, w *meshtest.Network, n *meshtest.Node) (stale, fresh int) {
	t.Helper()
	id := n.Ask(func(id uint64) mesh.Event { return mesh.AskHistory{ID: id, Node: n.ID} })
	w.Run(5 * time.Second)
	h, ok := n.Answers[id].Value.(mesh.History)
	if !ok {
		t.Fatalf("%+v", n.Answers[id])
	}
	for _, e := range h.Entries {
		if strings.HasPrefix(e.Event.What, "stale") && strings.Contains(e.Event.Error, mesh.ErrStale.Error()) {
			stale++
		}
		if strings.HasPrefix(e.Event.What, "no longer stale") {
			fresh++
		}
	}
	return stale, fresh
}

// TestAFrozenNodeSaysSo: nobody answers its challenge. It says so once, others see it, it goes on enforcing, also after a restart; and
// it says when it is over.
func TestAFrozenNodeSaysSo(t *testing.T) {
	w, n4, _ := frozen(t, func(_ *meshtest.Node, m mesh.Message) bool {
		_, is := m.(*mesh.FreshTell)
		return is
	})
	w.Run(2 * mesh.DefaultFresh)
	if _, stale := n4.Core.Stale(); stale {
		t.Error("stale after two periods")
	}
	w.Run(3 * mesh.DefaultFresh)
	if _, stale := n4.Core.Stale(); !stale {
		t.Fatal("not stale after five periods without an answer")
	}
	if n4.Version() != 1 {
		t.Errorf("n4 applies %d", n4.Version())
	}
	n1 := others(w, n4)[0]
	id := n1.Ask(func(id uint64) mesh.Event { return mesh.AskStatus{ID: id} })
	w.Run(5 * time.Second)
	shown := time.Duration(0)
	for _, h := range n1.Answers[id].Value.(mesh.Gathered).Holdings {
		if h.Node == n4.ID {
			shown = h.Stale
		}
	}
	if shown < 3*mesh.DefaultFresh {
		t.Errorf("n1 sees that n4 is stale for %s", shown)
	}
	w.Kill(n4)
	w.Run(time.Second)
	applied := len(n4.Applied)
	w.Restart(n4)
	w.Run(10 * time.Second)
	if _, stale := n4.Core.Stale(); !stale {
		t.Error("a restart ends the alarm")
	}
	if len(n4.Applied) != applied+1 || n4.Version() != 1 {
		t.Errorf("n4 does not go on enforcing: %v", n4.Applied)
	}
	if stale, fresh := events(t, w, n4); stale != 1 || fresh != 0 {
		t.Errorf("%d alarms, %d ends in the log", stale, fresh)
	}
	w.Tamper = func(_ *meshtest.Node, m mesh.Message) mesh.Message { return m }
	w.Run(2 * mesh.DefaultFresh)
	if _, stale := n4.Core.Stale(); stale {
		t.Error("stale still, with everybody there")
	}
	if stale, fresh := events(t, w, n4); stale != 1 || fresh != 1 {
		t.Errorf("%d alarms, %d ends in the log", stale, fresh)
	}
}

// TestWithheldNewsIsStale: answers come, and say that there is something newer; that does not.
func TestWithheldNewsIsStale(t *testing.T) {
	w, n4, one := frozen(t, func(_ *meshtest.Node, m mesh.Message) bool {
		_, is := m.(*mesh.HeadTell)
		return is
	})
	commit(t, w, others(w, n4)[0], 2, store.HashOf(one))
	if n4.Version() != 1 {
		t.Fatal("n4 has heard of it, so the test shows nothing")
	}
	w.Run(5 * mesh.DefaultFresh)
	if _, stale := n4.Core.Stale(); !stale {
		t.Fatal("n4 takes version 1 for the newest")
	}
	w.Tamper = func(_ *meshtest.Node, m mesh.Message) mesh.Message { return m }
	w.Run(2 * mesh.DefaultFresh)
	if _, stale := n4.Core.Stale(); stale || n4.Version() != 2 {
		t.Errorf("stale %v at version %d", stale, n4.Version())
	}
}

// TestOldAnswersDoNotConfirm: somebody repeats what the acceptors said of an earlier nonce.
func TestOldAnswersDoNotConfirm(t *testing.T) {
	var kept []mesh.Message
	w, n4, _ := frozen(t, func(*meshtest.Node, mesh.Message) bool { return false })
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if _, is := m.(*mesh.FreshTell); is && len(kept) < 40 {
			kept = append(kept, m)
		}
		return m
	}
	w.Run(2 * mesh.DefaultFresh)
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if _, is := m.(*mesh.FreshTell); is {
			return kept[len(w.Nodes())%len(kept)]
		}
		return m
	}
	w.Run(time.Second)
	for range 5 {
		w.Run(mesh.DefaultFresh)
		for _, from := range others(w, n4) {
			for _, m := range kept {
				n4.Tell(from, m)
			}
		}
	}
	if _, stale := n4.Core.Stale(); !stale {
		t.Error("old answers confirm")
	}
}

// TestFreshUnderPushes: a head that moves all the time is no reason for an alarm.
func TestFreshUnderPushes(t *testing.T) {
	w, nodes := three(t, 7)
	parent := store.Hash{}
	for version := range uint64(20) {
		parent = store.HashOf(commit(t, w, nodes[version%3], version+1, parent))
	}
	for _, n := range nodes {
		if since, stale := n.Core.Stale(); stale || w.Now().Sub(since) > 2*mesh.DefaultFresh {
			t.Errorf("%s: stale %v since %s", n.Name, stale, w.Now().Sub(since))
		}
	}
}
