package loopback

import (
	"bytes"
	"context"
	"testing"
	"time"

	"shoal/membership"
)

func TestThreeNodes(t *testing.T) {
	m := newMesh(t)
	a := m.node(t, "a", "127.0.0.1:0", m.ticket(t))
	b := m.node(t, "b", "127.0.0.2:0", m.ticket(t))
	c := m.node(t, "c", "127.0.0.3:0", m.ticket(t))
	b.join(t, a)
	a.tell(t, b)
	c.join(t, b) // through another; a hears of c before it knows its grant
	b.tell(t, a, c)
	nodes := []*node{a, b, c}
	allAlive(t, nodes...)

	t.Run("frames of 300 KiB", func(t *testing.T) {
		data := bytes.Repeat([]byte("shoal!"), 50<<10)
		for _, from := range nodes {
			for _, to := range nodes {
				if from == to {
					continue
				}
				must(0, from.p2p.Send(to.id, data))(t)
				f := <-to.p2p.Frames()
				if f.From != from.id || !bytes.Equal(f.Data, data) {
					t.Fatalf("%s got %d bytes from %s", to.name, len(f.Data), f.From.Short())
				}
			}
		}
	})
	t.Run("hints reach all", func(t *testing.T) {
		must(0, c.gossip.Hint([]byte("production 7")))(t)
		for _, n := range nodes {
			eventually(t, n.name+" hears", func() bool { return n.heard("production 7") })
		}
		if c.gossip.Hint(make([]byte, membership.MaxHint+1)) == nil {
			t.Error("a long hint passes")
		}
		must(0, c.gossip.Hint(make([]byte, membership.MaxHint)))(t)
	})
	t.Run("a killed node is noticed", func(t *testing.T) {
		began := time.Now()
		b.kill()
		eventually(t, "a sees b fail", func() bool { return a.sees(b.id, membership.Failed) })
		t.Logf("a kill was seen after %v", time.Since(began).Round(100*time.Millisecond))
		eventually(t, "c sees b fail", func() bool { return c.sees(b.id, membership.Failed) })
	})
	t.Run("and rejoins with the same id", func(t *testing.T) {
		b.start(t, m)
		b.join(t, c)
		allAlive(t, nodes...)
		eventually(t, "a frame", func() bool {
			_ = a.p2p.Send(b.id, []byte("again"))
			select {
			case f := <-b.p2p.Frames():
				return f.From == a.id
			case <-time.After(50 * time.Millisecond):
				return false
			}
		})
	})
	t.Run("a node that leaves", func(t *testing.T) {
		began := time.Now()
		must(0, b.gossip.Leave(t.Context()))(t)
		t.Logf("leaving took %v", time.Since(began).Round(10*time.Millisecond))
		for _, n := range []*node{a, c} {
			eventually(t, n.name+" sees b gone", func() bool { return n.sees(b.id, membership.Left) })
		}
		b.kill()
		b.bind = "127.0.0.4:0" // and comes back from elsewhere
		b.start(t, m)
		b.join(t, a)
		allAlive(t, nodes...)
	})
}

// A stranger with the gossip key but no grant takes everybody, and is taken by nobody.
func TestStrangerIsNotHeard(t *testing.T) {
	m := newMesh(t)
	a := m.node(t, "a", "127.0.0.1:0", m.ticket(t))
	b := m.node(t, "b", "127.0.0.2:0", m.ticket(t))
	b.join(t, a)
	a.tell(t, b)
	allAlive(t, a, b)
	stranger := m.node(t, "stranger", "127.0.0.3:0")
	a.tell(t, stranger)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if n, err := stranger.gossip.Join(ctx, []string{a.bind, b.bind}); err == nil {
		t.Errorf("the stranger joined %d", n)
	}
	if _, err := a.gossip.Join(ctx, []string{stranger.bind}); err == nil {
		t.Error("a member joined the stranger")
	}
	stranger.p2p.Learn(a.id, a.bind)
	must(0, stranger.p2p.Send(a.id, []byte("let me in")))(t)
	a.p2p.Learn(stranger.id, stranger.bind)
	must(0, a.p2p.Send(stranger.id, []byte("secret")))(t)
	must(0, b.p2p.Send(a.id, []byte("hello")))(t)
	if f := <-a.p2p.Frames(); f.From != b.id {
		t.Errorf("got %q from %s", f.Data, f.From.Short())
	}
	must(0, b.gossip.Hint([]byte("later")))(t)
	eventually(t, "a hears", func() bool { return a.heard("later") })
	for _, e := range append(a.gossip.Members(), b.gossip.Members()...) {
		if e.Node == stranger.id {
			t.Errorf("the stranger is a member: %+v", e)
		}
	}
	if len(stranger.p2p.Frames()) != 0 || stranger.heard("later") {
		t.Error("the stranger hears")
	}
}

// Nodes whose grants arrive after their gossip are met as soon as they are known.
func TestLateGrant(t *testing.T) {
	m := newMesh(t)
	a := m.node(t, "a", "127.0.0.1:0", m.ticket(t))
	b := m.node(t, "b", "127.0.0.2:0", m.ticket(t))
	c := m.node(t, "c", "127.0.0.3:0", m.ticket(t))
	b.join(t, a)
	a.tell(t, b)
	allAlive(t, a, b)
	c.join(t, b)
	eventually(t, "b and c", func() bool { return b.sees(c.id, membership.Alive) && c.sees(b.id, membership.Alive) })
	if a.sees(c.id, membership.Alive) {
		t.Error("a takes whom it does not know")
	}
	b.tell(t, a, c)
	allAlive(t, a, b, c)
}
