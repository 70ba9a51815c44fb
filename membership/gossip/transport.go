package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"shoal/membership"
)

const (
	packetsWaiting = 256
	streamsWaiting = 16
	maxPacket      = 64 << 10
)

// transport is memberlist's view of the network. Its channels are never closed: memberlist does not expect it.
type transport struct {
	net     Network
	at      netip.AddrPort
	conn    net.PacketConn
	streams net.Listener
	seals   *seals
	guard   *guard
	packets chan *memberlist.Packet
	conns   chan net.Conn
	done    chan struct{}
	work    sync.WaitGroup
	once    sync.Once
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(n Network, at netip.AddrPort, s *seals, g *guard) (*transport, error) {
	listener, err := n.Listen(protocol)
	if err != nil {
		return nil, err
	}
	t := &transport{
		net: n, at: at, conn: n.PacketConn(), streams: listener, seals: s, guard: g,
		packets: make(chan *memberlist.Packet, packetsWaiting),
		conns:   make(chan net.Conn, streamsWaiting),
		done:    make(chan struct{}),
	}
	t.work.Go(t.readPackets)
	t.work.Go(t.acceptStreams)
	return t, nil
}

// readPackets drops what memberlist is too slow for, as UDP would.
func (t *transport) readPackets() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.conn.ReadFrom(buf)
		if err != nil {
			if t.closing() || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
				return
			}
			select { // a passing error must not spin
			case <-time.After(10 * time.Millisecond):
				continue
			case <-t.done:
				return
			}
		}
		now := time.Now()
		plain, err := t.seals.open(buf[:n])
		if err != nil {
			continue
		}
		if plain = t.guard.packet(plain, from.String(), now); plain == nil {
			continue
		}
		packet := &memberlist.Packet{Buf: plain, From: from, Timestamp: now}
		select {
		case t.packets <- packet:
		default:
		}
	}
}

func (t *transport) acceptStreams() {
	for {
		c, err := t.streams.Accept()
		if err != nil {
			return
		}
		select {
		case t.conns <- &guarded{Conn: c, guard: t.guard}:
		case <-t.done:
			c.Close()
			return
		}
	}
}

func (t *transport) closing() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// FinalAdvertiseAddr is the address for the others.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IP(t.at.Addr().AsSlice()), int(t.at.Port()), nil
}

// WriteTo sends a packet.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, opError("write", err)
	}
	sealed, err := t.seals.seal(b)
	if err != nil {
		return time.Time{}, opError("write", err)
	}
	if _, err := t.conn.WriteTo(sealed, net.UDPAddrFromAddrPort(to)); err != nil {
		return time.Time{}, opError("write", err)
	}
	return time.Now(), nil
}

// WriteToAddress sends a packet. To one that is no member any more nothing goes: memberlist does not know of that before it misses it.
func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	if addr.Name != "" && !t.guard.member(addr.Name) {
		return time.Now(), nil // as if it were lost
	}
	return t.WriteTo(b, addr.Addr)
}

// DialTimeout cannot be: a stream goes to a node, not to an address.
func (t *transport) DialTimeout(addr string, _ time.Duration) (net.Conn, error) {
	return nil, opError("dial", fmt.Errorf("no node named for %s", addr))
}

// DialAddressTimeout opens a stream to the named node.
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	id := membership.NodeID(addr.Name)
	if id == "" {
		return t.DialTimeout(addr.Addr, timeout)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	t.net.Learn(id, addr.Addr)
	c, err := t.net.DialStream(ctx, id, protocol)
	if err != nil {
		return nil, opError("dial", err)
	}
	return &guarded{Conn: c, guard: t.guard}, nil
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.conns }

// Shutdown stops reading; the network itself goes on.
func (t *transport) Shutdown() error {
	t.once.Do(func() {
		close(t.done)
		t.streams.Close()
		t.conn.Close()
		t.work.Wait()
		for {
			select {
			case c := <-t.conns:
				c.Close()
				continue
			default:
			}
			return
		}
	})
	return nil
}

// opError is the kind of error that memberlist looks into to tell a dead network from a dead peer.
func opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "shoal", Err: err}
}

// advertised is where others find us: as configured, or where we listen, or, when that is everywhere, the first private
// address of this machine, or else its first that is not loopback.
func advertised(configured, listening string) (netip.AddrPort, error) {
	if configured != "" {
		return netip.ParseAddrPort(configured)
	}
	at, err := netip.ParseAddrPort(listening)
	if err != nil || !at.Addr().IsUnspecified() {
		return at, err
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return at, err
	}
	return netip.AddrPortFrom(pickAddr(addrs, at.Addr().Is4()), at.Port()), nil
}

func pickAddr(addrs []net.Addr, only4 bool) netip.Addr {
	best, rank := netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := prefix.Addr().Unmap()
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() || (only4 && !ip.Is4()) {
			continue
		}
		if r := rankOf(ip); r > rank {
			best, rank = ip, r
		}
	}
	return best
}

func rankOf(ip netip.Addr) int {
	switch {
	case ip.IsPrivate() && ip.Is4():
		return 4
	case ip.IsPrivate():
		return 3
	case ip.Is4():
		return 2
	}
	return 1
}

// levels sorts the lines of memberlist and serf, which name their level in brackets, into a structured log. Their
// warnings are about the weather.
type levels struct{ log *slog.Logger }

func (l levels) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	if rest, ok := strings.CutPrefix(text, "[ERR] "); ok {
		text, level = rest, slog.LevelInfo
	}
	l.log.Log(context.Background(), level, text)
	return len(line), nil
}
