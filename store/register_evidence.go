package store

import (
	"crypto/ed25519"
	"errors"
	"slices"

	"shoal/internal/codec"
	"shoal/membership"
)

// Word is what an acceptor signs with each promise (membership.DomainPromised): what it had accepted by then. Together with its
// votes it binds the acceptor to one story.
type Word struct {
	Register string `cbor:"1,keyasint"`
	Epoch    uint64 `cbor:"2,keyasint"`
	Ballot   Ballot `cbor:"3,keyasint"` // that was promised
	Accepted Ballot `cbor:"4,keyasint"` // zero: nothing
}

// Evidence is two statements of one acceptor that cannot both be true of one that keeps its promises and forgets nothing. Each is a
// Vote or a Word, with the acceptor's signature alone.
type Evidence struct {
	A membership.Signed `cbor:"1,keyasint"`
	B membership.Signed `cbor:"2,keyasint"`
}

// ErrNoEvidence is returned for two statements that may both be true, or that nobody signed.
var ErrNoEvidence = errors.New("no evidence")

// Only is a record with the signature of one node alone, of those that it has.
func Only(s membership.Signed, id membership.NodeID) membership.Signed {
	s.Signatures = slices.DeleteFunc(slices.Clone(s.Signatures), func(sig membership.Signature) bool {
		return len(sig.Key) != ed25519.PublicKeySize || membership.IDOf(sig.Key) != id
	})
	return s
}

// Contradicts tells whether the two statements cannot both be true, whoever made them. It is cheap: no signature is looked at.
func (e Evidence) Contradicts() bool {
	a, errA := readStatement(e.A)
	b, errB := readStatement(e.B)
	return errA == nil && errB == nil && (a.contradicts(b) || b.contradicts(a))
}

// Open verifies the evidence and returns whom it is against.
func (e Evidence) Open() (membership.NodeID, error) {
	if !e.Contradicts() {
		return "", ErrNoEvidence
	}
	a, err := signerOf(e.A)
	if err != nil {
		return "", err
	}
	if b, err := signerOf(e.B); err != nil || a != b {
		return "", errors.Join(ErrNoEvidence, err)
	}
	return a, nil
}

// statement is a Vote or a Word.
type statement struct {
	Word
	vote *Vote // nil: it is a Word
}

func readStatement(s membership.Signed) (st statement, err error) {
	if s.Domain == membership.DomainPromised {
		return st, codec.Unmarshal(s.Body, &st.Word)
	}
	vote, err := Certificate{Votes: s}.Vote()
	return statement{Word{Register: vote.Register, Epoch: vote.Epoch, Ballot: vote.Ballot}, &vote}, err
}

func signerOf(s membership.Signed) (membership.NodeID, error) {
	var anything codec.Raw
	keys, err := s.Open(s.Domain, &anything)
	if err == nil && len(keys) != 1 {
		err = ErrNoEvidence
	}
	if err != nil {
		return "", err
	}
	return membership.IDOf(keys[0]), nil
}

// contradicts tells whether b denies what a says:
//
//	two votes at one ballot, for different values
//	a vote, and the promise of a higher ballot that says nothing so high was accepted
//	a promise, and that of a higher ballot that says less was accepted
func (a statement) contradicts(b statement) bool {
	higher := b.Ballot.Compare(a.Ballot) > 0
	switch {
	case a.Register != b.Register || a.Epoch != b.Epoch:
		return false
	case a.vote != nil && b.vote != nil:
		return a.Ballot == b.Ballot && (a.vote.Value != b.vote.Value || !slices.Equal(a.vote.Next, b.vote.Next))
	case b.vote != nil:
		return false // the other way round
	case a.vote != nil:
		return higher && b.Accepted.Compare(a.Ballot) < 0
	}
	return higher && b.Accepted.Compare(a.Accepted) < 0
}

// Sign signs what an acceptor promises.
func (w Word) Sign(key ed25519.PrivateKey) (membership.Signature, error) {
	s, err := membership.Sign(membership.DomainPromised, w, key)
	if err != nil {
		return membership.Signature{}, err
	}
	return s.Signatures[0], nil
}

// Said is a word with what may be its signature; none: nil.
func (w Word) Said(sig *membership.Signature) (membership.Signed, error) {
	body, err := codec.Marshal(w)
	said := membership.Signed{Domain: membership.DomainPromised, Body: body}
	if sig != nil {
		said.Signatures = []membership.Signature{*sig}
	}
	return said, err
}
