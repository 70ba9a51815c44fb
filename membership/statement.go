package membership

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
)

// MeshID names a mesh: the SHA-256 of the body of its genesis statement.
type MeshID [32]byte

func (id MeshID) String() string { return hex.EncodeToString(id[:]) }

// StatementKind says what a statement of the trust chain does.
type StatementKind string

// The kinds of statements.
const (
	Genesis         StatementKind = "genesis"
	AddOperator     StatementKind = "add_operator"
	RemoveOperator  StatementKind = "remove_operator"
	GrantPublisher  StatementKind = "grant_publisher"
	RevokePublisher StatementKind = "revoke_publisher"
)

// AllEnvs in a publisher's environments stands for every one.
const AllEnvs = "*"

// Statement is one link of the trust chain. Nonce, Threshold and Operators belong to the genesis; Key to all others;
// Envs to GrantPublisher.
type Statement struct {
	Kind      StatementKind       `cbor:"1,keyasint"`
	Mesh      MeshID              `cbor:"2,keyasint"` // zero in the genesis, whose hash it is
	Height    uint64              `cbor:"3,keyasint"`
	Prev      [32]byte            `cbor:"4,keyasint"` // SHA-256 of the body before
	Key       ed25519.PublicKey   `cbor:"5,keyasint,omitempty"`
	Envs      []string            `cbor:"6,keyasint,omitempty"`
	Nonce     []byte              `cbor:"7,keyasint,omitempty"`
	Threshold int                 `cbor:"8,keyasint,omitempty"`
	Operators []ed25519.PublicKey `cbor:"9,keyasint,omitempty"`
}

// NewGenesis begins a mesh: of operators, threshold must sign whatever comes after. The operators of the genesis may
// publish every environment. nonce (16 bytes or more of randomness) keeps apart two meshes of the same operators.
func NewGenesis(nonce []byte, threshold int, operators ...ed25519.PrivateKey) (Signed, error) {
	var keys []ed25519.PublicKey
	for _, key := range operators {
		keys = append(keys, key.Public().(ed25519.PublicKey))
	}
	s, err := ProposeGenesis(nonce, threshold, keys...)
	for _, key := range operators {
		if err == nil {
			s, err = s.Endorsed(key)
		}
	}
	return s, err
}

// ProposeGenesis is a genesis that each of the operators has yet to sign.
func ProposeGenesis(nonce []byte, threshold int, operators ...ed25519.PublicKey) (Signed, error) {
	st := Statement{Kind: Genesis, Nonce: nonce, Threshold: threshold, Operators: operators}
	if err := st.CheckGenesis(); err != nil {
		return Signed{}, err
	}
	return Unsigned(DomainStatement, st)
}

// CheckGenesis checks the form of a first statement.
func (st Statement) CheckGenesis() error {
	switch {
	case st.Kind != Genesis || st.Height != 0 || st.Prev != [32]byte{} || st.Mesh != MeshID{}:
		return fmt.Errorf("genesis: %w: not the first statement", ErrLimit)
	case len(st.Nonce) < 16 || len(st.Nonce) > MaxNonce:
		return fmt.Errorf("genesis: %w: nonce of %d bytes", ErrLimit, len(st.Nonce))
	case len(st.Operators) == 0 || len(st.Operators) > MaxOperators:
		return fmt.Errorf("genesis: %w: %d operators", ErrLimit, len(st.Operators))
	case st.Threshold < 1 || st.Threshold > len(st.Operators):
		return fmt.Errorf("genesis: %w: threshold %d of %d operators", ErrLimit, st.Threshold, len(st.Operators))
	case len(st.Key) != 0 || len(st.Envs) != 0:
		return fmt.Errorf("genesis: %w: fields of another statement", ErrLimit)
	}
	for i, key := range st.Operators {
		if len(key) != ed25519.PublicKeySize || containsKey(st.Operators[:i], key) {
			return fmt.Errorf("genesis: %w: operator key %d", ErrLimit, i)
		}
	}
	return nil
}

// checkLink checks the form of any statement but the genesis.
func (st Statement) checkLink() error {
	switch {
	case len(st.Key) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: key of %d bytes", ErrLimit, len(st.Key))
	case len(st.Nonce) != 0 || st.Threshold != 0 || len(st.Operators) != 0:
		return fmt.Errorf("%w: fields of a genesis", ErrLimit)
	case st.Kind != GrantPublisher && len(st.Envs) != 0:
		return fmt.Errorf("%w: environments in %s", ErrLimit, st.Kind)
	case st.Kind == GrantPublisher && (len(st.Envs) == 0 || len(st.Envs) > MaxEnvs):
		return fmt.Errorf("%w: %d environments", ErrLimit, len(st.Envs))
	}
	for _, env := range st.Envs {
		if env == "" || len(env) > MaxEnvBytes {
			return fmt.Errorf("%w: environment name of %d bytes", ErrLimit, len(env))
		}
	}
	return nil
}

// enough tells whether at least threshold of operators are among the signers, which are distinct.
func enough(operators, signers []ed25519.PublicKey, threshold int) bool {
	count := 0
	for _, key := range signers {
		if containsKey(operators, key) {
			count++
		}
	}
	return count >= threshold
}

func without(keys []ed25519.PublicKey, key ed25519.PublicKey) []ed25519.PublicKey {
	var rest []ed25519.PublicKey
	for _, k := range keys {
		if !bytes.Equal(k, key) {
			rest = append(rest, k)
		}
	}
	return rest
}
