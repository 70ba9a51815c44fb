package membership

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
)

// recordID names a record of the roster: the SHA-256 of what its signatures are over.
type recordID [32]byte

// record is a verified record of the roster, never changed once kept.
type record struct {
	id       recordID
	signed   Signed
	grant    Grant               // of a grant or a redemption
	redeemed *redeemed           // of a redemption
	revoked  NodeID              // of a revocation
	signers  []ed25519.PublicKey // the operators, of now or before, who vouch for it
}

func idOfRecord(s Signed) recordID { return sha256.Sum256(s.message()) }

// openRecord verifies s against the chain: who signed it must have had the right at some time.
func openRecord(chain *Chain, s Signed) (*record, error) {
	if len(s.Body) > MaxRecord {
		return nil, fmt.Errorf("record: %w: %d bytes", ErrLimit, len(s.Body))
	}
	switch s.Domain {
	case DomainGrant:
		return openGrant(chain, s)
	case DomainRevocation:
		return openRevocation(chain, s)
	case DomainRedemption:
		red, err := openRedemption(s)
		if err != nil {
			return nil, err
		}
		r := &record{signed: s, grant: red.grant, redeemed: &red}
		return r, r.vouch(chain, red.grant.Mesh, red.signers)
	default:
		return nil, fmt.Errorf("record: %w: kind %.40q", ErrSignature, string(s.Domain))
	}
}

func openGrant(chain *Chain, s Signed) (*record, error) {
	r := &record{}
	keys, err := s.Open(DomainGrant, &r.grant)
	if err != nil {
		return nil, fmt.Errorf("grant: %w", err)
	}
	if err := r.grant.check(); err != nil {
		return nil, fmt.Errorf("grant: %w", err)
	}
	r.signed = onlyOperators(chain, s)
	return r, r.vouch(chain, r.grant.Mesh, keys)
}

func openRevocation(chain *Chain, s Signed) (*record, error) {
	var v Revocation
	keys, err := s.Open(DomainRevocation, &v)
	if err != nil {
		return nil, fmt.Errorf("revocation: %w", err)
	}
	if err := v.check(); err != nil {
		return nil, fmt.Errorf("revocation: %w", err)
	}
	r := &record{signed: onlyOperators(chain, s), revoked: v.Node}
	return r, r.vouch(chain, v.Mesh, keys)
}

// vouch completes the record when keys had the right to sign it.
func (r *record) vouch(chain *Chain, mesh MeshID, keys []ed25519.PublicKey) error {
	if mesh != chain.mesh {
		return fmt.Errorf("record of node %s: %w", r.node().Short(), ErrForeignMesh)
	}
	if !chain.everAuthorised(keys) {
		return fmt.Errorf("record of node %s: %w", r.node().Short(), ErrUnauthorised)
	}
	for _, key := range keys {
		if chain.everOperator(key) {
			r.signers = append(r.signers, key)
		}
	}
	slices.SortFunc(r.signers, func(a, b ed25519.PublicKey) int { return bytes.Compare(a, b) })
	r.id = idOfRecord(r.signed)
	return nil
}

func (r *record) node() NodeID {
	if r.revoked != "" {
		return r.revoked
	}
	return r.grant.Node
}

// direct tells a grant from a redemption.
func (r *record) direct() bool { return r.redeemed == nil }

// overrules orders the grants of one node: the operators' own before one from a ticket, then the newer. Nothing in it
// depends on the order of arrival.
func (r *record) overrules(other *record) bool {
	switch {
	case r.direct() != other.direct():
		return r.direct()
	case r.direct() && r.grant.Serial != other.grant.Serial:
		return r.grant.Serial > other.grant.Serial
	case !r.direct() && r.redeemed.body.Expires != other.redeemed.body.Expires:
		return r.redeemed.body.Expires > other.redeemed.body.Expires
	}
	return bytes.Compare(r.id[:], other.id[:]) < 0
}

// onlyOperators leaves out the signatures of keys that never had a say, which a peer could add without end. One
// signature per key.
func onlyOperators(chain *Chain, s Signed) Signed {
	var seen []ed25519.PublicKey
	kept := s.Signatures[:0:0]
	for _, sig := range s.Signatures {
		if chain.everOperator(sig.Key) && !containsKey(seen, sig.Key) {
			seen, kept = append(seen, sig.Key), append(kept, sig)
		}
	}
	s.Signatures = kept
	return s
}

// joined is the record with the signatures of both, which have the same body.
func joined(chain *Chain, a, b *record) (*record, error) {
	both := a.signed
	both.Signatures = slices.Concat(a.signed.Signatures, b.signed.Signatures)
	slices.SortStableFunc(both.Signatures, func(x, y Signature) int { return bytes.Compare(x.Key, y.Key) })
	return openRecord(chain, onlyOperators(chain, both))
}
