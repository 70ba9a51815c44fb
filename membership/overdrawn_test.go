package membership

import (
	"errors"
	"slices"
	"testing"
)

// TestATicketThatIsOverdrawn: whatever the order in which its redemptions come, as many count as it has uses, and all who have seen them
// say the same of it, until an operator puts it right.
func TestATicketThatIsOverdrawn(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	ticket := newTicket(t, c, "t", TicketSpec{Uses: 2}, "alice")
	names := []string{"n1", "n2", "n3", "n4"}
	slices.SortFunc(names, func(a, b string) int {
		if idOf(a) < idOf(b) {
			return -1
		}
		return 1
	})
	var redeemed []Signed
	for _, n := range names {
		redeemed = append(redeemed, must(ticket.Redeem(keyOf(n), n))(t))
	}
	two := NewRoster(c.clone())
	if _, err := two.Add(now, redeemed[1], redeemed[3]); err != nil || len(two.Overdrawn(now)) > 0 || len(two.Members(now)) != 2 {
		t.Fatalf("two of two: %v, %v", err, two.Overdrawn(now))
	}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}} {
		r := NewRoster(c.clone())
		for _, i := range order {
			_, _ = r.Add(now, redeemed[i])
		}
		all := r.Overdrawn(now)
		if len(all) != 1 || all[0].Ticket != ticket.ID() || all[0].Uses != 2 || all[0].Out.Name != names[2] || len(all[0].In) != 2 {
			t.Fatalf("in the order %v: %+v", order, all)
		}
		for i, n := range names {
			if _, in := r.Lookup(idOf(n), now); in != (i < 2) || r.Granted(idOf(n)) != in {
				t.Errorf("in the order %v: %s is a member: %v", order, n, in)
			}
		}
		if _, err := r.Clone().Admit(now, append(c.Statements(), redeemed[2])); !errors.Is(err, ErrTicketUsed) {
			t.Errorf("who does not count knocks: %v", err)
		}
		granted, evicted := r.Clone(), r.Clone()
		must(granted.Add(now, must(SignGrant(Grant{Mesh: c.Mesh(), Node: idOf(names[2]), Name: names[2], Serial: 1}, keyOf("alice")))(t)))(t)
		if _, in := granted.Lookup(idOf(names[2]), now); !in || len(granted.Overdrawn(now)) > 0 {
			t.Errorf("after a grant: %v, %v", in, granted.Overdrawn(now))
		}
		must(evicted.Add(now, must(SignRevocation(Revocation{Mesh: c.Mesh(), Node: idOf(names[2])}, keyOf("alice")))(t)))(t)
		if len(evicted.Overdrawn(now)) > 0 {
			t.Errorf("after an eviction: %v", evicted.Overdrawn(now))
		}
	}
}
