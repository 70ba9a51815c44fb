package attacks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

func rosterAttacks() []attack {
	return []attack{
		{"claim-tags-by-an-own-grant", "tag claim", Member, "grants itself the tags of another role, signed by its own key", "threshold", ownGrant},
		{"claim-tags-in-a-grant", "tag claim", Member, "changes the tags in a grant that the operators signed for it", "signatures-unverified", changedGrant},
		{"evict-another", "roster", Member, "revokes another node's grant, signed by its own key", "anybody-evicts", evictAnother},
		{"add-an-operator", "roster", Member, "makes its own key an operator's", "anybody-adds-operators", addOperator},
		{"one-of-two-operators", "roster", Member, "with one stolen operator's key of two grants itself tags, where both must sign", "threshold", oneOfTwo},
		{"grant-of-a-removed-operator", "roster", Member, "grants itself tags with the key of an operator that was removed", "removed-operators-grant", removedGrants},
		{"grant-of-another-mesh", "replay", Member, "shows the grant that the same operators signed for another mesh", "foreign-grants", foreignGrant},
		{"fork-the-trust-chain", "roster", Member, "replays a statement of another mesh of the same operators", "foreign-statements", foreignStatement},
		{"take-a-granted-name", "name", Member, "spreads a redemption of its ticket with the name that the operators granted to another", "redeemed-names-first", takeName},
		{"name-at-the-door", "name", Stranger, "joins with a good ticket under the name of another", "taken-names", nameAtTheDoor},
		{"name-with-control-characters", "name", Stranger, "joins with a good ticket under a name that clears the screen of whoever lists the members", "any-name", escapeName},
		{"rumour-of-death", "suspicion", Member, "spreads that a living node is dead, so that its copies move away", "out-at-once", rumour},
	}
}

func ownGrant(t *testing.T) string {
	a := newArena(t, 3)
	grant := must(membership.SignGrant(membership.Grant{
		Mesh: a.Mesh(), Node: a.mallory.ID, Name: a.mallory.Name, Tags: map[string]string{"role": "db"}, Serial: 9,
	}, keyFor(a.mallory)))(t)
	return a.claimed(grant)
}

// claimed spreads a record, and tells whether anybody believes that mallory is a database.
func (a *arena) claimed(records ...membership.Signed) string {
	a.sayAll(&mesh.RosterTell{Records: records})
	a.Run(5 * time.Second)
	for _, n := range a.honest() {
		for _, m := range n.Core.Members() {
			if m.ID == a.mallory.ID && m.Tags["role"] == "db" {
				return n.Name + " takes mallory for a database"
			}
		}
	}
	return ""
}

func changedGrant(t *testing.T) string {
	a := newArena(t, 3)
	grant := membership.Grant{Mesh: a.Mesh(), Node: a.mallory.ID, Name: a.mallory.Name, Tags: map[string]string{"role": "web"}, Serial: 9}
	signed := must(membership.SignGrant(grant, operator()))(t)
	grant.Tags["role"] = "db"
	signed.Body = must(codec.Marshal(grant))(t)
	return a.claimed(signed)
}

func evictAnother(t *testing.T) string {
	a := newArena(t, 3)
	victim := a.nodes[1]
	a.sayAll(&mesh.RosterTell{Records: []membership.Signed{
		must(membership.SignRevocation(membership.Revocation{Mesh: a.Mesh(), Node: victim.ID}, keyFor(a.mallory)))(t),
	}})
	a.Run(5 * time.Second)
	if !a.isMember(a.nodes[0], victim.ID) {
		return "n2 is no member any more"
	}
	return ""
}

func addOperator(t *testing.T) string {
	a := newArena(t, 3)
	own := keyFor(a.mallory)
	a.sayAll(&mesh.RosterTell{Records: []membership.Signed{
		a.statement(membership.Statement{Kind: membership.AddOperator, Key: pub(own)}, own),
	}})
	if n := len(a.nodes[0].Core.Chain().Operators()); n > 1 {
		return fmt.Sprintf("%d operators, mallory among them", n)
	}
	return ""
}

// oneOfTwo is at the roster: a chain whose threshold is two.
func oneOfTwo(t *testing.T) string {
	nonce := sumOf("two")
	one, two, node := meshtest.Key("one"), meshtest.Key("two"), meshtest.Key("mallory")
	genesis := must(membership.NewGenesis(nonce[:], 2, one, two))(t)
	chain := must(membership.OpenChain([]membership.Signed{genesis}))(t)
	roster := membership.NewRoster(chain)
	_, _ = roster.Add(time.Now(), must(membership.SignGrant(membership.Grant{
		Mesh: chain.Mesh(), Node: idOf(node), Name: "mallory", Tags: map[string]string{"role": "db"},
	}, one))(t))
	if m, ok := roster.Lookup(idOf(node), time.Now()); ok {
		return fmt.Sprintf("a member with %v, by one operator of two", m.Tags)
	}
	return ""
}

func removedGrants(t *testing.T) string {
	a := newArena(t, 3)
	thief := meshtest.Key("second operator")
	key := pub(thief)
	a.submit(a.statement(membership.Statement{Kind: membership.AddOperator, Key: key}, operator()))
	a.submit(a.statement(membership.Statement{Kind: membership.RemoveOperator, Key: key}, operator()))
	return a.claimed(must(membership.SignGrant(membership.Grant{
		Mesh: a.Mesh(), Node: a.mallory.ID, Name: a.mallory.Name, Tags: map[string]string{"role": "db"}, Serial: 9,
	}, thief))(t))
}

func foreignGrant(t *testing.T) string {
	a := newArena(t, 3)
	return a.claimed(must(membership.SignGrant(membership.Grant{
		Mesh: sumOf("another mesh"), Node: a.mallory.ID, Name: a.mallory.Name, Tags: map[string]string{"role": "db"}, Serial: 9,
	}, operator()))(t))
}

func foreignStatement(t *testing.T) string {
	a := newArena(t, 3)
	st := a.chain.Propose(membership.Statement{Kind: membership.GrantPublisher, Key: pub(keyFor(a.mallory)), Envs: []string{membership.AllEnvs}})
	st.Mesh = sumOf("another mesh")
	a.sayAll(&mesh.RosterTell{Records: []membership.Signed{must(membership.Sign(membership.DomainStatement, st, operator()))(t)}})
	if a.nodes[0].Core.Chain().Height() > 0 {
		return "mallory publishes, by the word of another mesh's operators"
	}
	return ""
}

// takeName: the operators signed n1's grant themselves, with its name. Mallory has a ticket with a use left, and makes the key that it
// redeems it with until its id comes first.
func takeName(t *testing.T) string {
	a := newArena(t, 3)
	victim := a.nodes[0]
	a.submit(must(membership.SignGrant(membership.Grant{Mesh: a.Mesh(), Node: victim.ID, Name: victim.Name, Serial: 1}, operator()))(t))
	ticket := a.ticket(membership.TicketSpec{Uses: 5})
	a.sayAll(&mesh.RosterTell{Records: []membership.Signed{must(ticket.Redeem(small(victim.ID), victim.Name))(t)}})
	a.Run(5 * time.Second)
	for _, n := range a.honest() {
		if m, _ := n.Core.Roster().Lookup(victim.ID, a.Now()); m.Name != victim.Name {
			return fmt.Sprintf("%s is called %s by %s", victim.Name, m.Name, n.Name)
		}
	}
	return ""
}

func nameAtTheDoor(t *testing.T) string {
	a := newArena(t, 3)
	victim := a.nodes[1]
	stranger := small(victim.ID)
	red := must(a.ticket(membership.TicketSpec{}).Redeem(stranger, victim.Name))(t)
	if err := a.knocks(a.nodes[0], idOf(stranger), append(a.chain.Statements(), red)...); err == nil {
		return "a stranger is let in as " + victim.Name
	}
	return ""
}

func escapeName(t *testing.T) string {
	a := newArena(t, 3)
	stranger := meshtest.Key("stranger")
	ticket := a.ticket(membership.TicketSpec{})
	good := must(ticket.Redeem(stranger, "n9"))(t)
	var r membership.Redemption
	must(good.Open(membership.DomainRedemption, &r))(t)
	r.Name = "\x1b[2J"
	seed := sumOf(fmt.Sprint(membership.TicketSpec{Expires: a.Now().Add(time.Hour)}))
	bad := must(membership.Sign(membership.DomainRedemption, r, meshtest.SeedKey(seed), stranger))(t)
	if err := a.knocks(a.nodes[0], idOf(stranger), append(a.chain.Statements(), bad)...); err == nil {
		return "a member is called " + fmt.Sprintf("%q", r.Name)
	}
	return ""
}

func rumour(t *testing.T) string {
	a := newArena(t, 4)
	victim := a.nodes[1]
	for _, n := range a.honest() {
		if n != victim {
			n.Ask(func(uint64) mesh.Event {
				return mesh.Gossiped{Event: membership.Event{Node: victim.ID, Addr: victim.Name, Status: membership.Failed}}
			})
		}
	}
	a.Run(time.Minute)
	for _, n := range a.honest() {
		if len(n.Core.Ring().Nodes()) != 4 {
			return fmt.Sprintf("%s places on %d nodes of 4", n.Name, len(n.Core.Ring().Nodes()))
		}
	}
	return ""
}

func ticketAttacks() []attack {
	return []attack{
		{"stranger-without-a-ticket", "ticket", Stranger, "joins with a grant that it signed itself", "threshold", noTicket},
		{"used-ticket", "ticket", Stranger, "joins with a stolen ticket whose uses are spent, and a key whose id comes first", "used-tickets", usedTicket},
		{"expired-ticket", "ticket", Stranger, "joins with a stolen ticket that has ended", "expired-tickets", expiredTicket},
		{"more-tags-than-the-ticket", "ticket", Stranger, "changes the tags in a ticket that the operators signed", "signatures-unverified", changedTicket},
		{"ticket-of-another-mesh", "ticket", Stranger, "joins with a ticket of another mesh of the same operators", "foreign-grants", foreignTicket},
		{"redemption-without-the-ticket", "ticket", Stranger, "has seen the redemption of another, and redeems the ticket inside without its key", "ticket-key-unneeded", withoutTicketKey},
		{"redeem-for-another", "ticket", Stranger, "with a stolen ticket makes somebody else a member who never asked", "node-key-unneeded", redeemForAnother},
		{"stolen-credential", "certificate", Stranger, "shows the credential of a member in its own certificate", "anothers-credential", stolenCredential},
		{"push-out-of-a-ticket", "ticket", Member, "pushes another out of the ticket that both have, with keys whose ids come first, and nobody sees it", "overdrawn-unseen", pushOut},
		{"revoked-comes-back", "ticket", Member, "was evicted, and joins again with the same key and a new ticket", "revocations-pass", comesBack},
		{"expired-grant", "ticket", Member, "goes on with a grant that has ended", "expired-grants", expiredGrant},
	}
}

func (a *arena) join(key []byte, records ...membership.Signed) string {
	id := membership.IDOf(key)
	if err := a.knocks(a.nodes[0], id, append(a.chain.Statements(), records...)...); err == nil && a.isMember(a.nodes[0], id) {
		m, _ := a.nodes[0].Core.Roster().Lookup(id, a.Now())
		return fmt.Sprintf("a stranger is let in as %s with tags %v", m.Name, m.Tags)
	}
	return ""
}

func noTicket(t *testing.T) string {
	a := newArena(t, 3)
	stranger := meshtest.Key("stranger")
	return a.join(pub(stranger), must(membership.SignGrant(membership.Grant{Mesh: a.Mesh(), Node: idOf(stranger), Name: "n9"}, stranger))(t))
}

func usedTicket(t *testing.T) string {
	a := newArena(t, 3)
	ticket := a.ticket(membership.TicketSpec{})
	first := meshtest.Key("first")
	if a.join(pub(first), must(ticket.Redeem(first, "n8"))(t)) == "" {
		t.Fatal("the ticket is no good to begin with")
	}
	stranger := small(idOf(first))
	return a.join(pub(stranger), must(ticket.Redeem(stranger, "n9"))(t))
}

// pushOut: that it can be done is known (docs/SECURITY.md); that it shows is what is tried.
func pushOut(t *testing.T) string {
	a := newArena(t, 3)
	ticket := a.ticket(membership.TicketSpec{Uses: 2})
	victim := meshtest.Key("victim")
	if a.join(pub(victim), must(ticket.Redeem(victim, "n8"))(t)) == "" {
		t.Fatal("the ticket is no good to begin with")
	}
	first := small(idOf(victim))
	second := small(idOf(first))
	a.sayAll(&mesh.RosterTell{Records: []membership.Signed{must(ticket.Redeem(first, "m1"))(t), must(ticket.Redeem(second, "m2"))(t)}})
	a.Run(5 * time.Second)
	for _, n := range a.honest() {
		if a.isMember(n, idOf(victim)) {
			t.Fatalf("%s has the victim for a member still, so the attack shows nothing", n.Name)
		}
		seen := n.Core.Roster().Overdrawn(a.Now())
		if len(seen) != 1 || seen[0].Ticket != ticket.ID() || seen[0].Out.ID != idOf(victim) || len(seen[0].In) != 2 {
			return n.Name + " has lost a member, and does not show by which ticket"
		}
		if !a.logged(n, "the ticket "+ticket.ID(), "n8") {
			return n.Name + " has lost a member, and its log says nothing"
		}
	}
	return ""
}

// logged tells whether a node's log has an event with all of these words.
func (a *arena) logged(n *meshtest.Node, words ...string) bool {
	a.t.Helper()
	id := n.Ask(func(id uint64) mesh.Event { return mesh.AskHistory{ID: id, Node: n.ID} })
	a.Run(5 * time.Second)
	h, ok := n.Answers[id].Value.(mesh.History)
	if !ok {
		a.t.Fatalf("%+v", n.Answers[id])
	}
	return slices.ContainsFunc(h.Entries, func(e mesh.NodeLog) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(e.Event.What, w) })
	})
}

func expiredTicket(t *testing.T) string {
	a := newArena(t, 3)
	ticket := a.ticket(membership.TicketSpec{Expires: a.Now().Add(time.Second)})
	a.Run(10 * time.Second)
	stranger := meshtest.Key("stranger")
	return a.join(pub(stranger), must(ticket.Redeem(stranger, "n9"))(t))
}

// opened is what a redemption holds.
func opened(t *testing.T, red membership.Signed) (r membership.Redemption, ticket membership.Signed) {
	must(red.Open(membership.DomainRedemption, &r))(t)
	if err := codec.Unmarshal(r.Ticket, &ticket); err != nil {
		t.Fatal(err)
	}
	return r, ticket
}

func changedTicket(t *testing.T) string {
	a := newArena(t, 3)
	spec := membership.TicketSpec{Expires: a.Now().Add(time.Hour), Tags: map[string]string{"role": "web"}}
	stranger := meshtest.Key("stranger")
	r, ticket := opened(t, must(a.ticket(spec).Redeem(stranger, "n9"))(t))
	ticket.Body = slices.Concat(ticket.Body[:0:0], replaced(t, ticket.Body, "cweb", "bdb"))
	r.Ticket = must(codec.Marshal(ticket))(t)
	seed := sumOf(fmt.Sprint(spec))
	return a.join(pub(stranger), must(membership.Sign(membership.DomainRedemption, r, meshtest.SeedKey(seed), stranger))(t))
}

func foreignTicket(t *testing.T) string {
	a := newArena(t, 3)
	nonce := sumOf("another mesh")
	other := must(membership.OpenChain([]membership.Signed{must(membership.NewGenesis(nonce[:], 1, operator()))(t)}))(t)
	stranger := meshtest.Key("stranger")
	ticket := must(membership.NewTicket(&zeros{}, other, make([]byte, membership.GossipKeySize), membership.TicketSpec{Expires: a.Now().Add(time.Hour)}, operator()))(t)
	return a.join(pub(stranger), must(ticket.Redeem(stranger, "n9"))(t))
}

type zeros struct{}

func (*zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func withoutTicketKey(t *testing.T) string {
	a := newArena(t, 3)
	other, stranger := meshtest.Key("other"), meshtest.Key("stranger")
	r, _ := opened(t, must(a.ticket(membership.TicketSpec{Uses: 5}).Redeem(other, "n8"))(t))
	r.Node, r.Name = idOf(stranger), "n9"
	return a.join(pub(stranger), must(membership.Sign(membership.DomainRedemption, r, stranger, meshtest.Key("any")))(t))
}

func redeemForAnother(t *testing.T) string {
	a := newArena(t, 3)
	spec := membership.TicketSpec{Expires: a.Now().Add(time.Hour)}
	thief, other := meshtest.Key("thief"), meshtest.Key("other")
	r, _ := opened(t, must(a.ticket(spec).Redeem(thief, "n9"))(t))
	r.Node = idOf(other)
	seed := sumOf(fmt.Sprint(spec))
	return a.join(pub(other), must(membership.Sign(membership.DomainRedemption, r, meshtest.SeedKey(seed), thief))(t))
}

func stolenCredential(t *testing.T) string {
	a := newArena(t, 3)
	victim := a.nodes[1]
	stranger := meshtest.Key("stranger")
	credential := a.nodes[0].Core.Roster().Credential(victim.ID)
	if err := a.knocks(a.nodes[0], idOf(stranger), credential...); err == nil {
		return "a stranger is let in with the credential of n2"
	}
	return ""
}

func comesBack(t *testing.T) string {
	a := newArena(t, 4)
	a.submit(must(membership.SignRevocation(membership.Revocation{Mesh: a.Mesh(), Node: a.mallory.ID}, operator()))(t))
	if a.isMember(a.nodes[0], a.mallory.ID) {
		return "evicted, and a member all the same"
	}
	return a.join(pub(keyFor(a.mallory)), must(a.ticket(membership.TicketSpec{}).Redeem(keyFor(a.mallory), "n9"))(t))
}

func expiredGrant(t *testing.T) string {
	a := newArena(t, 3)
	a.submit(must(membership.SignGrant(membership.Grant{
		Mesh: a.Mesh(), Node: a.mallory.ID, Name: a.mallory.Name, NotAfter: a.Now().Add(time.Minute).Unix(), Serial: 3,
	}, operator()))(t))
	a.Run(5 * time.Minute)
	if a.isMember(a.nodes[0], a.mallory.ID) {
		return "a member with a grant that has ended"
	}
	return ""
}

func replaced(t *testing.T, data []byte, old, with string) []byte {
	t.Helper()
	at := indexOf(data, old)
	if at < 0 {
		t.Fatalf("%q is not there", old)
	}
	return slices.Concat(data[:at], []byte(with), data[at+len(old):])
}

func indexOf(data []byte, text string) int {
	for i := 0; i+len(text) <= len(data); i++ {
		if string(data[i:i+len(text)]) == text {
			return i
		}
	}
	return -1
}

func logAttacks() []attack {
	return []attack{
		{"forge-a-report", "log", Member, "writes into the log of another node that all is well", "anybodys-log", forgeLog},
		{"false-fork", "log", Member, "shows an entry of its own as a second one of another node's log", "fork-of-two", falseFork},
		{"wipe-the-traces", "log", Member, "has broken into a node, and signs with its key that nobody need keep what it logged", "marks-wipe", wipeTraces},
		{"swap-a-report", "log", Member, "brings another report than the one that an entry names", "any-report", swapReport},
	}
}

func logEntry(t *testing.T, key string, e store.LogEntry) []byte {
	return must(store.SealLogEntry(e, meshtest.Key(key)))(t).Raw
}

func reportBody(t *testing.T, s mesh.Summary) []byte { return must(codec.Marshal(s))(t) }

func forgeLog(t *testing.T) string {
	a := newArena(t, 3)
	victim := a.nodes[1]
	report := []byte("all is well")
	body := reportBody(t, mesh.Summary{Env: production, Version: 77, Result: "converged", Report: store.HashOf(report)})
	forged := must(membership.Sign(membership.DomainNodeLog, store.LogEntry{Node: victim.ID, Seq: 500, Prev: sumOf("x"), Kind: "report", Body: body}, keyFor(a.mallory)))(t)
	a.sayAll(&mesh.LogTell{Record: must(codec.Marshal(forged))(t), Report: report})
	for _, l := range a.status().Logs {
		if l.Node == victim.ID && l.Version == 77 {
			return "n2 is said to be at version 77"
		}
	}
	return ""
}

func (a *arena) status() mesh.Gathered {
	n := a.nodes[0]
	id := n.Ask(func(id uint64) mesh.Event { return mesh.AskStatus{ID: id} })
	a.Run(5 * time.Second)
	g, ok := n.Answers[id].Value.(mesh.Gathered)
	if !ok {
		a.t.Fatalf("%+v", n.Answers[id])
	}
	return g
}

// history is what n1 finds of a node's log.
func (a *arena) history(of membership.NodeID) mesh.History {
	n := a.nodes[0]
	id := n.Ask(func(id uint64) mesh.Event { return mesh.AskHistory{ID: id, Node: of} })
	a.Run(5 * time.Second)
	h, ok := n.Answers[id].Value.(mesh.History)
	if !ok {
		a.t.Fatalf("%+v", n.Answers[id])
	}
	return h
}

func falseFork(t *testing.T) string {
	a, _ := begun(t, 3)
	a.Run(20 * time.Second)
	victim := a.nodes[1]
	id := a.mallory.Ask(func(id uint64) mesh.Event { return mesh.AskStatus{ID: id} })
	a.Run(5 * time.Second)
	_ = id
	var genuine []byte
	for _, n := range a.nodes {
		for _, tell := range answered[*mesh.LogTell](a, n, 0) {
			if e, err := store.OpenLogEntry(tell.Record); err == nil && e.Node == victim.ID {
				genuine = tell.Record
			}
		}
	}
	if genuine == nil {
		t.Fatal("no entry of n2 was said")
	}
	e := must(store.OpenLogEntry(genuine))(t)
	e.LogEntry.Node, e.Body = a.mallory.ID, []byte{0xa0}
	proof := mesh.ForkProof{A: genuine, B: logEntry(t, a.mallory.Name, e.LogEntry)}
	record := a.Tamper
	a.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if tell, ok := m.(*mesh.StatusTell); ok && n == a.mallory {
			m = &mesh.StatusTell{ID: tell.ID, Forks: []mesh.ForkProof{proof}}
		}
		return record(n, m)
	}
	if slices.Contains(a.status().Forked, victim.ID) {
		return "n2 is said to have written its log twice"
	}
	return ""
}

// wipeTraces: the entries that tell of the break-in are among the newest 64, whatever a mark says.
func wipeTraces(t *testing.T) string {
	a, _ := begun(t, 3)
	a.Run(20 * time.Second)
	victim := a.mallory
	before := a.history(victim.ID)
	if len(before.Entries) < 2 {
		t.Fatalf("%d entries", len(before.Entries))
	}
	var newest store.SealedEntry
	for _, tell := range answered[*mesh.LogTell](a, victim, 0) {
		if e, err := store.OpenLogEntry(tell.Record); err == nil && e.Node == victim.ID && e.Seq > newest.Seq {
			newest = e
		}
	}
	if last := before.Entries[len(before.Entries)-1]; last.Seq != newest.Seq {
		t.Fatalf("entry %d was told, %d is the newest", newest.Seq, last.Seq)
	}
	mark := must(codec.Marshal(struct {
		Low     uint64 `cbor:"1,keyasint"`
		Reports uint64 `cbor:"2,keyasint"`
	}{newest.Seq + 1, newest.Seq + 1}))(t)
	wipe := logEntry(t, victim.Name, store.LogEntry{Node: victim.ID, Seq: newest.Seq + 1, Prev: newest.Hash, Kind: "mark", Body: mark})
	a.Kill(victim)
	for _, n := range a.honest() {
		_ = a.sayAs(victim, n, &mesh.LogRange{Node: victim.ID, Entries: [][]byte{wipe}})
	}
	a.Run(20 * time.Second)
	if after := a.history(victim.ID); len(after.Entries) < len(before.Entries) {
		return fmt.Sprintf("%d of %d entries are left", len(after.Entries), len(before.Entries))
	}
	return ""
}

func swapReport(t *testing.T) string {
	a, _ := begun(t, 8)
	a.Run(20 * time.Second)
	victim := a.nodes[1]
	var told *mesh.LogTell
	for _, tell := range answered[*mesh.LogTell](a, victim, 0) {
		if e, err := store.OpenLogEntry(tell.Record); err == nil && e.Node == victim.ID {
			told = tell
		}
	}
	if told == nil {
		t.Fatal("n2 has told no report")
	}
	record := a.Tamper
	a.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if tell, ok := m.(*mesh.ReportTell); ok {
			m = &mesh.ReportTell{ID: tell.ID, Record: told.Record, Report: []byte("all is well")}
		}
		return record(n, m)
	}
	for _, asker := range a.honest() { // those who keep the log need not ask
		id := asker.Ask(func(id uint64) mesh.Event { return mesh.AskReport{ID: id, Node: victim.ID} })
		a.Run(10 * time.Second)
		if data, _ := asker.Answers[id].Value.([]byte); string(data) == "all is well" {
			return "a report that n2 never made is shown as its last"
		}
	}
	return ""
}
