package membership

import (
	"crypto/ed25519"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"shoal/internal/codec"
)

// universe is every record that the rosters of a property run are made of: operators come and go, tickets are used more
// often than they may be, nodes are granted twice and revoked.
func universe(t testing.TB) (genesis *Chain, statements, records []Signed) {
	c := newChain(t, "mesh", 1, "op0")
	genesis = c.clone()
	add := func(s Signed, err error) { records = append(records, must(s, err)(t)) }
	operators := []string{"op0", "op1", "op2"}
	statements = append(statements,
		extend(t, c, Statement{Kind: AddOperator, Key: public("op1")}, "op0"),
		extend(t, c, Statement{Kind: AddOperator, Key: public("op2")}, "op1"),
		extend(t, c, Statement{Kind: RemoveOperator, Key: public("op0")}, "op1"),
		extend(t, c, Statement{Kind: GrantPublisher, Key: public("ci"), Envs: []string{"staging"}}, "op1"))
	all := must(OpenChain(append(genesis.Statements(), statements[:2]...)))(t)
	for i, op := range operators {
		ticket := newTicket(t, all, "ticket"+op, TicketSpec{Uses: i + 1, Tags: map[string]string{"op": op}}, op)
		for n := range 5 {
			node := fmt.Sprint("n", n)
			add(ticket.Redeem(keyOf(node), fmt.Sprint("web", n%2)))
			add(ticket.Redeem(keyOf(node), node))
			g := Grant{Mesh: c.mesh, Node: idOf(node), Name: fmt.Sprint("db", n%3), Serial: uint64(n % 2)}
			add(SignGrant(g, keyOf(op)))
			add(SignGrant(g, keysOf([]string{op, "op2", "mallory"})...))
			g.NotAfter = now.Unix() - 1 + int64(i)
			add(SignGrant(g, keysOf(operators[:i+1])...))
		}
		add(SignRevocation(Revocation{Mesh: c.mesh, Node: idOf(fmt.Sprint("n", i))}, keyOf(op)))
	}
	add(SignGrant(Grant{Mesh: c.mesh, Node: idOf("m"), Name: "m"}, keyOf("mallory")))
	return genesis, statements, records
}

func TestMergeIsSetUnion(t *testing.T) {
	genesis, statements, records := universe(t)
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) *Roster {
			r := NewRoster(genesis.clone())
			height := rapid.IntRange(0, len(statements)).Draw(t, label+" height")
			_, _ = r.Add(now, statements[:height]...)
			picked := rapid.SliceOfN(rapid.SampledFrom(records), 0, 20).Draw(t, label)
			_, _ = r.Add(now, picked...) // those whose operator is not known at this height are refused
			return r
		}
		a, b, c := draw("a"), draw("b"), draw("c")
		same(t, "idempotent", merge(a, a), a)
		same(t, "commutative", merge(a, b), merge(b, a))
		same(t, "associative", merge(merge(a, b), c), merge(a, merge(b, c)))
		same(t, "absorbing", merge(merge(a, b), a), merge(a, b))
	})
}

// merge is what two nodes that meet do.
func merge(a, b *Roster) *Roster {
	c := a.Clone()
	_, _ = c.Add(now, b.Records()...) // a ticket that was used too often shows as an error and is no failure of merging
	return c
}

func same(t *rapid.T, law string, a, b *Roster) {
	if a.Digest() != b.Digest() {
		t.Fatalf("not %s: %d and %d records", law, len(a.Records()), len(b.Records()))
	}
	if x, y := a.Members(now), b.Members(now); !reflect.DeepEqual(x, y) {
		t.Fatalf("not %s: members %v and %v", law, x, y)
	}
	if x, y := bodies(a), bodies(b); !reflect.DeepEqual(x, y) {
		t.Fatalf("not %s: other records or another order", law)
	}
}

func bodies(r *Roster) (ids []recordID) {
	for _, s := range r.Records() {
		ids = append(ids, idOfRecord(s))
	}
	return ids
}

// However records are spread and merged, a ticket makes no more members than its uses, nobody becomes a member by a
// stranger's word, and a revoked node is none.
func TestMergedRosterKeepsItsPromises(t *testing.T) {
	genesis, statements, records := universe(t)
	revoked := map[NodeID]bool{idOf("n0"): true, idOf("n1"): true, idOf("n2"): true}
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.Permutation(records).Draw(t, "order")
		r := NewRoster(genesis.clone())
		_, _ = r.Add(now, statements...)
		_, _ = r.Add(now, order...)
		for _, nodes := range r.tickets {
			count, uses := 0, 0
			for node, id := range nodes {
				if uses = r.records[id].redeemed.body.Uses; r.granted[node] == r.records[id] {
					count++
				}
			}
			if count > uses || len(nodes) > uses+1 {
				t.Fatalf("%d nodes, and %d kept, on a ticket of %d uses", count, len(nodes), uses)
			}
		}
		for _, m := range r.Members(now) {
			if revoked[m.ID] || m.ID == idOf("m") || m.Tags["op"] == "op0" {
				t.Fatalf("%+v is a member", m)
			}
		}
	})
}

func FuzzParseTicket(f *testing.F) {
	c := newChain(f, "mesh", 1, "alice")
	f.Add(newTicket(f, c, "t", TicketSpec{Tags: map[string]string{"role": "web"}}, "alice").String())
	f.Add(ticketPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		ticket, err := ParseTicket(text)
		if err != nil {
			return
		}
		if again, err := ParseTicket(ticket.String()); err != nil || again.String() != ticket.String() {
			t.Fatalf("a ticket that parses does not when printed: %v", err)
		}
		if s := ticket.Spec(); len(s.Tags) > MaxTags || s.Uses < 1 || s.Uses > MaxUses {
			t.Fatalf("out of limits: %+v", s)
		}
	})
}

// FuzzRecords gives a roster whatever a peer may send.
func FuzzRecords(f *testing.F) {
	genesis, statements, records := universe(f)
	for _, s := range append(statements, records[:8]...) {
		f.Add(encode(f, []Signed{s}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var sent []Signed
		if codec.Unmarshal(data, &sent) != nil {
			return
		}
		r := NewRoster(genesis.clone())
		_, _ = r.Admit(now, sent)
		_, _ = r.Add(now, sent...)
		checkRoster(t, r)
	})
}

// FuzzBodies goes past the signatures: an operator, a ticket's key and a node sign whatever bytes.
func FuzzBodies(f *testing.F) {
	genesis, statements, records := universe(f)
	domains := []Domain{DomainStatement, DomainGrant, DomainTicket, DomainRedemption, DomainRevocation}
	for _, s := range append(statements, records...) {
		for i, d := range domains {
			if d == s.Domain {
				f.Add(uint8(i), s.Body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, domain uint8, body []byte) {
		s := Signed{Domain: domains[int(domain)%len(domains)], Body: body}
		if s.Domain == DomainRedemption {
			resign(t, &s, "n0")
		} else {
			resign(t, &s, "op0")
		}
		r := NewRoster(genesis.clone())
		_, _ = r.Add(now, s)
		_, _, _, _ = openTicketBody(s)
		_, _ = OpenChain([]Signed{s})
		checkRoster(t, r)
	})
}

func resign(t *testing.T, s *Signed, who string) {
	t.Helper()
	s.Signatures = []Signature{{Key: public(who), Sig: ed25519.Sign(keyOf(who), s.message())}}
}

func checkRoster(t *testing.T, r *Roster) {
	for _, m := range r.Members(now) {
		if err := CheckTags(m.Tags); err != nil {
			t.Fatal(err)
		}
		if _, err := m.ID.Key(); err != nil {
			t.Fatal(err)
		}
	}
	again := NewRoster(r.Chain())
	if _, err := again.Add(now, r.Records()...); err != nil || again.Digest() != r.Digest() {
		t.Fatalf("a roster does not take its own records: %v", err)
	}
}
