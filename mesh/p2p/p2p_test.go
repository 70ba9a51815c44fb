package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"go.uber.org/goleak"
	"golang.org/x/time/rate"

	"shoal/membership"
	"shoal/mesh"
)

const patience = 20 * time.Second // for what must come; nothing is asserted about how fast

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// quic-go's and libp2p's process-wide workers, started once and never ended by design.
		goleak.IgnoreTopFunction("github.com/libp2p/go-libp2p/p2p/transport/tcp.(*aggregatingCollector).cron"),
	)
}

func TestFramesBothWays(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", w.ticket(t))
	a.Learn(b.ID, b.Addr())
	big := bytes.Repeat([]byte("0123456789abcdef"), mesh.MaxFrame/16)
	for _, data := range [][]byte{[]byte("hello"), big, {0}} {
		must(0, a.Send(b.ID, data))(t)
		b.expect(t, a.ID, data)
	}
	must(0, b.Send(a.ID, []byte("back")))(t) // over the connection that a opened
	a.expect(t, b.ID, []byte("back"))
}

func TestSendRefuses(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), membership.IDOf(keyOf("b").Public().(ed25519.PublicKey))
	if err := a.Send(b, []byte("x")); !errors.Is(err, mesh.ErrUnknownPeer) {
		t.Errorf("unknown peer: %v", err)
	}
	if err := a.Send("nonsense", []byte("x")); !errors.Is(err, membership.ErrNodeID) {
		t.Errorf("no id: %v", err)
	}
	if a.Send(b, nil) == nil || a.Send(b, make([]byte, mesh.MaxFrame+1)) == nil {
		t.Error("a frame out of limits is taken")
	}
}

func TestFramesStayInOrder(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.1:0", w.ticket(t))
	a.Learn(b.ID, b.Addr())
	go func() {
		for i := range 1000 {
			for errors.Is(a.Send(b.ID, fmt.Appendf(nil, "%d", i)), mesh.ErrQueueFull) {
				<-time.After(time.Millisecond)
			}
		}
	}()
	for i := range 1000 {
		b.expect(t, a.ID, fmt.Appendf(nil, "%d", i))
	}
}

func TestWhoamiAndRefusals(t *testing.T) {
	w := newWorld(t)
	member := w.newNode(t, "member", "127.0.0.1:0", w.ticket(t))
	joiner := w.newNode(t, "joiner", "127.0.0.2:0", w.ticket(t))
	if id := must(joiner.Whoami(t.Context(), member.Addr()))(t); id != member.ID {
		t.Fatalf("got %s", id)
	}
	stranger := w.newNode(t, "stranger", "127.0.0.3:0")
	stranger.Roster = member.Roster // it takes everyone; nobody takes it
	_, err := stranger.Whoami(t.Context(), member.Addr())
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no grant") {
		t.Fatalf("a stranger is told: %v", err)
	}
	clone := w.newNamed(t, "clone", "joiner", "127.0.0.3:0", w.ticket(t))
	if _, err := clone.Whoami(t.Context(), member.Addr()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "name is taken") {
		t.Fatalf("who asks for a name that is taken is told: %v", err)
	}
	foreign := newWorld(t)
	if _, err := foreign.newNode(t, "other", "127.0.0.4:0", foreign.ticket(t)).Whoami(t.Context(), member.Addr()); !errors.Is(err, ErrRefused) {
		t.Fatalf("a node of another mesh is told: %v", err)
	}
}

// A stranger that takes everybody can neither give nor get a frame, nor open a stream, over QUIC or TCP.
func TestStrangerIsShutOut(t *testing.T) {
	w := newWorld(t)
	member := w.newNode(t, "member", "127.0.0.1:0", w.ticket(t))
	friend := w.newNode(t, "friend", "127.0.0.2:0", w.ticket(t))
	stranger := w.newNode(t, "stranger", "127.0.0.3:0")
	stranger.Add(t, append(member.Roster.Records(), friend.Roster.Records()...)...)
	l := must(member.Listen("/test/1"))(t)
	defer l.Close()
	var served atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Add(1)
			_, _ = c.Write([]byte("welcome"))
			c.Close()
		}
	}()

	stranger.Learn(member.ID, member.Addr())
	member.Learn(stranger.ID, stranger.Addr())
	must(0, stranger.Send(member.ID, []byte("let me in")))(t)
	must(0, stranger.Send(member.ID, bytes.Repeat([]byte("x"), BulkSize+1)))(t)
	must(0, member.Send(stranger.ID, []byte("secret")))(t)
	if c, err := stranger.DialStream(t.Context(), member.ID, "/test/1"); err == nil {
		_, _ = c.Write([]byte("let me in"))
		if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
			t.Error("a stranger was served")
		}
		c.Close()
	}
	if c, err := member.DialStream(t.Context(), stranger.ID, "/test/1"); err == nil {
		c.Close()
		t.Error("a stranger was dialled")
	}
	// A friend comes after it, and is heard first: the stranger had its time.
	friend.Learn(member.ID, member.Addr())
	must(0, friend.Send(member.ID, []byte("hello")))(t)
	member.expect(t, friend.ID, []byte("hello"))
	select {
	case f := <-stranger.Frames():
		t.Fatalf("the stranger got %q", f.Data)
	case f := <-member.Frames():
		t.Fatalf("the member got %q", f.Data)
	default:
	}
	if served.Load() != 0 || member.isConnected(stranger.self) {
		t.Error("the stranger has a stream or a connection")
	}
}

func TestSlowPeerDoesNotBlock(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", w.ticket(t))
	c := w.newNode(t, "c", "127.0.0.3:0", w.ticket(t))
	a.Learn(b.ID, b.Addr())
	a.Learn(c.ID, c.Addr())
	frame := make([]byte, 256<<10)
	full := 0
	for range 1000 { // b takes nothing
		if errors.Is(a.Send(b.ID, frame), mesh.ErrQueueFull) {
			full++
		}
	}
	if full == 0 {
		t.Error("250 MiB were queued")
	}
	must(0, a.Send(c.ID, []byte("you")))(t)
	c.expect(t, a.ID, []byte("you"))
	must(0, a.Send(b.ID, []byte("small")))(t) // does not wait behind the bulk
	eventually(t, "the small frame", func() bool { f := <-b.Frames(); return string(f.Data) == "small" })
}

func TestRestartedPeerIsFoundAgain(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", ticket)
	a.Learn(b.ID, b.Addr())
	must(0, a.Send(b.ID, []byte("one")))(t)
	b.expect(t, a.ID, []byte("one"))
	addr := b.Addr()
	must(0, b.Close())(t)
	must(0, a.Send(b.ID, []byte("lost or not")))(t)
	b = w.newNode(t, "b", addr, ticket)
	eventually(t, "a frame after the restart", func() bool {
		_ = a.Send(b.ID, []byte("two"))
		select {
		case f := <-b.Frames():
			return f.From == a.ID
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
}

func TestDrop(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", w.ticket(t))
	a.Learn(b.ID, b.Addr())
	must(0, a.Send(b.ID, []byte("one")))(t)
	b.expect(t, a.ID, []byte("one"))
	b.Drop(a.ID)
	eventually(t, "the connection to end", func() bool { return !a.isConnected(b.self) })
	a.Drop(b.ID)
	if err := a.Send(b.ID, []byte("x")); !errors.Is(err, mesh.ErrUnknownPeer) {
		t.Error(err)
	}
}

// Who is evicted while it is connected opens no stream any more, and what was connected just then, or by us, ends at the next look.
func TestEvictedWhileConnected(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", w.ticket(t))
	l := must(b.Listen("/test/1"))(t)
	defer l.Close()
	a.Learn(b.ID, b.Addr())
	must(0, a.Send(b.ID, []byte("one")))(t)
	b.expect(t, a.ID, []byte("one"))
	bulk := bytes.Repeat([]byte("x"), BulkSize+1)
	must(0, a.Send(b.ID, bulk))(t) // over the other transport
	b.expect(t, a.ID, bulk)
	revocation := must(membership.SignRevocation(membership.Revocation{Mesh: w.Chain.Mesh(), Node: a.ID}, w.Operator))(t)
	b.Add(t, revocation)
	c := must(a.DialStream(t.Context(), b.ID, "/test/1"))(t)
	defer c.Close()
	_, _ = c.Write([]byte("x"))
	must(0, c.SetReadDeadline(time.Now().Add(patience)))(t)
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it opens a stream:", err)
	}
	if !b.isConnected(a.self) {
		t.Fatal("the connections are gone already, so the test shows nothing")
	}
	b.trim(map[network.Conn]time.Time{}, time.Now().Add(strangeTime))
	eventually(t, "both connections to end", func() bool { return !b.isConnected(a.self) && !a.isConnected(b.self) })
}

func TestStreamsAndPackets(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", w.ticket(t))
	l := must(b.Listen("/test/1"))(t)
	a.Learn(b.ID, b.Addr())
	c := must(a.DialStream(t.Context(), b.ID, "/test/1"))(t)
	defer c.Close()
	must(c.Write([]byte("ping")))(t)
	s := must(l.Accept())(t)
	defer s.Close()
	buf := make([]byte, 4)
	must(io.ReadFull(s, buf))(t)
	must(s.Write(buf))(t)
	must(io.ReadFull(c, buf))(t)
	if string(buf) != "ping" || s.RemoteAddr().String() != string(a.ID) {
		t.Errorf("%q from %s", buf, s.RemoteAddr())
	}
	must(0, c.SetReadDeadline(time.Unix(1, 0)))(t)
	if _, err := c.Read(buf); err == nil {
		t.Error("a deadline is ignored")
	}
	if from := exchange(t, a, b, b.Addr()); from != a.Addr() {
		t.Errorf("a packet from %s", from)
	}
}

func TestTCPWhereUDPIsDropped(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", w.ticket(t))
	addrs := must(multiaddrs(b.Addr()))(t)
	a.Learn(b.ID, b.Addr())
	a.store.ClearAddrs(b.self)
	a.store.AddAddrs(b.self, addrs[1:], time.Hour)
	data := bytes.Repeat([]byte("x"), mesh.MaxFrame)
	must(0, a.Send(b.ID, data))(t)
	b.expect(t, a.ID, data)
	must(0, b.Send(a.ID, []byte("back")))(t)
	a.expect(t, b.ID, []byte("back"))
	if over := a.swarms[quicSwarm].Connectedness(b.self); over == network.Connected {
		t.Error("it went over QUIC")
	}
}

func TestQUICWhereTCPIsRefused(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", w.ticket(t))
	addrs := must(multiaddrs(b.Addr()))(t)
	b.swarms[tcpSwarm].ListenClose(addrs[tcpSwarm])
	a.Learn(b.ID, b.Addr())
	data := bytes.Repeat([]byte("x"), mesh.MaxFrame)
	must(0, a.Send(b.ID, data))(t)
	b.expect(t, a.ID, data)
}

func TestEachLaneHasItsTransport(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", w.ticket(t))
	a.Learn(b.ID, b.Addr())
	for over, size := range map[int]int{quicSwarm: BulkSize, tcpSwarm: BulkSize + 1} {
		if a.swarms[over].Connectedness(b.self) == network.Connected {
			t.Errorf("swarm %d is connected without need", over)
		}
		data := make([]byte, size)
		must(0, a.Send(b.ID, data))(t)
		b.expect(t, a.ID, data)
		if a.swarms[over].Connectedness(b.self) != network.Connected {
			t.Errorf("a frame of %d bytes did not take swarm %d", size, over)
		}
	}
}

func TestBindings(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ bind, format string }{
		{"[::1]:0", "[::1]:%d"}, {"0.0.0.0:0", "127.0.0.1:%d"}, {"127.0.0.1:0", "127.0.0.1:%d"},
	} {
		t.Run(c.bind, func(t *testing.T) {
			a, b := w.newNode(t, "a", c.bind, w.ticket(t)), w.newNode(t, "b", c.bind, w.ticket(t))
			at := fmt.Sprintf(c.format, b.addr.Port)
			if id := must(a.Whoami(t.Context(), at))(t); id != b.ID {
				t.Error(id)
			}
			a.Learn(b.ID, at)
			for _, size := range []int{1, BulkSize + 1} {
				must(0, a.Send(b.ID, make([]byte, size)))(t)
				b.expect(t, a.ID, make([]byte, size))
			}
			if from := exchange(t, a, b, at); from == "" {
				t.Error("a packet from nowhere")
			}
		})
	}
}

// exchange sends packets until one arrives, and says from where: QUIC's socket drops them before the first read.
func exchange(t *testing.T, a, b *node, to string) (from string) {
	t.Helper()
	arrived := make(chan string, 1)
	go func() {
		_, addr, err := b.PacketConn().ReadFrom(make([]byte, 10))
		if err != nil {
			arrived <- err.Error()
			return
		}
		arrived <- addr.String()
	}()
	eventually(t, "a packet", func() bool {
		must(a.PacketConn().WriteTo([]byte("\x01packet"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))))(t)
		select {
		case from = <-arrived:
			return true
		default:
			return false
		}
	})
	return from
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	taken := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)).Addr()
	good := Options{
		Key: keyOf("b"), Bind: "127.0.0.1:0", Known: func(membership.NodeID) bool { return true },
		Admit:      func(context.Context, membership.NodeID, []membership.Signed) error { return nil },
		Credential: func() []membership.Signed { return nil },
	}
	for name, change := range map[string]func(*Options){
		"port in use":   func(o *Options) { o.Bind = taken },
		"no address":    func(o *Options) { o.Bind = "host:1" },
		"no key":        func(o *Options) { o.Key = nil },
		"nobody admits": func(o *Options) { o.Admit = nil },
		"big credential": func(o *Options) {
			o.Credential = func() []membership.Signed { return []membership.Signed{{Body: make([]byte, 65<<10)}} }
		},
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestStrangersArePaced(t *testing.T) {
	asked := 0
	d := &door{
		known: func(membership.NodeID) bool { return false }, log: slog.New(slog.DiscardHandler),
		admit: func(context.Context, membership.NodeID, []membership.Signed) error { asked++; return nil },
		quiet: rate.NewLimiter(0, 0), pace: rate.NewLimiter(0, 3),
	}
	for range 10 {
		_ = d.check(t.Context(), network.DirInbound, "x", &x509.Certificate{})
	}
	if asked != 3 {
		t.Errorf("the owner was asked %d times", asked)
	}
}

func TestTrim(t *testing.T) {
	w := newWorld(t)
	a, b := w.newNode(t, "a", "127.0.0.1:0", w.ticket(t)), w.newNode(t, "b", "127.0.0.2:0", w.ticket(t))
	a.Learn(b.ID, b.Addr())
	c := must(a.DialStream(t.Context(), b.ID, "/test/1"))(t)
	idle, now := map[network.Conn]time.Time{}, time.Now()
	a.trim(idle, now)
	a.trim(idle, now.Add(2*idleTime))
	if !a.isConnected(b.self) || len(idle) != 0 {
		t.Fatal("a connection in use was closed")
	}
	c.(*streamConn).Reset()
	a.trim(idle, now)
	a.trim(idle, now.Add(idleTime/2))
	if !a.isConnected(b.self) {
		t.Fatal("closed too early")
	}
	a.trim(idle, now.Add(idleTime))
	eventually(t, "the idle connection to close", func() bool { return !a.isConnected(b.self) })
}
