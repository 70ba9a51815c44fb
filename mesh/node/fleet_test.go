package node_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/executor"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/mesh/node"
	"shoal/ring"
	"shoal/store"
	"shoal/store/memory"
)

// machine is an Enforcer that keeps the files of the newest tree.
type machine struct {
	mu     sync.Mutex
	runs   int
	wanted node.Wanted
	files  map[string]string
	fail   string // a result's error
	reads  bool   // the fleet
	// fault is the result where the tree cannot be read, which happened unreads times.
	fault   executor.Result
	unreads int
	// left is what differs and is only told, as with drift: report.
	left []executor.StateReport
	// touched are those of each run, in one line; "all" of a run that looks at everything.
	touched []string
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
	about := "all"
	if len(w.Touched) > 0 {
		about = strings.Join(w.Touched, " ")
	}
	m.touched = append(m.touched, about)
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
		r.Result, r.Error = cmp.Or(m.fault, executor.RunFailed), err.Error()
		m.unreads++
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

// midway has it read its tree when the run has begun.
func (m *machine) midway() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = executor.RolledBackRun
}

func (m *machine) unread() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unreads
}

// forget has the files gone until the next run that goes well.
func (m *machine) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = nil
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
	result, err := at.Push(ctx, store.HashOf(object), nil)
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
