package bubble

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/p2p"
)

// What waits at a port, as on a machine.
const (
	packetsWaiting = 1024
	streamsWaiting = 16
	framesWaiting  = 64
	minSwept       = 16
	dialTime       = 5 * time.Second
	admitTime      = 5 * time.Second
)

const (
	framesProtocol = "/shoal/frames/1"
	bulkProtocol   = "/shoal/bulk/1"
)

// Member is what a port asks of its node, as mesh/p2p does.
type Member interface {
	Known(membership.NodeID) bool
	Admit(ctx context.Context, peer membership.NodeID, credential []membership.Signed) error
	Vouch(ctx context.Context, peer membership.NodeID, credential []membership.Signed) error
	Credential() []membership.Signed
}

// Port is where a running node is plugged in: a mesh.Transport and a gossip.Network. The lanes to its peers are those of
// mesh/p2p; the streams are the fabric's.
type Port struct {
	fabric *Fabric
	name   string
	id     membership.NodeID
	addr   string
	member Member
	frames chan mesh.Frame
	inbox  chan packet
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	brake  *brake

	mu        sync.Mutex
	closed    bool
	peers     map[membership.NodeID]*remote
	listeners map[string]*listener
	readers   map[readerKey]*reader
	streams   map[*stream]bool
	sweep     int // at how many streams those that are broken are forgotten
}

type remote struct {
	addr        string
	met         bool // each has taken the other's credential since this port is here
	small, bulk *p2p.Lane
}

type packet struct {
	data []byte
	from net.Addr
}

var _ mesh.Transport = (*Port)(nil)

// Connect plugs a node in.
func (f *Fabric) Connect(name string, id membership.NodeID, addr string, member Member) *Port {
	return f.connect(name, id, addr, member, &brake{})
}

func (f *Fabric) connect(name string, id membership.NodeID, addr string, member Member, b *brake) *Port {
	p := &Port{
		fabric: f, name: name, id: id, addr: addr, member: member,
		frames: make(chan mesh.Frame, framesWaiting), inbox: make(chan packet, packetsWaiting),
		peers: map[membership.NodeID]*remote{}, listeners: map[string]*listener{}, readers: map[readerKey]*reader{},
		streams: map[*stream]bool{}, brake: b,
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for _, protocol := range []string{framesProtocol, bulkProtocol} {
		l, _ := p.Listen(protocol) // nobody else does yet
		p.work.Go(func() { p.serve(l.(*listener), protocol) })
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ports[id], f.byAddr[addr] = p, p
	return p
}

// Addr is where packets and streams come in.
func (p *Port) Addr() string { return p.addr }

// Frames implements mesh.Transport.
func (p *Port) Frames() <-chan mesh.Frame { return p.frames }

// start runs f unless the port is closed; Close waits for it.
func (p *Port) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.work.Go(f)
	return true
}

// own remembers a stream that a crash breaks.
func (p *Port) own(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams[s] = true; len(p.streams) < p.sweep {
		return
	}
	for old := range p.streams {
		if old.Broken() {
			delete(p.streams, old)
		}
	}
	p.sweep = max(minSwept, 2*len(p.streams))
}

// remote finds or makes the entry of a peer. The caller holds the lock.
func (p *Port) remote(id membership.NodeID) *remote {
	if r := p.peers[id]; r != nil {
		return r
	}
	r := &remote{}
	open := func(protocol string) *p2p.Lane {
		return p2p.NewLane(func(ctx context.Context) (p2p.Stream, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTime)
			defer cancel()
			s, err := p.dial(ctx, id, protocol)
			if err != nil {
				return nil, err
			}
			return s, nil
		})
	}
	r.small, r.bulk = open(framesProtocol), open(bulkProtocol)
	p.peers[id] = r
	return r
}

// Learn implements mesh.Transport.
func (p *Port) Learn(id membership.NodeID, addr string) {
	p.mu.Lock()
	r := p.remote(id)
	r.addr = addr
	p.mu.Unlock()
	r.small.Retry()
	r.bulk.Retry()
}

// Drop implements mesh.Transport.
func (p *Port) Drop(id membership.NodeID) {
	p.mu.Lock()
	r := p.peers[id]
	delete(p.peers, id)
	var broken []*stream
	for s := range p.streams {
		if s.remote == id {
			broken = append(broken, s)
			delete(p.streams, s)
		}
	}
	p.mu.Unlock()
	if r != nil {
		r.small.Clear()
		r.bulk.Clear()
	}
	for _, s := range inOrder(broken) {
		_ = s.Reset()
	}
}

// Send implements mesh.Transport.
func (p *Port) Send(to membership.NodeID, data []byte) error {
	if len(data) == 0 || len(data) > mesh.MaxFrame {
		return fmt.Errorf("send to %s: %d bytes", to.Short(), len(data))
	}
	if !p.brake.pass() {
		return net.ErrClosed
	}
	p.mu.Lock()
	r := p.peers[to]
	if r == nil || r.addr == "" && !r.met {
		p.mu.Unlock()
		return fmt.Errorf("send to %s: %w", to.Short(), mesh.ErrUnknownPeer)
	}
	p.mu.Unlock()
	p.note(to, data)
	l := r.small
	if len(data) > p2p.BulkSize {
		l = r.bulk
	}
	start, err := l.Push(data)
	if start && !p.start(func() { l.Run(p.ctx) }) {
		return net.ErrClosed
	}
	return err
}

// note remembers a message for people, who look at small fleets.
func (p *Port) note(to membership.NodeID, data []byte) {
	p.fabric.mu.Lock()
	name := to.Short()
	if there := p.fabric.ports[to]; there != nil {
		name = there.name
	}
	few := len(p.fabric.ports) <= maxSampled
	p.fabric.mu.Unlock()
	if few {
		p.fabric.tellOf(p, name, data)
	}
}

// Close breaks all connections, as the end of a process does: nobody is told but by what the network tells.
func (p *Port) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	var open []*stream
	for s := range p.streams {
		open = append(open, s)
	}
	var listening []*listener
	for _, l := range p.listeners {
		listening = append(listening, l)
	}
	p.mu.Unlock()
	p.fabric.mu.Lock()
	if p.fabric.ports[p.id] == p {
		delete(p.fabric.ports, p.id)
		delete(p.fabric.byAddr, p.addr)
	}
	p.fabric.mu.Unlock()
	p.cancel()
	for _, l := range listening {
		_ = l.Close()
	}
	for _, s := range inOrder(open) {
		_ = s.Reset()
	}
	p.work.Wait()
	close(p.frames)
	return nil
}

// PacketConn implements gossip.Network.
func (p *Port) PacketConn() net.PacketConn { return &packetConn{port: p, done: make(chan struct{})} }

type packetConn struct {
	net.PacketConn // for what nobody calls
	port           *Port
	done           chan struct{}
	once           sync.Once
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case got := <-c.port.inbox:
		if !c.port.brake.pass() {
			return 0, nil, net.ErrClosed
		}
		return copy(b, got.data), got.from, nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo sends a packet; that it is lost nobody says.
func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	f, p := c.port.fabric, c.port
	if !p.brake.pass() {
		return 0, net.ErrClosed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	moved := f.traffic(p.name)
	moved.Packets++
	moved.PacketBytes += int64(len(b))
	f.note(p.name, to.String(), len(b))
	target := f.byAddr[to.String()]
	if target == nil || f.mute || f.ports[p.id] != p || f.blocked(p.name, target.name) || f.lost() {
		return len(b), nil
	}
	at, err := netip.ParseAddrPort(p.addr)
	if err != nil {
		return 0, err
	}
	sent := packet{append([]byte(nil), b...), net.UDPAddrFromAddrPort(at)}
	f.later(time.Now().Add(f.delay(p.name, target.name)), func() {
		select {
		case target.inbox <- sent:
		default:
		}
	})
	return len(b), nil
}

func (c *packetConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

var errNobody = errors.New("nobody is there")
