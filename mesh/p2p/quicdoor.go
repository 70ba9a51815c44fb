package p2p

import (
	"context"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
)

// refusedCode is the application error code of QUIC connections that do not pass the door.
const refusedCode = quic.ApplicationErrorCode(0x5e)

// quicDoor is the door of QUIC connections. libp2p's transport calls it when the peer's key is proved and before
// anything else can use the connection.
type quicDoor struct{ door *door }

// InterceptSecured checks the certificate that the handshake brought, and says why when it closes.
func (g *quicDoor) InterceptSecured(dir network.Direction, p peer.ID, c network.ConnMultiaddrs) bool {
	var conn *quic.Conn
	as, ok := c.(interface{ As(any) bool })
	if !ok || !as.As(&conn) {
		return false
	}
	certs := conn.ConnectionState().TLS.PeerCertificates
	if len(certs) == 0 {
		return false
	}
	err := g.door.check(context.Background(), dir, p, certs[0])
	if err != nil {
		reason := err.Error()
		_ = conn.CloseWithError(refusedCode, reason[:min(len(reason), maxReason)])
	}
	return err == nil
}

// The other questions of a connection gater are not asked or always answered with yes.

func (g *quicDoor) InterceptPeerDial(peer.ID) bool               { return true }
func (g *quicDoor) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }
func (g *quicDoor) InterceptAccept(network.ConnMultiaddrs) bool  { return true }
func (g *quicDoor) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) {
	return true, 0
}
