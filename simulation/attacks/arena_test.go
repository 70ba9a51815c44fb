package attacks

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

const production = "production"

// arena is a mesh of cores in virtual time; its last node is the one with bad intent, mallory. What all say is kept.
type arena struct {
	*meshtest.Network
	t       *testing.T
	nodes   []*meshtest.Node
	mallory *meshtest.Node
	said    map[*meshtest.Node][]mesh.Message
	noted   []string
	chain   *membership.Chain
}

func newArena(t *testing.T, nodes int) *arena {
	t.Helper()
	return arenaOf(t, nodes, 7)
}

func arenaOf(t *testing.T, nodes int, seed uint64) *arena {
	t.Helper()
	a := &arena{Network: meshtest.New(seed), t: t, said: map[*meshtest.Node][]mesh.Message{}}
	a.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
		if len(a.said[n]) > 1<<16 {
			a.said[n] = a.said[n][1<<15:]
		}
		a.said[n] = append(a.said[n], m)
		return m
	}
	a.Watch = func(n *meshtest.Node, what string) { a.noted = append(a.noted, n.Name+" "+what) }
	var via *meshtest.Node
	for i := range nodes {
		via = a.Add(fmt.Sprintf("n%d", i+1), via)
	}
	a.Run(20 * time.Second)
	a.nodes = a.Nodes()
	a.mallory = a.nodes[len(a.nodes)-1]
	a.chain = a.nodes[0].Core.Chain()
	return a
}

// honest are all but mallory.
func (a *arena) honest() []*meshtest.Node {
	return slices.DeleteFunc(a.Nodes(), func(n *meshtest.Node) bool { return n == a.mallory })
}

func keyFor(n *meshtest.Node) ed25519.PrivateKey { return meshtest.Key(n.Name) }

func operator() ed25519.PrivateKey { return meshtest.Key("operator") }

// must fails the test for a reason of its own: the attack was not even tried.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// say brings a message as the transport would: encoded by mallory, decoded by who gets it.
func (a *arena) say(to *meshtest.Node, m mesh.Message) error { return a.sayAs(a.mallory, to, m) }

func (a *arena) sayAs(from, to *meshtest.Node, m mesh.Message) error {
	frame, err := mesh.Encode(m)
	if err != nil {
		a.t.Fatal(err)
	}
	heard, err := mesh.Decode(frame)
	if err != nil {
		return err
	}
	to.Tell(from, heard)
	return nil
}

func (a *arena) sayAll(m mesh.Message) {
	for _, n := range a.honest() {
		_ = a.say(n, m)
	}
}

// answered are the messages of one kind that a node sent since a mark.
func answered[M mesh.Message](a *arena, n *meshtest.Node, since int) (out []M) {
	for _, m := range a.said[n][min(since, len(a.said[n])):] {
		if m, ok := m.(M); ok {
			out = append(out, m)
		}
	}
	return out
}

func (a *arena) mark(n *meshtest.Node) int { return len(a.said[n]) }

// revision is version of an environment on a parent, as the operator signs it.
func (a *arena) revision(key ed25519.PrivateKey, env string, version uint64, parent store.Hash, text string) (object []byte, objects [][]byte) {
	r := store.Revision{Env: env, Version: version, Parent: parent, Kind: store.KindPush}
	return meshtest.SignRevision(key, r, map[string]string{"site.yaml": text})
}

func (a *arena) pushes(n *meshtest.Node, object []byte, objects [][]byte) store.Outcome {
	a.t.Helper()
	id := n.Push(object, objects)
	a.RunUntil(30*time.Second, func() bool { _, ok := n.Answers[id]; return ok })
	pushed, _ := n.Answers[id].Value.(mesh.Pushed)
	return pushed.Outcome
}

// commit pushes what the operator signs, and must succeed: it comes before the attack.
func (a *arena) commit(n *meshtest.Node, version uint64, parent store.Hash) []byte {
	a.t.Helper()
	return a.commitTo(n, production, version, parent)
}

func (a *arena) commitTo(n *meshtest.Node, env string, version uint64, parent store.Hash) []byte {
	a.t.Helper()
	object, objects := a.revision(operator(), env, version, parent, fmt.Sprintf("%s %d", env, version))
	if got := a.pushes(n, object, objects); got != store.Committed {
		a.t.Fatalf("version %d of %s: %q", version, env, got)
	}
	a.Run(5 * time.Second)
	return object
}

// works tells whether an honest push is still committed.
func (a *arena) works(n *meshtest.Node, version uint64, parent store.Hash) bool {
	a.t.Helper()
	object, objects := a.revision(operator(), production, version, parent, "after the attack")
	return a.pushes(n, object, objects) == store.Committed
}

// applies tells whether an honest node has set out to apply a revision.
func (a *arena) applies(object []byte) string {
	for _, n := range a.honest() {
		for _, h := range n.Applied {
			if h.Revision == store.HashOf(object) {
				return fmt.Sprintf("%s applies version %d", n.Name, h.Version)
			}
		}
	}
	return ""
}

// value is a revision as the value of its register.
func value(t testing.TB, version uint64, object []byte, before ...store.Hash) []byte {
	return must(codec.Marshal(store.HeadValue{Version: version, Revision: object, Before: before}))(t)
}

func (a *arena) epoch(env string) uint64 {
	e, _ := a.honest()[0].Core.Configuration(env)
	return e
}

func (a *arena) ballot(number uint64) store.Ballot {
	return store.Ballot{Number: number, Proposer: a.mallory.ID, Run: 1}
}

// begun is an arena with a first head.
func begun(t *testing.T, nodes int) (a *arena, one []byte) {
	t.Helper()
	a = newArena(t, nodes)
	return a, a.commit(a.nodes[0], 1, store.Hash{})
}

// prepare asks for the promise of mallory's ballot of a number, for production's head.
func (a *arena) prepare(number uint64) *mesh.Prepare {
	return &mesh.Prepare{Register: store.HeadRegister(production), Epoch: a.epoch(production), Ballot: a.ballot(number)}
}

// accept asks for a vote for a value, at mallory's ballot of a number.
func (a *arena) accept(number uint64, held []byte) *mesh.Accept {
	return &mesh.Accept{Register: store.HeadRegister(production), Epoch: a.epoch(production), Ballot: a.ballot(number), Value: held}
}

// proposes has mallory ask all to accept a value, and returns how many of the others did.
func (a *arena) proposes(accept *mesh.Accept) int {
	before := map[*meshtest.Node]int{}
	for _, n := range a.honest() {
		before[n] = a.mark(n)
		_ = a.say(n, &mesh.Prepare{Register: accept.Register, Epoch: accept.Epoch, Ballot: accept.Ballot})
		_ = a.say(n, accept)
	}
	votes := 0
	for _, n := range a.honest() {
		for _, answer := range answered[*mesh.Accepted](a, n, before[n]) {
			if answer.Ballot == accept.Ballot && answer.Refused == "" {
				votes++
			}
		}
	}
	return votes
}

// certified is a head with votes for it by some keys.
func certified(t testing.TB, env string, epoch uint64, ballot store.Ballot, held []byte, next []store.Seat, keys ...ed25519.PrivateKey) *store.HeadRecord {
	votes := must(membership.Sign(membership.DomainAccepted, store.Vote{
		Register: store.HeadRegister(env), Epoch: epoch, Ballot: ballot, Value: store.HashOf(held), Next: next,
	}, keys...))(t)
	return &store.HeadRecord{Env: env, Certificate: store.Certificate{Value: held, Votes: votes}}
}

// submit has the operators' records spread.
func (a *arena) submit(records ...membership.Signed) {
	a.t.Helper()
	n := a.nodes[0]
	id := n.Ask(func(id uint64) mesh.Event { return mesh.Submit{ID: id, Records: records} })
	a.Run(10 * time.Second)
	if err := n.Answers[id].Err; err != nil {
		a.t.Fatal(err)
	}
}

func (a *arena) statement(st membership.Statement, keys ...ed25519.PrivateKey) membership.Signed {
	return must(membership.Sign(membership.DomainStatement, a.nodes[0].Core.Chain().Propose(st), keys...))(a.t)
}

func (a *arena) ticket(spec membership.TicketSpec, keys ...ed25519.PrivateKey) membership.Ticket {
	if spec.Expires.IsZero() {
		spec.Expires = a.Now().Add(time.Hour)
	}
	if len(keys) == 0 {
		keys = append(keys, operator())
	}
	seed := sumOf(fmt.Sprint(spec))
	return must(membership.NewTicket(bytes.NewReader(seed[:]), a.nodes[0].Core.Chain(), make([]byte, membership.GossipKeySize), spec, keys...))(a.t)
}

func idOf(key ed25519.PrivateKey) membership.NodeID {
	return membership.IDOf(key.Public().(ed25519.PublicKey))
}

func pub(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// small is a key whose id comes before another.
func small(before membership.NodeID) ed25519.PrivateKey {
	for i := 0; ; i++ {
		if key := meshtest.Key(fmt.Sprint("grind ", i)); idOf(key) < before {
			return key
		}
	}
}

// knocks shows a credential at a node's door, as the transport does for one whose key it has proved.
func (a *arena) knocks(at *meshtest.Node, id membership.NodeID, credential ...membership.Signed) error {
	ask := at.Ask(func(n uint64) mesh.Event { return mesh.Admit{ID: n, Peer: id, Credential: credential} })
	return at.Answers[ask].Err
}

func (a *arena) isMember(at *meshtest.Node, id membership.NodeID) bool {
	_, ok := at.Core.Roster().Lookup(id, a.Now())
	return ok
}
