package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shoal/executor"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/mesh/node"
	"shoal/ring"
	"shoal/store"
	"shoal/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is an Enforcer that keeps the files of the newest tree.
type machine struct {
	mu     sync.Mutex
	runs   int
	wanted node.Wanted
	files  map[string]string
	fail   string // a result's error
	reads  bool   // the fleet
	// left is what differs and is only told, as with drift: report.
	left []executor.StateReport
}

// ReadsFleet implements node.FleetReader.
func (m *machine) ReadsFleet() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

func (m *machine) Enforce(_ context.Context, w node.Wanted) executor.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs++
	r := executor.Report{Node: w.Member.Name, Env: w.Env, Version: w.Version, Revision: w.Revision.String(), Result: executor.Converged}
	if m.fail != "" {
		r.Result, r.Error = executor.RolledBackRun, m.fail
		return r
	}
	if m.left != nil {
		r.States, r.Changed = m.left, len(m.left)
		return r
	}
	files := map[string]string{}
	err := fs.WalkDir(w.Tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(w.Tree, path)
		files[path] = string(data)
		return err
	})
	if err != nil {
		r.Result, r.Error = executor.RunFailed, err.Error()
		return r
	}
	for name, content := range files {
		if m.files[name] != content {
			r.Changed++
		}
	}
	m.wanted, m.files = w, files
	return r
}

func (m *machine) at() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted.Version
}

func (m *machine) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runs
}

func (m *machine) has(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[name]
}

// fleet is some nodes in one process.
type fleet struct {
	t        *testing.T
	hub      *meshtest.Hub
	operator ed25519.PrivateKey
	chain    *membership.Chain
	agents   []*agent
	// configure may change what a node starts with.
	configure func(*node.Config)
}

type agent struct {
	*node.Node
	name    string
	kv      store.KV
	machine *machine
	drift   chan []string
	port    *meshtest.Port
	stop    func()
	halts   bool // its disk fails
}

func keyOf(word string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(word))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, hub: meshtest.NewHub(), operator: keyOf("operator")}
	genesis, err := membership.NewGenesis(make([]byte, 32), 1, f.operator)
	if err == nil {
		f.chain, err = membership.OpenChain([]membership.Signed{genesis})
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fleet) roster(name string) *membership.Roster {
	seed := sha256.Sum256([]byte("ticket of " + name))
	ticket, err := membership.NewTicket(bytes.NewReader(seed[:]), f.chain, make([]byte, membership.GossipKeySize),
		membership.TicketSpec{Expires: time.Now().Add(time.Hour)}, f.operator)
	if err != nil {
		f.t.Fatal(err)
	}
	redeemed, err := ticket.Redeem(keyOf(name), name)
	if err != nil {
		f.t.Fatal(err)
	}
	roster := membership.NewRoster(f.chain)
	if _, err := roster.Add(time.Now(), redeemed); err != nil {
		f.t.Fatal(err)
	}
	return roster
}

// start runs a node; with kv of an earlier run it needs neither ticket nor address.
func (f *fleet) start(name, join string, kv store.KV) *agent {
	f.t.Helper()
	if kv == nil {
		return f.startWith(name, join, memory.New(), f.roster(name))
	}
	return f.startWith(name, join, kv, nil)
}

// startWith runs a node on a disk of the test's own; without a roster it is one that ran before.
func (f *fleet) startWith(name, join string, kv store.KV, roster *membership.Roster) *agent {
	f.t.Helper()
	a := &agent{name: name, kv: kv, machine: &machine{}, drift: make(chan []string, 1)}
	cfg := node.Config{Key: keyOf(name), Seed: uint64(time.Now().UnixNano()), Addr: name, Place: ring.NewPlacement().Update}
	cfg.Roster = roster
	if join != "" {
		cfg.Join = []string{join}
	}
	if f.configure != nil {
		f.configure(&cfg)
	}
	n, err := node.New(cfg, node.Ports{KV: a.kv, Enforcer: a.machine, Drift: a.drift})
	if err != nil {
		f.t.Fatal(err)
	}
	a.Node = n
	member, _ := n.Self()
	a.port = f.hub.Connect(member.ID, name, n)
	n.Attach(a.port, a.port, "")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	a.stop = sync.OnceFunc(func() {
		_ = a.port.Close() // as a kill: the others are not told
		cancel()
		if err := <-done; err != nil && !a.halts {
			f.t.Errorf("%s: %v", name, err)
		}
	})
	f.t.Cleanup(func() { a.stop() })
	f.agents = append(f.agents, a)
	return a
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (f *fleet) push(at *agent, version uint64, parent store.Hash, files map[string]string) mesh.PushResult {
	f.t.Helper()
	object, objects := meshtest.SignRevision(f.operator, store.Revision{
		Env: "production", Version: version, Parent: parent, Kind: store.KindPush, Author: "somebody",
	}, files)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := at.Intake().Put(ctx, objects); err != nil {
		f.t.Fatal(err)
	}
	result, err := at.Push(ctx, store.HashOf(object))
	if err != nil {
		f.t.Fatal(err)
	}
	return result
}

func five(f *fleet) (agents []*agent) {
	join := ""
	for i := range 5 {
		name := fmt.Sprintf("n%d", i+1)
		agents = append(agents, f.start(name, join, nil))
		join = name
	}
	for _, a := range agents {
		eventually(f.t, a.name+" sees all five", func() bool {
			alive := 0
			for _, m := range a.Members() {
				if m.Status == membership.Alive {
					alive++
				}
			}
			return alive == 5
		})
	}
	return agents
}

func allAt(f *fleet, version uint64, agents ...*agent) {
	f.t.Helper()
	for _, a := range agents {
		eventually(f.t, fmt.Sprintf("%s enforces %d", a.name, version), func() bool { return a.machine.at() == version })
	}
}

func TestFiveNodesConvergeAndCatchUp(t *testing.T) {
	f := newFleet(t)
	agents := five(f)
	one := f.push(agents[2], 1, store.Hash{}, map[string]string{"site.yaml": "a", "files/x": "x"})
	if one.Status != store.Committed {
		t.Fatalf("push: %+v", one)
	}
	allAt(f, 1, agents...)

	agents[1].stop()
	two := f.push(agents[3], 2, one.Revision, map[string]string{"site.yaml": "b", "files/x": "x"})
	if two.Status != store.Committed {
		t.Fatalf("push: %+v", two)
	}
	alive := []*agent{agents[0], agents[2], agents[3], agents[4]}
	allAt(f, 2, alive...)

	back := f.start("n2", "", agents[1].kv)
	allAt(f, 2, back)
	if back.machine.has("site.yaml") != "b" {
		t.Errorf("n2 has %v", back.machine.files)
	}
	again := f.push(back, 2, one.Revision, map[string]string{"site.yaml": "b", "files/x": "x"})
	if again.Status != store.Committed || again.Revision != two.Revision {
		t.Errorf("repeated push: %+v", again)
	}
	other := f.push(agents[0], 2, one.Revision, map[string]string{"site.yaml": "c"})
	if other.Status != store.Diverged || other.Head == nil || other.Head.Revision != two.Revision {
		t.Errorf("a second child: %+v", other)
	}
	checkInfo(t, agents[4], two)
}

// A node whose plan reads the fleet enforces again when somebody joins, and is told who; another is left alone.
func TestWhoReadsTheFleetIsToldOfAChange(t *testing.T) {
	f := newFleet(t)
	agents := five(f)
	reader, other := agents[0], agents[1]
	reader.machine.mu.Lock()
	reader.machine.reads = true
	reader.machine.mu.Unlock()
	if res := f.push(agents[2], 1, store.Hash{}, map[string]string{"site.yaml": "a"}); res.Status != store.Committed {
		t.Fatalf("push: %+v", res)
	}
	allAt(f, 1, agents...)
	before := other.machine.count()
	f.start("n6", "n1", nil)
	eventually(t, "n1 enforces with six nodes", func() bool { return len(reader.machine.fleet()) == 6 })
	eventually(t, "n2 knows of six nodes", func() bool { return len(other.Members()) == 6 })
	if name := reader.machine.fleet()[5].Name; name != "n6" {
		t.Errorf("the last is %s", name)
	}
	other.drift <- []string{"something"}
	eventually(t, "n2 enforces once more", func() bool { return other.machine.count() > before })
	if again := other.machine.count() - before; again != 1 {
		t.Errorf("n2 reads nothing of the fleet, and has enforced %d times", again)
	}
}

func (m *machine) fleet() []mesh.MemberInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted.Fleet
}

// checkInfo looks at what a node answers to people.
func checkInfo(t *testing.T, a *agent, head mesh.PushResult) {
	ctx := context.Background()
	eventually(t, "all five say that they are at 2", func() bool {
		status, err := a.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for _, s := range status.Nodes {
			if s.Version == 2 && s.Result == string(executor.Converged) {
				at++
			}
		}
		return at == 5 && status.Envs["production"].Revision == head.Revision
	})
	log, err := a.Log(ctx, "production")
	if err != nil || len(log) != 2 || log[0].Version != 1 || log[1].Revision != head.Revision {
		t.Errorf("log: %+v, %v", log, err)
	}
	info, err := a.Ring(ctx)
	if err != nil {
		t.Fatal(err)
	}
	primary, owned := 0, 0
	for _, n := range info.Nodes {
		primary, owned = primary+n.Primary, owned+n.Owned
		if n.Objects <= 0 || n.Bytes <= 0 {
			t.Errorf("ring: %+v", n)
		}
	}
	if len(info.Nodes) != 5 || primary != ring.Partitions || owned != 3*ring.Partitions {
		t.Errorf("ring: %d nodes, %d primary, %d owned", len(info.Nodes), primary, owned)
	}
	report, err := a.Report(ctx, "n1")
	if err != nil || report.Node != "n1" || report.Version != 2 {
		t.Errorf("report: %+v, %v", report, err)
	}
	if _, err := a.Report(ctx, "nobody"); !errors.Is(err, mesh.ErrUnknownNode) {
		t.Errorf("report of nobody: %v", err)
	}
}

func TestACutOffNodeStagesAndKeepsEnforcing(t *testing.T) {
	f := newFleet(t)
	agents := five(f)
	one := f.push(agents[0], 1, store.Hash{}, map[string]string{"site.yaml": "a"})
	allAt(f, 1, agents...)
	lonely := agents[4]
	member, _ := lonely.Self()
	f.hub.Cut(member.ID, true)
	eventually(t, "n5 sees nobody", func() bool { return lonely.Members()[0].Status == membership.Failed })
	runs := lonely.machine.count()
	lonely.drift <- []string{"/etc/f"}
	eventually(t, "n5 still enforces", func() bool { return lonely.machine.count() > runs })
	two := f.push(lonely, 2, one.Revision, map[string]string{"site.yaml": "b"})
	if two.Status != store.Staged || two.Why == "" {
		t.Fatalf("push while cut off: %+v", two)
	}
	if staged := lonely.Staged(); len(staged) != 1 || staged[0].Revision != two.Revision {
		t.Errorf("staged: %+v", staged)
	}
	f.hub.Cut(member.ID, false)
	allAt(f, 2, agents...)
}

func TestARestartContinuesAlone(t *testing.T) {
	f := newFleet(t)
	agents := five(f)
	f.push(agents[0], 1, store.Hash{}, map[string]string{"site.yaml": "a"})
	allAt(f, 1, agents...)
	for _, a := range agents {
		a.stop()
	}
	alone := f.start("n3", "", agents[2].kv)
	allAt(f, 1, alone)
	if alone.machine.has("site.yaml") != "a" {
		t.Errorf("enforces %v", alone.machine.files)
	}
}

func TestSolo(t *testing.T) {
	operator := keyOf("operator")
	genesis, err := membership.NewGenesis(make([]byte, 32), 1, operator)
	if err != nil {
		t.Fatal(err)
	}
	key := keyOf("solo")
	self := membership.Member{ID: membership.IDOf(key.Public().(ed25519.PublicKey)), Name: "solo", Tags: map[string]string{"env": "lab"}}
	m := &machine{}
	n, err := node.New(node.Config{Key: key, Roster: membership.Solo(self), Place: ring.NewPlacement().Update},
		node.Ports{KV: memory.New(), Enforcer: m})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	object, objects := meshtest.SignRevision(operator, store.Revision{Env: "lab", Version: 1, Kind: store.KindPush}, map[string]string{"site.yaml": "a"})
	if err := n.Store().Put(ctx, objects); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Push(ctx, store.HashOf(object)); !errors.Is(err, store.ErrUnpublished) {
		t.Errorf("push before the chain is known: %v", err)
	}
	if err := n.AdoptChain([]membership.Signed{genesis}); err != nil {
		t.Fatal(err)
	}
	got, err := n.Push(ctx, store.HashOf(object))
	if err != nil || got.Status != store.Committed {
		t.Fatalf("push: %+v, %v", got, err)
	}
	eventually(t, "solo enforces", func() bool { return m.at() == 1 })
	report, err := n.Report(ctx, "")
	if err != nil || report.Version != 1 {
		eventually(t, "the report is there", func() bool { report, err = n.Report(ctx, ""); return err == nil && report.Version == 1 })
	}
	status, err := n.Status(ctx)
	if err != nil || len(status.Nodes) != 1 || status.Nodes[0].Name != "solo" {
		t.Errorf("status: %+v, %v", status, err)
	}
}

// full is a KV whose disk takes no more when told so.
type full struct {
	store.KV
	mu  sync.Mutex
	bad bool
}

func (f *full) Write(ctx context.Context, changes []store.Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bad {
		return store.ErrReserve
	}
	return f.KV.Write(ctx, changes)
}

func (f *full) fill(bad bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bad = bad
}

func soloOver(t *testing.T, kv store.KV, m *machine, drift chan []string) (*node.Node, func() error) {
	t.Helper()
	key := keyOf("solo")
	self := membership.Member{ID: membership.IDOf(key.Public().(ed25519.PublicKey)), Name: "solo"}
	n, err := node.New(node.Config{Key: key, Roster: membership.Solo(self), Place: ring.NewPlacement().Update},
		node.Ports{KV: kv, Enforcer: m, Drift: drift})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	genesis, err := membership.NewGenesis(make([]byte, 32), 1, keyOf("operator"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.AdoptChain([]membership.Signed{genesis}); err != nil {
		t.Fatal(err)
	}
	return n, stop
}

func TestAFullDiskStopsTheMeshAndNotTheEnforcement(t *testing.T) {
	kv, m, drift := &full{KV: memory.New()}, &machine{}, make(chan []string)
	n, stop := soloOver(t, kv, m, drift)
	ctx := context.Background()
	object, objects := meshtest.SignRevision(keyOf("operator"), store.Revision{Env: "production", Version: 1, Kind: store.KindPush},
		map[string]string{"site.yaml": "a"})
	if err := n.Intake().Put(ctx, objects); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Push(ctx, store.HashOf(object)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "enforced", func() bool { return m.at() == 1 })
	two, objects := meshtest.SignRevision(keyOf("operator"), store.Revision{
		Env: "production", Version: 2, Parent: store.HashOf(object), Kind: store.KindPush}, map[string]string{"site.yaml": "b"})
	if err := n.Intake().Put(ctx, objects); err != nil {
		t.Fatal(err)
	}
	kv.fill(true)
	if got, err := n.Push(ctx, store.HashOf(two)); err == nil {
		t.Errorf("a push on a full disk: %+v", got)
	}
	if n.Heads()["production"].Version != 1 {
		t.Errorf("shows a head that was not kept: %+v", n.Heads())
	}
	runs := m.count()
	drift <- []string{"/etc/f"}
	eventually(t, "still enforces", func() bool { return m.count() > runs })
	if err := stop(); !errors.Is(err, store.ErrReserve) {
		t.Errorf("run ended with %v", err)
	}
}

func TestAFailedRevisionIsNotChased(t *testing.T) {
	m, drift := &machine{fail: "the last state fails"}, make(chan []string)
	n, _ := soloOver(t, memory.New(), m, drift)
	ctx := context.Background()
	object, objects := meshtest.SignRevision(keyOf("operator"), store.Revision{Env: "production", Version: 1, Kind: store.KindPush},
		map[string]string{"site.yaml": "a"})
	if err := n.Intake().Put(ctx, objects); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Push(ctx, store.HashOf(object)); err != nil {
		t.Fatal(err)
	}
	failed := func() bool {
		s, err := n.Status(ctx)
		return err == nil && s.Nodes[0].Result == string(executor.RolledBackRun) && s.Nodes[0].Error == "the last state fails"
	}
	eventually(t, "the failure is told", failed)
	for range 20 {
		drift <- []string{"/etc/f"} // the channel has no room: each was taken
	}
	if m.count() != 1 {
		t.Errorf("%d runs of a failed revision", m.count())
	}
	m.mu.Lock()
	m.fail = ""
	m.mu.Unlock()
	two, objects := meshtest.SignRevision(keyOf("operator"), store.Revision{
		Env: "production", Version: 2, Parent: store.HashOf(object), Kind: store.KindPush}, map[string]string{"site.yaml": "b"})
	if err := n.Intake().Put(ctx, objects); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Push(ctx, store.HashOf(two)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next head supersedes", func() bool { return m.at() == 2 })
}

// What was touched, and when, is in the report of the run that it led to; what is only told counts as drift once, however often
// it is looked at, and is told when it is first seen though nothing was changed.
func TestDriftIsReported(t *testing.T) {
	m, drift := &machine{}, make(chan []string)
	n, _ := soloOver(t, memory.New(), m, drift)
	ctx := context.Background()
	object, objects := meshtest.SignRevision(keyOf("operator"), store.Revision{Env: "production", Version: 1, Kind: store.KindPush},
		map[string]string{"site.yaml": "a"})
	if err := n.Intake().Put(ctx, objects); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Push(ctx, store.HashOf(object)); err != nil {
		t.Fatal(err)
	}
	drifted := func(want int) func() bool {
		return func() bool {
			s, err := n.Status(ctx)
			return err == nil && s.Nodes[0].Result == string(executor.Converged) && s.Nodes[0].Drift == want
		}
	}
	eventually(t, "it converges", drifted(0))
	leave := func(ids ...string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.left = []executor.StateReport{}
		for _, id := range ids {
			m.left = append(m.left, executor.StateReport{ID: id, Result: executor.WouldChange})
		}
	}
	before := time.Now()
	leave("a/b")
	drift <- []string{"/etc/f", "nginx"}
	eventually(t, "one thing differs", drifted(1))
	runs := m.count()
	for range 3 {
		drift <- []string{"/etc/f"}
	}
	eventually(t, "it looks each time", func() bool { return m.count() == runs+3 })
	leave("a/b", "a/c")
	drift <- []string{"/etc/g"}
	eventually(t, "another one differs too", drifted(2))
	report, err := n.Report(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Drift) == 0 || report.Drift[len(report.Drift)-1].Name != "/etc/g" {
		t.Fatalf("the report names %+v", report.Drift)
	}
	if seen, err := time.Parse(time.RFC3339Nano, report.Drift[0].Seen); err != nil || seen.Before(before) || seen.After(time.Now()) {
		t.Errorf("seen %s, %v", report.Drift[0].Seen, err)
	}
}
