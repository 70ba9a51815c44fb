package p2p

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"shoal/membership"
)

const (
	dialTime  = 5 * time.Second
	portTries = 20 // to find a port that is free for UDP and TCP, when any will do
)

// assemble builds two swarms by hand, one over QUIC and one over TCP: libp2p's own constructor would link and start much that no
// node here needs (identify, relays, hole punching, WebRTC).
func (t *Transport) assemble(o Options) error {
	bind, err := netip.ParseAddrPort(o.Bind)
	if err != nil {
		return fmt.Errorf("bind address: %w", err)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(o.Key)
	if err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	self, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	d := &door{
		known: o.Known, admit: o.Admit, vouch: o.Vouch,
		log: t.log, quiet: rate.NewLimiter(rate.Every(time.Second), 10),
		pace: rate.NewLimiter(strangersPerSecond, strangersAtOnce),
	}
	identity, err := identityOption(o.Credential)
	if err != nil {
		return err
	}
	tlsIdentity, err := libp2ptls.NewIdentity(key, identity)
	if err != nil {
		return err
	}
	t.secure = &secure{self: self, identity: tlsIdentity, door: d}
	guard := newLimits()
	if err := t.buildSwarms(self, guard); err != nil {
		return err
	}
	manager, err := t.quicManager(bind.Addr())
	if err != nil {
		return err
	}
	// A fresh template: each identity adds its own key to the one it is given.
	if identity, err = identityOption(o.Credential); err != nil {
		return err
	}
	overUDP, err := libp2pquic.NewTransport(key, manager, nil, &quicDoor{d}, guard, libp2pquic.WithTLSIdentityOption(identity))
	if err != nil {
		return err
	}
	overTCP, err := t.tcpTransport(guard)
	if err != nil {
		return err
	}
	return t.listen(bind, manager, overUDP, overTCP)
}

func identityOption(credential func() []membership.Signed) (libp2ptls.IdentityOption, error) {
	template, err := certificate(credential())
	if err != nil {
		return nil, err
	}
	return libp2ptls.WithCertTemplate(template), nil
}

// buildSwarms makes the two swarms, which share what is known of peers and the limits.
func (t *Transport) buildSwarms(self peer.ID, guard network.ResourceManager) error {
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		return err
	}
	t.store, t.self = store, self
	for i := range t.swarms {
		t.swarms[i], err = swarm.NewSwarm(self, store, eventbus.NewBus(),
			swarm.WithResourceManager(guard),
			swarm.WithDialTimeout(dialTime),
			swarm.WithDialTimeoutLocal(dialTime),
			swarm.WithDialRanker(swarm.NoDelayDialRanker),
			swarm.WithUDPBlackHoleSuccessCounter(nil),
			swarm.WithIPv6BlackHoleSuccessCounter(nil),
		)
		if err != nil {
			return errors.Join(err, store.Close())
		}
		t.closers = append(t.closers, t.swarms[i].Close)
	}
	t.closers = append(t.closers, t.closePackets, store.Close)
	return nil
}

// quicManager owns the UDP socket. The keys come from the node's, so that a node that was restarted can tell its peers by
// a stateless reset that it knows nothing of their connections any more; they would wait half a minute otherwise.
func (t *Transport) quicManager(bind netip.Addr) (*quicreuse.ConnManager, error) {
	reset, err := hkdf.Key(sha256.New, t.key.Seed(), nil, "shoal/quic/reset", len(quic.StatelessResetKey{}))
	if err != nil {
		return nil, err
	}
	token, err := hkdf.Key(sha256.New, t.key.Seed(), nil, "shoal/quic/token", len(quic.TokenGeneratorKey{}))
	if err != nil {
		return nil, err
	}
	manager, err := quicreuse.NewConnManager(quic.StatelessResetKey(reset), quic.TokenGeneratorKey(token),
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return source(bind), nil }))
	if err != nil {
		return nil, err
	}
	t.closers = append(t.closers, manager.Close)
	return manager, nil
}

// source makes QUIC dial from the socket that it listens on, whatever the routes say.
type source netip.Addr

func (s source) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return net.IP(netip.Addr(s).AsSlice()), nil
}

func (t *Transport) tcpTransport(guard network.ResourceManager) (transport.Transport, error) {
	muxer := *yamux.DefaultTransport
	muxer.MaxIncomingStreams = maxStreams
	muxer.MaxStreamWindowSize = 4 << 20
	up, err := upgrader.New([]sec.SecureTransport{t.secure},
		[]upgrader.StreamMuxer{{ID: yamux.ID, Muxer: &muxer}}, nil, guard, nil)
	if err != nil {
		return nil, err
	}
	return tcp.NewTCPTransport(up, guard, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(dialTime))
}

// listen opens the UDP and the TCP port of the same number.
func (t *Transport) listen(bind netip.AddrPort, manager *quicreuse.ConnManager, overUDP, overTCP transport.Transport) error {
	if err := errors.Join(t.swarms[quicSwarm].AddTransport(overUDP), t.swarms[tcpSwarm].AddTransport(overTCP)); err != nil {
		return err
	}
	for try := 0; ; try++ {
		at, err := freePort(bind)
		if err == nil {
			err = t.listenAt(at, manager)
		}
		if err == nil {
			return nil
		}
		if bind.Port() != 0 || try >= portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listen on %s: %w", at, err)
		}
	}
}

// freePort replaces port 0 by one that is free for both.
func freePort(bind netip.AddrPort) (netip.AddrPort, error) {
	if bind.Port() != 0 {
		return bind, nil
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(bind))
	if err != nil {
		return bind, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return netip.AddrPortFrom(bind.Addr(), uint16(port)), l.Close()
}

func (t *Transport) listenAt(at netip.AddrPort, manager *quicreuse.ConnManager) error {
	addrs, err := multiaddrs(at.String())
	if err != nil {
		return err
	}
	if err := t.swarms[quicSwarm].Listen(addrs[quicSwarm]); err != nil {
		return err
	}
	if err := t.swarms[tcpSwarm].Listen(addrs[tcpSwarm]); err != nil {
		t.swarms[quicSwarm].ListenClose(addrs[quicSwarm])
		return err
	}
	t.addr = *net.UDPAddrFromAddrPort(at)
	conn, err := manager.SharedNonQUICPacketConn("udp", &t.addr)
	if err != nil {
		return err
	}
	t.packets = &packetConn{PacketConn: conn}
	return nil
}

// packetConn may be closed twice, by its user and by the transport: the one below counts.
type packetConn struct {
	net.PacketConn
	once sync.Once
}

func (c *packetConn) Close() error {
	err := error(nil)
	c.once.Do(func() { err = c.PacketConn.Close() })
	return err
}

func (t *Transport) closePackets() error {
	if t.packets == nil {
		return nil
	}
	return t.packets.Close()
}

// multiaddrs are the QUIC and the TCP address of IP:port, in the order of the swarms.
func multiaddrs(addr string) ([]ma.Multiaddr, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	ip := "ip4"
	if ap.Addr().Unmap().Is6() {
		ip = "ip6"
	}
	var addrs []ma.Multiaddr
	for _, form := range []string{"/%s/%s/udp/%d/quic-v1", "/%s/%s/tcp/%d"} {
		a, err := ma.NewMultiaddr(fmt.Sprintf(form, ip, ap.Addr().Unmap(), ap.Port()))
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// Whoami asks who listens at IP:port, and whether we take each other. The answer is authenticated: who listens has proved
// the key of the id. With ErrRefused comes the reason.
func (t *Transport) Whoami(ctx context.Context, addr string) (membership.NodeID, error) {
	id, err := t.whoami(ctx, addr)
	if err != nil {
		return "", fmt.Errorf("ask who is at %s: %w", addr, err)
	}
	return membership.NodeID(id.String()), nil
}
