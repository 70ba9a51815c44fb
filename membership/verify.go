//go:build !fastverify

package membership

import "crypto/ed25519"

func sign(key ed25519.PrivateKey, message []byte) []byte { return ed25519.Sign(key, message) }

func verify(key ed25519.PublicKey, message, sig []byte) bool {
	return ed25519.Verify(key, message, sig)
}
