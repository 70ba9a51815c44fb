package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"shoal/executor"
	"shoal/membership"
	"shoal/membership/gossip"
	"shoal/mesh/meshtest"
	"shoal/mesh/node"
	"shoal/mesh/p2p"
	"shoal/ring"
	"shoal/store"
)

// reader is an Enforcer that reads the tree and remembers its version.
type reader struct {
	mu      sync.Mutex
	version uint64
}

func (r *reader) Enforce(_ context.Context, w node.Wanted) executor.Report {
	report := executor.Report{Node: w.Member.Name, Env: w.Env, Version: w.Version, Revision: w.Revision.String(), Result: executor.Converged}
	if _, err := fs.ReadFile(w.Tree, "site.yaml"); err != nil {
		report.Result, report.Error = executor.RunFailed, err.Error()
		return report
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version = w.Version
	return report
}

func (r *reader) at() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version
}

// real is a node over libp2p, memberlist, serf and Badger.
type real struct {
	*node.Node
	addr, dir string
	reads     *reader
	end       func(leave bool)
}

func startReal(t testing.TB, name, dir, bind string, roster *membership.Roster, join ...string) *real {
	t.Helper()
	kv := openBadger(t, dir)
	reads := &reader{}
	n, err := node.New(node.Config{
		Key: keyOf(name), Seed: uint64(time.Now().UnixNano()), Roster: roster, Addr: bind, Join: join, Place: ring.NewPlacement().Update, GossipKey: make([]byte, membership.GossipKeySize),
	}, node.Ports{KV: kv, Enforcer: reads})
	if err != nil {
		t.Fatal(err)
	}
	transport, err := p2p.New(p2p.Options{
		Key: keyOf(name), Bind: bind, Known: n.Known, Admit: n.Admit, Vouch: n.Vouch, Credential: n.Credential,
	})
	if err != nil {
		t.Fatal(err)
	}
	talk, err := gossip.Start(gossip.Options{
		Self: idOf(name), Network: transport, Keys: n.GossipKeys(), Allowed: n.Known, Leaving: n.Leaving, Meet: n.Meet,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Attach(transport, talk, transport.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	r := &real{Node: n, addr: transport.Addr(), dir: dir, reads: reads}
	var once sync.Once
	r.end = func(leave bool) {
		once.Do(func() {
			var errs error
			if !leave {
				errs = errors.Join(errs, talk.Close(), transport.Close())
			}
			cancel()
			errs = errors.Join(errs, <-done)
			if leave {
				errs = errors.Join(errs, talk.Close(), transport.Close())
			}
			if errs = errors.Join(errs, kv.Close()); errs != nil {
				t.Logf("%s ends: %v", name, errs)
			}
		})
	}
	t.Cleanup(func() { r.end(true) })
	return r
}

// TestFiveNodesOverTheRealNetwork joins five nodes each through another, pushes, ends one without a word, and brings it back.
func TestFiveNodesOverTheRealNetwork(t *testing.T) {
	chain := trust(t)
	var nodes []*real
	for i := range 5 {
		name := fmt.Sprintf("n%d", i+1)
		var join []string
		if i > 0 {
			join = []string{nodes[i-1].addr}
		}
		nodes = append(nodes, startReal(t, name, t.TempDir(), fmt.Sprintf("127.0.0.%d:0", i+1), memberOf(t, chain, name), join...))
	}
	began := time.Now()
	for _, n := range nodes {
		waitFor(t, "all five are here", func() bool { return aliveAt(n) == 5 })
	}
	t.Logf("all see all after %v", time.Since(began))

	push := func(at *real, version uint64, parent store.Hash) store.Hash {
		t.Helper()
		object, objects := meshtest.SignRevision(publisher, store.Revision{
			Env: "production", Version: version, Parent: parent, Kind: store.KindPush,
		}, map[string]string{"site.yaml": fmt.Sprint("version ", version)})
		began := time.Now()
		if err := at.Intake().Put(t.Context(), objects); err != nil {
			t.Fatal(err)
		}
		got, err := at.Push(t.Context(), store.HashOf(object), nil)
		if err != nil || got.Status != store.Committed {
			t.Fatalf("push %d: %+v, %v", version, got, err)
		}
		t.Logf("version %d committed after %v", version, time.Since(began))
		return store.HashOf(object)
	}
	applied := func(version uint64, at ...*real) {
		t.Helper()
		began := time.Now()
		for _, n := range at {
			waitFor(t, fmt.Sprintf("version %d is applied", version), func() bool { return n.reads.at() == version })
		}
		t.Logf("version %d applied %v after its commit", version, time.Since(began))
	}
	one := push(nodes[2], 1, store.Hash{})
	applied(1, nodes...)
	nodes[1].end(false)
	two := push(nodes[3], 2, one)
	applied(2, nodes[0], nodes[2], nodes[3], nodes[4])
	back := startReal(t, "n2", nodes[1].dir, nodes[1].addr, nil)
	applied(2, back)
	push(back, 3, two)
	applied(3, nodes[0], back, nodes[2], nodes[3], nodes[4])
}

func aliveAt(n *real) (alive int) {
	for _, m := range n.Members() {
		if m.Status == membership.Alive {
			alive++
		}
	}
	return alive
}
