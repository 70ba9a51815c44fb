package loopback

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shoal/membership"
	"shoal/membership/gossip"
	"shoal/mesh/p2p"
)

const patience = 60 * time.Second // for what must come; nothing is asserted about how fast

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// mesh is an operator, and what all nodes of a test share.
type mesh struct {
	chain  *membership.Chain
	op     ed25519.PrivateKey
	gossip []byte
}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	_, op, _ := ed25519.GenerateKey(rand.Reader)
	key := make([]byte, membership.GossipKeySize)
	_, _ = rand.Read(key)
	genesis := must(membership.NewGenesis(key[:16], 1, op))(t)
	return &mesh{must(membership.OpenChain([]membership.Signed{genesis}))(t), op, key}
}

func (m *mesh) ticket(t testing.TB) membership.Ticket {
	t.Helper()
	return must(membership.NewTicket(rand.Reader, m.chain, m.gossip,
		membership.TicketSpec{Expires: time.Now().Add(time.Hour)}, m.op))(t)
}

// node is a roster, a transport and a gossip, as mesh/node and cmd have them; the roster is passed on when nodes meet.
type node struct {
	p2p    *p2p.Transport
	gossip *gossip.Gossip
	id     membership.NodeID
	name   string
	key    ed25519.PrivateKey
	bind   string

	adding sync.Mutex
	roster atomic.Pointer[membership.Roster]
	mu     sync.Mutex
	status map[membership.NodeID]membership.Status
	hints  map[string]int
	done   chan struct{}
}

func (m *mesh) node(t testing.TB, name, bind string, tickets ...membership.Ticket) *node {
	t.Helper()
	seed := sha256.Sum256([]byte(t.Name() + name))
	n := &node{key: ed25519.NewKeyFromSeed(seed[:]), name: name, bind: bind}
	n.id = membership.IDOf(n.key.Public().(ed25519.PublicKey))
	r := membership.NewRoster(m.chain)
	for _, ticket := range tickets {
		must(r.Add(time.Now(), must(ticket.Redeem(n.key, name))(t)))(t)
	}
	n.roster.Store(r)
	n.start(t, m)
	t.Cleanup(n.kill)
	return n
}

func (n *node) start(t testing.TB, m *mesh) {
	t.Helper()
	n.status, n.hints, n.done = map[membership.NodeID]membership.Status{}, map[string]int{}, make(chan struct{})
	n.p2p = must(p2p.New(p2p.Options{
		Key: n.key, Bind: n.bind, Known: n.known, Admit: n.admit,
		Credential: func() []membership.Signed { return n.roster.Load().Credential(n.id) },
	}))(t)
	n.bind = n.p2p.Addr()
	n.gossip = must(gossip.Start(gossip.Options{Self: n.id, Network: n.p2p, Keys: [][]byte{m.gossip}, Allowed: n.known,
		Leaving: func(membership.NodeID) bool { return true }}))(t)
	go n.watch(n.gossip.Events(), n.done)
}

func (n *node) watch(events <-chan membership.Event, done chan struct{}) {
	defer close(done)
	for e := range events {
		n.mu.Lock()
		if e.Status != "" {
			n.status[e.Node] = e.Status
		} else {
			n.hints[string(e.Hint)]++
		}
		n.mu.Unlock()
		if e.Status == membership.Alive && e.Node != n.id {
			n.p2p.Learn(e.Node, e.Addr)
		}
	}
}

// kill stops the node without a word.
func (n *node) kill() {
	n.gossip.Close()
	n.p2p.Close()
	<-n.done
}

func (n *node) known(id membership.NodeID) bool {
	_, ok := n.roster.Load().Lookup(id, time.Now())
	return ok
}

func (n *node) change(f func(r *membership.Roster) error) error {
	n.adding.Lock()
	defer n.adding.Unlock()
	r := n.roster.Load().Clone()
	err := f(r)
	if err == nil {
		n.roster.Store(r)
	}
	return err
}

func (n *node) admit(_ context.Context, id membership.NodeID, credential []membership.Signed) error {
	return n.change(func(r *membership.Roster) error {
		m, err := r.Admit(time.Now(), credential)
		if err == nil && m.ID != id {
			return errors.New("another's grant")
		}
		return err
	})
}

// tell gives the roster to others, as anti-entropy does.
func (n *node) tell(t testing.TB, others ...*node) {
	t.Helper()
	for _, o := range others {
		must(0, o.change(func(r *membership.Roster) error {
			_, err := r.Add(time.Now(), n.roster.Load().Records()...)
			return err
		}))(t)
	}
}

func (n *node) sees(id membership.NodeID, status membership.Status) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status[id] == status
}

func (n *node) heard(hint string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hints[hint] > 0
}

func (n *node) join(t testing.TB, through *node) {
	t.Helper()
	if got := must(n.gossip.Join(t.Context(), []string{through.bind}))(t); got != 1 {
		t.Fatalf("%s joined %d", n.name, got)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// all waits until each of nodes sees each other one with a status.
func allAlive(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, a := range nodes {
		for _, b := range nodes {
			eventually(t, fmt.Sprintf("%s sees %s", a.name, b.name), func() bool { return a.sees(b.id, membership.Alive) })
		}
	}
}
