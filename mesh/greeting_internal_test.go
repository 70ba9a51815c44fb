package mesh

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"shoal/membership"
	"shoal/ring"
)

// crowd is a Core with so many members, itself the first.
func crowd(t *testing.T, n int, now time.Time) (*Core, []membership.NodeID) {
	t.Helper()
	key := func(word string) ed25519.PrivateKey {
		seed := sha256.Sum256([]byte(word))
		return ed25519.NewKeyFromSeed(seed[:])
	}
	genesis, err := membership.NewGenesis(make([]byte, membership.GossipKeySize), 1, key("operator"))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := membership.OpenChain([]membership.Signed{genesis})
	if err != nil {
		t.Fatal(err)
	}
	roster := membership.NewRoster(chain)
	var ids []membership.NodeID
	for i := range n {
		name := fmt.Sprint("n", i)
		id := membership.IDOf(key(name).Public().(ed25519.PublicKey))
		grant, err := membership.SignGrant(membership.Grant{Mesh: chain.Mesh(), Node: id, Name: name}, key("operator"))
		if err == nil {
			_, err = roster.Add(now, grant)
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	place := ring.NewPlacement()
	c, err := New(Config{Key: key("n0"), Seed: 1, Place: func(nodes []ring.Node) ring.Ring { return place.Update(nodes) }}, roster, now, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, ids
}

// greetings plays a Core that sees all others return at once, for a time, and says to whom it has told which disk it has.
func greetings(c *Core, ids []membership.NodeID, now time.Time, during time.Duration) map[membership.NodeID]bool {
	met := map[membership.NodeID]bool{}
	note := func(actions []Action) {
		for _, a := range actions {
			if send, ok := a.(Send); ok {
				if _, greets := send.Message.(*FenceAsk); greets {
					met[send.To] = true
				}
			}
		}
	}
	note(c.Step(now, Start{}))
	for _, id := range ids[1:] {
		note(c.Step(now, Gossiped{membership.Event{Node: id, Addr: "10.0.0.1:1", Status: membership.Alive}}))
	}
	for end := now.Add(during); ; {
		next := c.Next()
		if next.IsZero() || next.After(end) {
			return met
		}
		note(c.Step(next, Tick{}))
	}
}

// TestCrowdIsGreetedInTurn: of a few who return at once a node greets all, of many some, and in the end all, for who has not been
// greeted does not know which disk this node has.
func TestCrowdIsGreetedInTurn(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, one := range []struct {
		members     int
		during      time.Duration
		least, most int
	}{
		{greeted, 0, greeted - 1, greeted - 1},
		{200, 0, greeted / 2, 2 * greeted},
		{200, 10 * time.Second, greeted / 2, 2*greeted + 30},
		{200, 3 * time.Minute, 199, 199},
	} {
		c, ids := crowd(t, one.members, now)
		if met := len(greetings(c, ids, now, one.during)); met < one.least || met > one.most {
			t.Errorf("of %d who return at once %d were greeted within %s, not %d to %d", one.members, met, one.during, one.least, one.most)
		}
	}
}
