package p2p

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"shoal/internal/codec"
	"shoal/membership"
)

// ErrRefused is returned when one side does not take the other's credential.
var ErrRefused = errors.New("refused")

var errBusy = errors.New("too many strangers at a time")

// admitTime is how long the owner of the roster may think about a stranger.
const admitTime = 5 * time.Second

// How many strangers are looked at: a rack that is switched on at once must pass.
const (
	strangersPerSecond = 50
	strangersAtOnce    = 200
)

// credentialOID marks the certificate extension that carries a credential. The arc 2.25 needs no registration; whoever
// does not know it skips the extension, which is not critical.
var credentialOID = asn1.ObjectIdentifier{2, 25, 197830443, 1}

// door decides who comes in. Every connection passes it during its handshake, so that a connection that exists is one
// with a member, and no stream has to ask again.
type door struct {
	known func(membership.NodeID) bool
	admit func(context.Context, membership.NodeID, []membership.Signed) error
	vouch func(context.Context, membership.NodeID, []membership.Signed) error
	log   *slog.Logger
	quiet *rate.Limiter // strangers must not be able to fill a log
	pace  *rate.Limiter // nor to keep the owner of the roster busy with signatures
}

// check lets a peer pass that is known, or whose certificate carries a credential that the owner takes.
func (d *door) check(ctx context.Context, dir network.Direction, id peer.ID, cert *x509.Certificate) error {
	node := membership.NodeID(id.String())
	if d.known(node) {
		return nil
	}
	err := d.ask(ctx, dir, node, cert)
	if err != nil && d.quiet.Allow() {
		d.log.Warn("peer refused", "peer", node, "dir", dir.String(), "err", err)
	}
	return err
}

func (d *door) ask(ctx context.Context, dir network.Direction, node membership.NodeID, cert *x509.Certificate) error {
	if !d.pace.Allow() {
		return errBusy
	}
	credential, err := credentialIn(cert)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, admitTime)
	defer cancel()
	if dir == network.DirOutbound {
		return d.vouch(ctx, node, credential)
	}
	return d.admit(ctx, node, credential)
}

// certificate is the template of this node's certificate, with its credential inside.
func certificate(credential []membership.Signed) (*x509.Certificate, error) {
	value, err := codec.Marshal(credential)
	if err != nil {
		return nil, err
	}
	if len(value) > membership.MaxCredential {
		return nil, fmt.Errorf("credential of %d bytes: at most %d", len(value), membership.MaxCredential)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{SerialNumber: serial.String()},
		NotBefore:    now.AddDate(-1, 0, 0), // machines without a clock of their own start in the past
		NotAfter:     now.AddDate(100, 0, 0),
	}
	if len(credential) > 0 {
		template.ExtraExtensions = []pkix.Extension{{Id: credentialOID, Value: value}}
	}
	return template, nil
}

// credentialIn is what a certificate carries; nothing for a peer that shows none.
func credentialIn(cert *x509.Certificate) ([]membership.Signed, error) {
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(credentialOID) {
			continue
		}
		return parseCredential(ext.Value)
	}
	return nil, nil
}

func parseCredential(data []byte) ([]membership.Signed, error) {
	if len(data) > membership.MaxCredential {
		return nil, fmt.Errorf("credential of %d bytes: at most %d", len(data), membership.MaxCredential)
	}
	var credential []membership.Signed
	if err := codec.Unmarshal(data, &credential); err != nil {
		return nil, fmt.Errorf("credential: %w", err)
	}
	return credential, nil
}
