package store

import (
	"crypto/ed25519"
	"fmt"

	"shoal/membership"
)

// When a majority of a head's acceptors is lost for good nobody can choose others by the rules: what they have decided last is
// not known for certain to anybody. Then the operators decide: a Recovery, signed by the threshold of them, begins a new era.
// It names the acceptors and the value that they begin with. Epochs carry their era in the upper half, so everything that is
// said in an era that is over is of a lower epoch, and refused as such.

const eraBits = 32

// EraOf is the era that an epoch belongs to: how many recoveries there were before it.
func EraOf(epoch uint64) uint64 { return epoch >> eraBits }

// FirstEpoch is the epoch that an era begins with.
func FirstEpoch(era uint64) uint64 { return era << eraBits }

// MaxEra is the last one that there can be.
const MaxEra = 1<<eraBits - 1

// Recovery is the operators' word for how the head of an environment goes on. It is signed with membership.DomainRecovery.
type Recovery struct {
	Mesh  membership.MeshID `cbor:"1,keyasint"`
	Env   string            `cbor:"2,keyasint"`
	Era   uint64            `cbor:"3,keyasint"`
	Seats []Seat            `cbor:"4,keyasint"`
	Value []byte            `cbor:"5,keyasint,omitempty"` // a HeadValue; empty: nothing was ever committed
}

// Operators answers whether keys are enough of the operators; membership.Chain is one.
type Operators interface {
	Authorises(keys []ed25519.PublicKey) bool
}

// OpenRecovery verifies a recovery, but for the revision in its value.
func OpenRecovery(signed membership.Signed, mesh membership.MeshID, who Operators) (Recovery, error) {
	var r Recovery
	keys, err := signed.Open(membership.DomainRecovery, &r)
	switch {
	case err != nil:
		return r, fmt.Errorf("recovery: %w", err)
	case CheckEnv(r.Env) != nil:
		return r, fmt.Errorf("recovery: %w", CheckEnv(r.Env))
	case r.Mesh != mesh:
		return r, fmt.Errorf("recovery of %s: %w", r.Env, membership.ErrForeignMesh)
	case r.Era == 0 || r.Era > MaxEra || len(r.Value) > MaxRegisterValue:
		return r, fmt.Errorf("recovery of %s: era %d, %d bytes", r.Env, r.Era, len(r.Value))
	case checkSeats(r.Seats) != nil:
		return r, fmt.Errorf("recovery of %s: %w", r.Env, checkSeats(r.Seats))
	case !who.Authorises(keys):
		return r, fmt.Errorf("recovery of %s: %w", r.Env, membership.ErrUnauthorised)
	}
	return r, nil
}

// Begin is what a recovery makes of an acceptor, or of a node that was none.
func (r Recovery) Begin(a Acceptor, self Seat) (begun Acceptor, ok bool) {
	return a.Move(HeadRegister(r.Env), FirstEpoch(r.Era)-1, r.Seats, r.Value, self)
}
