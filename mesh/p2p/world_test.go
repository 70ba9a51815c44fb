package p2p

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh/meshtest"
)

// world is a mesh with its operator, and tickets that never run out.
type world struct{ *meshtest.Cluster }

func newWorld(t testing.TB) *world { return &world{meshtest.NewCluster(t)} }

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
	*meshtest.Doorman
}

// newNode makes a member; with no ticket it has no credential.
func (w *world) newNode(t testing.TB, name, bind string, uses ...membership.Ticket) *node {
	t.Helper()
	return w.newNamed(t, name, name, bind, uses...)
}

func (w *world) newNamed(t testing.TB, word, name, bind string, uses ...membership.Ticket) *node {
	t.Helper()
	key := keyOf(t.Name() + word)
	n := &node{Doorman: w.Doorman(t, key, name, uses...)}
	n.Transport = must(New(Options{Key: key, Bind: bind, Known: n.Known, Admit: n.Admit, Credential: n.Credential}))(t)
	t.Cleanup(func() { n.Close() })
	return n
}

func (w *world) ticket(t testing.TB) membership.Ticket { return w.Ticket(t, 100) }

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
