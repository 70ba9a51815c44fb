package gossip

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
	"go.uber.org/goleak"

	"shoal/membership"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fabric is a network in memory. It lets everybody dial everybody, so that the tests see what gossip itself keeps out.
type fabric struct {
	mu    sync.Mutex
	ports map[string]*port
}

type port struct {
	fabric *fabric
	id     membership.NodeID
	addr   string
	conns  chan net.Conn
	read   chan packet
	done   chan struct{}
	once   sync.Once
}

type packet struct {
	data []byte
	from net.Addr
}

func (f *fabric) port(n int) *port {
	key := ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(n)))
	p := &port{
		fabric: f, id: membership.IDOf(key.Public().(ed25519.PublicKey)), addr: fmt.Sprintf("10.0.0.%d:7077", n),
		conns: make(chan net.Conn), read: make(chan packet, 256), done: make(chan struct{}),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ports[p.addr] = p
	return p
}

func (f *fabric) at(addr string) *port {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ports[addr]
}

func (p *port) Addr() string                        { return p.addr }
func (p *port) PacketConn() net.PacketConn          { return &packets{port: p} }
func (p *port) Listen(string) (net.Listener, error) { return streams{p}, nil }
func (p *port) Learn(membership.NodeID, string)     {}
func (p *port) shut()                               { p.once.Do(func() { close(p.done) }) }

func (p *port) Whoami(_ context.Context, addr string) (membership.NodeID, error) {
	if q := p.fabric.at(addr); q != nil {
		return q.id, nil
	}
	return "", errors.New("nobody there")
}

func (p *port) DialStream(ctx context.Context, peer membership.NodeID, _ string) (net.Conn, error) {
	p.fabric.mu.Lock()
	var to *port
	for _, q := range p.fabric.ports {
		if q.id == peer {
			to = q
		}
	}
	p.fabric.mu.Unlock()
	if to == nil {
		return nil, errors.New("nobody there")
	}
	here, there := net.Pipe()
	select {
	case to.conns <- there:
		return here, nil
	case <-to.done:
	case <-ctx.Done():
	}
	return nil, errors.New("not answered")
}

type streams struct{ *port }

func (s streams) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}
func (s streams) Addr() net.Addr { return nil }
func (s streams) Close() error   { s.shut(); return nil }

type packets struct {
	net.PacketConn
	*port
}

func (p *packets) Close() error { p.shut(); return nil }

func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case got := <-p.read:
		return copy(b, got.data), got.from, nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *packets) WriteTo(b []byte, to net.Addr) (int, error) {
	if q := p.fabric.at(to.String()); q != nil {
		select {
		case q.read <- packet{append([]byte(nil), b...), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.addr))}:
		default:
		}
	}
	return len(b), nil
}

func start(t *testing.T, p *port, allowed func(membership.NodeID) bool) *Gossip {
	t.Helper()
	g, err := Start(Options{Self: p.id, Network: p, Key: make([]byte, 32), Allowed: allowed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func everybody(membership.NodeID) bool { return true }

func statuses(g *Gossip) map[membership.NodeID]membership.Status {
	seen := map[membership.NodeID]membership.Status{}
	for _, m := range g.Members() {
		seen[m.Node] = m.Status
	}
	return seen
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// A node that has the gossip key, and may even dial, is not in while the roster does not know it, and is met as soon as
// it does.
func TestUnknownNodeIsKeptOut(t *testing.T) {
	f := &fabric{ports: map[string]*port{}}
	a, b, x := f.port(1), f.port(2), f.port(3)
	var mu sync.Mutex
	known := map[membership.NodeID]bool{a.id: true, b.id: true}
	allowed := func(id membership.NodeID) bool {
		mu.Lock()
		defer mu.Unlock()
		return known[id]
	}
	ga, gb, gx := start(t, a, allowed), start(t, b, allowed), start(t, x, everybody)
	if n, err := gb.Join(t.Context(), []string{a.addr}); n != 1 {
		t.Fatal(n, err)
	}
	if _, err := gx.Join(t.Context(), []string{a.addr, b.addr}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a and b", func() bool {
		return statuses(ga)[b.id] == membership.Alive && statuses(gb)[a.id] == membership.Alive
	})
	eventually(t, "a and b to refuse x", func() bool { return refuses(ga, x.id) && refuses(gb, x.id) })
	if statuses(ga)[x.id] != "" || statuses(gb)[x.id] != "" {
		t.Error("an unknown node is in")
	}
	mu.Lock()
	known[x.id] = true
	mu.Unlock()
	eventually(t, "the newcomer", func() bool {
		return statuses(ga)[x.id] == membership.Alive && statuses(gb)[x.id] == membership.Alive
	})
}

func refuses(g *Gossip, id membership.NodeID) bool {
	g.doorman.mu.Lock()
	defer g.doorman.mu.Unlock()
	_, ok := g.doorman.refused[id]
	return ok
}

func TestDoorman(t *testing.T) {
	known := false
	d := &doorman{self: "self", allowed: func(membership.NodeID) bool { return known }, refused: map[membership.NodeID]refusal{}}
	f := &fabric{ports: map[string]*port{}}
	alive := func(p *port) error {
		return d.NotifyAlive(&memberlist.Node{Name: string(p.id), Addr: net.IPv4(10, 0, 0, 3), Port: 7077})
	}
	x := f.port(3)
	if d.NotifyAlive(&memberlist.Node{Name: "self"}) != nil {
		t.Error("it refuses itself")
	}
	next := func(at time.Time, turn func(int) bool) string {
		_, addr := d.nextAllowed(at, turn)
		return addr
	}
	always := func(int) bool { return true }
	if alive(x) == nil || next(time.Now(), always) != "" {
		t.Fatal("an unknown node passes")
	}
	known = true
	var waited []int
	for range 2 {
		never := func(turns int) bool { waited = append(waited, turns); return false }
		if next(time.Now(), never) != "" || len(d.refused) != 1 {
			t.Fatal("a node that others are to meet is met, or forgotten")
		}
	}
	if !slices.Equal(waited, []int{0, 1}) || next(time.Now(), always) != "10.0.0.3:7077" || len(d.refused) != 0 {
		t.Error("a node that is known by now is not remembered", waited)
	}
	known = false
	_ = alive(x)
	known = true
	if alive(x) != nil || len(d.refused) != 0 {
		t.Error("a node that came in by itself is still to be met")
	}
	known = false
	for i := range 2 * maxRefused {
		key := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		_ = d.NotifyAlive(&memberlist.Node{Name: string(membership.IDOf(key[:])), Addr: net.IPv4(10, 0, 0, 3)})
	}
	if len(d.refused) != maxRefused {
		t.Errorf("%d are remembered", len(d.refused))
	}
	if next(time.Now().Add(2*refusalTime), always); len(d.refused) != 0 {
		t.Errorf("%d are never forgotten", len(d.refused))
	}
	if d.NotifyAlive(&memberlist.Node{Name: "not an id"}) == nil || len(d.refused) != 0 {
		t.Error("a name that is no id is remembered")
	}
}

func TestNoReaderBlocksNobody(t *testing.T) {
	f := &fabric{ports: map[string]*port{}}
	a, b := f.port(1), f.port(2)
	ga, gb := start(t, a, everybody), start(t, b, everybody) // nobody reads their events
	if n, err := gb.Join(t.Context(), []string{a.addr, b.addr, "10.0.0.9:1"}); n != 1 {
		t.Fatal(n, err)
	}
	for i := range 20 * maxHints {
		if err := ga.Hint(fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ga.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b sees a gone", func() bool { return statuses(gb)[a.id] == membership.Left })
}

func TestJoinNobody(t *testing.T) {
	f := &fabric{ports: map[string]*port{}}
	g := start(t, f.port(1), everybody)
	if n, err := g.Join(t.Context(), []string{"10.0.0.9:1"}); n != 0 || err == nil {
		t.Error(n, err)
	}
	if n, err := g.Join(t.Context(), []string{"10.0.0.1:7077"}); n != 0 || !errors.Is(err, errNobody) {
		t.Error(n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.port(2)
	if n, err := g.Join(ctx, []string{"10.0.0.2:7077"}); n != 0 || err == nil {
		t.Error(n, err)
	}
}

func TestPumpKeepsTheNewest(t *testing.T) {
	p := newPump()
	member := func(name string) []serf.Member {
		return []serf.Member{{Name: name, Addr: net.IPv4(10, 0, 0, 1), Port: 1}}
	}
	for range 3 {
		p.take(serf.MemberEvent{Type: serf.EventMemberJoin, Members: member("a")})
		p.take(serf.MemberEvent{Type: serf.EventMemberFailed, Members: member("a")})
		p.take(serf.MemberEvent{Type: serf.EventMemberLeave, Members: member("b")})
	}
	for i := range maxHints + 10 {
		p.take(serf.UserEvent{Name: hintEvent + "n1", Payload: fmt.Append(nil, i)})
	}
	p.take(serf.UserEvent{Name: "other", Payload: []byte("x")})
	p.take(serf.UserEvent{Name: hintEvent, Payload: make([]byte, membership.MaxHint+1)})
	p.take(serf.MemberEvent{Type: serf.EventMemberReap, Members: member("c")})
	var got []membership.Event
	for e, ok := p.next(); ok; e, ok = p.next() {
		got = append(got, e)
		p.delivered()
	}
	if len(got) != 2+maxHints || got[0].Status != membership.Failed || got[1].Status != membership.Left ||
		got[0].Addr != "10.0.0.1:1" || string(got[2].Hint) != "10" || got[2].Node != "n1" {
		t.Errorf("%d events: %+v", len(got), got[:3])
	}
}

func TestAdvertised(t *testing.T) {
	for listening, want := range map[string]string{"127.0.0.2:7077": "127.0.0.2:7077", "[::1]:1": "[::1]:1"} {
		if at, err := advertised("", listening); err != nil || at.String() != want {
			t.Errorf("%s: %s %v", listening, at, err)
		}
	}
	if at, err := advertised("192.0.2.1:9", "0.0.0.0:7077"); err != nil || at.String() != "192.0.2.1:9" {
		t.Error(at, err)
	}
	prefix := func(s ...string) (addrs []net.Addr) {
		for _, one := range s {
			ip, n, _ := net.ParseCIDR(one)
			addrs = append(addrs, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return addrs
	}
	for _, c := range []struct {
		addrs []net.Addr
		only4 bool
		want  string
	}{
		{prefix("127.0.0.1/8"), true, "127.0.0.1"},
		{prefix("127.0.0.1/8", "192.0.2.7/24", "10.1.2.3/8"), true, "10.1.2.3"},
		{prefix("169.254.1.1/16", "192.0.2.7/24"), true, "192.0.2.7"},
		{prefix("2001:db8::1/64"), true, "127.0.0.1"},
		{prefix("2001:db8::1/64"), false, "2001:db8::1"},
	} {
		if got := pickAddr(c.addrs, c.only4); got.String() != c.want {
			t.Errorf("%v: %s, want %s", c.addrs, got, c.want)
		}
	}
}
