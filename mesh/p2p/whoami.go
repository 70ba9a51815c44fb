package p2p

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	msmux "github.com/multiformats/go-multistream"
)

// whoami goes through the handshake of a TCP connection with no id to expect.
func (t *Transport) whoami(ctx context.Context, addr string) (peer.ID, error) {
	if _, err := netip.ParseAddrPort(addr); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime+admitTime)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := msmux.SelectProtoOrFail(securityID, conn); err != nil {
		return "", err
	}
	secured, err := t.secure.SecureOutbound(ctx, conn, "")
	if err != nil {
		return "", err
	}
	return secured.RemotePeer(), nil
}
