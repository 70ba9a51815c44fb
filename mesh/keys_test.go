package mesh_test

import (
	"errors"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

var askedKey = store.HashOf([]byte("statement"))

// keyWorld has three nodes; asked counts what the machine of the second was asked.
func keyWorld(t *testing.T) (w *meshtest.Network, asker, holder, third *meshtest.Node, asked *[]mesh.SendKeys) {
	t.Helper()
	w, asked = meshtest.New(5), &[]mesh.SendKeys{}
	asker = w.Add("n1", nil)
	holder, third = w.Add("n2", asker), w.Add("n3", asker)
	w.Keys = func(n *meshtest.Node, a mesh.SendKeys) [][]byte {
		if n != holder {
			return nil
		}
		*asked = append(*asked, a)
		return [][]byte{[]byte("wrapped for " + a.To)}
	}
	w.Run(time.Minute)
	return w, asker, holder, third, asked
}

func askKeys(w *meshtest.Network, n, peer *meshtest.Node) mesh.Answer {
	id := n.Ask(func(id uint64) mesh.Event {
		return mesh.AskKeys{ID: id, Peer: peer.ID, Env: "production", Secrets: []store.Hash{askedKey}}
	})
	w.RunUntil(30*time.Second, func() bool { _, ok := n.Answers[id]; return ok })
	return n.Answers[id]
}

// TestKeysAreAskedFor: the machine of the holder is told who asks, and decides.
func TestKeysAreAskedFor(t *testing.T) {
	w, asker, holder, _, asked := keyWorld(t)
	a := askKeys(w, asker, holder)
	keys, ok := a.Value.([][]byte)
	if a.Err != nil || !ok || len(keys) != 1 || string(keys[0]) != "wrapped for "+string(asker.ID) {
		t.Fatalf("%+v", a)
	}
	if got := (*asked)[0]; got.To != asker.ID || got.Env != "production" || got.Secrets[0] != askedKey {
		t.Errorf("%+v", got)
	}
}

// TestEvictedAskInVain: whoever is no member is not even asked about.
func TestEvictedAskInVain(t *testing.T) {
	w, asker, holder, _, asked := keyWorld(t)
	revoked, err := membership.SignRevocation(membership.Revocation{Mesh: w.Mesh(), Node: asker.ID}, meshtest.Key("operator"))
	if err != nil {
		t.Fatal(err)
	}
	holder.Ask(func(id uint64) mesh.Event { return mesh.Submit{ID: id, Records: []membership.Signed{revoked}} })
	w.Run(time.Second)
	holder.Tell(asker, &mesh.KeyAsk{ID: 1, Env: "production", Secrets: []store.Hash{askedKey}})
	w.Run(time.Second)
	if len(*asked) != 0 {
		t.Errorf("an evicted node is answered: %+v", *asked)
	}
}

// TestKeyQuestionsAreSpaced: a member that asks again and again costs its peer no more than one answer a second.
func TestKeyQuestionsAreSpaced(t *testing.T) {
	w, asker, holder, third, asked := keyWorld(t)
	for range 100 {
		holder.Tell(asker, &mesh.KeyAsk{ID: 1, Env: "production", Secrets: []store.Hash{askedKey}})
	}
	holder.Tell(third, &mesh.KeyAsk{ID: 1, Env: "production", Secrets: []store.Hash{askedKey}})
	if len(*asked) != 2 {
		t.Errorf("%d answers to two that asked at once", len(*asked))
	}
	w.Run(2 * time.Second)
	holder.Tell(asker, &mesh.KeyAsk{ID: 2, Env: "production", Secrets: []store.Hash{askedKey}})
	if len(*asked) != 3 {
		t.Errorf("%d answers after it waited", len(*asked))
	}
}

// TestForgedKeyAnswers: only the peer that was asked answers, with as many keys as were asked for; else nobody did.
func TestForgedKeyAnswers(t *testing.T) {
	w, asker, holder, third, _ := keyWorld(t)
	w.Keys = nil
	w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if ask, ok := m.(*mesh.KeyAsk); ok {
			asker.Tell(third, &mesh.KeyTell{ID: ask.ID, Keys: [][]byte{[]byte("forged")}})
			asker.Tell(holder, &mesh.KeyTell{ID: ask.ID, Keys: [][]byte{{1}, {2}}})
			asker.Tell(holder, &mesh.KeyTell{ID: ask.ID + 1, Keys: [][]byte{{1}}})
		}
		return m
	}
	if a := askKeys(w, asker, holder); !errors.Is(a.Err, mesh.ErrNoKeys) {
		t.Errorf("%+v", a)
	}
}
