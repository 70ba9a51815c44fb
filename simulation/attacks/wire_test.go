package attacks

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"shoal/membership"
	"shoal/membership/gossip"
	"shoal/mesh/meshtest"
	"shoal/mesh/p2p"
)

// patience is how long something that must come may take on a busy machine; quiet, how long something that must not come is waited for.
const (
	patience = 20 * time.Second
	quiet    = 1500 * time.Millisecond
)

func wireAttacks() []attack {
	return []attack{
		{"stranger-connects", "certificate", Stranger, "dials a node with a key that nobody granted, and sends frames", "open-door", strangerConnects},
		{"flood-of-streams", "oversize", Member, "opens hundreds of streams to one node and keeps them", "streams-unbounded", floodStreams},
		{"flood-of-connections", "slow", Stranger, "opens hundreds of connections and says nothing", "connections-unbounded", floodConnections},
		{"gossip-without-the-key", "suspicion", Stranger, "gives hints on the gossip's port in the name of a node, without the gossip key", "gossip-in-clear", gossipInClear},
	}
}

// wire is a mesh on loopback: its trust chain, and its members' transports.
type wire struct {
	*meshtest.Cluster
	t *testing.T
}

type port struct {
	*p2p.Transport
	*meshtest.Doorman
}

func newWire(t *testing.T) *wire { return &wire{meshtest.NewCluster(t), t} }

// port is a transport; of a member, when it is named.
func (w *wire) port(name, bind string) *port {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	var tickets []membership.Ticket
	if name != "" {
		tickets = append(tickets, w.Ticket(w.t, 1))
	}
	p := &port{Doorman: w.Doorman(w.t, key, name, tickets...)}
	o := p2p.Options{Key: key, Bind: bind, Known: p.Known, Admit: p.Admit, Credential: p.Credential}
	if name == "" {
		open := func(context.Context, membership.NodeID, []membership.Signed) error { return nil }
		o.Admit, o.Vouch = open, open // a stranger takes everybody
	}
	p.Transport = must(p2p.New(o))(w.t)
	w.t.Cleanup(func() { p.Close() })
	return p
}

func strangerConnects(t *testing.T) string {
	w := newWire(t)
	victim, stranger := w.port("n1", "127.0.0.1:0"), w.port("", "127.0.0.1:0")
	stranger.Learn(victim.ID, victim.Addr())
	_ = stranger.Send(victim.ID, []byte("hello"))
	select {
	case f := <-victim.Frames():
		return fmt.Sprintf("n1 hears %q of a stranger", f.Data)
	case <-time.After(2 * quiet):
		return ""
	}
}

func floodStreams(t *testing.T) string {
	w := newWire(t)
	victim, mallory := w.port("n1", "127.0.0.1:0"), w.port("n2", "127.0.0.1:0")
	const protocol = "/attack/1"
	l := must(victim.Listen(protocol))(t)
	var open atomic.Int64
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
			open.Add(1)
		}
	}()
	mallory.Learn(victim.ID, victim.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 200 {
		c, err := mallory.DialStream(ctx, victim.ID, protocol)
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		if err != nil {
			break
		}
		time.Sleep(time.Millisecond) // the queue of streams that wait to be accepted is not what is attacked
	}
	until(func() bool { return open.Load() > 100 }, quiet)
	if open.Load() == 0 {
		t.Fatal("not even one stream was opened")
	}
	if n := open.Load(); n > 64 {
		return fmt.Sprintf("%d streams of one peer are open", n)
	}
	return ""
}

func until(ok func() bool, most time.Duration) {
	for end := time.Now().Add(most); !ok() && time.Now().Before(end); {
		<-time.After(10 * time.Millisecond)
	}
}

func floodConnections(t *testing.T) string {
	victim := newWire(t).port("n1", "127.0.0.1:0")
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range 400 {
		c, err := net.DialTimeout("tcp", victim.Addr(), patience)
		if err != nil {
			break
		}
		conns = append(conns, c)
	}
	end := time.Now().Add(quiet)
	open, scratch := 0, make([]byte, 1)
	for _, c := range conns {
		_ = c.SetReadDeadline(end)
		var timeout net.Error
		// Who is let in is greeted at once; what says nothing is open still.
		if _, err := c.Read(scratch); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			open++
		}
		end = time.Now().Add(5 * time.Millisecond)
	}
	if len(conns) < 300 {
		t.Fatalf("%d connections were opened", len(conns))
	}
	if open > 300 {
		return fmt.Sprintf("%d of %d connections that say nothing are kept", open, len(conns))
	}
	return ""
}

func gossipInClear(t *testing.T) string {
	w := newWire(t)
	start := func(p *port) *gossip.Gossip {
		g := must(gossip.Start(gossip.Options{
			Self: p.ID, Network: p, Keys: [][]byte{make([]byte, membership.GossipKeySize)}, Allowed: func(membership.NodeID) bool { return true },
		}))(t)
		t.Cleanup(func() { g.Close() })
		return g
	}
	n1, n2 := w.port("n1", "127.0.0.1:0"), w.port("n2", "127.0.0.1:0")
	g1, g2 := start(n1), start(n2)
	go func() {
		for range g2.Events() { //nolint:revive // drained
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(g2.Join(ctx, []string{n1.Addr()}))(t)
	for alive := false; !alive; {
		select {
		case e := <-g1.Events():
			alive = e.Node == n2.ID && e.Status == membership.Alive
		case <-ctx.Done():
			t.Fatal("n1 does not see n2")
		}
	}
	c := must(net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(n1.Addr()))))(t)
	defer c.Close()
	forged := []byte("version 9 is there")
	for lTime, end := uint64(0), time.After(2*quiet); ; {
		lTime++
		_, _ = c.Write(packed(t, userEvent{LTime: lTime, Name: "h/" + string(n2.ID), Payload: forged}, kindUser, serfEvent))
		select {
		case e := <-g1.Events():
			if bytes.Equal(e.Hint, forged) {
				return "n1 takes a stranger's hint for one of n2"
			}
		case <-time.After(100 * time.Millisecond):
		case <-end:
			return ""
		}
	}
}
