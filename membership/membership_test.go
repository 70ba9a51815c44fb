package membership

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"shoal/internal/codec"
)

var now = time.Unix(1_800_000_000, 0)

// keyOf makes a key from a word, so that tests are the same every time.
func keyOf(word string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(word))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(word string) ed25519.PublicKey { return keyOf(word).Public().(ed25519.PublicKey) }

func idOf(word string) NodeID { return IDOf(public(word)) }

func newChain(t testing.TB, mesh string, threshold int, operators ...string) *Chain {
	t.Helper()
	nonce := sha256.Sum256([]byte(mesh))
	genesis := must(NewGenesis(nonce[:], threshold, keysOf(operators)...))(t)
	return must(OpenChain([]Signed{genesis}))(t)
}

func keysOf(words []string) []ed25519.PrivateKey {
	var keys []ed25519.PrivateKey
	for _, w := range words {
		keys = append(keys, keyOf(w))
	}
	return keys
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func extend(t testing.TB, c *Chain, st Statement, signers ...string) Signed {
	t.Helper()
	s := must(Sign(DomainStatement, c.Propose(st), keysOf(signers)...))(t)
	if err := c.Append(s); err != nil {
		t.Fatal(err)
	}
	return s
}

func newTicket(t testing.TB, c *Chain, word string, spec TicketSpec, signers ...string) Ticket {
	t.Helper()
	seed := sha256.Sum256([]byte(word))
	if spec.Expires.IsZero() {
		spec.Expires = now.Add(time.Hour)
	}
	return must(NewTicket(bytes.NewReader(seed[:]), c, make([]byte, GossipKeySize), spec, keysOf(signers)...))(t)
}

// show is the credential of a node that has redeemed a ticket.
func show(t testing.TB, ticket Ticket, node, name string) []Signed {
	t.Helper()
	return append(must(ticket.Chain())(t).Statements(), must(ticket.Redeem(keyOf(node), name))(t))
}

func TestChainRules(t *testing.T) {
	sign := func(c *Chain, st Statement, signers ...string) Signed {
		return must(Sign(DomainStatement, c.Propose(st), keysOf(signers)...))(t)
	}
	add := Statement{Kind: AddOperator, Key: public("carol")}
	cases := map[string]struct {
		statement func(c *Chain) Signed
		want      error
	}{
		"threshold met":   {func(c *Chain) Signed { return sign(c, add, "alice", "bob") }, nil},
		"one of two":      {func(c *Chain) Signed { return sign(c, add, "alice") }, ErrUnauthorised},
		"one signs twice": {func(c *Chain) Signed { return sign(c, add, "alice", "alice") }, ErrUnauthorised},
		"a stranger":      {func(c *Chain) Signed { return sign(c, add, "alice", "mallory") }, ErrUnauthorised},
		"another mesh": {func(c *Chain) Signed {
			return sign(newChain(t, "other", 2, "alice", "bob"), add, "alice", "bob")
		}, ErrForeignMesh},
		"a gap": {func(c *Chain) Signed {
			st := c.Propose(add)
			st.Height++
			return must(Sign(DomainStatement, st, keysOf([]string{"alice", "bob"})...))(t)
		}, ErrGap},
		"another past": {func(c *Chain) Signed {
			st := c.Propose(add)
			st.Prev[0]++
			return must(Sign(DomainStatement, st, keysOf([]string{"alice", "bob"})...))(t)
		}, ErrFork},
		"too few left": {func(c *Chain) Signed {
			return sign(c, Statement{Kind: RemoveOperator, Key: public("bob")}, "alice", "bob")
		}, ErrLimit},
		"unknown kind": {func(c *Chain) Signed { return sign(c, Statement{Kind: "x", Key: public("bob")}, "alice", "bob") }, ErrLimit},
		"forged": {func(c *Chain) Signed {
			s := sign(c, add, "alice", "bob")
			s.Body[len(s.Body)-1] ^= 1
			return s
		}, ErrSignature},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newChain(t, "mesh", 2, "alice", "bob")
			if err := c.Append(tc.statement(c)); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if wantHeight := uint64(0); tc.want != nil && c.Height() != wantHeight {
				t.Fatalf("height %d after a refusal", c.Height())
			}
		})
	}
}

func TestPublishers(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	check := func(who, env string, want bool) {
		t.Helper()
		if got := c.Publishes(public(who), env); got != want {
			t.Errorf("%s publishes %s: %v, want %v", who, env, got, want)
		}
	}
	check("alice", "production", true)
	check("ci", "staging", false)
	extend(t, c, Statement{Kind: GrantPublisher, Key: public("ci"), Envs: []string{"staging"}}, "alice")
	check("ci", "staging", true)
	check("ci", "production", false)
	extend(t, c, Statement{Kind: RevokePublisher, Key: public("ci")}, "alice")
	check("ci", "staging", false)
	extend(t, c, Statement{Kind: AddOperator, Key: public("bob")}, "alice")
	check("bob", "production", false)
	extend(t, c, Statement{Kind: RemoveOperator, Key: public("alice")}, "bob")
	check("alice", "production", false)
	if err := (*Chain)(nil).Publishes(public("alice"), "production"); err {
		t.Error("a nil chain publishes")
	}
}

func TestGenesisNeedsEveryKey(t *testing.T) {
	nonce := make([]byte, 16)
	st := Statement{Kind: Genesis, Nonce: nonce, Threshold: 2, Operators: []ed25519.PublicKey{public("alice"), public("bob")}}
	s := must(Sign(DomainStatement, st, keyOf("alice")))(t)
	if _, err := OpenChain([]Signed{s}); !errors.Is(err, ErrUnauthorised) {
		t.Fatalf("got %v", err)
	}
}

func TestTicketRoundTrip(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	ticket := newTicket(t, c, "t", TicketSpec{Tags: map[string]string{"role": "web"}, Zone: "fra"}, "alice")
	again := must(ParseTicket(" " + ticket.String() + "\n"))(t)
	if again.String() != ticket.String() || again.Spec().Tags["role"] != "web" || again.Spec().Uses != 1 {
		t.Fatalf("spec %+v", again.Spec())
	}
	if must(again.Chain())(t).Mesh() != c.Mesh() || len(again.GossipKey()) != GossipKeySize {
		t.Fatal("chain or gossip key lost")
	}
	r := NewRoster(must(again.Chain())(t))
	m, err := r.Admit(now, show(t, again, "n1", "web1"))
	if err != nil || m.ID != idOf("n1") || m.Name != "web1" || m.Tags["role"] != "web" || m.Zone != "fra" {
		t.Fatalf("%+v, %v", m, err)
	}
}

func TestParseTicketRefuses(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	good := newTicket(t, c, "t", TicketSpec{}, "alice")
	foreign := newTicket(t, newChain(t, "other", 1, "alice"), "t", TicketSpec{}, "alice")
	change := func(f func(e *ticketEnvelope)) string {
		e := good.envelope
		f(&e)
		return Ticket{envelope: e}.String()
	}
	for name, text := range map[string]string{
		"empty":             "",
		"other text":        "hello",
		"cut":               good.String()[:len(good.String())-9],
		"too long":          ticketPrefix + strings.Repeat("A", MaxTicketText),
		"no operator":       change(func(e *ticketEnvelope) { e.Ticket.Signatures = nil }),
		"foreign":           change(func(e *ticketEnvelope) { e.Ticket = foreign.envelope.Ticket }),
		"another's key":     change(func(e *ticketEnvelope) { e.Seed = make([]byte, 32) }),
		"short gossip key":  change(func(e *ticketEnvelope) { e.Gossip = e.Gossip[1:] }),
		"no chain":          change(func(e *ticketEnvelope) { e.Chain = nil }),
		"signed by mallory": change(func(e *ticketEnvelope) { e.Ticket = must(Sign(DomainTicket, good.body, keyOf("mallory")))(t) }),
	} {
		if _, err := ParseTicket(text); !errors.Is(err, ErrTicket) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAdmitRefuses(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	ticket := newTicket(t, c, "t", TicketSpec{Uses: 2}, "alice")
	late := newTicket(t, c, "late", TicketSpec{Expires: now.Add(-time.Second)}, "alice")
	foreign := newTicket(t, newChain(t, "other", 1, "alice"), "t", TicketSpec{}, "alice")
	r := NewRoster(c)
	must(r.Admit(now, show(t, ticket, "n1", "web1")))(t)
	forged := show(t, ticket, "n2", "web2")
	forged[1].Body = bytes.Clone(forged[1].Body)
	forged[1].Body[len(forged[1].Body)-1]++
	stolen := must(Sign(DomainRedemption, Redemption{Ticket: encode(t, ticket.envelope.Ticket), Node: idOf("n2"), Name: "web2"},
		ed25519.NewKeyFromSeed(ticket.envelope.Seed), keyOf("mallory")))(t)
	own := must(SignGrant(Grant{Mesh: c.Mesh(), Node: idOf("n2"), Name: "web2"}, keyOf("mallory")))(t)
	for name, tc := range map[string]struct {
		credential []Signed
		want       error
	}{
		"nothing":             {nil, ErrNoGrant},
		"chain alone":         {c.Statements(), ErrNoGrant},
		"late":                {show(t, late, "n2", "web2"), ErrTicketExpired},
		"foreign mesh":        {show(t, foreign, "n2", "web2"), ErrForeignMesh},
		"foreign, no chain":   {show(t, foreign, "n2", "web2")[1:], ErrForeignMesh},
		"name taken":          {show(t, ticket, "n2", "web1"), ErrNameTaken},
		"forged":              {forged, ErrSignature},
		"not the node's key":  {[]Signed{stolen}, ErrSignature},
		"granted by a member": {[]Signed{own}, ErrUnauthorised},
		"of two nodes":        {append(show(t, ticket, "n1", "web1"), show(t, ticket, "n2", "web2")...), ErrNoGrant},
	} {
		before := r.Digest()
		if _, err := r.Admit(now, tc.credential); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if r.Digest() != before || len(r.Records()) != 2 {
			t.Errorf("%s: the roster changed", name)
		}
	}
	must(r.Admit(now, show(t, ticket, "n2", "web2")))(t)
	if _, err := r.Admit(now, show(t, ticket, "n3", "web3")); !errors.Is(err, ErrTicketUsed) {
		t.Errorf("third use of two: %v", err)
	}
	if _, err := r.Admit(now.Add(2*time.Hour), show(t, ticket, "n1", "web1")); err != nil {
		t.Errorf("a member that comes again after the ticket's time: %v", err)
	}
}

func TestVouch(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	late := newTicket(t, c, "late", TicketSpec{Expires: now.Add(-time.Hour)}, "alice")
	r := NewRoster(c.clone())
	before := r.Digest()
	if m, err := r.Vouch(now, show(t, late, "n1", "web1")); err != nil || m.ID != idOf("n1") {
		t.Errorf("a member whose ticket is over: %v", err)
	}
	foreign := newTicket(t, newChain(t, "other", 1, "alice"), "t", TicketSpec{}, "alice")
	if _, err := r.Vouch(now, show(t, foreign, "n1", "web1")); !errors.Is(err, ErrForeignMesh) {
		t.Errorf("foreign: %v", err)
	}
	if _, err := r.Vouch(now, nil); !errors.Is(err, ErrNoGrant) {
		t.Errorf("nothing: %v", err)
	}
	revoked := must(SignRevocation(Revocation{Mesh: c.Mesh(), Node: idOf("n1")}, keyOf("alice")))(t)
	if _, err := r.Vouch(now, []Signed{revoked}); !errors.Is(err, ErrNoGrant) {
		t.Errorf("a revocation shown as a grant: %v", err)
	}
	if r.Digest() != before {
		t.Error("the roster changed")
	}
	must(r.Add(now, revoked))(t)
	if _, err := r.Vouch(now, show(t, late, "n1", "web1")); !errors.Is(err, ErrNoGrant) {
		t.Errorf("revoked: %v", err)
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	return must(codec.Marshal(v))(t)
}

func TestAdmitLearnsALongerChain(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	r := NewRoster(c.clone())
	extend(t, c, Statement{Kind: AddOperator, Key: public("bob")}, "alice")
	ticket := newTicket(t, c, "t", TicketSpec{}, "bob")
	must(r.Admit(now, show(t, ticket, "n1", "web1")))(t)
	if r.Chain().Height() != 1 || len(r.Members(now)) != 1 {
		t.Fatalf("height %d", r.Chain().Height())
	}
}

func TestRevocationAndExpiry(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	r := NewRoster(c)
	grant := func(node string, notAfter, serial int64, tag string) Signed {
		g := Grant{Mesh: c.Mesh(), Node: idOf(node), Name: node, NotAfter: notAfter, Serial: uint64(serial), Tags: map[string]string{"v": tag}}
		return must(SignGrant(g, keyOf("alice")))(t)
	}
	must(r.Add(now, grant("n1", 0, 2, "new"), grant("n1", 0, 1, "old"), grant("n2", now.Unix(), 0, "")))(t)
	if m, _ := r.Lookup(idOf("n1"), now); m.Tags["v"] != "new" {
		t.Errorf("the older grant holds: %v", m)
	}
	if len(r.Members(now)) != 2 || len(r.Members(now.Add(time.Second))) != 1 {
		t.Error("expiry does not count")
	}
	must(r.Add(now, must(SignRevocation(Revocation{Mesh: c.Mesh(), Node: idOf("n1")}, keyOf("alice")))(t)))(t)
	must(r.Add(now, grant("n1", 0, 9, "newest")))(t)
	if _, ok := r.Lookup(idOf("n1"), now); ok || r.Credential(idOf("n1")) != nil {
		t.Error("a grant undid a revocation")
	}
	if _, err := r.Admit(now, []Signed{grant("n1", 0, 10, "")}); !errors.Is(err, ErrRevoked) {
		t.Errorf("a revoked node was admitted: %v", err)
	}
}

func TestWordOfARemovedOperatorLapses(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice", "bob")
	r := NewRoster(c.clone())
	must(r.Admit(now, show(t, newTicket(t, c, "t", TicketSpec{}, "alice"), "n1", "web1")))(t)
	st := extend(t, c, Statement{Kind: RemoveOperator, Key: public("alice")}, "bob")
	must(r.Add(now, st))(t)
	if len(r.Members(now)) != 0 {
		t.Fatal("alice's ticket still makes a member")
	}
	must(r.Add(now, must(SignGrant(Grant{Mesh: c.Mesh(), Node: idOf("n1"), Name: "web1"}, keyOf("bob")))(t)))(t)
	if len(r.Members(now)) != 1 {
		t.Fatal("bob's grant does not hold")
	}
}

func TestNames(t *testing.T) {
	c := newChain(t, "mesh", 1, "alice")
	a, b := newTicket(t, c, "a", TicketSpec{}, "alice"), newTicket(t, c, "b", TicketSpec{}, "alice")
	left, right := NewRoster(c), NewRoster(c)
	must(left.Admit(now, show(t, a, "n1", "web")))(t)
	must(right.Admit(now, show(t, b, "n2", "web")))(t)
	must(left.Add(now, right.Records()...))(t)
	first, second := min(idOf("n1"), idOf("n2")), max(idOf("n1"), idOf("n2"))
	suffixed := "web~" + string(second[len(second)-4:])
	for name, id := range map[string]NodeID{"web": first, suffixed: second} {
		if m, ok := left.Named(name, now); !ok || m.ID != id {
			t.Errorf("%s is %+v", name, m)
		}
	}
	for _, bad := range []string{"", "A", "-a", "a-", "a..b", ".a", "a.", "a~b", "a b", "ü", strings.Repeat("a", 64), "a.-b", "a-.b"} {
		if CheckName(bad) == nil {
			t.Errorf("name %q passes", bad)
		}
	}
	for _, good := range []string{"a", "web-1.fra.example", "1", strings.Repeat("a", 63), "a--b"} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
}

func TestTags(t *testing.T) {
	many := map[string]string{}
	for i := range MaxTags + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for name, tags := range map[string]map[string]string{
		"too many": many, "empty key": {"": "x"}, "long key": {strings.Repeat("k", 129): ""},
		"long value": {"k": strings.Repeat("v", 129)}, "escape": {"k": "\x1b[2J"}, "not UTF-8": {"k": "\xff"},
	} {
		if !errors.Is(CheckTags(tags), ErrLimit) {
			t.Errorf("%s passes", name)
		}
		_, err := NewTicket(bytes.NewReader(make([]byte, 32)), newChain(t, "m", 1, "alice"), make([]byte, 32),
			TicketSpec{Tags: tags, Expires: now}, keyOf("alice"))
		if !errors.Is(err, ErrLimit) && name != "not UTF-8" {
			t.Errorf("%s in a ticket: %v", name, err)
		}
		if err == nil {
			t.Errorf("%s makes a ticket", name)
		}
	}
}

func TestSolo(t *testing.T) {
	r := Solo(Member{ID: idOf("n1"), Name: "alone"})
	if m, ok := r.Named("alone", now); !ok || len(r.Members(now)) != 1 || m.ID != idOf("n1") {
		t.Error("it does not know itself")
	}
	if _, err := r.Add(now, Signed{}); !errors.Is(err, ErrNoMesh) {
		t.Error(err)
	}
	if _, err := r.Admit(now, nil); !errors.Is(err, ErrNoMesh) {
		t.Error(err)
	}
	if r.Records() != nil || r.Credential(idOf("n1")) != nil || r.Chain() != nil {
		t.Error("records without a mesh")
	}
}
