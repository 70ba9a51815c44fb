package attacks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

const highest = 1<<64 - 1

func ballotAttacks() []attack {
	return []attack{
		{"ballot-bomb", "bomb", Member, "prepares with the highest ballot that there is, so that nobody can go above", "prepares-leap", bombPrepare},
		{"ballot-bomb-in-an-accept", "bomb", Member, "has the present head accepted once more, at the highest ballot", "accepts-leap", bombAccept},
		{"ballot-bomb-in-a-lease", "bomb", Member, "asks for the promise of the highest ballot along with an accept", "leases-leap", bombThen},
		{"ballot-of-another", "equivocate", Member, "proposes at a ballot that names another node", "any-proposer", othersBallot},
		{"two-values-at-one-ballot", "equivocate", Member, "has an acceptor vote for two revisions at one ballot", "two-values", twoValues},
		{"usurp-a-lower-ballot", "equivocate", Member, "has a rival accepted below a ballot that was promised to another", "lower-ballots", lowerBallot},
	}
}

func bombPrepare(t *testing.T) string {
	a, one := begun(t, 3)
	a.sayAll(a.prepare(highest))
	if !a.works(a.nodes[0], 2, store.HashOf(one)) {
		return "nobody can go above the ballot: no push is committed any more"
	}
	return ""
}

func bombAccept(t *testing.T) string {
	a, one := begun(t, 3)
	a.sayAll(a.accept(highest, value(t, 1, one)))
	if !a.works(a.nodes[0], 2, store.HashOf(one)) {
		return "nobody can go above the ballot: no push is committed any more"
	}
	return ""
}

func bombThen(t *testing.T) string {
	a, one := begun(t, 3)
	then := a.ballot(highest)
	m := a.accept(1000, value(t, 1, one))
	m.Then = &then
	a.proposes(m)
	if !a.works(a.nodes[0], 2, store.HashOf(one)) {
		return "nobody can go above the ballot: no push is committed any more"
	}
	return ""
}

func othersBallot(t *testing.T) string {
	a, one := begun(t, 3)
	victim := a.nodes[0]
	ballot := store.Ballot{Number: 1000, Proposer: a.nodes[1].ID, Run: 1}
	since := a.mark(victim)
	m := a.accept(1000, value(t, 1, one))
	m.Ballot = ballot
	_ = a.say(victim, m)
	for _, answer := range answered[*mesh.Accepted](a, victim, since) {
		if answer.Refused == "" {
			return "n1 votes at a ballot of n2 that n2 never made"
		}
	}
	return ""
}

// rivals are two revisions on one parent, both signed: two operators pushed at once, and one lost.
func (a *arena) rivals(one []byte) (first, second []byte) {
	first, _ = a.revision(operator(), production, 2, store.HashOf(one), "first")
	second, _ = a.revision(operator(), production, 2, store.HashOf(one), "second")
	return value(a.t, 2, first, store.HashOf(one)), value(a.t, 2, second, store.HashOf(one))
}

func twoValues(t *testing.T) string {
	a := newArena(t, 3)
	first, second := a.rivals(a.commit(a.nodes[0], 1, store.Hash{}))
	victim, votes := a.nodes[0], map[store.Hash]bool{}
	since := a.mark(victim)
	_ = a.say(victim, a.prepare(1000))
	for _, v := range [][]byte{first, second} {
		_ = a.say(victim, a.accept(1000, v))
		if all := answered[*mesh.Accepted](a, victim, since); len(all) > 0 && all[len(all)-1].Refused == "" {
			votes[store.HashOf(v)] = true
		}
	}
	if len(votes) == 2 {
		return "an honest acceptor has signed two revisions of one version"
	}
	return ""
}

func lowerBallot(t *testing.T) string {
	a := newArena(t, 3)
	first, _ := a.rivals(a.commit(a.nodes[0], 1, store.Hash{}))
	victim, other := a.nodes[0], a.nodes[1]
	above := store.Ballot{Number: 2000, Proposer: other.ID, Run: 1}
	_ = a.sayAs(other, victim, &mesh.Prepare{Register: store.HeadRegister(production), Epoch: a.epoch(production), Ballot: above})
	since := a.mark(victim)
	_ = a.say(victim, a.accept(1000, first))
	for _, answer := range answered[*mesh.Accepted](a, victim, since) {
		if answer.Refused == "" {
			return "n1 votes below a ballot that it has promised to n2"
		}
	}
	return ""
}

func acceptorAttacks() []attack {
	return []attack{
		{"equivocating-acceptor", "equivocate", Member, "as an acceptor tells two proposers different things, so that two revisions of one version are certified", "deaf-to-lies", equivocate},
		{"frame-an-acceptor", "equivocate", Member, "accuses an honest acceptor with one statement of it and one of its own", "evidence-of-two", frameWithOwn},
		{"frame-with-a-forged-signature", "equivocate", Member, "accuses an honest acceptor with statements that it did not sign", "signatures-unverified", frameForged},
		{"frame-across-environments", "equivocate", Member, "accuses an honest acceptor with true statements of two environments", "evidence-of-anything", frameAcross},
		{"seat-itself", "equivocate", Member, "has the acceptors seal their epoch with mallory as the only next one", "any-seats", seatItself},
		{"seats-that-nobody-has", "equivocate", Member, "has the acceptors seal their epoch with disks that nobody has, so that the environment ends", "seats-unheard-of", seatNobody},
		{"forged-seal", "equivocate", Member, "shows a seal that it alone has signed", "one-vote-is-enough", forgedSeal},
		{"false-amnesia", "equivocate", Member, "tells an acceptor that its disk went back in time, on its own word, so that it gives up its seat", "anybody-incarnates", falseAmnesia},
		{"hear-the-evicted", "replay", Member, "goes on proposing after it was evicted, over a connection that is still open", "hears-the-evicted", hearEvicted},
	}
}

// equivocate is what mesh's own test does: in both halves of a mesh there is an honest proposer, and mallory.
func equivocate(t *testing.T) string {
	a := newArena(t, 3)
	n1, n2, liar := a.nodes[0], a.nodes[1], a.mallory
	one := a.commit(n1, 1, store.Hash{})
	a.Partition([]*meshtest.Node{n1, liar}, []*meshtest.Node{n2})
	a.Run(10 * time.Second)
	a.commit(n1, 2, store.HashOf(one))
	var asked store.Accept
	record := a.Tamper
	a.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if accept, ok := m.(*mesh.Accept); ok && n != liar {
			asked = store.Accept{Register: accept.Register, Epoch: accept.Epoch, Ballot: accept.Ballot, Value: accept.Value}
		}
		if n == liar {
			m = lie(t, m, asked)
		}
		return record(n, m)
	}
	a.Partition([]*meshtest.Node{n2, liar}, []*meshtest.Node{n1})
	a.Run(10 * time.Second)
	object, objects := a.revision(operator(), production, 2, store.HashOf(one), "kept")
	if got := a.pushes(n2, object, objects); got != store.Committed {
		t.Fatalf("the lie does not work, so the test shows nothing: %q", got)
	}
	a.Tamper = record
	a.Heal()
	n4 := a.Add("n4", n1)
	a.Run(60 * time.Second)
	for _, n := range []*meshtest.Node{n1, n2, n4} {
		if !slices.Contains(n.Core.Convicted(), liar.ID) {
			return n.Name + " goes on with an acceptor that has signed two stories"
		}
	}
	return ""
}

// lie promises as if nothing had been accepted, and votes for whatever was asked.
func lie(t *testing.T, m mesh.Message, asked store.Accept) mesh.Message {
	key := meshtest.Key("n3")
	switch m := m.(type) {
	case *mesh.HeadTell:
		return &mesh.StatusAsk{}
	case *mesh.Promise:
		if m.Refused != "" || m.Register != store.HeadRegister(production) {
			return m
		}
		word := must(store.Word{Register: m.Register, Epoch: asked.Epoch, Ballot: m.Ballot}.Sign(key))(t)
		return &mesh.Promise{Register: m.Register, Ballot: m.Ballot, Starts: m.Starts, Word: &word}
	case *mesh.Accepted:
		vote := must(membership.Sign(membership.DomainAccepted, store.Vote{
			Register: m.Register, Epoch: asked.Epoch, Ballot: m.Ballot, Value: store.HashOf(asked.Value),
		}, key))(t)
		return &mesh.Accepted{Register: m.Register, Ballot: m.Ballot, Vote: vote.Signatures[0], Starts: m.Starts}
	}
	return m
}

// voteOf is the victim's true vote for the present head, and the ballot that it was given at.
func (a *arena) voteOf(victim *meshtest.Node) (membership.Signed, store.Vote) {
	votes := store.Only(a.headOf(victim, production).Certificate.Votes, victim.ID)
	if len(votes.Signatures) != 1 {
		votes = membership.Signed{}
	}
	vote, _ := store.Certificate{Votes: votes}.Vote()
	return votes, vote
}

// voter is an honest acceptor whose vote is in the certificate.
func (a *arena) voter() (*meshtest.Node, membership.Signed, store.Vote) {
	for _, n := range a.honest() {
		if votes, vote := a.voteOf(n); len(votes.Signatures) == 1 {
			return n, votes, vote
		}
	}
	a.t.Fatal("no honest acceptor voted")
	return nil, membership.Signed{}, store.Vote{}
}

func (a *arena) framed(victim *meshtest.Node, e store.Evidence) string {
	a.sayAll(&mesh.Accuse{Evidence: e})
	a.Run(5 * time.Second)
	for _, n := range a.honest() {
		if slices.Contains(n.Core.Convicted(), victim.ID) {
			return fmt.Sprintf("%s has convicted %s, which kept all its promises", n.Name, victim.Name)
		}
	}
	return ""
}

func frameWithOwn(t *testing.T) string {
	a, _ := begun(t, 3)
	victim, votes, vote := a.voter()
	vote.Value = sumOf("another")
	own := must(membership.Sign(membership.DomainAccepted, vote, keyFor(a.mallory)))(t)
	return a.framed(victim, store.Evidence{A: votes, B: own})
}

func frameForged(t *testing.T) string {
	a, _ := begun(t, 3)
	victim, votes, vote := a.voter()
	vote.Value = sumOf("another")
	forged := must(membership.Sign(membership.DomainAccepted, vote, keyFor(a.mallory)))(t)
	forged.Signatures[0].Key = votes.Signatures[0].Key
	return a.framed(victim, store.Evidence{A: votes, B: forged})
}

// frameAcross: the victim has accepted something of production, and nothing of staging, and says so at a higher ballot.
func frameAcross(t *testing.T) string {
	a, one := begun(t, 3)
	a.commit(a.nodes[1], 2, store.HashOf(one))
	a.commitTo(a.nodes[0], "staging", 1, store.Hash{})
	victim, votes, vote := a.voter()
	since := a.mark(victim)
	register := store.HeadRegister("staging")
	ballot := a.ballot(vote.Ballot.Number + 1000)
	_ = a.say(victim, &mesh.Prepare{Register: register, Epoch: a.epoch("staging"), Ballot: ballot})
	for _, p := range answered[*mesh.Promise](a, victim, since) {
		if p.Word == nil || p.Ballot != ballot {
			continue
		}
		word := must(store.Word{Register: register, Epoch: a.epoch("staging"), Ballot: ballot, Accepted: p.Accepted}.Said(p.Word))(t)
		if p.Accepted.Compare(vote.Ballot) >= 0 {
			t.Fatalf("staging stands at %v, production at %v", p.Accepted, vote.Ballot)
		}
		return a.framed(victim, store.Evidence{A: votes, B: word})
	}
	t.Fatal("the victim gives no word")
	return ""
}

// seals proposes that others follow the acceptors, and returns how many vote for it.
func (a *arena) seals(next []store.Seat, held []byte) (votes int) {
	m := a.accept(1000, held)
	m.Next = next
	return a.proposes(m)
}

func seatItself(t *testing.T) string {
	a, one := begun(t, 3)
	if votes := a.seals([]store.Seat{{Node: a.mallory.ID, Disk: 1}}, value(t, 1, one)); votes > 0 {
		return fmt.Sprintf("%d acceptors vote for mallory as the only next one", votes)
	}
	return ""
}

func seatNobody(t *testing.T) string {
	a, one := begun(t, 3)
	var next []store.Seat
	for _, n := range a.nodes {
		next = append(next, store.Seat{Node: n.ID, Disk: 77})
	}
	slices.SortFunc(next, func(x, y store.Seat) int { return strings.Compare(string(x.Node), string(y.Node)) })
	if votes := a.seals(next, value(t, 1, one)); votes > 0 {
		return fmt.Sprintf("%d acceptors give their seats to disks that nobody has", votes)
	}
	return ""
}

func forgedSeal(t *testing.T) string {
	a, one := begun(t, 3)
	creation := func() *store.Creation {
		since := a.mark(a.nodes[0])
		_ = a.say(a.nodes[0], &mesh.HeadAsk{})
		for _, tell := range answered[*mesh.HeadTell](a, a.nodes[0], since) {
			if tell.Creation != nil && tell.Creation.Env == production {
				return tell.Creation
			}
		}
		t.Fatal("no creation is told")
		return nil
	}()
	seats := []store.Seat{{Node: a.mallory.ID, Disk: 1}}
	seal := certified(t, production, a.epoch(production), a.ballot(1000), value(t, 1, one), seats, keyFor(a.mallory)).Certificate.Votes
	a.sayAll(&mesh.HeadTell{Creation: creation, Seals: []membership.Signed{seal}})
	if _, now := a.nodes[0].Core.Configuration(production); len(now) == 1 {
		return "mallory is the only acceptor of production"
	}
	return ""
}

func falseAmnesia(t *testing.T) string {
	a, _ := begun(t, 3)
	victim := a.nodes[0]
	since := a.mark(victim)
	_ = a.say(victim, &mesh.FenceAsk{Incarnation: incarnation(t, a.mallory, 1, 1)})
	told := answered[*mesh.FenceTell](a, victim, since)
	if len(told) == 0 {
		t.Fatal("the victim does not say which disk it has")
	}
	var own store.Incarnation
	must(told[0].Incarnation.Open(membership.DomainIncarnation, &own))(t)
	own.Start += 100
	forged := must(membership.Sign(membership.DomainIncarnation, own, keyFor(a.mallory)))(t)
	a.noted = nil
	_ = a.say(victim, &mesh.FenceTell{Incarnation: incarnation(t, a.mallory, 1, 1), Nonce: own.Nonce, Newer: &forged})
	a.Run(time.Second)
	for _, note := range a.noted {
		if strings.Contains(note, "went back in time") {
			return "n1 gives up its seat"
		}
	}
	return ""
}

func incarnation(t *testing.T, n *meshtest.Node, disk, start uint64) membership.Signed {
	return must(membership.Sign(membership.DomainIncarnation, store.Incarnation{Node: n.ID, Disk: disk, Start: start, Nonce: start}, keyFor(n)))(t)
}

func hearEvicted(t *testing.T) string {
	a, _ := begun(t, 4)
	a.submit(must(membership.SignRevocation(membership.Revocation{Mesh: a.Mesh(), Node: a.mallory.ID}, operator()))(t))
	for _, n := range a.honest() {
		since := a.mark(n)
		_ = a.say(n, a.prepare(1000))
		if p := answered[*mesh.Promise](a, n, since); len(p) > 0 {
			return n.Name + " answers to one that was evicted"
		}
	}
	return ""
}

func freezeAttacks() []attack {
	return []attack{
		{"freeze", "freeze", Member, "keeps back all that is new from a node, and the answers to its challenges", "no-alarm", freezeBy(false)},
		{"freeze-with-old-answers", "freeze", Member, "keeps back all that is new, and repeats old answers to the challenges", "any-nonce", freezeBy(true)},
		{"freeze-with-answers-for-another", "freeze", Member, "keeps back all that is new; its own two seats answer, and say that nothing is", "minority-confirms", freezeByMinority},
	}
}

// freezeBy: what the tampered network lets through to all is what is let through to the victim.
func freezeBy(replay bool) func(t *testing.T) string {
	return func(t *testing.T) string {
		a := newArena(t, 5)
		one := a.commit(a.nodes[0], 1, store.Hash{})
		if replay {
			a.Run(2 * mesh.DefaultFresh)
		}
		record, old := a.Tamper, map[*meshtest.Node][]mesh.Message{}
		for _, n := range a.nodes {
			for _, m := range answered[*mesh.FreshTell](a, n, 0) {
				old[n] = append(old[n], m)
			}
		}
		victim := a.nodes[0]
		a.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
			switch m.(type) {
			case *mesh.FreshTell, *mesh.HeadTell:
				return &mesh.Placed{Version: "token/2"}
			}
			return record(n, m)
		}
		_ = one
		for range 5 {
			a.Run(mesh.DefaultFresh)
			for n, tells := range old {
				for _, m := range tells {
					if replay && n != victim {
						_ = a.sayAs(n, victim, m)
					}
				}
			}
		}
		if _, stale := victim.Core.Stale(); !stale {
			return "n1 sees nothing new for five periods, and says nothing"
		}
		return ""
	}
}

// freezeByMinority: two of five acceptors belong to mallory, and are all that answers.
func freezeByMinority(t *testing.T) string {
	a, _ := begun(t, 6)
	_, seats := a.nodes[0].Core.Configuration(production)
	if len(seats) != 5 {
		t.Fatalf("%d acceptors", len(seats))
	}
	ids := store.NodesOf(seats)
	victim := a.nodes[0]
	for _, n := range a.nodes {
		if !slices.Contains(ids, n.ID) {
			victim = n
		}
	}
	record := a.Tamper
	a.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if _, is := m.(*mesh.FreshTell); is && n.ID != ids[0] && n.ID != ids[1] {
			return &mesh.Placed{Version: "token/2"}
		}
		return record(n, m)
	}
	a.Run(5 * mesh.DefaultFresh)
	if _, stale := victim.Core.Stale(); !stale {
		return victim.Name + " takes two of five for enough"
	}
	return ""
}
