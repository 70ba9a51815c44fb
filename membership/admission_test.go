package membership

import (
	"errors"
	"testing"
	"time"
)

func grantUntil(t testing.TB, c *Chain, node, name string, serial uint64, end time.Time, signers ...string) Signed {
	t.Helper()
	g := Grant{Mesh: c.Mesh(), Node: idOf(node), Name: name, Serial: serial}
	if !end.IsZero() {
		g.NotAfter = end.Unix()
	}
	return must(SignGrant(g, keysOf(signers)...))(t)
}

// A grant that was renewed holds at once, and the node is never without one; when it has lapsed it is none, and may come back.
func TestRenewedGrants(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	r := NewRoster(c)
	end := now.Add(time.Hour)
	must(r.Add(now, grantUntil(t, c, "a", "web-1", 5, end, "alice")))(t)
	if serial := r.NextSerial(idOf("a"), time.Unix(3, 0)); serial != 6 {
		t.Errorf("the next grant has serial %d", serial)
	}
	after := end.Add(time.Minute)
	if _, ok := r.Lookup(idOf("a"), after); ok || !r.Lapsed(idOf("a"), after) || r.Lapsed(idOf("a"), now) || r.Lapsed(idOf("b"), after) {
		t.Error("lapsed is not: granted once, and over")
	}
	if ending := r.Ending(now, 2*time.Hour); len(ending) != 1 || len(r.Ending(now, time.Minute)) != 0 || len(r.Ending(after, time.Minute)) != 1 {
		t.Errorf("ending soon: %v", ending)
	}
	must(r.Add(now, grantUntil(t, c, "a", "web-1", 6, end.Add(time.Hour), "alice")))(t)
	for _, at := range []time.Time{now, end, after} {
		if _, ok := r.Lookup(idOf("a"), at); !ok {
			t.Errorf("no member at %v", at)
		}
	}
	revocation := must(SignRevocation(Revocation{Mesh: c.Mesh(), Node: idOf("a")}, keyOf("alice")))(t)
	before := r.Evictions()
	must(r.Add(now, revocation))(t)
	if r.Lapsed(idOf("a"), after) || r.Lapsed(idOf("a"), end.Add(2*time.Hour)) {
		t.Error("who was evicted counts as one whose grant has lapsed")
	}
	if e := r.Evictions(); e.Era != before.Era+1 || e.Set == before.Set {
		t.Errorf("the evictions are %v, then %v", before, e)
	}
}

// The line for a machine says what the operators signed, for its key alone.
func TestAdmission(t *testing.T) {
	c := newChain(t, "mesh", 2, "alice", "bob")
	a := must(NewAdmission(c, grantUntil(t, c, "db", "db-1", 1, time.Time{}, "alice", "bob")))(t)
	read := must(ParseAdmission(a.String() + "\n"))(t)
	signed, g := read.Grant()
	if g.Node != idOf("db") || g.Name != "db-1" || read.Chain().Mesh() != c.Mesh() {
		t.Errorf("it reads %+v", g)
	}
	r := NewRoster(read.Chain())
	must(r.Add(now, signed))(t)
	if _, ok := r.Lookup(idOf("db"), now); !ok {
		t.Error("its grant does not hold")
	}
	if _, err := NewAdmission(c, grantUntil(t, c, "db", "db-1", 1, time.Time{}, "alice")); !errors.Is(err, ErrUnauthorised) {
		t.Errorf("with one signature of two: %v", err)
	}
	if _, err := ParseAdmission(a.String()[:200]); !errors.Is(err, ErrTicket) {
		t.Errorf("half a line: %v", err)
	}
}

func FuzzParseAdmission(f *testing.F) {
	c := newChain(f, "mesh", 1, "alice")
	f.Add(must(NewAdmission(c, grantUntil(f, c, "db", "db-1", 1, now, "alice")))(f).String())
	f.Add(admissionPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAdmission(text)
		if err != nil {
			return
		}
		if again, err := ParseAdmission(a.String()); err != nil || again.String() != a.String() {
			t.Fatalf("a line that parses does not when printed: %v", err)
		}
	})
}
