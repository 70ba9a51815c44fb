package gossip

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"shoal/membership"
)

// A packet is a byte for its form, a nonce of 12 bytes, and what AES-GCM makes of the rest: the form in which memberlist seals packets
// itself. It is done here because here it can be looked into what comes before memberlist acts on it (guard.go), because memberlist's
// own way takes a second form whose padding it does not check, and because serf lets whoever can send a packet change memberlist's
// keyring. QUIC's packets are told from these by the second highest bit of the first byte.
const (
	sealForm     = 1
	sealNonce    = 12
	sealOverhead = 1 + sealNonce + 16
)

var errUnsealed = errors.New("no key opens it")

// seals are the keys in use: the first to seal with, all to open with.
type seals struct {
	keys    atomic.Pointer[sealKeys]
	refused atomic.Uint64 // packets that no key opened
}

type sealKeys struct {
	raw   [][]byte
	aeads []cipher.AEAD
}

// use takes the place of the keys before. Without a key nothing goes out and nothing comes in.
func (s *seals) use(keys [][]byte) error {
	if old := s.keys.Load(); old != nil && slices.EqualFunc(old.raw, keys, bytes.Equal) {
		return nil
	}
	next := &sealKeys{}
	for _, key := range keys {
		if len(key) != membership.GossipKeySize {
			return fmt.Errorf("gossip key of %d bytes", len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return err
		}
		next.raw, next.aeads = append(next.raw, bytes.Clone(key)), append(next.aeads, aead)
	}
	s.keys.Store(next)
	return nil
}

func (s *seals) seal(plain []byte) ([]byte, error) {
	k := s.keys.Load()
	if k == nil || len(k.aeads) == 0 {
		return nil, errUnsealed
	}
	out := make([]byte, 1+sealNonce, len(plain)+sealOverhead)
	out[0] = sealForm
	if _, err := rand.Read(out[1:]); err != nil {
		return nil, err
	}
	return k.aeads[0].Seal(out, out[1:1+sealNonce], plain, nil), nil
}

func (s *seals) open(sealed []byte) ([]byte, error) {
	k := s.keys.Load()
	if k == nil || len(sealed) <= sealOverhead || sealed[0] != sealForm {
		s.refused.Add(1)
		return nil, errUnsealed
	}
	nonce, text := sealed[1:1+sealNonce], sealed[1+sealNonce:]
	for _, aead := range k.aeads {
		if plain, err := aead.Open(nil, nonce, text, nil); err == nil {
			return plain, nil
		}
	}
	s.refused.Add(1)
	return nil, errUnsealed
}
