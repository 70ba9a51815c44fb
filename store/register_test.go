package store

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"shoal/membership"
)

// world is acceptors, proposers and a network that loses, repeats, delays and reorders as it likes. Values are histories
// ("a,b,c"): each push appends to the history it read, so two values chosen for one version show as histories of which
// neither is a prefix of the other.
type world struct {
	dice      *rand.Rand
	ids       []membership.NodeID
	acceptors map[membership.NodeID]Acceptor
	proposals map[membership.NodeID]*Proposal
	wants     map[membership.NodeID]string
	wire      []envelope
	votes     map[Ballot]map[membership.NodeID]string
	chosen    []string
	// forget plants a bug: the acceptor forgets its promise before it looks at an Accept.
	forget bool
}

type envelope struct {
	from, to membership.NodeID
	message  any
}

func newWorld(seed uint64, acceptors int) *world {
	w := &world{
		dice:      rand.New(rand.NewPCG(seed, 1)),
		acceptors: map[membership.NodeID]Acceptor{}, proposals: map[membership.NodeID]*Proposal{},
		wants: map[membership.NodeID]string{}, votes: map[Ballot]map[membership.NodeID]string{},
	}
	for i := range acceptors {
		w.ids = append(w.ids, membership.NodeID(fmt.Sprintf("n%d", i)))
	}
	for _, id := range w.ids {
		w.acceptors[id], _ = Install("head/e", 0, w.ids)
	}
	return w
}

// propose begins a push at a node, as after a start: it remembers nothing of what it proposed before.
func (w *world) propose(self membership.NodeID, label string) {
	w.wants[self] = label
	p := &Proposal{Register: "head/e", Members: w.ids, Change: func(current []byte) []byte {
		if slices.Contains(strings.Split(string(current), ","), label) {
			return current
		}
		return []byte(strings.TrimPrefix(string(current)+","+label, ","))
	}}
	w.proposals[self] = p
	w.begin(self, p)
}

func (w *world) begin(self membership.NodeID, p *Proposal) {
	m := p.Begin(self, w.dice.Uint64())
	for _, to := range w.ids {
		w.wire = append(w.wire, envelope{self, to, m})
	}
}

func (w *world) step(t *testing.T) {
	if len(w.wire) == 0 {
		return
	}
	i := w.dice.IntN(len(w.wire))
	e := w.wire[i]
	switch roll := w.dice.IntN(100); {
	case roll < 10: // lost
		w.wire = slices.Delete(w.wire, i, i+1)
		return
	case roll < 80: // delivered once; else it stays, to come again
		w.wire = slices.Delete(w.wire, i, i+1)
	}
	w.deliver(t, e)
}

func (w *world) deliver(t *testing.T, e envelope) {
	p := w.proposals[e.to]
	switch m := e.message.(type) {
	case Prepare:
		var answer Promise
		w.acceptors[e.to], answer = w.acceptors[e.to].Prepare(m)
		w.wire = append(w.wire, envelope{e.to, e.from, answer})
	case Accept:
		a := w.acceptors[e.to]
		if w.forget {
			a.Promised = Ballot{}
		}
		var answer Accepted
		w.acceptors[e.to], answer = a.Accept(m)
		if answer.Refused == "" {
			w.voted(t, e.to, m)
		}
		w.wire = append(w.wire, envelope{e.to, e.from, answer})
	case Promise:
		if p.Promised(e.from, m) && p.Step() == Accepting {
			for _, to := range w.ids {
				w.wire = append(w.wire, envelope{e.to, to, p.Accept()})
			}
		}
	case Accepted:
		p.Accepted(e.from, m)
	}
}

// voted watches the acceptors from outside: a value is chosen when a majority accepted one ballot, whether or not the
// proposer ever hears of it.
func (w *world) voted(t *testing.T, id membership.NodeID, m Accept) {
	if w.votes[m.Ballot] == nil {
		w.votes[m.Ballot] = map[membership.NodeID]string{}
	}
	w.votes[m.Ballot][id] = string(m.Value)
	same := 0
	for _, v := range w.votes[m.Ballot] {
		if v == string(m.Value) {
			same++
		}
	}
	if same > len(w.ids)/2 { // spelled out: the test must not share the code's idea of a majority
		w.chosen = append(w.chosen, string(m.Value))
	}
}

func (w *world) conflict() string {
	longest := ""
	for _, v := range w.chosen {
		if len(v) > len(longest) {
			longest = v
		}
	}
	for _, v := range w.chosen {
		if v != longest && !strings.HasPrefix(longest, v+",") {
			return fmt.Sprintf("chosen were %q and %q", v, longest)
		}
	}
	return ""
}

// claimed finds a proposer that believes in a value that was never chosen.
func (w *world) claimed() string {
	for id, p := range w.proposals {
		if p.Step() == Chosen && !slices.Contains(w.chosen, string(p.Value())) {
			return fmt.Sprintf("%s takes %q for chosen", id, p.Value())
		}
	}
	return ""
}

// run drives pushes with crashes of proposers, then returns what went wrong.
func (w *world) run(t *testing.T, steps int) string {
	for i := range steps {
		id := w.ids[w.dice.IntN(len(w.ids))]
		switch roll := w.dice.IntN(100); {
		case roll < 2:
			w.propose(id, strconv.Itoa(i))
		case roll < 3 && w.wants[id] != "": // crash and the same push again
			w.propose(id, w.wants[id])
		case roll < 6 && w.proposals[id] != nil && w.proposals[id].Step() != Chosen:
			w.begin(id, w.proposals[id])
		default:
			w.step(t)
		}
		if bad := w.conflict() + w.claimed(); bad != "" {
			return bad
		}
	}
	return ""
}

func TestAtMostOneValueIsChosenForEachVersion(t *testing.T) {
	chosen := 0
	for seed := range uint64(300) {
		w := newWorld(seed, []int{1, 3, 4, 5}[seed%4])
		if bad := w.run(t, 600); bad != "" {
			t.Fatalf("seed %d: %s", seed, bad)
		}
		chosen += len(w.chosen)
	}
	if chosen < 1000 {
		t.Errorf("only %d values were chosen: the runs show little", chosen)
	}
}

func TestForgottenPromisesAreFound(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(seed, 3)
		w.forget = true
		if w.run(t, 600) != "" {
			return
		}
	}
	t.Error("acceptors that forget their promises went unnoticed: the check of conflicts is blind")
}

func TestARepeatedPushChangesNothing(t *testing.T) {
	w := newWorld(7, 3)
	for _, id := range w.ids {
		w.propose(id, "same")
		for len(w.wire) > 0 {
			e := w.wire[0]
			w.wire = w.wire[1:]
			w.deliver(t, e)
		}
		if p := w.proposals[id]; p.Step() == Lost {
			w.begin(id, p)
			for len(w.wire) > 0 {
				e := w.wire[0]
				w.wire = w.wire[1:]
				w.deliver(t, e)
			}
		}
		if got := string(w.proposals[id].Value()); got != "same" || w.proposals[id].Step() != Chosen {
			t.Errorf("push at %s: %q, step %d", id, got, w.proposals[id].Step())
		}
	}
}

func TestAnAcceptorThatKnowsNothingPromisesNothing(t *testing.T) {
	b := Ballot{Number: 1, Proposer: "n0"}
	a, promise := Acceptor{}.Prepare(Prepare{Register: "head/e", Ballot: b})
	if promise.Refused != RefusedUnknown || !a.Promised.IsZero() {
		t.Errorf("promise %+v", promise)
	}
	if _, accepted := (Acceptor{}).Accept(Accept{Register: "head/e", Ballot: b, Value: []byte("x")}); accepted.Refused != RefusedUnknown {
		t.Errorf("accepted %+v", accepted)
	}
}

func TestAcceptorRefuses(t *testing.T) {
	ids := []membership.NodeID{"n0", "n1", "n2"}
	low, high := Ballot{Number: 1, Proposer: "n0"}, Ballot{Number: 2, Proposer: "n0"}
	active, err := Install("head/e", 0, ids)
	if err != nil {
		t.Fatal(err)
	}
	promised, _ := active.Prepare(Prepare{Register: "head/e", Ballot: high})
	moved := active
	moved.Phase = Moved
	for _, c := range []struct {
		name string
		a    Acceptor
		m    Prepare
		want Refusal
	}{
		{"a lower ballot", promised, Prepare{"head/e", 0, low}, RefusedBallot},
		{"the same ballot again", promised, Prepare{"head/e", 0, high}, RefusedBallot},
		{"another epoch", active, Prepare{"head/e", 1, high}, RefusedEpoch},
		{"another register", active, Prepare{"head/f", 0, high}, RefusedUnknown},
		{"when moved", moved, Prepare{"head/e", 0, high}, RefusedEpoch},
	} {
		if _, got := c.a.Prepare(c.m); got.Refused != c.want {
			t.Errorf("prepare %s: refused %q, want %q", c.name, got.Refused, c.want)
		}
	}
	if _, got := promised.Accept(Accept{"head/e", 0, low, []byte("x"), nil, Ballot{}}); got.Refused != RefusedBallot || got.Promised != high {
		t.Errorf("accept of a lower ballot: %+v", got)
	}
}

// everyone may publish.
type everyone struct{}

func (everyone) Publishes(ed25519.PublicKey, string) bool { return true }

func testKey(i byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = i
	return ed25519.NewKeyFromSeed(seed)
}

func certify(t *testing.T, register string, value []byte, keys ...ed25519.PrivateKey) Certificate {
	t.Helper()
	votes, err := membership.Sign(membership.DomainAccepted, Vote{Register: register, Ballot: Ballot{Number: 1}, Value: HashOf(value)}, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return Certificate{Value: value, Votes: votes}
}

func idsOf(keys ...ed25519.PrivateKey) (ids []membership.NodeID) {
	for _, k := range keys {
		ids = append(ids, membership.IDOf(k.Public().(ed25519.PublicKey)))
	}
	slices.Sort(ids)
	return ids
}

func TestCertificateNeedsAMajorityOfTheAcceptors(t *testing.T) {
	a, b, c, stranger := testKey(1), testKey(2), testKey(3), testKey(9)
	members := idsOf(a, b, c)
	for _, x := range []struct {
		name string
		cert Certificate
		ok   bool
	}{
		{"two of three", certify(t, "head/e", []byte("v"), a, b), true},
		{"one of three", certify(t, "head/e", []byte("v"), a), false},
		{"one of three, twice", certify(t, "head/e", []byte("v"), a, a), false},
		{"one and a stranger", certify(t, "head/e", []byte("v"), a, stranger), false},
		{"another register", certify(t, "head/f", []byte("v"), a, b), false},
		{"another value", Certificate{Value: []byte("w"), Votes: certify(t, "head/e", []byte("v"), a, b).Votes}, false},
	} {
		if _, err := x.cert.Verify("head/e", 0, members); (err == nil) != x.ok {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

func TestHeadValueFollowsItsParent(t *testing.T) {
	key := testKey(1)
	seal := func(r Revision) []byte {
		object, err := SealRevision(r, key)
		if err != nil {
			t.Fatal(err)
		}
		return object
	}
	one := Revision{Env: "e", Version: 1, Kind: KindPush}
	first := AdvanceHead(one, seal(one))(nil)
	two := Revision{Env: "e", Version: 2, Parent: HashOf(seal(one)), Kind: KindPush}
	second := AdvanceHead(two, seal(two))(first)
	v, r, err := OpenHeadValue("e", second, everyone{})
	if err != nil || r.Version != 2 || !v.Includes(HashOf(seal(one))) || !v.Includes(HashOf(seal(two))) {
		t.Fatalf("second head: %+v, %v", v, err)
	}
	if again := AdvanceHead(one, seal(one))(second); string(again) != string(second) {
		t.Error("a late push of version 1 changed the head")
	}
	other := Revision{Env: "e", Version: 2, Kind: KindPush, Parent: HashOf(seal(one)), Message: "other"}
	if got := AdvanceHead(other, seal(other))(second); string(got) != string(second) {
		t.Error("a second revision on the same parent won")
	}
	if AdvanceHead(two, seal(two))(nil) != nil {
		t.Error("version 2 began an environment")
	}
	if _, _, err := OpenHeadValue("f", second, everyone{}); err == nil {
		t.Error("a head of another environment was taken")
	}
}

func TestCreationStaysWithItsFirstAcceptors(t *testing.T) {
	keys := []ed25519.PrivateKey{testKey(1), testKey(2), testKey(3)}
	roster := idsOf(keys...)
	seats := []Seat{{Node: roster[0], Disk: 1}, {Node: roster[1], Disk: 2}, {Node: roster[2]}}
	value := CreateHead(seats, true)(nil)
	if got := CreateHead(seats[:1], true)(value); string(got) != string(value) {
		t.Error("a second creation changed the acceptors")
	}
	if CreateHead(seats, false)(nil) != nil {
		t.Error("a reader created a head")
	}
	c := Creation{Env: "e", Electorate: roster, Certificate: certify(t, DirectoryRegister("e"), value, keys[0], keys[2])}
	all := func(membership.NodeID) bool { return true }
	if got, err := c.Open(all); err != nil || !slices.Equal(got, seats) {
		t.Errorf("open: %v, %v", got, err)
	}
	if _, err := c.Open(func(membership.NodeID) bool { return false }); err == nil {
		t.Error("a creation by strangers was taken")
	}
}

// TestACreationNeedsAPublishersOrder: a member alone, or any majority of those whom it names itself, creates nothing.
func TestACreationNeedsAPublishersOrder(t *testing.T) {
	publisher, stranger := testKey(1), testKey(2)
	electorate := []membership.NodeID{"n1", "n2", "n3"}
	published := func(key ed25519.PublicKey, env string) bool {
		return env == "e" && key.Equal(publisher.Public())
	}
	order := func(key ed25519.PrivateKey, r Revision) []byte {
		object, err := SealRevision(r, key)
		if err != nil {
			t.Fatal(err)
		}
		return object
	}
	first := Revision{Env: "e", Version: 1, Kind: KindPush, Electorate: ElectorateHash("e", electorate)}
	open := first
	open.Electorate = ""
	elsewhere := first
	elsewhere.Env = "f"
	second := Revision{Env: "e", Version: 2, Parent: HashOf(nil), Kind: KindPush}
	for _, c := range []struct {
		name       string
		order      []byte
		electorate []membership.NodeID
		named, ok  bool
	}{
		{"those whom the publisher named", order(publisher, first), electorate, true, true},
		{"nobody in particular", order(publisher, open), electorate, false, true},
		{"others", order(publisher, first), electorate[:1], true, false},
		{"by a stranger", order(stranger, first), electorate, false, false},
		{"of another environment", order(publisher, elsewhere), electorate, false, false},
		{"by a later version", order(publisher, second), electorate, false, false},
		{"without any", nil, electorate, false, false},
	} {
		named, err := OpenOrder("e", c.order, c.electorate, published)
		if named != c.named || (err == nil) != c.ok {
			t.Errorf("%s: named %v, %v", c.name, named, err)
		}
	}
}

// TestElectoratesThatAgreeCannotDecidePastEachOther: spelled out, against all pairs of majorities of small meshes.
func TestElectoratesThatAgreeCannotDecidePastEachOther(t *testing.T) {
	ids := []membership.NodeID{"n1", "n2", "n3", "n4", "n5", "n6"}
	of := func(mask int) (out []membership.NodeID) {
		for i, id := range ids {
			if mask&(1<<i) != 0 {
				out = append(out, id)
			}
		}
		return out
	}
	agreeing := 0
	for a := 1; a < 64; a++ {
		for b := 1; b < 64; b++ {
			apart := false
			for x := a; x > 0; x = (x - 1) & a {
				if y := b &^ x; 2*len(of(x)) > len(of(a)) && 2*len(of(y)) > len(of(b)) {
					apart = true // a majority of each, and nobody in both
				}
			}
			if agree := Agree(of(a), of(b)); agree == apart {
				t.Fatalf("%v and %v: agree %v, apart %v", of(a), of(b), agree, apart)
			} else if agree && a != b {
				agreeing++
			}
		}
	}
	if agreeing == 0 {
		t.Error("no two electorates agree")
	}
}

func TestChooseAcceptors(t *testing.T) {
	var ids []membership.NodeID
	for i := range 9 {
		ids = append(ids, membership.NodeID(fmt.Sprintf("n%d", i)))
	}
	for _, c := range []struct{ live, members, want int }{
		{1, 1, 1}, {1, 2, 2}, {2, 2, 2}, {1, 3, 3}, {2, 3, 3}, {3, 3, 3}, {3, 9, 3}, {4, 9, 3}, {2, 9, 3}, {5, 9, 5}, {9, 9, 5},
	} {
		got := ChooseAcceptors("e", ids[:c.live], ids[:c.members])
		dead := len(slices.DeleteFunc(slices.Clone(got), func(id membership.NodeID) bool { return slices.Contains(ids[:c.live], id) }))
		if len(got) != c.want || dead != max(0, c.want-c.live) || !slices.IsSorted(got) {
			t.Errorf("%d live of %d: %v", c.live, c.members, got)
		}
	}
	reversed := slices.Clone(ids)
	slices.Reverse(reversed)
	if !slices.Equal(ChooseAcceptors("e", ids, ids), ChooseAcceptors("e", reversed, reversed)) {
		t.Error("the choice depends on the order of the members")
	}
}

// TestABallotCannotLeap: the highest number there is would leave nobody a ballot above it.
func TestABallotCannotLeap(t *testing.T) {
	a, _ := Install("head/e", 0, []membership.NodeID{"n1"})
	far := Ballot{Number: 1<<64 - 1, Proposer: "n1"}
	if kept, answer := a.Prepare(Prepare{Register: "head/e", Ballot: far}); answer.Refused != RefusedBallot || !kept.Promised.IsZero() {
		t.Errorf("promised %v (%q)", kept.Promised, answer.Refused)
	}
	if kept, answer := a.Accept(Accept{Register: "head/e", Ballot: far, Value: []byte("x")}); answer.Refused != RefusedBallot || len(kept.Value) > 0 {
		t.Errorf("accepted %v (%q)", kept.Accepted, answer.Refused)
	}
}

// TestOneLiarDoesNotSetTheBallot: what a majority would promise is enough.
func TestOneLiarDoesNotSetTheBallot(t *testing.T) {
	ids := []membership.NodeID{"n1", "n2", "n3"}
	p := &Proposal{Register: "head/e", Members: ids, Change: func(current []byte) []byte { return []byte("x") }}
	p.Begin("n1", 1)
	p.Promised("n3", Promise{Ballot: p.Ballot(), Refused: RefusedBallot, Promised: Ballot{Number: 1<<64 - 1, Proposer: "n3"}})
	p.Promised("n1", Promise{Ballot: p.Ballot(), Refused: RefusedBallot, Promised: Ballot{Number: 7, Proposer: "n2"}})
	p.Promised("n2", Promise{Ballot: p.Ballot(), Refused: RefusedBallot, Promised: Ballot{Number: 9, Proposer: "n2"}})
	if p.Begin("n1", 1); p.Ballot().Number != 10 {
		t.Errorf("goes on with %v", p.Ballot())
	}
	p.Promised("n3", Promise{Ballot: p.Ballot(), Refused: RefusedBallot, Promised: Ballot{Number: 1<<64 - 1, Proposer: "n3"}})
	if p.Begin("n1", 1); p.Ballot().Number <= 10 || p.Ballot().Number > 11+MaxBallotStep {
		t.Errorf("one answer alone makes it %v", p.Ballot())
	}
}

func TestHeadValueSucceeds(t *testing.T) {
	value := func(object string, on *HeadValue) HeadValue {
		v := HeadValue{Version: 1, Revision: []byte(object)}
		if on != nil {
			v.Version, v.Before = on.Version+1, append([]Hash{on.Hash()}, on.Before...)
			v.Before = v.Before[:min(len(v.Before), MaxBefore)]
		}
		return v
	}
	line := []HeadValue{value("1", nil)}
	for i := range 20 {
		line = append(line, value(fmt.Sprint(i+2), &line[i]))
	}
	for i, v := range line {
		for j, old := range line {
			if got := v.Succeeds(old); got != (i >= j) {
				t.Errorf("version %d after %d: %v", i+1, j+1, got)
			}
		}
	}
	fork := value("other", &line[3])
	if fork.Succeeds(line[4]) || value("after", &fork).Succeeds(line[4]) || !fork.Succeeds(line[3]) {
		t.Error("a fork counts as what follows")
	}
	if made := (HeadValue{Version: 5, Revision: line[4].Revision, Before: append([]Hash{line[3].Hash()}, fork.Hash())}); made.Succeeds(line[4]) {
		t.Error("a made-up past counts as the past")
	}
}

// TestOneValueForABallot: a proposer with bad intent sends each half of the acceptors, and then the other, a value of its own.
func TestOneValueForABallot(t *testing.T) {
	a, _ := Install("head/e", 0, []membership.NodeID{"n1"})
	b := Ballot{Number: 1, Proposer: "n1"}
	a, _ = a.Prepare(Prepare{Register: "head/e", Ballot: b})
	a, first := a.Accept(Accept{Register: "head/e", Ballot: b, Value: []byte("one")})
	if kept, again := a.Accept(Accept{Register: "head/e", Ballot: b, Value: []byte("one")}); first.Refused+again.Refused != "" || string(kept.Value) != "one" {
		t.Errorf("refused %q, and %q when repeated", first.Refused, again.Refused)
	}
	if kept, second := a.Accept(Accept{Register: "head/e", Ballot: b, Value: []byte("two")}); second.Refused != RefusedValue || string(kept.Value) != "one" {
		t.Errorf("another value: refused %q, kept %q", second.Refused, kept.Value)
	}
	if _, seal := a.Accept(Accept{Register: "head/e", Ballot: b, Value: []byte("one"), Next: []Seat{{Node: "n1", Disk: 1}}}); seal.Refused != RefusedValue {
		t.Errorf("a seal: refused %q", seal.Refused)
	}
}

// TestLearnNothingFromVotesOfAnother: votes say what they are for by its hash.
func TestLearnNothingFromVotesOfAnother(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	self := membership.IDOf(key.Public().(ed25519.PublicKey))
	a, err := Install("head/x", 0, []membership.NodeID{self})
	if err != nil {
		t.Fatal(err)
	}
	votes, err := membership.Sign(membership.DomainAccepted, Vote{
		Register: "head/x", Ballot: Ballot{Number: 1, Proposer: self}, Value: HashOf([]byte("chosen")),
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	for value, learns := range map[string]bool{"chosen": true, "": false, "another": false} {
		if got := a.Learn(Certificate{Value: []byte(value), Votes: votes}); (got.Accepted.Number == 1) != learns {
			t.Errorf("%q: accepted at %+v", value, got.Accepted)
		}
	}
}
