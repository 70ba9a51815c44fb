// Package p2p carries frames, streams and packets between nodes over libp2p: QUIC on one UDP port and TLS over TCP on the
// port of the same number, under the node's own key.
//
// A connection exists only between nodes that have taken each other's credential, which travels in the certificate of
// the handshake; see docs/decisions/transport.md.
package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	msmux "github.com/multiformats/go-multistream"

	"shoal/membership"
	"shoal/mesh"
)

// The swarms: questions go over QUIC, which needs one round trip to connect and loses no time to a packet lost elsewhere;
// bulk over TCP, which moves a byte for half of the processor's time. Each stands in for the other where it must.
const (
	quicSwarm = iota
	tcpSwarm
)

const (
	framesProtocol protocol.ID = "/shoal/frames/1"
	bulkProtocol   protocol.ID = "/shoal/bulk/1"

	maxPeers       = 2 * membership.MaxRoster
	maxIncoming    = 64 // frames that wait for the owner; past it the streams are not read
	acceptedLength = 16 // streams of one protocol that wait to be accepted
)

// Options are what a transport needs. All but Vouch and Logger must be set.
type Options struct {
	Key  ed25519.PrivateKey
	Bind string // IP:port, for UDP and TCP; port 0 chooses one

	// Known tells whether a peer is a member, so that its credential need not be looked at.
	Known func(membership.NodeID) bool
	// Admit decides on a stranger that has dialled us; the error is told to it. The peer has proved to be that node;
	// that the credential is its own is for Admit to check.
	Admit func(ctx context.Context, peer membership.NodeID, credential []membership.Signed) error
	// Vouch decides on a stranger that we have dialled; without it Admit does. It may be less strict about a ticket that
	// has ended by now: a node that joins knows nobody yet, and whom it meets have joined long ago.
	Vouch func(ctx context.Context, peer membership.NodeID, credential []membership.Signed) error
	// Credential is what we show. It is read once, at the start: those who know us from the roster do not look at it.
	Credential func() []membership.Signed
	Logger     *slog.Logger
}

// Transport implements mesh.Transport.
type Transport struct {
	log     *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	key     ed25519.PrivateKey
	secure  *secure
	self    peer.ID
	swarms  [2]*swarm.Swarm
	store   peerstore.Peerstore
	closers []func() error // in the order of closing
	packets net.PacketConn
	addr    net.UDPAddr
	mux     *msmux.MultistreamMuxer[protocol.ID]
	frames  chan mesh.Frame
	work    sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	peers     map[membership.NodeID]*remote
	readers   map[readerKey]*reader
	listeners map[protocol.ID]*listener
}

// remote is a peer that we can send to.
type remote struct {
	id          peer.ID
	addr        string
	small, bulk *Lane
	tcpOnly     atomic.Int64 // until when (Unix seconds) QUIC is not tried first
}

var _ mesh.Transport = (*Transport)(nil)

// New listens and serves.
func New(o Options) (*Transport, error) {
	if o.Known == nil || o.Admit == nil || o.Credential == nil {
		return nil, errors.New("p2p: Known, Admit and Credential must be set")
	}
	if o.Vouch == nil {
		o.Vouch = o.Admit
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Transport{
		log: o.Logger, key: o.Key, mux: msmux.NewMultistreamMuxer[protocol.ID](),
		frames: make(chan mesh.Frame, maxIncoming),
		peers:  map[membership.NodeID]*remote{}, readers: map[readerKey]*reader{}, listeners: map[protocol.ID]*listener{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.mux.AddHandler(framesProtocol, nil)
	t.mux.AddHandler(bulkProtocol, nil)
	if err := t.assemble(o); err != nil {
		t.cancel()
		return nil, errors.Join(fmt.Errorf("p2p: %w", err), t.closeAll())
	}
	for _, s := range t.swarms {
		s.SetStreamHandler(t.serve)
		s.Notify(&network.NotifyBundle{ConnectedF: t.connected})
	}
	t.work.Go(t.trimLoop)
	return t, nil
}

// Addr is where the transport listens, IP:port, on UDP and TCP.
func (t *Transport) Addr() string { return t.addr.String() }

// PacketConn carries the datagrams on the UDP port that are not QUIC's: those whose first byte has its second highest bit
// unset. Closing the transport closes it.
func (t *Transport) PacketConn() net.PacketConn { return t.packets }

// Frames are the messages of all peers. While nobody takes them the peers' streams are not read.
func (t *Transport) Frames() <-chan mesh.Frame { return t.frames }

// Send queues data for a peer; it must not be changed afterwards.
func (t *Transport) Send(to membership.NodeID, data []byte) error {
	if len(data) == 0 || len(data) > mesh.MaxFrame {
		return fmt.Errorf("send to %s: %w: %d bytes", to.Short(), ErrFrameSize, len(data))
	}
	p, err := t.sendable(to)
	if err != nil {
		return err
	}
	l := p.small
	if len(data) > BulkSize {
		l = p.bulk
	}
	start, err := l.Push(data)
	if start && !t.start(func() { l.Run(t.ctx) }) {
		return net.ErrClosed
	}
	return err
}

func (t *Transport) sendable(to membership.NodeID) (*remote, error) {
	t.mu.Lock()
	p := t.peers[to]
	known := p != nil && p.addr != ""
	t.mu.Unlock()
	if known {
		return p, nil
	}
	p, err := t.remote(to)
	if err != nil {
		return nil, err
	}
	if !t.isConnected(p.id) {
		return nil, fmt.Errorf("send to %s: %w", to.Short(), mesh.ErrUnknownPeer)
	}
	return p, nil
}

func (t *Transport) isConnected(id peer.ID) bool {
	return slices.ContainsFunc(t.swarms[:], func(s *swarm.Swarm) bool { return s.Connectedness(id) == network.Connected })
}

// remote finds or makes the entry of a peer.
func (t *Transport) remote(node membership.NodeID) (*remote, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[node]; p != nil {
		return p, nil
	}
	id, err := peer.Decode(string(node))
	if err != nil {
		return nil, fmt.Errorf("peer %.64q: %w", string(node), membership.ErrNodeID)
	}
	if len(t.peers) >= maxPeers {
		return nil, fmt.Errorf("peer %s: %d are known already", node.Short(), maxPeers)
	}
	p := &remote{id: id}
	p.small = NewLane(func(ctx context.Context) (Stream, error) { return t.openStream(ctx, p, framesProtocol) })
	p.bulk = NewLane(func(ctx context.Context) (Stream, error) { return t.openStream(ctx, p, bulkProtocol) })
	t.peers[node] = p
	return p, nil
}

// Learn says where a peer can be dialled. It is also taken as a hint that dialling is worth it now.
func (t *Transport) Learn(node membership.NodeID, addr string) {
	p, err := t.remote(node)
	if err != nil {
		t.log.Warn("peer not kept", "err", err)
		return
	}
	addrs, err := multiaddrs(addr)
	if err != nil {
		t.log.Warn("address not kept", "peer", node, "addr", addr, "err", err)
		return
	}
	t.mu.Lock()
	changed := p.addr != addr
	p.addr = addr
	t.mu.Unlock()
	if changed {
		t.store.ClearAddrs(p.id)
		t.store.AddAddrs(p.id, addrs, peerstore.PermanentAddrTTL)
	}
	p.retry()
}

func (p *remote) retry() {
	p.small.Retry()
	p.bulk.Retry()
}

// connected ends the back-off towards a peer that came to us by itself.
func (t *Transport) connected(_ network.Network, c network.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[membership.NodeID(c.RemotePeer().String())]; p != nil {
		p.retry()
	}
}

// Drop closes the connections to a peer and forgets its address and what waits for it.
func (t *Transport) Drop(node membership.NodeID) {
	t.mu.Lock()
	p := t.peers[node]
	delete(t.peers, node)
	t.mu.Unlock()
	if p == nil {
		id, err := peer.Decode(string(node))
		if err != nil {
			return
		}
		p = &remote{id: id, small: NewLane(nil), bulk: NewLane(nil)}
	}
	p.small.Clear()
	p.bulk.Clear()
	t.store.ClearAddrs(p.id)
	for _, s := range t.swarms {
		_ = s.ClosePeer(p.id)
	}
}

// start runs f unless the transport is closed; Close waits for it.
func (t *Transport) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.work.Go(f)
	return true
}

// Close ends all connections and waits for what it started.
func (t *Transport) Close() error {
	t.mu.Lock()
	again := t.closed
	t.closed = true
	listeners := t.listeners
	t.listeners = map[protocol.ID]*listener{}
	t.mu.Unlock()
	if again {
		return nil
	}
	t.cancel()
	for _, l := range listeners {
		l.shut()
	}
	err := t.closeAll()
	t.work.Wait()
	close(t.frames)
	return err
}

func (t *Transport) closeAll() error {
	var errs []error
	for _, c := range t.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
