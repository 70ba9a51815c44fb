package store

import (
	"fmt"
	"slices"

	"shoal/internal/codec"
	"shoal/membership"
)

// MaxBefore is how many earlier revisions a head names, so that a push repeated late still learns that it was committed.
const MaxBefore = 16

// HeadRegister names the register of an environment's head.
func HeadRegister(env string) string { return "head/" + env }

// HeadValue is the value of a head's register. It holds the signed revision itself, so that acceptors need no object to
// refuse what no publisher signed, and a node needs nothing but the certificate to know what it is to apply.
type HeadValue struct {
	Version  uint64 `cbor:"1,keyasint"`
	Revision []byte `cbor:"2,keyasint"` // the object of the signed revision
	Before   []Hash `cbor:"3,keyasint"` // hashes of the revisions before it, newest first, at most MaxBefore
}

// Hash names the revision.
func (v HeadValue) Hash() Hash { return HashOf(v.Revision) }

// Head is the value as a head of env.
func (v HeadValue) Head(env string) Head {
	return Head{Env: env, Version: v.Version, Revision: v.Hash()}
}

// Includes tells whether a revision is this head or one of those right before it.
func (v HeadValue) Includes(revision Hash) bool {
	return v.Hash() == revision || slices.Contains(v.Before, revision)
}

// Succeeds tells whether v may stand in a register that held old: it is old itself, or what was put on it or on what
// followed it. Over a distance of more than MaxBefore it cannot be told, and counts as true.
func (v HeadValue) Succeeds(old HeadValue) bool {
	if v.Version < old.Version {
		return false
	}
	line := append([]Hash{v.Hash()}, v.Before...)
	ahead := v.Version - old.Version
	if ahead > MaxBefore {
		return true
	}
	if ahead >= uint64(len(line)) || line[ahead] != old.Hash() {
		return false
	}
	rest := line[ahead+1:]
	return slices.Equal(rest, old.Before[:min(len(old.Before), MaxBefore-int(ahead))])
}

// OpenHeadValue decodes the value of an environment's register, and refuses what no publisher of it signed.
func OpenHeadValue(env string, value []byte, who Publishers) (HeadValue, Revision, error) {
	var v HeadValue
	if len(value) > MaxRegisterValue {
		return v, Revision{}, fmt.Errorf("head of %s: %d bytes", env, len(value))
	}
	if err := codec.Unmarshal(value, &v); err != nil {
		return v, Revision{}, fmt.Errorf("head of %s: %w", env, err)
	}
	r, err := OpenRevision(v.Revision, who)
	if err != nil {
		return v, r, fmt.Errorf("head of %s: %w", env, err)
	}
	if r.Env != env || r.Version != v.Version || len(v.Before) > MaxBefore {
		return v, r, fmt.Errorf("head of %s: holds version %d of %s", env, r.Version, r.Env)
	}
	if r.Version > 1 && (len(v.Before) == 0 || v.Before[0] != r.Parent) {
		return v, r, fmt.Errorf("head of %s: does not follow its parent", env)
	}
	return v, r, nil
}

// AdvanceHead is the transition that puts a revision on its parent. Where the register is elsewhere, it writes back what
// it read: only then is it certain that what stands against the revision is there to stay.
func AdvanceHead(r Revision, object []byte) Transition {
	return func(current []byte) []byte {
		var v HeadValue
		if current == nil {
			if r.Version != 1 {
				return nil
			}
		} else if err := codec.Unmarshal(current, &v); err != nil || v.Version+1 != r.Version || v.Hash() != r.Parent {
			return current
		}
		next := HeadValue{Version: r.Version, Revision: object}
		if current != nil {
			next.Before = append([]Hash{v.Hash()}, v.Before...)
			next.Before = next.Before[:min(len(next.Before), MaxBefore)]
		}
		data, err := codec.Marshal(next)
		if err != nil {
			return current
		}
		return data
	}
}

// HeadRecord is a head with all that shows it: who its acceptors are and a majority's votes.
type HeadRecord struct {
	Env         string      `cbor:"1,keyasint"`
	Certificate Certificate `cbor:"2,keyasint"`
}

// Open verifies the record against the acceptors of its epoch and the publishers.
func (h HeadRecord) Open(acceptors func(epoch uint64) []membership.NodeID, who Publishers) (HeadValue, Revision, error) {
	vote, err := h.Certificate.Vote()
	if err != nil {
		return HeadValue{}, Revision{}, err
	}
	if _, err := h.Certificate.Verify(HeadRegister(h.Env), vote.Epoch, acceptors(vote.Epoch)); err != nil {
		return HeadValue{}, Revision{}, err
	}
	return OpenHeadValue(h.Env, h.Certificate.Value, who)
}
