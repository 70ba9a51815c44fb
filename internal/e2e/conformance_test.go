// Package e2e tests what only meets in cmd: whole nodes over real adapters.
package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/mesh/node"
	"shoal/ring"
	"shoal/store"
	"shoal/store/badger"
	"shoal/store/memory"
	"shoal/store/storetest"
)

func keyOf(word string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(word))
	return ed25519.NewKeyFromSeed(seed[:])
}

var publisher = keyOf("publisher")

// trust is a chain with one operator and one publisher of two environments.
func trust(t testing.TB) *membership.Chain {
	t.Helper()
	genesis, err := membership.NewGenesis(make([]byte, 32), 1, keyOf("operator"))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := membership.OpenChain([]membership.Signed{genesis})
	if err != nil {
		t.Fatal(err)
	}
	grant, err := membership.Sign(membership.DomainStatement, chain.Propose(membership.Statement{
		Kind: membership.GrantPublisher, Key: publisher.Public().(ed25519.PublicKey),
		Envs: []string{storetest.Env, storetest.OtherEnv},
	}), keyOf("operator"))
	if err == nil {
		err = chain.Append(grant)
	}
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// running is a node and how to end it.
type running struct {
	*node.Node
	kv   store.KV
	stop func()
}

func run(t *testing.T, name string, roster *membership.Roster, kv store.KV, hub *meshtest.Hub, join []string) *running {
	t.Helper()
	n, err := node.New(node.Config{
		Key: keyOf(name), Seed: uint64(time.Now().UnixNano()), Roster: roster, Addr: name, Join: join,
		Place: ring.NewPlacement().Update,
	}, node.Ports{KV: kv})
	if err != nil {
		t.Fatal(err)
	}
	closePort := func() {}
	if hub != nil {
		port := hub.Connect(idOf(name), name, n)
		n.Attach(port, port, "")
		closePort = func() { _ = port.Close() }
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	r := &running{Node: n, kv: kv}
	r.stop = sync.OnceFunc(func() {
		closePort()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := kv.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func idOf(name string) membership.NodeID {
	return membership.IDOf(keyOf(name).Public().(ed25519.PublicKey))
}

func solo(t *testing.T, kv store.KV) *running {
	t.Helper()
	r := run(t, "solo", membership.Solo(membership.Member{ID: idOf("solo"), Name: "solo"}), kv, nil, nil)
	if err := r.AdoptChain(trust(t).Statements()); err != nil {
		t.Fatal(err)
	}
	return r
}

// corrupt changes an object's bytes on a disk, under the node's feet.
func corrupt(t *testing.T, kv store.KV, hash store.Hash) {
	t.Helper()
	key := store.ObjectKey(hash)
	data, err := kv.Get(context.Background(), key)
	if err != nil {
		return // not on this disk
	}
	if err := kv.Write(context.Background(), []store.Change{{Key: key, Value: append(data, 'x')}}); err != nil {
		t.Fatal(err)
	}
}

func TestSoloOverMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		n := solo(t, memory.New())
		return storetest.Subject{
			Store: n.Store(), Publisher: publisher,
			Corrupt: func(t *testing.T, hash store.Hash) { corrupt(t, n.kv, hash) },
		}
	})
}

func TestSoloOverBadger(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		dir := t.TempDir()
		n := solo(t, openBadger(t, dir))
		return storetest.Subject{
			Store: n.Store(), Publisher: publisher,
			Corrupt: func(t *testing.T, hash store.Hash) { corrupt(t, n.kv, hash) },
			Reopen: func(t *testing.T) store.Store {
				n.stop()
				n = solo(t, openBadger(t, dir))
				return n.Store()
			},
		}
	})
}

func openBadger(t testing.TB, dir string) store.KV {
	t.Helper()
	kv, err := badger.Open(badger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestReplicated(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		chain, hub := trust(t), meshtest.NewHub()
		var nodes []*running
		for i := range 3 {
			name := fmt.Sprintf("n%d", i)
			var join []string
			if i > 0 {
				join = []string{fmt.Sprintf("n%d", i-1)}
			}
			nodes = append(nodes, run(t, name, memberOf(t, chain, name), memory.New(), hub, join))
		}
		for _, n := range nodes {
			waitFor(t, "all three are here", func() bool { return alive(n) == 3 })
		}
		return storetest.Subject{
			Store: nodes[1].Store(), Publisher: publisher,
			Corrupt: func(t *testing.T, hash store.Hash) {
				for _, n := range nodes {
					corrupt(t, n.kv, hash)
				}
			},
		}
	})
}

// memberOf is the roster of a node that redeemed a ticket of its own.
func memberOf(t testing.TB, chain *membership.Chain, name string) *membership.Roster {
	t.Helper()
	seed := sha256.Sum256([]byte("ticket of " + name))
	ticket, err := membership.NewTicket(bytes.NewReader(seed[:]), chain, make([]byte, membership.GossipKeySize),
		membership.TicketSpec{Expires: time.Now().Add(time.Hour)}, keyOf("operator"))
	if err != nil {
		t.Fatal(err)
	}
	redeemed, err := ticket.Redeem(keyOf(name), name)
	if err != nil {
		t.Fatal(err)
	}
	roster := membership.NewRoster(chain)
	if _, err := roster.Add(time.Now(), redeemed); err != nil {
		t.Fatal(err)
	}
	return roster
}

func alive(n *running) int {
	members := slices.DeleteFunc(n.Members(), func(m mesh.MemberInfo) bool { return m.Status != membership.Alive })
	return len(members)
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
