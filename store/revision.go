package store

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"

	"shoal/internal/codec"
	"shoal/membership"
)

// MaxMessage is the longest message of a revision in bytes.
const MaxMessage = 4096

// ErrUnpublished is returned for a revision that nobody with the right to publish its environment signed.
var ErrUnpublished = errors.New("not signed by a publisher of this environment")

// Kind says what a revision is for.
type Kind string

// The kinds of revisions.
const (
	KindPush     Kind = "push"
	KindRollback Kind = "rollback"
)

// Revision is one version of an environment's state tree. Version is the parent's plus one, so nobody can run ahead.
type Revision struct {
	Env      string `cbor:"1,keyasint"`
	Version  uint64 `cbor:"2,keyasint"`
	Parent   Hash   `cbor:"3,keyasint"` // zero for version 1
	Manifest Hash   `cbor:"4,keyasint"`
	Author   string `cbor:"5,keyasint"` // as the publisher calls itself; the key is what counts
	Message  string `cbor:"6,keyasint"`
	Kind     Kind   `cbor:"7,keyasint"`
	Time     int64  `cbor:"8,keyasint"` // Unix seconds on the publisher's clock; for people only
	// Electorate, in version 1: the ElectorateHash of those who may decide who the acceptors are. Empty: the publisher does not say.
	Electorate string `cbor:"9,keyasint,omitempty"`
}

// Publishers answers who may publish what; membership.Chain is one.
type Publishers interface {
	Publishes(key ed25519.PublicKey, env string) bool
}

// SealRevision signs r and returns the bytes of the object that it is on the ring; their hash is the revision's id.
func SealRevision(r Revision, key crypto.Signer) ([]byte, error) {
	signed, err := membership.Unsigned(membership.DomainRevision, r)
	if err == nil {
		signed, err = signed.Endorsed(key)
	}
	if err != nil {
		return nil, err
	}
	return codec.Marshal(signed)
}

// OpenRevision decodes the object of a revision and checks its form, its signature and that a publisher of its
// environment made it.
func OpenRevision(object []byte, who Publishers) (Revision, error) {
	if m, ok := who.(*Remembering); ok {
		return m.open(object)
	}
	var signed membership.Signed
	var r Revision
	if err := codec.Unmarshal(object, &signed); err != nil {
		return r, fmt.Errorf("revision: %w", err)
	}
	keys, err := signed.Open(membership.DomainRevision, &r)
	if err != nil {
		return r, fmt.Errorf("revision: %w", err)
	}
	if err := r.check(); err != nil {
		return r, err
	}
	for _, key := range keys {
		if who.Publishes(key, r.Env) {
			return r, nil
		}
	}
	return r, fmt.Errorf("revision %d of %s: %w", r.Version, r.Env, ErrUnpublished)
}

// Remembering are publishers whose newest revisions need not be verified again and again: one passes by as it is pushed,
// accepted, certified and told. It belongs to one goroutine, and to publishers that do not change.
type Remembering struct {
	Publishers
	opened map[Hash]Revision
}

// maxOpened bounds the revisions that are remembered.
const maxOpened = 512

// Remember returns publishers that remember.
func Remember(who Publishers) *Remembering { return &Remembering{who, map[Hash]Revision{}} }

func (m *Remembering) open(object []byte) (Revision, error) {
	h := HashOf(object)
	if r, ok := m.opened[h]; ok {
		return r, nil
	}
	r, err := OpenRevision(object, m.Publishers)
	if err == nil {
		if len(m.opened) >= maxOpened {
			clear(m.opened)
		}
		m.opened[h] = r
	}
	return r, err
}

func (r Revision) check() error {
	switch {
	case CheckEnv(r.Env) != nil:
		return fmt.Errorf("revision: %w", CheckEnv(r.Env))
	case r.Kind != KindPush && r.Kind != KindRollback:
		return fmt.Errorf("revision %d: a kind that is not known: %.32q", r.Version, r.Kind)
	case r.Version == 0:
		return errors.New("revision: version 0")
	case (r.Version == 1) != r.Parent.IsZero():
		return fmt.Errorf("revision %d: only the first has no parent", r.Version)
	case len(r.Electorate) > 0 && (r.Version != 1 || len(r.Electorate) != 2*len(Hash{})):
		return fmt.Errorf("revision %d: an electorate of %d bytes", r.Version, len(r.Electorate))
	case len(r.Message) > MaxMessage || len(r.Author) > 256:
		return fmt.Errorf("revision %d: message or author too long", r.Version)
	}
	return nil
}

// MaxEnv is the longest name of an environment in bytes.
const MaxEnv = 64

// CheckEnv refuses a name of an environment that is not of a-z, 0-9 and hyphens: names go into keys, file names and
// terminals, and whoever signs one need not be the one who sees it.
func CheckEnv(name string) error {
	for i := range len(name) {
		if c := name[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fmt.Errorf("an environment is named by a-z, 0-9 and hyphens, not %.*q", MaxEnv, name)
		}
	}
	if name == "" || len(name) > MaxEnv {
		return fmt.Errorf("environment name of %d bytes, 1 to %d", len(name), MaxEnv)
	}
	return nil
}
