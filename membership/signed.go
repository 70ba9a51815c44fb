package membership

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"shoal/internal/codec"
)

// Domain separates what a key signs, so that a signature of one kind of record is worth nothing as another.
type Domain string

// The kinds of signed records. The number is the version of the format.
const (
	DomainStatement  Domain = "shoal/statement/1"
	DomainGrant      Domain = "shoal/grant/1"
	DomainTicket     Domain = "shoal/ticket/1"
	DomainRedemption Domain = "shoal/redemption/1"
	DomainRevocation Domain = "shoal/revocation/1"
	DomainRevision   Domain = "shoal/revision/1"
	DomainAccepted   Domain = "shoal/accepted/1"
	DomainNodeLog    Domain = "shoal/nodelog/1"
	DomainKept       Domain = "shoal/kept/1"
	DomainPromised   Domain = "shoal/promised/1"
	DomainRecovery   Domain = "shoal/recovery/1"
	// DomainIncarnation is a node's word for the disk and the start that it is in.
	DomainIncarnation Domain = "shoal/incarnation/1"
	// DomainFresh is an acceptor's answer to a challenge: how far it is.
	DomainFresh Domain = "shoal/fresh/1"
)

// MaxSignatures bounds the signatures of one record that are looked at.
const MaxSignatures = 64

// ErrSignature is returned for a record that a signature does not fit.
var ErrSignature = errors.New("bad signature")

// Signature is one key's word for a record.
type Signature struct {
	Key ed25519.PublicKey `cbor:"1,keyasint"`
	Sig []byte            `cbor:"2,keyasint"`
}

// Signed is a record as it was signed: its domain, its bytes, and who vouches for them. It travels and is stored like
// that, and is never encoded anew.
type Signed struct {
	Domain     Domain      `cbor:"1,keyasint"`
	Body       []byte      `cbor:"2,keyasint"`
	Signatures []Signature `cbor:"3,keyasint"`
}

// Sign encodes record and signs it with each key.
func Sign(domain Domain, record any, keys ...ed25519.PrivateKey) (Signed, error) {
	body, err := codec.Marshal(record)
	if err != nil {
		return Signed{}, err
	}
	s := Signed{Domain: domain, Body: body}
	for _, key := range keys {
		s.Signatures = append(s.Signatures, Signature{
			Key: key.Public().(ed25519.PublicKey),
			Sig: sign(key, s.message()),
		})
	}
	return s, nil
}

// Unsigned encodes a record for others to sign.
func Unsigned(domain Domain, record any) (Signed, error) { return Sign(domain, record) }

// Endorsed is s with the signature of one key more, an Ed25519 key. The key may be far away, such as in an agent.
func (s Signed) Endorsed(signer crypto.Signer) (Signed, error) {
	key, ok := signer.Public().(ed25519.PublicKey)
	if !ok {
		return s, fmt.Errorf("sign: a key of type %T, an Ed25519 key is needed", signer.Public())
	}
	var sig []byte
	var err error
	if private, here := signer.(ed25519.PrivateKey); here {
		sig = sign(private, s.message())
	} else if sig, err = signer.Sign(nil, s.message(), crypto.Hash(0)); err != nil {
		return s, fmt.Errorf("sign: %w", err)
	}
	return s.Merged(Signed{Domain: s.Domain, Body: s.Body, Signatures: []Signature{{Key: key, Sig: sig}}}), nil
}

// Merged is s with those signatures of other that it lacks, when that is the same record.
func (s Signed) Merged(other Signed) Signed {
	if s.Domain != other.Domain || !bytes.Equal(s.Body, other.Body) {
		return s
	}
	s.Signatures = slices.Clone(s.Signatures)
	for _, sig := range other.Signatures {
		if !slices.ContainsFunc(s.Signatures, func(have Signature) bool { return have.Key.Equal(sig.Key) }) {
			s.Signatures = append(s.Signatures, sig)
		}
	}
	return s
}

// Open checks the domain and every signature, decodes the body into record, and returns the distinct keys that signed.
// Whether those keys had the right to is the caller's question.
func (s Signed) Open(domain Domain, record any) ([]ed25519.PublicKey, error) {
	if s.Domain != domain {
		return nil, fmt.Errorf("%w: a record of kind %q where %q is expected", ErrSignature, s.Domain, domain)
	}
	if len(s.Signatures) == 0 || len(s.Signatures) > MaxSignatures {
		return nil, fmt.Errorf("%w: %d signatures", ErrSignature, len(s.Signatures))
	}
	var keys []ed25519.PublicKey
	for _, sig := range s.Signatures {
		if len(sig.Key) != ed25519.PublicKeySize || !verify(sig.Key, s.message(), sig.Sig) {
			return nil, fmt.Errorf("%w of key %x", ErrSignature, sig.Key)
		}
		if !containsKey(keys, sig.Key) {
			keys = append(keys, sig.Key)
		}
	}
	return keys, codec.Unmarshal(s.Body, record)
}

// message is what is signed: the domain, a zero byte, the body.
func (s Signed) message() []byte {
	return append(append([]byte(s.Domain), 0), s.Body...)
}

func containsKey(keys []ed25519.PublicKey, key ed25519.PublicKey) bool {
	for _, k := range keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}
