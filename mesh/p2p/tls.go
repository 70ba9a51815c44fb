package p2p

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
)

// securityID names TLS 1.3 with libp2p's key extension, followed by a verdict of each side on the other.
const securityID protocol.ID = "/shoal/tls/1"

const (
	maxReason = 512
	lastWords = time.Second // how long a refusal waits for the other side to have read it
)

// secure is the security of TCP connections: libp2p's TLS identity with the credential in the certificate. Each side
// then tells the other whether it takes it, with the reason when it does not: a TLS alert would say only "bad
// certificate", and a dialler whose handshake ended well would not learn of its refusal until it reads.
type secure struct {
	self     peer.ID
	identity *libp2ptls.Identity
	door     *door
}

func (s *secure) ID() protocol.ID { return securityID }

// SecureInbound is the accepting side.
func (s *secure) SecureInbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	config, keys := s.config(p)
	return s.handshake(ctx, network.DirInbound, insecure, tls.Server(insecure, config), keys)
}

// SecureOutbound is the dialling side; an empty p takes whoever answers and passes the door.
func (s *secure) SecureOutbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	config, keys := s.config(p)
	return s.handshake(ctx, network.DirOutbound, insecure, tls.Client(insecure, config), keys)
}

func (s *secure) config(p peer.ID) (*tls.Config, <-chan crypto.PubKey) {
	config, keys := s.identity.ConfigForPeer(p)
	config.NextProtos = []string{yamux.ID}
	return config, keys
}

func (s *secure) handshake(ctx context.Context, dir network.Direction, raw net.Conn, conn *tls.Conn, keys <-chan crypto.PubKey) (sec.SecureConn, error) {
	c, err := s.authenticate(ctx, conn, keys)
	if err == nil {
		err = s.verdicts(ctx, dir, conn, c.remote)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

func (s *secure) authenticate(ctx context.Context, conn *tls.Conn, keys <-chan crypto.PubKey) (*secureConn, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	var key crypto.PubKey
	select {
	case key = <-keys:
	default:
	}
	if key == nil {
		return nil, errors.New("tls: the peer has proved no key")
	}
	remote, err := peer.IDFromPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &secureConn{Conn: conn, self: s.self, remote: remote, key: key}, nil
}

// verdicts tells the peer what we make of it and hears what it makes of us.
func (s *secure) verdicts(ctx context.Context, dir network.Direction, conn *tls.Conn, remote peer.ID) error {
	deadline := time.Now().Add(2 * admitTime)
	if until, ok := ctx.Deadline(); ok && until.Before(deadline) {
		deadline = until
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	ours := s.door.check(ctx, dir, remote, conn.ConnectionState().PeerCertificates[0])
	if err := writeReason(conn, ours); err != nil {
		return errors.Join(ours, err)
	}
	if ours != nil {
		// The transport resets when it closes, which would overtake the reason.
		_ = conn.SetReadDeadline(time.Now().Add(lastWords))
		_, _ = io.CopyN(io.Discard, conn, 2*maxReason)
		return fmt.Errorf("%w: %w", ErrRefused, ours)
	}
	if err := readReason(conn); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

func writeReason(w io.Writer, reason error) error {
	text := ""
	if reason != nil {
		text = reason.Error()
	}
	text = text[:min(len(text), maxReason)]
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...))
	return err
}

// readReason returns nil when the peer takes us.
func readReason(r io.Reader) error {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return fmt.Errorf("read the peer's verdict: %w", err)
	}
	n := binary.BigEndian.Uint16(size[:])
	if n == 0 {
		return nil
	}
	if n > maxReason {
		return fmt.Errorf("%w by the peer", ErrRefused)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("%w by the peer", ErrRefused)
	}
	return fmt.Errorf("%w by the peer: %q", ErrRefused, text)
}

// secureConn is a TCP connection that has passed the door.
type secureConn struct {
	*tls.Conn
	self, remote peer.ID
	key          crypto.PubKey
}

func (c *secureConn) LocalPeer() peer.ID             { return c.self }
func (c *secureConn) RemotePeer() peer.ID            { return c.remote }
func (c *secureConn) RemotePublicKey() crypto.PubKey { return c.key }
func (c *secureConn) ConnState() network.ConnectionState {
	return network.ConnectionState{StreamMultiplexer: yamux.ID, UsedEarlyMuxerNegotiation: true}
}
