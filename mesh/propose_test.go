package mesh

import (
	"testing"

	"shoal/membership"
	"shoal/store"
)

// Two proposals of one node never share a ballot: what one of them sent may still be on its way when the other is decided.
func TestProposalsShareNoBallot(t *testing.T) {
	c, err := soloCore(t)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[store.Ballot]bool{}
	for range 3 {
		p := &proposal{Proposal: store.Proposal{
			Register: store.HeadRegister("production"), Members: []membership.NodeID{"a", "b", c.self},
			Change: func(current []byte) []byte { return current },
		}}
		c.propose(p)
		if seen[p.Ballot()] {
			t.Fatalf("ballot %s twice", p.Ballot())
		}
		seen[p.Ballot()] = true
		c.cancelProposal(p)
	}
}
