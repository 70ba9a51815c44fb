package membership

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"time"
)

// Grant is the operators' word that a node belongs to the mesh, and what it may be.
type Grant struct {
	Mesh     MeshID            `cbor:"1,keyasint"`
	Node     NodeID            `cbor:"2,keyasint"`
	Name     string            `cbor:"3,keyasint"`
	Tags     map[string]string `cbor:"4,keyasint,omitempty"`
	Zone     string            `cbor:"5,keyasint,omitempty"`
	NotAfter int64             `cbor:"6,keyasint,omitempty"` // Unix seconds; 0: never ends
	Serial   uint64            `cbor:"7,keyasint,omitempty"` // of several grants to a node the highest holds
}

// Revocation takes a node's place away for good, whatever grants it has or will have. A machine that is to come back
// makes a new key.
type Revocation struct {
	Mesh MeshID `cbor:"1,keyasint"`
	Node NodeID `cbor:"2,keyasint"`
	Time int64  `cbor:"3,keyasint,omitempty"` // Unix seconds, for people
	Why  string `cbor:"4,keyasint,omitempty"` // at most MaxTagBytes, for people
}

// SignGrant checks g and signs it.
func SignGrant(g Grant, operators ...ed25519.PrivateKey) (Signed, error) {
	if err := g.check(); err != nil {
		return Signed{}, fmt.Errorf("sign grant: %w", err)
	}
	return Sign(DomainGrant, g, operators...)
}

// SignRevocation checks v and signs it.
func SignRevocation(v Revocation, operators ...ed25519.PrivateKey) (Signed, error) {
	if err := v.check(); err != nil {
		return Signed{}, fmt.Errorf("sign revocation: %w", err)
	}
	return Sign(DomainRevocation, v, operators...)
}

func (g Grant) check() error {
	if _, err := g.Node.Key(); err != nil {
		return err
	}
	if err := CheckName(g.Name); err != nil {
		return err
	}
	if g.NotAfter < 0 {
		return fmt.Errorf("%w: not after %d", ErrLimit, g.NotAfter)
	}
	if err := checkText("zone", g.Zone); err != nil {
		return err
	}
	return CheckTags(g.Tags)
}

func (v Revocation) check() error {
	if _, err := v.Node.Key(); err != nil {
		return err
	}
	return checkText("reason", v.Why)
}

// expired tells whether the grant ended before now.
func (g Grant) expired(now time.Time) bool {
	return g.NotAfter != 0 && now.Unix() > g.NotAfter
}

// member is the grant as a line of the roster.
func (g Grant) member() Member {
	m := Member{ID: g.Node, Name: g.Name, Tags: maps.Clone(g.Tags), Zone: g.Zone}
	if g.NotAfter != 0 {
		m.Expires = time.Unix(g.NotAfter, 0).UTC()
	}
	return m
}
