package store

import (
	"crypto/ed25519"
	"testing"

	"shoal/membership"
)

// TestEvidence: what one that keeps its promises never signs, and what it may.
func TestEvidence(t *testing.T) {
	liar, other := testKey(1), testKey(2)
	at := func(n uint64) Ballot { return Ballot{Number: n, Proposer: "p"} }
	sign := func(domain membership.Domain, record any, keys ...ed25519.PrivateKey) membership.Signed {
		s, err := membership.Sign(domain, record, keys...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	vote := func(ballot uint64, value string) membership.Signed {
		return sign(membership.DomainAccepted, Vote{Register: "head/e", Ballot: at(ballot), Value: HashOf([]byte(value))}, liar)
	}
	word := func(ballot uint64, accepted Ballot) membership.Signed {
		return sign(membership.DomainPromised, Word{Register: "head/e", Ballot: at(ballot), Accepted: accepted}, liar)
	}
	elsewhere := sign(membership.DomainPromised, Word{Register: "head/f", Ballot: at(9)}, liar)
	later := sign(membership.DomainPromised, Word{Register: "head/e", Epoch: 1, Ballot: at(9)}, liar)
	others := sign(membership.DomainPromised, Word{Register: "head/e", Ballot: at(9)}, other)
	both := sign(membership.DomainPromised, Word{Register: "head/e", Ballot: at(9)}, liar, other)
	unsigned := word(9, Ballot{})
	unsigned.Body = append([]byte{}, vote(5, "a").Body...)
	for _, c := range []struct {
		name string
		a, b membership.Signed
		lies bool
	}{
		{"two values at one ballot", vote(5, "a"), vote(5, "b"), true},
		{"nothing accepted after a vote", vote(5, "a"), word(9, Ballot{}), true},
		{"less accepted after a vote", vote(5, "a"), word(9, at(4)), true},
		{"less accepted than before", word(5, at(4)), word(9, at(3)), true},
		{"one value twice", vote(5, "a"), vote(5, "a"), false},
		{"two values at two ballots", vote(5, "a"), vote(6, "b"), false},
		{"what it voted for", vote(5, "a"), word(9, at(5)), false},
		{"something later", vote(5, "a"), word(9, at(7)), false},
		{"a promise before the vote", vote(9, "a"), word(5, Ballot{}), false},
		{"more accepted than before", word(5, at(3)), word(9, at(4)), false},
		{"of another register", vote(5, "a"), elsewhere, false},
		{"of another epoch", vote(5, "a"), later, false},
		{"by another node", vote(5, "a"), others, false},
		{"by two nodes", vote(5, "a"), both, false},
		{"a vote as a word", vote(5, "a"), unsigned, false},
	} {
		for _, e := range []Evidence{{A: c.a, B: c.b}, {A: c.b, B: c.a}} {
			id, err := e.Open()
			if (err == nil) != c.lies || c.lies && id != membership.IDOf(liar.Public().(ed25519.PublicKey)) {
				t.Errorf("%s: against %q, %v", c.name, id, err)
			}
		}
	}
}
