package membership

import (
	"crypto/ed25519"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// asStandard are the answers of crypto/ed25519, to the byte: two members that see the same signature must never differ about it.
var asStandard = &voi.Options{Verify: voi.VerifyOptionsStdLib}

// verifySignature is ed25519.Verify in half of its time, by the vector instructions of the processor: a third of what a head cost was
// the verifying of its signatures. Nothing that it handles is secret; what signs is crypto/ed25519. See
// docs/decisions/signatures.md.
func verifySignature(key ed25519.PublicKey, message, sig []byte) bool {
	return voi.VerifyWithOptions(voi.PublicKey(key), message, sig, asStandard)
}
