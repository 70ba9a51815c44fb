package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	msmux "github.com/multiformats/go-multistream"

	"shoal/membership"
	"shoal/mesh"
)

const (
	negotiateTime = 5 * time.Second // how long a peer may take to say what its stream is for
	firstDialTime = 2 * time.Second // before the other swarm is tried
	tcpOnlyTime   = 10 * time.Minute
)

// streamConn is a stream as a net.Conn. The protocol is named along with the first bytes, without a round trip.
type streamConn struct {
	network.Stream
	lazy msmux.LazyConn // nil on the accepting side
}

func (c *streamConn) Read(p []byte) (int, error) {
	if c.lazy != nil {
		return c.lazy.Read(p)
	}
	return c.Stream.Read(p)
}

func (c *streamConn) Write(p []byte) (int, error) {
	if c.lazy != nil {
		return c.lazy.Write(p)
	}
	return c.Stream.Write(p)
}

// Broken tells whether the connection below is closed, before a write finds out.
func (c *streamConn) Broken() bool { return c.Conn().IsClosed() }

func (c *streamConn) LocalAddr() net.Addr  { return nodeAddr(c.Conn().LocalPeer().String()) }
func (c *streamConn) RemoteAddr() net.Addr { return nodeAddr(c.Conn().RemotePeer().String()) }

// nodeAddr is the address of a stream's end: the id of the node.
type nodeAddr string

func (a nodeAddr) Network() string { return "shoal" }
func (a nodeAddr) String() string  { return string(a) }

// openStream opens a stream, over a new connection when there is none, on the swarm that suits the protocol or else on the
// other. It does not use a libp2p host's NewStream, whose negotiation ignores the context.
func (t *Transport) openStream(ctx context.Context, p *remote, proto protocol.ID) (*streamConn, error) {
	first, second := quicSwarm, tcpSwarm
	if proto == bulkProtocol || time.Now().Unix() < p.tcpOnly.Load() {
		first, second = second, first
	}
	quick, cancel := context.WithTimeout(ctx, firstDialTime)
	defer cancel()
	s, err := t.newStream(quick, t.swarms[first], p.id)
	if err != nil && ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		var again error
		if s, again = t.newStream(ctx, t.swarms[second], p.id); again != nil {
			return nil, errors.Join(err, again)
		}
		if err = nil; second == tcpSwarm {
			p.tcpOnly.Store(time.Now().Add(tcpOnlyTime).Unix())
		}
	}
	if err == nil {
		err = s.SetProtocol(proto)
	}
	if err != nil {
		return nil, err
	}
	return &streamConn{s, msmux.NewMSSelect(s, proto)}, nil
}

func (t *Transport) newStream(ctx context.Context, over *swarm.Swarm, id peer.ID) (network.Stream, error) {
	over.Backoff().Clear(id) // the lanes have a back-off of their own
	return over.NewStream(ctx, id)
}

// DialStream opens a stream to a peer, whose address is known or which is connected. The context bounds the dialling;
// deadlines on the stream are the caller's to set. The remote address is the peer's id.
func (t *Transport) DialStream(ctx context.Context, node membership.NodeID, proto string) (net.Conn, error) {
	p, err := t.sendable(node)
	if err != nil {
		return nil, err
	}
	c, err := t.openStream(ctx, p, protocol.ID(proto))
	if err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", proto, node.Short(), err)
	}
	return c, nil
}

// Listen accepts the streams that peers open with a protocol. The remote address of a connection is the peer's id.
func (t *Transport) Listen(proto string) (net.Listener, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := protocol.ID(proto)
	if t.closed {
		return nil, net.ErrClosed
	}
	if t.listeners[id] != nil || id == framesProtocol || id == bulkProtocol {
		return nil, fmt.Errorf("listen for %s: there is a listener", proto)
	}
	l := &listener{accepted: make(chan net.Conn, acceptedLength), done: make(chan struct{})}
	l.addr = nodeAddr(t.self.String())
	l.remove = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.listeners[id] == l {
			delete(t.listeners, id)
			t.mux.RemoveHandler(id)
		}
	}
	t.listeners[id] = l
	t.mux.AddHandler(id, nil)
	return l, nil
}

type listener struct {
	addr     nodeAddr
	accepted chan net.Conn
	done     chan struct{}
	once     sync.Once
	remove   func()
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Addr() net.Addr { return l.addr }

// Close refuses further streams.
func (l *listener) Close() error {
	l.remove()
	l.shut()
	return nil
}

func (l *listener) shut() { l.once.Do(func() { close(l.done) }) }

// serve is called by the swarm, on a goroutine of its own, for each stream of a peer. The peer has passed the door.
func (t *Transport) serve(s network.Stream) {
	if !t.start(func() { t.handle(s) }) {
		_ = s.Reset()
	}
}

func (t *Transport) handle(s network.Stream) {
	_ = s.SetDeadline(time.Now().Add(negotiateTime))
	proto, _, err := t.mux.Negotiate(s)
	if err == nil {
		err = s.SetProtocol(proto)
	}
	if err != nil {
		_ = s.Reset()
		return
	}
	_ = s.SetDeadline(time.Time{})
	if proto == framesProtocol || proto == bulkProtocol {
		t.read(s, proto)
		return
	}
	t.mu.Lock()
	l := t.listeners[proto]
	t.mu.Unlock()
	if l == nil {
		_ = s.Reset()
		return
	}
	select {
	case l.accepted <- &streamConn{Stream: s}:
	default:
		_ = s.Reset()
	}
}

type readerKey struct {
	peer  peer.ID
	proto protocol.ID
}

// reader is the one stream of a lane that is read; a newer one takes its place.
type reader struct {
	stream network.Stream
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

// read delivers the frames of a lane until its stream ends. It begins when the lane's stream before has ended, so that
// frames stay in order.
func (t *Transport) read(s network.Stream, proto protocol.ID) {
	key := readerKey{s.Conn().RemotePeer(), proto}
	r := &reader{stream: s, done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(t.ctx)
	defer r.cancel()
	defer close(r.done)
	defer func() { _ = s.Reset() }()
	t.mu.Lock()
	old := t.readers[key]
	t.readers[key] = r
	t.mu.Unlock()
	defer t.forget(key, r)
	if old != nil {
		old.cancel()
		_ = old.stream.Reset()
		<-old.done
	}
	from := membership.NodeID(key.peer.String())
	for {
		data, err := ReadFrame(s)
		if errors.Is(err, ErrFrameSize) {
			t.log.Warn("stream closed", "peer", from, "err", err)
		}
		if err != nil {
			return
		}
		select {
		case t.frames <- mesh.Frame{From: from, Data: data}:
		case <-r.ctx.Done():
			return
		}
	}
}

func (t *Transport) forget(key readerKey, r *reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.readers[key] == r {
		delete(t.readers, key)
	}
}
