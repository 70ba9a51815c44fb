package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"time"

	"shoal/membership"
)

// world is a mesh with its operator, and tickets that never run out.
type world struct {
	chain  *membership.Chain
	op     ed25519.PrivateKey
	gossip []byte
}

func newWorld(t testing.TB) *world {
	t.Helper()
	_, op, _ := ed25519.GenerateKey(rand.Reader)
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	genesis := must(membership.NewGenesis(nonce, 1, op))(t)
	return &world{must(membership.OpenChain([]membership.Signed{genesis}))(t), op, make([]byte, 32)}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func keyOf(word string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(word))
	return ed25519.NewKeyFromSeed(seed[:])
}

// node is a transport with a roster of its own, as mesh/node will have it.
type node struct {
	*Transport
	id     membership.NodeID
	mu     sync.Mutex
	roster *membership.Roster
}

// newNode makes a member; with no ticket it has no credential.
func (w *world) newNode(t testing.TB, name, bind string, uses ...membership.Ticket) *node {
	t.Helper()
	return w.newNamed(t, name, name, bind, uses...)
}

func (w *world) newNamed(t testing.TB, word, name, bind string, uses ...membership.Ticket) *node {
	t.Helper()
	key := keyOf(t.Name() + word)
	n := &node{id: membership.IDOf(key.Public().(ed25519.PublicKey)), roster: membership.NewRoster(w.chain)}
	for _, ticket := range uses {
		must(n.roster.Add(time.Now(), must(ticket.Redeem(key, name))(t)))(t)
	}
	n.Transport = must(New(Options{
		Key: key, Bind: bind, Known: n.known, Admit: n.admit,
		Credential: func() []membership.Signed { return n.roster.Credential(n.id) },
	}))(t)
	t.Cleanup(func() { n.Close() })
	return n
}

func (w *world) ticket(t testing.TB) membership.Ticket {
	t.Helper()
	return must(membership.NewTicket(rand.Reader, w.chain, w.gossip,
		membership.TicketSpec{Expires: time.Now().Add(time.Hour), Uses: 100}, w.op))(t)
}

func (n *node) known(id membership.NodeID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.roster.Lookup(id, time.Now())
	return ok
}

func (n *node) admit(_ context.Context, id membership.NodeID, credential []membership.Signed) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, err := n.roster.Admit(time.Now(), credential)
	if err == nil && m.ID != id {
		return errors.New("another's grant")
	}
	return err
}

func (n *node) expect(t testing.TB, from membership.NodeID, data []byte) {
	t.Helper()
	select {
	case f := <-n.Frames():
		if f.From != from || !bytes.Equal(f.Data, data) {
			t.Fatalf("got %d bytes from %s", len(f.Data), f.From.Short())
		}
	case <-time.After(patience):
		t.Fatal("no frame came")
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
		<-time.After(10 * time.Millisecond)
	}
}
