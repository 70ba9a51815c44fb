package node_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"shoal/executor"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/node"
	"shoal/ring"
	"shoal/store"
	"shoal/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// TestTheGossipMayAskWhileANodeIsAttached: it begins before the node has it, and others are heard at once.
func TestTheGossipMayAskWhileANodeIsAttached(t *testing.T) {
	key := keyOf("solo")
	self := membership.Member{ID: membership.IDOf(key.Public().(ed25519.PublicKey)), Name: "solo"}
	n, err := node.New(node.Config{Key: key, Roster: membership.Solo(self), Place: ring.NewPlacement().Update},
		node.Ports{KV: memory.New(), Enforcer: &machine{}})
	if err != nil {
		t.Fatal(err)
	}
	done, asking := make(chan struct{}), make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for first := true; ; first = false {
			n.Known("somebody")
			if first {
				close(asking)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	<-asking
	for range 2000 {
		n.Attach(nil, nil, "127.0.0.1:7077")
	}
	close(done)
	work.Wait()
}
