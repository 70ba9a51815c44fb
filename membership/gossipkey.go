package membership

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
)

// GossipKey is a key that the gossip is sealed with. It belongs to the nodes that were evicted when it was made: whoever has the same
// evictions in its roster has the same use for it, and one that is made after the next eviction takes its place.
type GossipKey struct {
	_       struct{} `cbor:",toarray"`
	Era     uint64   // how many nodes were evicted
	Evicted [32]byte // which: the SHA-256 of their ids
	Key     []byte   // GossipKeySize bytes
}

// Evictions names the nodes that were ever evicted: how many, and a hash of who.
type Evictions struct {
	Era uint64
	Set [32]byte
}

// MaxEra bounds the evictions that a key can know of: each is a record of the roster.
const MaxEra = MaxRoster

// FirstGossipKey is the key that came with a mesh's tickets, from before anybody was evicted.
func FirstGossipKey(key []byte) GossipKey {
	return GossipKey{Evicted: evictionsOf(nil).Set, Key: bytes.Clone(key)}
}

// MakeGossipKey makes the key that a node proposes when these nodes are evicted: drawn from its own secret key, so that it is made
// once however often the node starts, and nobody else can (HKDF, RFC 5869).
func MakeGossipKey(node ed25519.PrivateKey, mesh MeshID, e Evictions) (GossipKey, error) {
	key, err := hkdf.Key(sha256.New, node.Seed(), slices.Concat(mesh[:], e.Set[:]), "shoal/gossip-key/1", GossipKeySize)
	if err != nil {
		return GossipKey{}, fmt.Errorf("make a gossip key: %w", err)
	}
	return GossipKey{Era: e.Era, Evicted: e.Set, Key: key}, nil
}

// Check checks the form of a key from a peer.
func (k GossipKey) Check() error {
	if len(k.Key) != GossipKeySize || k.Era > MaxEra {
		return fmt.Errorf("gossip key: %w: %d bytes, era %d", ErrLimit, len(k.Key), k.Era)
	}
	return nil
}

// Of tells whether the key was made for exactly these evictions.
func (k GossipKey) Of(e Evictions) bool { return k.Era == e.Era && k.Evicted == e.Set }

// Name is a hash of the key, which is no secret.
func (k GossipKey) Name() [32]byte {
	return sha256.Sum256(slices.Concat([]byte("shoal/gossip-key-name/1"), k.Evicted[:], k.Key))
}

// same tells whether two are one.
func (k GossipKey) same(other GossipKey) bool {
	return k.Era == other.Era && k.Evicted == other.Evicted && bytes.Equal(k.Key, other.Key)
}

// wins orders the keys that several nodes have made for the same evictions: a total order, so that all who know the same keys use
// the same one.
func (k GossipKey) wins(other GossipKey) bool {
	mine, theirs := k.Name(), other.Name()
	return bytes.Compare(mine[:], theirs[:]) < 0
}

// Evictions are those that the roster knows of. They only grow.
func (r *Roster) Evictions() Evictions { return r.evictions }

func evictionsOf(revoked map[NodeID]*record) Evictions {
	h := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(revoked)) {
		fmt.Fprintf(h, "%s\n", id)
	}
	return Evictions{Era: uint64(len(revoked)), Set: [32]byte(h.Sum(nil))}
}
