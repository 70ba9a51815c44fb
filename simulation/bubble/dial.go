package bubble

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/p2p"
)

// listener takes the streams of one protocol.
type listener struct {
	port     *Port
	protocol string
	accepted chan net.Conn
	done     chan struct{}
	once     sync.Once
}

// Listen implements gossip.Network.
func (p *Port) Listen(protocol string) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	if p.listeners[protocol] != nil {
		return nil, fmt.Errorf("listen for %s: there is a listener", protocol)
	}
	l := &listener{port: p, protocol: protocol, accepted: make(chan net.Conn, streamsWaiting), done: make(chan struct{})}
	p.listeners[protocol] = l
	return l, nil
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Addr() net.Addr { return nodeAddr(l.port.id) }

// Close refuses further streams.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.port.mu.Lock()
		delete(l.port.listeners, l.protocol)
		l.port.mu.Unlock()
		close(l.done)
	})
	return nil
}

// DialStream implements gossip.Network.
func (p *Port) DialStream(ctx context.Context, peer membership.NodeID, protocol string) (net.Conn, error) {
	s, err := p.dial(ctx, peer, protocol)
	if err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", protocol, peer.Short(), err)
	}
	return s, nil
}

// Whoami implements gossip.Network: it asks the node at an address who it is, and each looks at the other's credential.
func (p *Port) Whoami(ctx context.Context, addr string) (membership.NodeID, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime+admitTime)
	defer cancel()
	there, err := p.reach(ctx, func() *Port { return p.fabric.byAddr[addr] })
	if err != nil {
		return "", err
	}
	if there == p {
		return p.id, nil
	}
	return there.id, p.meet(ctx, there)
}

// dial opens a stream to a node, whose credential it takes as that node takes ours.
func (p *Port) dial(ctx context.Context, peer membership.NodeID, protocol string) (*stream, error) {
	there, err := p.reach(ctx, func() *Port { return p.fabric.ports[peer] })
	if err != nil {
		return nil, err
	}
	if err := p.meet(ctx, there); err != nil {
		return nil, err
	}
	if !p.brake.pass() {
		return nil, net.ErrClosed
	}
	there.mu.Lock()
	l := there.listeners[protocol]
	closed := there.closed
	there.mu.Unlock()
	if l == nil || closed {
		return nil, errReset
	}
	here, other := newStreams(p.fabric, p, there)
	select {
	case l.accepted <- other:
		return here, nil
	default:
		_ = here.Reset()
		return nil, errReset
	}
}

// reach takes a round trip to a port that find finds, while nothing is in the way. find is called under the fabric's lock.
func (p *Port) reach(ctx context.Context, find func() *Port) (*Port, error) {
	for again := resend; ; again *= 2 {
		there, wait := p.knock(find)
		if there == nil && wait > 0 { // a reset comes back
			if err := pause(ctx, wait); err != nil {
				return nil, err
			}
			return nil, errNobody
		}
		if there != nil {
			return there, pause(ctx, wait)
		}
		if err := pause(ctx, again); err != nil {
			return nil, err
		}
	}
}

// knock says who answers, and after how long; nobody and never when the way is cut.
func (p *Port) knock(find func() *Port) (there *Port, wait time.Duration) {
	f := p.fabric
	f.mu.Lock()
	defer f.mu.Unlock()
	there = find()
	if f.ports[p.id] != p { // the machine is down
		return nil, 0
	}
	if there == nil {
		return nil, 2 * latency
	}
	if p.brake.stopped() || there.brake.stopped() { // its system greets, and nobody shows who he is
		return nil, 0
	}
	if f.blocked(p.name, there.name) || f.blocked(there.name, p.name) || f.lost() || f.lost() {
		return nil, 0
	}
	return there, f.delay(p.name, there.name) + f.delay(there.name, p.name)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// meet is the handshake: the one who was dialled admits, the one who dials vouches.
func (p *Port) meet(ctx context.Context, there *Port) error {
	ctx, cancel := context.WithTimeout(ctx, admitTime)
	defer cancel()
	if !there.member.Known(p.id) {
		if err := there.member.Admit(ctx, p.id, p.member.Credential()); err != nil {
			return fmt.Errorf("refused: %w", err)
		}
	}
	if !p.member.Known(there.id) {
		if err := p.member.Vouch(ctx, there.id, there.member.Credential()); err != nil {
			return fmt.Errorf("not trusted: %w", err)
		}
	}
	for _, side := range [][2]*Port{{p, there}, {there, p}} {
		side[0].mu.Lock()
		r := side[0].remote(side[1].id)
		fresh := !r.met
		r.met, r.addr = true, side[1].addr
		side[0].mu.Unlock()
		if fresh && side[0] == there { // who came to us by itself can be dialled
			r.small.Retry()
			r.bulk.Retry()
		}
	}
	return nil
}

// readBuffer is less than p2p has: large fleets have many streams that say little.
const readBuffer = 512

type readerKey struct {
	peer     membership.NodeID
	protocol string
}

// reader is the one stream of a lane that is read; a newer one takes its place.
type reader struct {
	stream *stream
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

// serve reads the lanes of peers.
func (p *Port) serve(l *listener, protocol string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s := c.(*stream)
		if !p.start(func() { p.read(s, protocol) }) {
			_ = s.Reset()
		}
	}
}

// read delivers the frames of a lane until its stream ends, beginning when the stream before has ended, as mesh/p2p does.
func (p *Port) read(s *stream, protocol string) {
	key := readerKey{s.remote, protocol}
	r := &reader{stream: s, done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(p.ctx)
	defer r.cancel()
	defer close(r.done)
	defer func() { _ = s.Reset() }()
	p.mu.Lock()
	old := p.readers[key]
	p.readers[key] = r
	p.mu.Unlock()
	if old != nil {
		old.cancel()
		_ = old.stream.Reset()
		<-old.done
	}
	from := bufio.NewReaderSize(s, readBuffer)
	for {
		data, err := p2p.ReadFrame(from)
		if err != nil {
			return
		}
		select {
		case p.frames <- mesh.Frame{From: s.remote, Data: data}:
		case <-r.ctx.Done():
			return
		}
	}
}
