package membership

import (
	"encoding/base64"
	"fmt"
	"strings"

	"shoal/internal/codec"
)

const admissionPrefix = "shoal-grant-1."

// Admission is what a machine whose key the operators know needs to join: the trust chain and its grant. It is no secret: of use to
// that key alone, and the gossip's key comes from whoever lets the machine in.
type Admission struct {
	envelope admissionEnvelope
	chain    *Chain
	grant    Grant
}

type admissionEnvelope struct {
	Chain []Signed `cbor:"1,keyasint"`
	Grant Signed   `cbor:"2,keyasint"`
}

// NewAdmission puts together a grant and the chain whose operators signed it.
func NewAdmission(chain *Chain, grant Signed) (Admission, error) {
	return openAdmission(admissionEnvelope{Chain: chain.Statements(), Grant: grant})
}

// ParseAdmission reads and verifies the text of an admission. Whether its time is over is asked when it is used.
func ParseAdmission(text string) (Admission, error) {
	text = strings.TrimSpace(text)
	if len(text) > MaxTicketText || !IsAdmission(text) {
		return Admission{}, fmt.Errorf("%w: it begins with %q and is one line", ErrTicket, admissionPrefix)
	}
	data, err := base64.RawURLEncoding.DecodeString(text[len(admissionPrefix):])
	if err != nil {
		return Admission{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	var e admissionEnvelope
	if err := codec.Unmarshal(data, &e); err != nil {
		return Admission{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	return openAdmission(e)
}

// IsAdmission tells the text of an admission from that of a ticket.
func IsAdmission(text string) bool { return strings.HasPrefix(text, admissionPrefix) }

func openAdmission(e admissionEnvelope) (Admission, error) {
	chain, err := OpenChain(e.Chain)
	if err != nil {
		return Admission{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	rec, err := openGrant(chain, e.Grant)
	switch {
	case err != nil:
		return Admission{}, fmt.Errorf("%w: %w", ErrTicket, err)
	case !chain.authorises(rec.signers):
		return Admission{}, fmt.Errorf("%w: %w", ErrTicket, ErrUnauthorised)
	}
	return Admission{envelope: e, chain: chain, grant: rec.grant}, nil
}

// String is the admission as one line of text.
func (a Admission) String() string {
	data, err := codec.Marshal(a.envelope)
	if err != nil {
		return "" // cannot be: the envelope is byte strings
	}
	return admissionPrefix + base64.RawURLEncoding.EncodeToString(data)
}

// Chain is the trust chain as the maker of the admission knew it.
func (a Admission) Chain() *Chain { return a.chain.clone() }

// Grant is the grant, as it was signed and as it reads.
func (a Admission) Grant() (Signed, Grant) { return a.envelope.Grant, a.grant }
