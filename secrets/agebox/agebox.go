// Package agebox encrypts secrets with age (age-encryption.org/v1). What is for a node is encrypted to its Ed25519 key, as age
// does for SSH keys of that kind, so that a node needs no second key and no operator has to vouch for one.
package agebox

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"shoal/membership"
	"shoal/secrets"
	"shoal/store"
)

// Opener opens what is encrypted to this node. It is all that is ever done with the node's private key here, so that whoever has
// the key may be another process.
type Opener interface {
	// Open returns at most limit bytes.
	Open(sealed []byte, limit int) ([]byte, error)
}

// NodeKey is an Opener that has the key itself.
type NodeKey struct{ identity *agessh.Ed25519Identity }

// NewNodeKey returns the Opener of a key.
func NewNodeKey(key ed25519.PrivateKey) (NodeKey, error) {
	identity, err := agessh.NewEd25519Identity(key)
	return NodeKey{identity}, err
}

// Open implements Opener.
func (k NodeKey) Open(sealed []byte, limit int) ([]byte, error) {
	return open(sealed, k.identity, limit)
}

func open(sealed []byte, identity age.Identity, limit int) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), identity)
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("decrypt: more than %d bytes", limit)
	}
	return data, nil
}

func seal(data []byte, to ...age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to...)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// recipient of a node. A key that nothing can be encrypted to (a point of low order, which is no key of an honest machine) is an
// error.
func recipient(id membership.NodeID) (age.Recipient, error) {
	key, err := id.Key()
	if err != nil {
		return nil, err
	}
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", id.Short(), err)
	}
	r, err := agessh.NewEd25519Recipient(public)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", id.Short(), err)
	}
	if _, err := r.Wrap(make([]byte, 16)); err != nil {
		return nil, fmt.Errorf("node %s: nothing can be encrypted to its key: %w", id.Short(), err)
	}
	return r, nil
}

// Seal encrypts a value under a new key pair, and wraps the key for members; s.Public and s.Value are filled in. left are those to
// whose keys nothing can be encrypted, and those over secrets.MaxRecipients.
func Seal(s secrets.Statement, value []byte, members []membership.Member) (sealed []byte, left []membership.Member, err error) {
	if len(value) == 0 || len(value) > secrets.MaxValue {
		return nil, nil, fmt.Errorf("a value of %d bytes, 1 to %d", len(value), secrets.MaxValue)
	}
	pair, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, nil, err
	}
	s.Public = pair.Recipient().String()
	if s.Value, err = seal(value, pair.Recipient()); err != nil {
		return nil, nil, err
	}
	to, left := recipients(members)
	sealed, err = secrets.Encode(s, func(statement store.Hash) ([]byte, error) {
		key, err := secrets.EncodeKey(secrets.Key{Statement: statement, Private: pair.String()})
		if err != nil || len(to) == 0 {
			return nil, errors.Join(err, errNobody(len(to)))
		}
		return seal(key, to...)
	})
	return sealed, left, err
}

// ErrNobody is returned for a secret that no node may have: its key would be lost.
var ErrNobody = errors.New("no node of the environment may have it, and so nobody could hand it on")

func errNobody(n int) error {
	if n == 0 {
		return ErrNobody
	}
	return nil
}

func recipients(members []membership.Member) (to []age.Recipient, left []membership.Member) {
	for _, m := range members {
		r, err := recipient(m.ID)
		if err != nil || len(to) >= secrets.MaxRecipients {
			left = append(left, m)
			continue
		}
		to = append(to, r)
	}
	return to, left
}

// OpenKey opens a Key that is wrapped for this node, and checks that it is that of the secret: the statement that it names, and
// the private half of the statement's public one.
func OpenKey(s secrets.Sealed, wrapped []byte, by Opener) (secrets.Key, error) {
	data, err := by.Open(wrapped, secrets.MaxWrapped)
	if err != nil {
		return secrets.Key{}, fmt.Errorf("%w: %w", secrets.ErrLocked, err)
	}
	key, err := secrets.DecodeKey(data, s.Hash)
	if err != nil {
		return secrets.Key{}, err
	}
	_, err = pairOf(s, key)
	return key, err
}

func pairOf(s secrets.Sealed, key secrets.Key) (*age.X25519Identity, error) {
	pair, err := age.ParseX25519Identity(key.Private)
	if err != nil {
		return nil, fmt.Errorf("%w: malformed", secrets.ErrKey) // the error would show it
	}
	if pair.Recipient().String() != s.Public {
		return nil, fmt.Errorf("%w: not the half of %s", secrets.ErrKey, s.Public)
	}
	return pair, nil
}

// Reveal decrypts a value with its key.
func Reveal(s secrets.Sealed, key secrets.Key) ([]byte, error) {
	pair, err := pairOf(s, key)
	if err != nil {
		return nil, err
	}
	return open(s.Value, pair, secrets.MaxValue)
}

// Wrap wraps a key for one node. Whether that may have it is for the caller to say.
func Wrap(key secrets.Key, to membership.NodeID) ([]byte, error) {
	r, err := recipient(to)
	if err != nil {
		return nil, err
	}
	data, err := secrets.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	return seal(data, r)
}
