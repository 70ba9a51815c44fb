package pair_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shoal/executor"
	"shoal/internal/anchor"
	"shoal/internal/codec"
	"shoal/internal/pair"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/mesh/node"
	"shoal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a mesh of three in which two versions of production and one of staging were committed, as its members would show them.
type world struct {
	*meshtest.Network
	nodes   []*meshtest.Node
	objects map[store.Hash][]byte
	one     []byte // the object of version 1
	two     []byte
}

var theWorld = sync.OnceValue(func() *world {
	w := &world{Network: meshtest.New(11), objects: map[store.Hash][]byte{}}
	for i, name := range []string{"n1", "n2", "n3"} {
		var via *meshtest.Node
		if i > 0 {
			via = w.nodes[i-1]
		}
		w.nodes = append(w.nodes, w.Add(name, via))
	}
	w.Run(20 * time.Second)
	w.one = w.commit("production", 1, store.Hash{})
	w.two = w.commit("production", 2, store.HashOf(w.one))
	w.commit("staging", 1, store.Hash{})
	return w
})

func (w *world) revision(env string, version uint64, parent store.Hash, text string) []byte {
	object, objects := w.Revision(store.Revision{Env: env, Version: version, Parent: parent, Kind: store.KindPush},
		map[string]string{"site.yaml": text})
	w.keep(objects)
	return object
}

func (w *world) keep(objects [][]byte) {
	for _, o := range objects {
		w.objects[store.HashOf(o)] = o
	}
}

func (w *world) commit(env string, version uint64, parent store.Hash) []byte {
	object := w.revision(env, version, parent, env+strings.Repeat(" again", int(version)))
	objects := [][]byte{object}
	for _, o := range w.objects {
		objects = append(objects, o)
	}
	id := w.nodes[0].Push(object, objects)
	w.Run(30 * time.Second)
	if p, ok := w.nodes[0].Answers[id].Value.(mesh.Pushed); !ok || p.Outcome != store.Committed {
		panic("the push of the world was not committed")
	}
	return object
}

// honest are the proofs of versions 1 and 2, as n1 has them.
func (w *world) honest() (one, two mesh.Proof) {
	proofs := w.nodes[0].Proofs
	return proofs[0], proofs[len(proofs)-1]
}

// certify is a head for which acceptors vote that all have turned bad.
func (w *world) certify(p mesh.Proof, env string, value store.HeadValue, voters ...string) mesh.Proof {
	data, err := codec.Marshal(value)
	if err != nil {
		panic(err)
	}
	vote, err := p.Head.Certificate.Vote()
	if err != nil {
		panic(err)
	}
	vote.Register, vote.Value = store.HeadRegister(env), store.HashOf(data)
	var keys []ed25519.PrivateKey
	for _, name := range voters {
		keys = append(keys, meshtest.Key(name))
	}
	votes, err := membership.Sign(membership.DomainAccepted, vote, keys...)
	if err != nil {
		panic(err)
	}
	p.Head = store.HeadRecord{Env: env, Certificate: store.Certificate{Value: data, Votes: votes}}
	return p
}

// machine records what it is to be.
type machine struct{ ran chan node.Wanted }

func (m machine) Enforce(_ context.Context, w node.Wanted) executor.Report {
	m.ran <- w
	return executor.Report{Result: executor.Converged}
}

// site is a root side with its machine, and the liar on the other end.
type site struct {
	t       *testing.T
	w       *world
	dir     string
	saved   []byte
	machine machine
	liar    *pair.Conn
	lies    map[store.Hash][]byte // objects that the liar has another idea of
	served  chan error
	end     func()
	logs    *logs
}

type logs struct {
	mu sync.Mutex
	bytes.Buffer
	more chan struct{}
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.Buffer.Write(p)
}

func newSite(t *testing.T) *site {
	s := &site{t: t, w: theWorld(), dir: t.TempDir()}
	s.start()
	t.Cleanup(func() { s.end() })
	return s
}

// start is the executor's side of n1, from what it has on its disk; the other end is the liar's.
func (s *site) start() {
	n1 := s.w.nodes[0]
	member, _ := n1.Core.Roster().Lookup(n1.ID, s.w.Now())
	believed, err := anchor.Open(s.saved, anchor.Own{Member: member, Records: n1.Core.Roster().Records()}, func(data []byte) error {
		s.saved = data
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.logs = &logs{more: make(chan struct{}, 1)}
	log := slog.New(slog.NewTextHandler(s.logs, nil))
	s.machine, s.lies = machine{make(chan node.Wanted, 16)}, map[store.Hash][]byte{}
	root := pair.NewRootSide(believed, s.dir, time.Second, log)
	duty := node.NewEnforcement(node.Duty{Site: root, Enforcer: s.machine, FullCheck: time.Hour, Logger: log})
	here, there := net.Pipe()
	s.liar, s.served = pair.NewConn(there), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { root.Run(ctx, duty) })
	work.Go(func() {
		_, err := root.Serve(ctx, pair.NewConn(here), []byte("start"), func() {})
		s.served <- err
	})
	work.Go(s.answer)
	s.end = func() {
		cancel()
		s.liar.Close()
		work.Wait()
	}
}

// answer is the liar's side of what the root side asks.
func (s *site) answer() {
	for {
		m, err := s.liar.Receive()
		if err != nil {
			return
		}
		get, ok := m.(*pair.Get)
		if !ok {
			continue
		}
		for _, h := range get.Hashes {
			data, lied := s.lies[h]
			if !lied {
				data = s.w.objects[h]
			}
			if s.liar.Send(&pair.Object{Hash: h, Data: data}) != nil {
				return
			}
		}
	}
}

func (s *site) offer(p mesh.Proof) {
	s.t.Helper()
	if err := s.liar.Send(&pair.Offer{Proof: p}); err != nil {
		s.t.Fatal(err)
	}
}

// applies waits for a run, which must be of this version and text.
func (s *site) applies(version uint64) {
	s.t.Helper()
	select {
	case w := <-s.machine.ran:
		if w.Version != version || w.Env != "production" {
			s.t.Fatalf("it applies version %d of %s, not %d of production", w.Version, w.Env, version)
		}
	case <-time.After(10 * time.Second):
		s.t.Fatalf("it never applies version %d", version)
	}
}

// refuses waits until the log says why, and wants nothing to have been applied.
func (s *site) refuses(why string) {
	s.t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		s.logs.mu.Lock()
		text := s.logs.String()
		s.logs.mu.Unlock()
		if strings.Contains(text, why) {
			break
		}
		select {
		case <-s.logs.more:
		case w := <-s.machine.ran:
			s.t.Fatalf("it was applied: version %d of %s", w.Version, w.Env)
		case <-deadline:
			s.t.Fatalf("it is not refused for %q:\n%s", why, text)
		}
	}
	select {
	case w := <-s.machine.ran:
		s.t.Fatalf("it was applied: version %d of %s", w.Version, w.Env)
	default:
	}
}

func TestWhatHoldsIsApplied(t *testing.T) {
	s := newSite(t)
	one, two := s.w.honest()
	s.offer(one)
	s.applies(1)
	s.offer(two)
	s.applies(2)
	s.end()
	s.start() // and again from the own disk, with nobody on the other side who knows anything
	s.applies(2)
}

// TestALyingMeshSide: whoever took over the side that is on the network, with the keys of all acceptors besides, shows what it likes.
func TestALyingMeshSide(t *testing.T) {
	w := theWorld()
	one, two := w.honest()
	all := []string{"n1", "n2", "n3"}
	three := w.revision("production", 3, store.HashOf(w.two), "three")
	stranger, objects := meshtest.SignRevision(meshtest.Key("stranger"),
		store.Revision{Env: "production", Version: 3, Parent: store.HashOf(w.two), Kind: store.KindPush}, map[string]string{"site.yaml": "mine"})
	w.keep(objects)
	other := w.revision("production", 2, store.HashOf(w.one), "another second")
	orphan := w.revision("production", 3, store.HashOf(other), "on another second")
	staging := w.revision("staging", 7, store.HashOf(w.one), "staging")
	next := func(object []byte, version uint64, before ...[]byte) store.HeadValue {
		v := store.HeadValue{Version: version, Revision: object}
		for _, b := range before {
			v.Before = append(v.Before, store.HashOf(b))
		}
		return v
	}
	for name, c := range map[string]struct {
		proof mesh.Proof
		why   string
	}{
		"unsigned":            {w.certify(two, "production", next(stranger, 3, w.two, w.one), all...), "not signed by a publisher"},
		"foreign environment": {w.certify(two, "staging", next(staging, 7, w.one), all...), "of another environment"},
		"foreign revision":    {w.certify(two, "production", next(staging, 7, w.one), all...), "holds version 7 of staging"},
		"replayed":            {one, "is older than version 2"},
		"two of one version":  {w.certify(two, "production", next(other, 2, w.one), all...), "two certified revisions of version 2"},
		"not on its parent":   {w.certify(two, "production", next(orphan, 3, other, w.one), all...), "is not on version 2"},
		"not chosen":          {w.certify(two, "production", next(three, 3, w.two, w.one), "n1"), "1 of 3 acceptors"},
		"its own acceptors":   {w.ownCreation(two, next(three, 3, w.two, w.one)), "a second creation"},
		"substituted value":   {substituted(two, next(three, 3, w.two, w.one)), "the votes are for something else"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.offer(two)
			s.applies(2)
			s.offer(c.proof)
			s.refuses(c.why)
			s.end()
			s.start() // what was applied is not forgotten
			s.applies(2)
			s.offer(c.proof)
			s.refuses(c.why)
		})
	}
}

// ownCreation lets n1 alone decide what production is.
func (w *world) ownCreation(p mesh.Proof, value store.HeadValue) mesh.Proof {
	n1 := w.nodes[0].ID
	data := store.CreateHead([]store.Seat{{Node: n1, Disk: 1}}, true)(nil)
	cert, err := p.Creation.Certificate.Vote()
	if err != nil {
		panic(err)
	}
	cert.Value = store.HashOf(data)
	votes, err := membership.Sign(membership.DomainAccepted, cert, meshtest.Key("n1"))
	if err != nil {
		panic(err)
	}
	p = w.certify(p, "production", value, "n1")
	p.Creation = &store.Creation{
		Env: "production", Electorate: []membership.NodeID{n1}, Order: w.one,
		Certificate: store.Certificate{Value: data, Votes: votes},
	}
	p.Seals = nil
	return p
}

// substituted puts another revision under the votes of one that was chosen.
func substituted(p mesh.Proof, value store.HeadValue) mesh.Proof {
	data, err := codec.Marshal(value)
	if err != nil {
		panic(err)
	}
	p.Head.Certificate.Value = data
	return p
}

func TestASubstitutedObject(t *testing.T) {
	s := newSite(t)
	one, two := s.w.honest()
	s.offer(one)
	s.applies(1)
	for h, data := range s.w.objects {
		if bytes.HasPrefix(data, []byte("production again again")) {
			s.lies[h] = []byte("production of mine alone")
		}
	}
	if len(s.lies) != 1 {
		t.Fatalf("%d objects to lie about", len(s.lies))
	}
	s.offer(two)
	s.refuses(store.ErrCorrupt.Error())
}

func TestForeignTrust(t *testing.T) {
	s := newSite(t)
	evil := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	genesis, err := membership.NewGenesis(bytes.Repeat([]byte{9}, 32), 1, evil)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := membership.OpenChain([]membership.Signed{genesis})
	if err != nil {
		t.Fatal(err)
	}
	grant, err := membership.SignGrant(membership.Grant{
		Mesh: s.w.Mesh(), Node: s.w.nodes[0].ID, Name: "n1", Tags: map[string]string{"env": "staging", "role": "db"},
	}, evil)
	if err != nil {
		t.Fatal(err)
	}
	before := s.saved
	for _, r := range append(chain.Statements(), grant) {
		if err := s.liar.Send(&pair.Records{Records: []membership.Signed{r}}); err != nil {
			t.Fatal(err)
		}
	}
	s.refuses(membership.ErrForeignMesh.Error())
	one, _ := s.w.honest()
	s.offer(one) // of production still
	s.applies(1)
	if len(before) > 0 && bytes.Contains(s.saved, []byte("staging")) {
		t.Error("it keeps tags that nobody granted")
	}
}

// A side that shows nothing but what does not hold is ended.
func TestALiarIsEnded(t *testing.T) {
	s := newSite(t)
	_, two := s.w.honest()
	bad := s.w.certify(two, "production", store.HeadValue{Version: 3, Revision: []byte("x")}, "n1")
	for range 100 {
		if s.liar.Send(&pair.Offer{Proof: bad}) != nil {
			break
		}
	}
	s.liar.Close()
	if err := <-s.served; err != pair.ErrLiar {
		t.Errorf("it goes on listening: %v", err)
	}
}
