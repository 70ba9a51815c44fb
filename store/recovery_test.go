package store

import (
	"crypto/ed25519"
	"testing"

	"shoal/membership"
)

// TestARecoveryNeedsTheThresholdOfTheOperators: two of three.
func TestARecoveryNeedsTheThresholdOfTheOperators(t *testing.T) {
	a, b, c, stranger := testKey(1), testKey(2), testKey(3), testKey(9)
	genesis, err := membership.NewGenesis(make([]byte, 32), 2, a, b, c)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := membership.OpenChain([]membership.Signed{genesis})
	if err != nil {
		t.Fatal(err)
	}
	good := Recovery{Mesh: chain.Mesh(), Env: "e", Era: 1, Seats: []Seat{{Node: "n1", Disk: 1}}}
	change := func(f func(*Recovery)) Recovery {
		r := good
		f(&r)
		return r
	}
	for name, x := range map[string]struct {
		r    Recovery
		keys []ed25519.PrivateKey
		ok   bool
	}{
		"two of three":            {good, []ed25519.PrivateKey{a, c}, true},
		"all":                     {good, []ed25519.PrivateKey{a, b, c}, true},
		"one of three":            {good, []ed25519.PrivateKey{a}, false},
		"one of three, twice":     {good, []ed25519.PrivateKey{a, a}, false},
		"one and a stranger":      {good, []ed25519.PrivateKey{a, stranger}, false},
		"of another mesh":         {change(func(r *Recovery) { r.Mesh[0]++ }), []ed25519.PrivateKey{a, b}, false},
		"without acceptors":       {change(func(r *Recovery) { r.Seats = nil }), []ed25519.PrivateKey{a, b}, false},
		"of the era that is none": {change(func(r *Recovery) { r.Era = 0 }), []ed25519.PrivateKey{a, b}, false},
		"of an era beyond all":    {change(func(r *Recovery) { r.Era = MaxEra + 1 }), []ed25519.PrivateKey{a, b}, false},
		"of no environment":       {change(func(r *Recovery) { r.Env = "../e" }), []ed25519.PrivateKey{a, b}, false},
	} {
		signed, err := membership.Sign(membership.DomainRecovery, x.r, x.keys...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenRecovery(signed, chain.Mesh(), chain); (err == nil) != x.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnEraIsAboveAllEpochsBefore: an acceptor of an era that is over answers for no other.
func TestAnEraIsAboveAllEpochsBefore(t *testing.T) {
	self := Seat{Node: "n1", Disk: 1}
	old := Acceptor{Register: "head/e", Epoch: 1<<32 - 1, Members: NodesOf([]Seat{self}), Phase: Active, Disk: 1,
		Promised: Ballot{Number: 9}, Accepted: Ballot{Number: 9}, Value: []byte("old")}
	r := Recovery{Env: "e", Era: 1, Seats: []Seat{self}, Value: []byte("new")}
	begun, ok := r.Begin(old, self)
	if !ok || begun.Epoch != FirstEpoch(1) || string(begun.Value) != "new" || begun.Promised.Number != 0 {
		t.Fatalf("%+v, %v", begun, ok)
	}
	if _, p := begun.Prepare(Prepare{Register: "head/e", Epoch: old.Epoch, Ballot: Ballot{Number: 10}}); p.Refused != RefusedEpoch {
		t.Errorf("promises in an era that is over: %+v", p)
	}
	if again, ok := r.Begin(begun, self); ok && again.Epoch != begun.Epoch {
		t.Errorf("begins twice: %+v", again)
	}
	if left, ok := r.Begin(old, Seat{Node: "n2", Disk: 1}); !ok || left.Phase != Moved {
		t.Errorf("an acceptor without a place: %+v", left)
	}
}
