package attacks

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"shoal/executor"
	"shoal/internal/anchor"
	"shoal/internal/pair"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/mesh/node"
	"shoal/store"
)

// What the side of an agent that is on the network, taken over, shows the side that changes the machine. It has the key of its node, and
// where two heads of a version are needed those of all acceptors besides.
func dividedAttacks() []attack {
	return []attack{
		{"mesh-side-unsigned", "two processes", Member, "shows its root side a revision that all acceptors chose and no publisher signed", "anybody-publishes", unsignedToRoot},
		{"mesh-side-foreign-environment", "mix", Member, "shows its root side the head of another environment", "root-follows-any-environment", stagingToRoot},
		{"mesh-side-replays", "rollback", Member, "shows its root side version 1 after version 2, and after a restart", "root-goes-back", replayToRoot},
		{"mesh-side-second-head", "two processes", Member, "shows its root side another version 2 than the one that it applied", "root-takes-two", secondToRoot},
		{"mesh-side-orphan", "fast-forward", Member, "shows its root side a version 3 that is not on the version 2 that it applied", "root-takes-orphans", orphanToRoot},
		{"mesh-side-own-acceptors", "two processes", Member, "shows its root side a beginning in which it is the only acceptor", "root-takes-any-beginning", ownAcceptorsToRoot},
		{"mesh-side-foreign-operators", "replay", Member, "shows its root side another operator, as the same operators signed it for another mesh", "foreign-statements", foreignOperatorsToRoot},
		{"mesh-side-substituted-object", "substitute", Member, "hands its root side other bytes under the name of a file", "root-takes-any-object", substituteToRoot},
	}
}

// rootSide is what n1 believes on the executor's side, after two versions.
type rootSide struct {
	*arena
	one, two   []byte
	old, proof mesh.Proof
	*anchor.Anchor
	saved []byte
}

func newRootSide(t *testing.T) *rootSide {
	t.Helper()
	a, one := begun(t, 3)
	r := &rootSide{arena: a, one: one, two: a.commit(a.nodes[0], 2, store.HashOf(one))}
	proofs := a.nodes[0].Proofs
	r.old, r.proof = proofs[0], proofs[len(proofs)-1]
	r.restart()
	must(r.Commit(r.old))(t)
	must(r.Commit(r.proof))(t)
	return r
}

func (r *rootSide) restart() {
	r.t.Helper()
	n1 := r.nodes[0]
	member, _ := n1.Core.Roster().Lookup(n1.ID, r.Now())
	r.Anchor = must(anchor.Open(r.saved, anchor.Own{Member: member, Records: n1.Core.Roster().Records()}, func(data []byte) error {
		r.saved = slices.Clone(data)
		return nil
	}))(r.t)
}

// believes tells whether the root side goes by a proof, also after a restart.
func (r *rootSide) believes(p mesh.Proof) string {
	r.t.Helper()
	for range 2 {
		proven, err := r.Commit(p)
		if err == nil {
			return fmt.Sprintf("the root side applies version %d of %s", proven.Head.Version, proven.Head.Env)
		}
		r.t.Log(err)
		r.restart()
	}
	return ""
}

// certified is a head for which acceptors vote that all have turned bad.
func (r *rootSide) certified(env string, version uint64, object []byte, before []store.Hash, voters ...*meshtest.Node) mesh.Proof {
	r.t.Helper()
	data := value(r.t, version, object, before...)
	vote := must(r.proof.Head.Certificate.Vote())(r.t)
	vote.Register, vote.Value = store.HeadRegister(env), store.HashOf(data)
	p := r.proof
	p.Head = store.HeadRecord{Env: env, Certificate: store.Certificate{Value: data}}
	p.Head.Certificate.Votes = r.signed(vote, voters...)
	return p
}

func (r *rootSide) signed(vote store.Vote, voters ...*meshtest.Node) membership.Signed {
	r.t.Helper()
	votes := must(membership.Unsigned(membership.DomainAccepted, vote))(r.t)
	for _, n := range voters {
		more := must(membership.Sign(membership.DomainAccepted, vote, keyFor(n)))(r.t)
		votes.Signatures = append(votes.Signatures, more.Signatures...)
	}
	return votes
}

func (r *rootSide) before() []store.Hash {
	return []store.Hash{store.HashOf(r.two), store.HashOf(r.one)}
}

func unsignedToRoot(t *testing.T) string {
	r := newRootSide(t)
	object, _ := r.revision(keyFor(r.mallory), production, 3, store.HashOf(r.two), "mine")
	return r.believes(r.certified(production, 3, object, r.before(), r.nodes...))
}

func stagingToRoot(t *testing.T) string {
	r := newRootSide(t)
	object, _ := r.revision(operator(), "staging", 3, store.HashOf(r.two), "of staging")
	return r.believes(r.certified("staging", 3, object, r.before(), r.nodes...))
}

func replayToRoot(t *testing.T) string {
	r := newRootSide(t)
	return r.believes(r.old)
}

func secondToRoot(t *testing.T) string {
	r := newRootSide(t)
	object, _ := r.revision(operator(), production, 2, store.HashOf(r.one), "another second")
	return r.believes(r.certified(production, 2, object, r.before()[1:], r.nodes...))
}

func orphanToRoot(t *testing.T) string {
	r := newRootSide(t)
	other, _ := r.revision(operator(), production, 2, store.HashOf(r.one), "another second")
	object, _ := r.revision(operator(), production, 3, store.HashOf(other), "on another second")
	return r.believes(r.certified(production, 3, object, []store.Hash{store.HashOf(other), store.HashOf(r.one)}, r.nodes...))
}

func ownAcceptorsToRoot(t *testing.T) string {
	r := newRootSide(t)
	n1 := r.nodes[0]
	object, _ := r.revision(operator(), production, 3, store.HashOf(r.two), "signed, and chosen by nobody else")
	data := store.CreateHead([]store.Seat{{Node: n1.ID, Disk: 1}}, true)(nil)
	vote := must(r.proof.Creation.Certificate.Vote())(t)
	vote.Value = store.HashOf(data)
	p := r.certified(production, 3, object, r.before(), n1)
	p.Creation = &store.Creation{
		Env: production, Electorate: []membership.NodeID{n1.ID}, Order: r.one, Certificate: store.Certificate{Value: data, Votes: r.signed(vote, n1)},
	}
	p.Seals = nil
	return r.believes(p)
}

func foreignOperatorsToRoot(t *testing.T) string {
	r := newRootSide(t)
	evil := meshtest.Key("another operator")
	genesis := must(membership.NewGenesis(make([]byte, 32), 1, operator()))(t)
	st := r.Chain().Propose(membership.Statement{Kind: membership.AddOperator, Key: pub(evil)})
	st.Mesh = must(membership.OpenChain([]membership.Signed{genesis}))(t).Mesh()
	_, err := r.Learn([]membership.Signed{must(membership.Sign(membership.DomainStatement, st, operator()))(t)})
	t.Log(err)
	if slices.ContainsFunc(r.Chain().Operators(), func(k ed25519.PublicKey) bool { return k.Equal(pub(evil)) }) {
		return "the root side has another operator, by the word of another mesh's"
	}
	return ""
}

// machineOf notes what it is to be.
type machineOf struct{ ran chan node.Wanted }

func (m machineOf) Enforce(_ context.Context, w node.Wanted) executor.Report {
	m.ran <- w
	return executor.Report{Result: executor.Converged}
}

func substituteToRoot(t *testing.T) string {
	r := newRootSide(t)
	object, objects := r.revision(operator(), production, 3, store.HashOf(r.two), "three")
	p := r.certified(production, 3, object, r.before(), r.nodes...)
	root := pair.NewRootSide(r.Anchor, t.TempDir(), time.Second, slog.New(slog.DiscardHandler))
	m := machineOf{make(chan node.Wanted, 4)}
	duty := node.NewEnforcement(node.Duty{Site: root, Enforcer: m, FullCheck: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	here, there := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	liar, ended := pair.NewConn(there), make(chan struct{}, 3)
	go func() { root.Run(ctx, duty); ended <- struct{}{} }()
	go func() { _, _ = root.Serve(ctx, pair.NewConn(here), []byte("start"), func() {}); ended <- struct{}{} }()
	go func() { lies(liar, append(objects, object)); ended <- struct{}{} }()
	defer func() {
		cancel()
		liar.Close()
		for range 3 {
			<-ended
		}
	}()
	if err := liar.Send(&pair.Offer{Proof: p}); err != nil {
		t.Fatal(err)
	}
	select {
	case w := <-m.ran:
		return fmt.Sprintf("the root side applies version %d with a file of mallory's", w.Version)
	case <-time.After(2 * quiet):
		return ""
	}
}

// lies answers what the root side asks, and has another idea of the file.
func lies(c *pair.Conn, objects [][]byte) {
	for {
		m, err := c.Receive()
		if err != nil {
			return
		}
		get, ok := m.(*pair.Get)
		if !ok {
			continue
		}
		for _, h := range get.Hashes {
			for _, data := range objects {
				if store.HashOf(data) != h {
					continue
				}
				if string(data) == "three" {
					data = []byte("mine!")
				}
				err = errors.Join(err, c.Send(&pair.Object{Hash: h, Data: data}))
			}
		}
		if err != nil {
			return
		}
	}
}
