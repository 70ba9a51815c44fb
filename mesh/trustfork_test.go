package mesh

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// Where each side of a fork has removed the other's operators, a node stays with what it saw first, also after a restart.
func TestAForkIsNotDecidedAnewAtARestart(t *testing.T) {
	key := func(n byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
	}
	public := func(n byte) ed25519.PublicKey { return key(n).Public().(ed25519.PublicKey) }
	genesis, err := membership.NewGenesis(make([]byte, 32), 1, key(1), key(2), key(3))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := membership.OpenChain([]membership.Signed{genesis})
	if err != nil {
		t.Fatal(err)
	}
	removes := func(who, whom byte) membership.Signed {
		st := chain.Propose(membership.Statement{Kind: membership.RemoveOperator, Key: public(whom)})
		s, err := membership.Sign(membership.DomainStatement, st, key(who))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := removes(1, 2), removes(2, 1)
	for name, order := range map[string][]membership.Signed{"the one first": {a, b}, "the other first": {b, a}} {
		now := time.Unix(1_800_000_000, 0)
		roster := membership.NewRoster(chain)
		saved := map[string][]byte{}
		core := func(pairs []store.Pair) *Core {
			placed := ring.NewPlacement().Update([]ring.Node{{ID: membership.IDOf(public(9))}})
			c, err := New(Config{Key: key(9), Place: func([]ring.Node) ring.Ring { return placed }}, roster, now, pairs, nil)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		step := func(c *Core, ev Event) {
			for _, action := range c.Step(now, ev) {
				if s, ok := action.(Save); ok {
					saved[s.Key] = s.Value
				}
			}
		}
		c := core(nil)
		step(c, Start{})
		for _, s := range order {
			step(c, Submit{ID: 1, Records: []membership.Signed{s}})
		}
		before := c.Chain().Tip()
		if forks := c.Chain().Forks(); len(forks) != 1 || !forks[0].Open || !bytes.Equal(forks[0].Holds.Body, order[0].Body) {
			t.Fatalf("%s: %+v", name, forks)
		}
		var pairs []store.Pair
		for k, v := range saved {
			pairs = append(pairs, store.Pair{Key: []byte(k), Value: v})
		}
		if roster, _, err = SavedRoster(pairs); err != nil {
			t.Fatal(err)
		}
		again := core(pairs)
		step(again, Start{})
		if again.Chain().Tip() != before || len(again.Chain().Forks()) != 1 {
			t.Errorf("%s: after a restart it follows the other", name)
		}
	}
}
