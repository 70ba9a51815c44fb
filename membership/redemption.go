package membership

import (
	"crypto/ed25519"
	"fmt"

	"shoal/internal/codec"
)

// Redemption is a grant that a node derived from a ticket: what the operators signed is inside, the ticket's key vouches
// that its holder asked, and the node's key that the node wanted it.
type Redemption struct {
	Ticket []byte `cbor:"1,keyasint"` // a Signed of DomainTicket, encoded
	Node   NodeID `cbor:"2,keyasint"`
	Name   string `cbor:"3,keyasint"`
}

// redeemed is a redemption that was opened: the grant it amounts to and what the roster must know of its ticket.
type redeemed struct {
	grant   Grant
	ticket  ticketID
	body    ticketBody
	signers []ed25519.PublicKey // of the ticket
}

// Redeem derives the grant of a node: to be shown to any member, which admits it.
func (t Ticket) Redeem(node ed25519.PrivateKey, name string) (Signed, error) {
	if t.chain == nil {
		return Signed{}, fmt.Errorf("redeem: %w: empty", ErrTicket)
	}
	if err := CheckName(name); err != nil {
		return Signed{}, fmt.Errorf("redeem ticket: %w", err)
	}
	ticket, err := codec.Marshal(t.envelope.Ticket)
	if err != nil {
		return Signed{}, fmt.Errorf("redeem ticket: %w", err)
	}
	id := IDOf(node.Public().(ed25519.PublicKey))
	return Sign(DomainRedemption, Redemption{Ticket: ticket, Node: id, Name: name},
		ed25519.NewKeyFromSeed(t.envelope.Seed), node)
}

// openRedemption checks everything but the mesh and the rights of the ticket's signers.
func openRedemption(s Signed) (redeemed, error) {
	var r Redemption
	if len(s.Body) > MaxRecord {
		return redeemed{}, fmt.Errorf("redemption: %w: %d bytes", ErrLimit, len(s.Body))
	}
	keys, err := s.Open(DomainRedemption, &r)
	if err != nil {
		return redeemed{}, fmt.Errorf("redemption: %w", err)
	}
	var ticket Signed
	if err := codec.Unmarshal(r.Ticket, &ticket); err != nil {
		return redeemed{}, fmt.Errorf("redemption: %w", err)
	}
	body, id, signers, err := openTicketBody(ticket)
	if err != nil {
		return redeemed{}, fmt.Errorf("redemption: %w", err)
	}
	node, err := r.Node.Key()
	if err != nil {
		return redeemed{}, fmt.Errorf("redemption: %w", err)
	}
	if !containsKey(keys, body.Key) || !containsKey(keys, node) || len(s.Signatures) != 2 {
		return redeemed{}, fmt.Errorf("redemption: %w: the ticket's key and the node's must sign", ErrSignature)
	}
	grant := Grant{Mesh: body.Mesh, Node: r.Node, Name: r.Name, Tags: body.Tags, Zone: body.Zone}
	if err := grant.check(); err != nil {
		return redeemed{}, fmt.Errorf("redemption: %w", err)
	}
	return redeemed{grant: grant, ticket: id, body: body, signers: signers}, nil
}
