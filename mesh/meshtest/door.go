package meshtest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"shoal/membership"
)

// Cluster is a mesh on paper, for tests of what runs without a Core: its trust chain, and the operator who makes tickets.
type Cluster struct {
	Chain    *membership.Chain
	Operator ed25519.PrivateKey
}

// NewCluster makes a mesh that no other test has.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	_, op, _ := ed25519.GenerateKey(rand.Reader)
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	genesis, err := membership.NewGenesis(nonce, 1, op)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := membership.OpenChain([]membership.Signed{genesis})
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{chain, op}
}

// Ticket is good for an hour and so many uses.
func (c *Cluster) Ticket(t testing.TB, uses int) membership.Ticket {
	t.Helper()
	ticket, err := membership.NewTicket(rand.Reader, c.Chain, make([]byte, membership.GossipKeySize),
		membership.TicketSpec{Expires: time.Now().Add(time.Hour), Uses: uses}, c.Operator)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// Doorman answers what a transport asks of its node, from a roster of its own.
type Doorman struct {
	ID     membership.NodeID
	Roster *membership.Roster

	mu sync.Mutex
}

// Doorman is of a node that redeems these tickets; with none it has no credential.
func (c *Cluster) Doorman(t testing.TB, key ed25519.PrivateKey, name string, tickets ...membership.Ticket) *Doorman {
	t.Helper()
	d := &Doorman{ID: membership.IDOf(key.Public().(ed25519.PublicKey)), Roster: membership.NewRoster(c.Chain)}
	for _, ticket := range tickets {
		red, err := ticket.Redeem(key, name)
		if err != nil {
			t.Fatal(err)
		}
		d.Add(t, red)
	}
	return d
}

// Add has it know more.
func (d *Doorman) Add(t testing.TB, records ...membership.Signed) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.Roster.Add(time.Now(), records...); err != nil {
		t.Fatal(err)
	}
}

// Known tells who is a member.
func (d *Doorman) Known(id membership.NodeID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.Roster.Lookup(id, time.Now())
	return ok
}

// Admit takes in a stranger.
func (d *Doorman) Admit(_ context.Context, id membership.NodeID, credential []membership.Signed) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	who, err := d.Roster.Admit(time.Now(), credential)
	if err == nil && who.ID != id {
		return errors.New("another's grant")
	}
	return err
}

// Credential is what it shows itself.
func (d *Doorman) Credential() []membership.Signed {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Roster.Credential(d.ID)
}
