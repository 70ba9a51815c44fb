//go:build fastverify

package membership

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"sync"
	"sync/atomic"
)

// For simulations, in which all nodes are in one process, and verify what was signed in it. Signatures that were made here, or
// verified before, are known by a hash. Those of what nodes say all the time, and that nothing is named by, are stand-ins of the
// same length: anybody can make them, so whoever forges must do it with a key of its own. No answer is other than with the real
// ones, so a course is the same but for the bytes of these signatures.

// RealSignatures turns the memory of signatures and the stand-ins off.
var RealSignatures atomic.Bool

// standIn is the signature of a message of a kind that nodes say all the time, or nothing.
func standIn(key ed25519.PublicKey, message []byte) []byte {
	domain, _, _ := bytes.Cut(message, []byte{0})
	switch Domain(domain) {
	case DomainAccepted, DomainPromised, DomainIncarnation, DomainNodeLog, DomainKept:
		half := idOfSignature(key, message, nil)
		return append(half[:], half[:]...)
	}
	return nil
}

// maxKnown bounds each of the two generations of what is remembered.
const maxKnown = 1 << 16

type knownSignatures struct {
	mu       sync.Mutex
	new, old map[[32]byte][]byte
}

var (
	made     = knownSignatures{new: map[[32]byte][]byte{}} // key and message -> signature
	verified = knownSignatures{new: map[[32]byte][]byte{}} // key, message and signature -> nothing
)

func (k *knownSignatures) get(id [32]byte) ([]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if sig, ok := k.new[id]; ok {
		return sig, true
	}
	sig, ok := k.old[id]
	return sig, ok
}

func (k *knownSignatures) put(id [32]byte, sig []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.new) >= maxKnown {
		k.new, k.old = map[[32]byte][]byte{}, k.new
	}
	k.new[id] = sig
}

func idOfSignature(key, message, sig []byte) [32]byte {
	h := sha256.New()
	h.Write(key)
	h.Write(sig)
	h.Write(message)
	return [32]byte(h.Sum(nil))
}

func sign(key ed25519.PrivateKey, message []byte) []byte {
	if RealSignatures.Load() {
		return ed25519.Sign(key, message)
	}
	public := ed25519.PublicKey(key[ed25519.SeedSize:])
	if sig := standIn(public, message); sig != nil {
		return sig
	}
	id := idOfSignature(public, message, nil)
	if sig, ok := made.get(id); ok {
		return sig
	}
	sig := ed25519.Sign(key, message)
	made.put(id, sig)
	verified.put(idOfSignature(public, message, sig), nil)
	return sig
}

func verify(key ed25519.PublicKey, message, sig []byte) bool {
	if RealSignatures.Load() || len(sig) != ed25519.SignatureSize {
		return ed25519.Verify(key, message, sig)
	}
	if want := standIn(key, message); want != nil {
		return bytes.Equal(sig, want)
	}
	id := idOfSignature(key, message, sig)
	if _, ok := verified.get(id); ok {
		return true
	}
	ok := ed25519.Verify(key, message, sig)
	if ok {
		verified.put(id, nil)
	}
	return ok
}
