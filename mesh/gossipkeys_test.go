package mesh_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
)

var ticketKey = bytes.Repeat([]byte{7}, membership.GossipKeySize)

// keyed is a mesh of count nodes whose tickets had a gossip key.
func keyed(t *testing.T, seed uint64, count int) (*meshtest.Network, []*meshtest.Node) {
	t.Helper()
	w := meshtest.New(seed)
	w.Configure = func(_ *meshtest.Node, c *mesh.Config) { c.GossipKey = ticketKey }
	var last *meshtest.Node
	for i := range count {
		last = w.Add(string(rune('a'+i)), last)
	}
	w.Run(20 * time.Second)
	for _, n := range w.Nodes() {
		if keys := n.Core.GossipKeys(w.Now()); len(keys) != 1 || !bytes.Equal(keys[0], ticketKey) {
			t.Fatalf("%s begins with %x", n.Name, keys)
		}
	}
	return w, w.Nodes()
}

func evict(t *testing.T, w *meshtest.Network, at, whom *meshtest.Node) {
	t.Helper()
	revoked, err := membership.SignRevocation(membership.Revocation{Mesh: w.Mesh(), Node: whom.ID}, meshtest.Key("operator"))
	if err != nil {
		t.Fatal(err)
	}
	id := at.Ask(func(id uint64) mesh.Event { return mesh.Submit{ID: id, Records: []membership.Signed{revoked}} })
	if err := at.Answers[id].Err; err != nil {
		t.Fatal(err)
	}
}

// oneKey wants all to use one key and no other, and returns it.
func oneKey(t *testing.T, w *meshtest.Network, nodes ...*meshtest.Node) []byte {
	t.Helper()
	var key []byte
	for _, n := range nodes {
		keys := n.Core.GossipKeys(w.Now())
		if len(keys) != 1 || (key != nil && !bytes.Equal(keys[0], key)) {
			t.Fatalf("%s uses %x, others %x", n.Name, keys, key)
		}
		key = keys[0]
	}
	return key
}

// After an eviction the others agree on a new key within seconds, and whoever was evicted never has it.
func TestAnEvictionChangesTheKey(t *testing.T) {
	w, nodes := keyed(t, 3, 5)
	evict(t, w, nodes[0], nodes[4])
	w.Run(15 * time.Second)
	first := oneKey(t, w, nodes[:4]...)
	if bytes.Equal(first, ticketKey) {
		t.Error("the key is the one of the tickets")
	}
	evict(t, w, nodes[1], nodes[3])
	w.Run(15 * time.Second)
	second := oneKey(t, w, nodes[:3]...)
	if bytes.Equal(first, second) {
		t.Error("the second eviction changes no key")
	}
	if keys := nodes[4].Core.GossipKeys(w.Now()); len(keys) != 1 || !bytes.Equal(keys[0], ticketKey) {
		t.Errorf("who was evicted has %x", keys)
	}
	for _, key := range nodes[3].Core.GossipKeys(w.Now()) {
		if bytes.Equal(key, second) {
			t.Error("the second who was evicted has the key of after")
		}
	}
	w.Kill(nodes[1])
	w.Restart(nodes[1])
	if again := oneKey(t, w, nodes[:3]...); !bytes.Equal(again, second) {
		t.Error("a restart changes the key")
	}
}

// Two halves of a divided mesh evict different nodes: each has a key of its own, and in the end there is one that neither of the evicted
// has.
func TestTwoHalvesEvict(t *testing.T) {
	w, nodes := keyed(t, 5, 6)
	w.Partition([]*meshtest.Node{nodes[0], nodes[1], nodes[2]}, []*meshtest.Node{nodes[3], nodes[4], nodes[5]})
	w.Run(20 * time.Second)
	evict(t, w, nodes[0], nodes[5]) // each is on the other side
	evict(t, w, nodes[3], nodes[2])
	w.Run(30 * time.Second)
	left, right := oneKey(t, w, nodes[0], nodes[1]), oneKey(t, w, nodes[3], nodes[4])
	if bytes.Equal(left, right) {
		t.Fatal("the halves have one key without having met")
	}
	w.Heal()
	w.Run(90 * time.Second)
	one := oneKey(t, w, nodes[0], nodes[1], nodes[3], nodes[4])
	for _, gone := range []*meshtest.Node{nodes[2], nodes[5]} {
		for _, key := range gone.Core.GossipKeys(w.Now()) {
			if bytes.Equal(key, one) {
				t.Errorf("%s, which was evicted, has the key", gone.Name)
			}
		}
	}
}

// Who was off while the key changed asks any member for it before it gossips, and has it before the roster.
func TestWhoWasOffIsMet(t *testing.T) {
	w, nodes := keyed(t, 9, 4)
	w.Kill(nodes[1])
	evict(t, w, nodes[0], nodes[3])
	w.Run(30 * time.Second)
	key := oneKey(t, w, nodes[0], nodes[2])
	w.Restart(nodes[1])
	id := nodes[1].Ask(func(id uint64) mesh.Event { return mesh.Meet{ID: id, Peer: nodes[2].ID} })
	w.Run(100 * time.Millisecond)
	if a, ok := nodes[1].Answers[id]; !ok || a.Err != nil {
		t.Fatalf("it is not met: %+v", a)
	}
	if keys := nodes[1].Core.GossipKeys(w.Now()); len(keys) == 0 || !bytes.Equal(keys[0], key) {
		t.Errorf("it begins with %x", keys)
	}
	w.Run(20 * time.Second)
	// Of one that was evicted, as it knows by now, and of nobody, it hears nothing.
	for _, peer := range []membership.NodeID{nodes[3].ID, "nobody"} {
		id := nodes[1].Ask(func(id uint64) mesh.Event { return mesh.Meet{ID: id, Peer: peer} })
		w.Run(10 * time.Second)
		if a := nodes[1].Answers[id]; !errors.Is(a.Err, mesh.ErrNotMet) && !errors.Is(a.Err, membership.ErrNoGrant) {
			t.Errorf("met with %v", a.Err)
		}
	}
	// And who was evicted is told nothing.
	id = nodes[3].Ask(func(id uint64) mesh.Event { return mesh.Meet{ID: id, Peer: nodes[0].ID} })
	w.Run(10 * time.Second)
	if a := nodes[3].Answers[id]; !errors.Is(a.Err, mesh.ErrNotMet) {
		t.Errorf("who was evicted is met: %+v", a)
	}
	oneKey(t, w, nodes[:3]...)
}

// A member that tells keys for evictions that never happened, and a Welcome that nobody asked for, changes nothing.
func TestAMemberCannotChooseTheKey(t *testing.T) {
	w, nodes := keyed(t, 13, 3)
	for _, m := range []mesh.Message{mesh.KeyBomb(membership.MaxEra), mesh.KeyBomb(0), mesh.UnaskedWelcome()} {
		for range 50 {
			nodes[0].Tell(nodes[2], m)
		}
		w.Run(30 * time.Second)
		if key := oneKey(t, w, nodes...); !bytes.Equal(key, ticketKey) {
			t.Fatalf("%T: the key is %x", m, key)
		}
	}
	evict(t, w, nodes[0], nodes[2])
	w.Run(15 * time.Second)
	if key := oneKey(t, w, nodes[:2]...); bytes.Equal(key, ticketKey) {
		t.Error("after the liar was evicted the key is the old one")
	}
}
