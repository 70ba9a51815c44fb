package membership

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"shoal/internal/codec"
)

// GossipKeySize is that of the mesh's gossip key in bytes: AES-256.
const GossipKeySize = 32

const ticketPrefix = "shoal-ticket-1."

// ErrTicket is returned for text that is no ticket, and for a ticket that is not what it says.
var ErrTicket = errors.New("bad ticket")

// TicketSpec is what a ticket gives to whoever redeems it.
type TicketSpec struct {
	Tags    map[string]string
	Zone    string
	Expires time.Time // the last second to join; what was joined with it does not end
	Uses    int       // how many nodes; 0 means 1
}

// Ticket is all that a machine needs to join: the trust chain, the gossip key, the operators' word, and a key made for
// this ticket alone, with which the joiner signs its own id. Its text is a secret until its uses are spent.
type Ticket struct {
	envelope ticketEnvelope
	body     ticketBody
	chain    *Chain
}

// ticketEnvelope is the text's content; ticketBody what the operators signed.
type ticketEnvelope struct {
	Chain  []Signed `cbor:"1,keyasint"`
	Gossip []byte   `cbor:"2,keyasint"`
	Ticket Signed   `cbor:"3,keyasint"`
	Seed   []byte   `cbor:"4,keyasint"`
}

type ticketBody struct {
	Mesh    MeshID            `cbor:"1,keyasint"`
	Key     ed25519.PublicKey `cbor:"2,keyasint"`
	Tags    map[string]string `cbor:"3,keyasint,omitempty"`
	Zone    string            `cbor:"4,keyasint,omitempty"`
	Expires int64             `cbor:"5,keyasint"` // Unix seconds
	Uses    int               `cbor:"6,keyasint"`
}

// ticketID names a ticket: the SHA-256 of its body.
type ticketID [32]byte

// NewTicket makes a ticket, with the seed of its key read from random.
func NewTicket(random io.Reader, chain *Chain, gossipKey []byte, spec TicketSpec, operators ...ed25519.PrivateKey) (Ticket, error) {
	signed, seed, err := ProposeTicket(random, chain, spec)
	for _, key := range operators {
		if err == nil {
			signed, err = signed.Endorsed(key)
		}
	}
	if err != nil {
		return Ticket{}, fmt.Errorf("make ticket: %w", err)
	}
	return FinishTicket(chain, gossipKey, signed, seed)
}

// ProposeTicket is a ticket for operators to sign, and the seed of its key, which is a secret and stays with whoever asks for it.
func ProposeTicket(random io.Reader, chain *Chain, spec TicketSpec) (unsigned Signed, seed []byte, err error) {
	seed = make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return Signed{}, nil, err
	}
	body := ticketBody{
		Mesh: chain.Mesh(), Key: publicOf(seed), Tags: maps.Clone(spec.Tags), Zone: spec.Zone,
		Expires: spec.Expires.Unix(), Uses: max(spec.Uses, 1),
	}
	if err := body.check(); err != nil {
		return Signed{}, nil, err
	}
	unsigned, err = Unsigned(DomainTicket, body)
	return unsigned, seed, err
}

// FinishTicket makes the ticket of one that enough operators have signed.
func FinishTicket(chain *Chain, gossipKey []byte, signed Signed, seed []byte) (Ticket, error) {
	t, err := openTicket(ticketEnvelope{Chain: chain.Statements(), Gossip: bytes.Clone(gossipKey), Ticket: signed, Seed: seed})
	if err != nil {
		return Ticket{}, fmt.Errorf("make ticket: %w", err)
	}
	return t, nil
}

// ProposedTicket reads what a ticket that operators are to sign would give, and the mesh that it is for.
func ProposedTicket(s Signed) (TicketSpec, MeshID, error) {
	var body ticketBody
	if s.Domain != DomainTicket || len(s.Body) > MaxRecord {
		return TicketSpec{}, MeshID{}, ErrTicket
	}
	if err := codec.Unmarshal(s.Body, &body); err != nil {
		return TicketSpec{}, MeshID{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	if err := body.check(); err != nil {
		return TicketSpec{}, MeshID{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	return Ticket{body: body}.Spec(), body.Mesh, nil
}

// ParseTicket reads and verifies the text of a ticket. Whether its time is over is asked when it is used.
func ParseTicket(text string) (Ticket, error) {
	text = strings.TrimSpace(text)
	if len(text) > MaxTicketText || !strings.HasPrefix(text, ticketPrefix) {
		return Ticket{}, fmt.Errorf("%w: it begins with %q and is one line", ErrTicket, ticketPrefix)
	}
	data, err := base64.RawURLEncoding.DecodeString(text[len(ticketPrefix):])
	if err != nil {
		return Ticket{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	var e ticketEnvelope
	if err := codec.Unmarshal(data, &e); err != nil {
		return Ticket{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	return openTicket(e)
}

func openTicket(e ticketEnvelope) (Ticket, error) {
	chain, err := OpenChain(e.Chain)
	if err != nil {
		return Ticket{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	body, _, signers, err := openTicketBody(e.Ticket)
	switch {
	case err != nil:
		return Ticket{}, err
	case body.Mesh != chain.Mesh():
		return Ticket{}, fmt.Errorf("%w: %w", ErrTicket, ErrForeignMesh)
	case !chain.authorises(signers):
		return Ticket{}, fmt.Errorf("%w: %w", ErrTicket, ErrUnauthorised)
	case len(e.Gossip) != GossipKeySize:
		return Ticket{}, fmt.Errorf("%w: gossip key of %d bytes", ErrTicket, len(e.Gossip))
	case len(e.Seed) != ed25519.SeedSize || !bytes.Equal(publicOf(e.Seed), body.Key):
		return Ticket{}, fmt.Errorf("%w: its key is not the one that the operators signed", ErrTicket)
	}
	return Ticket{envelope: e, body: body, chain: chain}, nil
}

// openTicketBody checks the form and the signatures; whose they may be is the caller's question.
func openTicketBody(s Signed) (ticketBody, ticketID, []ed25519.PublicKey, error) {
	var body ticketBody
	if len(s.Body) > MaxRecord {
		return body, ticketID{}, nil, fmt.Errorf("%w: %d bytes", ErrTicket, len(s.Body))
	}
	signers, err := s.Open(DomainTicket, &body)
	if err != nil {
		return body, ticketID{}, nil, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	if err := body.check(); err != nil {
		return body, ticketID{}, nil, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	return body, idOfTicket(s), signers, nil
}

func idOfTicket(s Signed) ticketID { return sha256.Sum256(s.Body) }

func (b ticketBody) check() error {
	switch {
	case len(b.Key) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: key of %d bytes", ErrLimit, len(b.Key))
	case b.Uses < 1 || b.Uses > MaxUses:
		return fmt.Errorf("%w: %d uses", ErrLimit, b.Uses)
	}
	if err := checkText("zone", b.Zone); err != nil {
		return err
	}
	return CheckTags(b.Tags)
}

// String is the ticket as one line of text.
func (t Ticket) String() string {
	data, err := codec.Marshal(t.envelope)
	if err != nil {
		return "" // cannot be: the envelope is byte strings
	}
	return ticketPrefix + base64.RawURLEncoding.EncodeToString(data)
}

// Chain is the trust chain as the maker of the ticket knew it.
func (t Ticket) Chain() (*Chain, error) {
	if t.chain == nil {
		return nil, fmt.Errorf("%w: empty", ErrTicket)
	}
	return t.chain.clone(), nil
}

// GossipKey is the mesh's, of GossipKeySize bytes.
func (t Ticket) GossipKey() []byte { return bytes.Clone(t.envelope.Gossip) }

// Spec is what the ticket gives.
func (t Ticket) Spec() TicketSpec {
	return TicketSpec{
		Tags: maps.Clone(t.body.Tags), Zone: t.body.Zone,
		Expires: time.Unix(t.body.Expires, 0).UTC(), Uses: t.body.Uses,
	}
}

func publicOf(seed []byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}
