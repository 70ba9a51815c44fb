package membership

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/mr-tron/base58"
)

// NodeID names a node: the libp2p peer id of its Ed25519 key, in base58 (52 characters, "12D3KooW…"). It is the only
// identity a node has; the gossip name is the same string.
type NodeID string

// idPrefix is the identity multihash of a libp2p public-key protobuf for Ed25519 (libp2p peer-ids specification).
var idPrefix = []byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

// ErrNodeID is returned for a string that is not the peer id of an Ed25519 key.
var ErrNodeID = errors.New("not a node id")

// IDOf returns the node id of a public key of ed25519.PublicKeySize bytes.
func IDOf(key ed25519.PublicKey) NodeID {
	return NodeID(base58.Encode(append(append(make([]byte, 0, 38), idPrefix...), key...)))
}

// Key returns the public key that the id is.
func (id NodeID) Key() (ed25519.PublicKey, error) {
	if len(id) > 64 {
		return nil, fmt.Errorf("%w: %d characters", ErrNodeID, len(id))
	}
	raw, err := base58.Decode(string(id))
	if err != nil || len(raw) != len(idPrefix)+ed25519.PublicKeySize || string(raw[:len(idPrefix)]) != string(idPrefix) {
		return nil, fmt.Errorf("%w: %q", ErrNodeID, string(id))
	}
	return ed25519.PublicKey(raw[len(idPrefix):]), nil
}

// Short is the end of the id, for people: the part that differs between nodes.
func (id NodeID) Short() string {
	if len(id) <= 8 {
		return string(id)
	}
	return string(id[len(id)-8:])
}
