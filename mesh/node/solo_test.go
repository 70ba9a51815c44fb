package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"shoal/executor"
	"shoal/membership"
	"shoal/mesh/meshtest"
	"shoal/mesh/node"
	"shoal/ring"
	"shoal/store"
	"shoal/store/memory"
)

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
	if _, err := n.Push(ctx, store.HashOf(object), nil); !errors.Is(err, store.ErrUnpublished) {
		t.Errorf("push before the chain is known: %v", err)
	}
	if err := n.AdoptChain([]membership.Signed{genesis}); err != nil {
		t.Fatal(err)
	}
	got, err := n.Push(ctx, store.HashOf(object), nil)
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
	// refused are the changes that were not written, and not since.
	refused []store.Change
}

func (f *full) Write(ctx context.Context, changes []store.Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bad {
		f.refused = slices.Clone(changes)
		return store.ErrReserve
	}
	f.refused = slices.DeleteFunc(f.refused, func(c store.Change) bool {
		return slices.ContainsFunc(changes, func(w store.Change) bool { return bytes.Equal(c.Key, w.Key) && bytes.Equal(c.Value, w.Value) })
	})
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

// bring puts a revision's objects where a push finds them.
func bring(t *testing.T, n *node.Node, version uint64, parent store.Hash, text string) store.Hash {
	t.Helper()
	object, objects := meshtest.SignRevision(keyOf("operator"),
		store.Revision{Env: "production", Version: version, Parent: parent, Kind: store.KindPush}, map[string]string{"site.yaml": text})
	if err := n.Intake().Put(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	return store.HashOf(object)
}

func pushed(t *testing.T, n *node.Node, revision store.Hash) store.Hash {
	t.Helper()
	if _, err := n.Push(t.Context(), revision, nil); err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestAFullDiskStopsTheMeshAndNotTheEnforcement(t *testing.T) {
	kv, m, drift := &full{KV: memory.New()}, &machine{}, make(chan []string)
	n, stop := soloOver(t, kv, m, drift)
	ctx := context.Background()
	first := pushed(t, n, bring(t, n, 1, store.Hash{}, "a"))
	eventually(t, "enforced", func() bool { return m.at() == 1 })
	two := bring(t, n, 2, first, "b")
	kv.fill(true)
	if got, err := n.Push(ctx, two, nil); err == nil {
		t.Errorf("a push on a full disk: %+v", got)
	}
	if n.Heads()["production"].Version != 1 {
		t.Errorf("shows a head that was not kept: %+v", n.Heads())
	}
	runs := m.count()
	drift <- []string{"/etc/f"}
	eventually(t, "still enforces", func() bool { return m.count() > runs })
	kv.fill(false)
	eventually(t, "what could not be kept is done when there is room", func() bool { return m.at() == 2 })
	if n.Heads()["production"].Version != 2 {
		t.Errorf("the head is %+v", n.Heads())
	}
	if err := stop(); err != nil {
		t.Errorf("run ended with %v", err)
	}
	if len(kv.refused) > 0 {
		t.Errorf("%d changes that were refused were never written", len(kv.refused))
	}
}

func TestAFailedRevisionIsNotChased(t *testing.T) {
	m, drift := &machine{fail: "the last state fails"}, make(chan []string)
	n, _ := soloOver(t, memory.New(), m, drift)
	ctx := context.Background()
	first := pushed(t, n, bring(t, n, 1, store.Hash{}, "a"))
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
	pushed(t, n, bring(t, n, 2, first, "b"))
	eventually(t, "the next head supersedes", func() bool { return m.at() == 2 })
}

// What was touched, and when, is in the report of the run that it led to; what is only told counts as drift once, however often
// it is looked at, and is told when it is first seen though nothing was changed.
func TestDriftIsReported(t *testing.T) {
	m, drift := &machine{}, make(chan []string)
	n, _ := soloOver(t, memory.New(), m, drift)
	ctx := context.Background()
	pushed(t, n, bring(t, n, 1, store.Hash{}, "a"))
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

// TestRunsAreToldWhatWasTouched: a repair keeps to it, once what is in force matched. A new revision, and what follows a failure, look
// at everything: nobody knows what the failure left.
func TestRunsAreToldWhatWasTouched(t *testing.T) {
	m, drift := &machine{}, make(chan []string)
	n, _ := soloOver(t, memory.New(), m, drift)
	runs := func(want ...string) {
		t.Helper()
		eventually(t, "the runs", func() bool { return m.count() >= len(want) })
		m.mu.Lock()
		defer m.mu.Unlock()
		if !slices.Equal(m.touched, want) {
			t.Fatalf("runs about %q, want %q", m.touched, want)
		}
	}
	fails := func(why string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.fail = why
	}
	first := pushed(t, n, bring(t, n, 1, store.Hash{}, "a"))
	runs("all")
	drift <- []string{"/etc/g", "/etc/f"}
	runs("all", "/etc/f /etc/g")
	drift <- []string{"nginx"}
	runs("all", "/etc/f /etc/g", "nginx")
	fails("no")
	drift <- []string{"/etc/f"}
	runs("all", "/etc/f /etc/g", "nginx", "/etc/f")
	fails("")
	drift <- []string{"/etc/f"} // has to wait, as the last run failed
	runs("all", "/etc/f /etc/g", "nginx", "/etc/f", "all")
	drift <- []string{"/etc/f"}
	runs("all", "/etc/f /etc/g", "nginx", "/etc/f", "all", "/etc/f")
	pushed(t, n, bring(t, n, 2, first, "b"))
	runs("all", "/etc/f /etc/g", "nginx", "/etc/f", "all", "/etc/f", "all")
}
