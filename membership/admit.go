package membership

import (
	"fmt"
	"time"
)

// maxShown is how many grants a stranger may show.
const maxShown = 4

// Credential is what a node shows to a stranger: the chain's statements and its own grants. It is empty for a node that
// has none.
func (r *Roster) Credential(id NodeID) []Signed {
	var own []Signed
	for _, rec := range r.sorted() {
		if rec.grant.Node == id && rec == r.granted[id] {
			own = append(own, rec.signed)
		}
	}
	if len(own) == 0 {
		return nil
	}
	return append(r.chain.Statements(), own...)
}

// Admit takes in a stranger by its credential, and the statements in it that our chain does not have yet. It is here
// that a ticket's time and uses, and a name, are looked at: whoever was admitted once is shown a closed door only by a
// revocation or by the end of its grant. When it fails the roster is as before.
//
// The caller makes sure that the member is who holds the connection: Admit knows of no connection.
func (r *Roster) Admit(now time.Time, credential []Signed) (Member, error) {
	if r.chain == nil {
		return Member{}, ErrNoMesh
	}
	statements, shown := split(credential)
	if len(shown) == 0 || len(shown) > maxShown {
		return Member{}, fmt.Errorf("admit: %w: %d grants shown", ErrNoGrant, len(shown))
	}
	trial := r.Clone()
	chain, err := r.chain.Extended(statements)
	if err != nil {
		return Member{}, fmt.Errorf("admit: %w", err)
	}
	if trial.chain = chain; chain != r.chain {
		trial.rebuild()
	}
	var id NodeID
	for _, s := range shown {
		node, err := trial.admit(now, s)
		if err != nil {
			return Member{}, fmt.Errorf("admit node %s: %w", node.Short(), err)
		}
		if id != "" && node != id {
			return Member{}, fmt.Errorf("admit node %s: %w: it shows that of another", id.Short(), ErrNoGrant)
		}
		id = node
	}
	trial.rebuild()
	m, ok := trial.Lookup(id, now)
	if !ok {
		return Member{}, fmt.Errorf("admit node %s: %w", id.Short(), trial.whyNot(id))
	}
	*r = *trial
	return m, nil
}

// whyNot says why a node that has shown a grant is not a member.
func (r *Roster) whyNot(id NodeID) error {
	if _, evicted := r.Revocation(id); evicted {
		return ErrRevoked
	}
	for ticket := range r.tickets {
		if r.spare(ticket) == id {
			return ErrTicketUsed
		}
	}
	return ErrNoGrant
}

// Vouch tells whether a credential is one of a member: whom we have dialled, and who may have joined long before its
// ticket ended and before our roster knows of it. It looks at all that Admit does but a ticket's time, and at no name,
// and leaves the roster as it is; Add keeps the records, if the caller will.
func (r *Roster) Vouch(now time.Time, credential []Signed) (Member, error) {
	if r.chain == nil {
		return Member{}, ErrNoMesh
	}
	statements, shown := split(credential)
	chain, err := r.chain.Extended(statements)
	if err != nil {
		return Member{}, fmt.Errorf("vouch: %w", err)
	}
	if len(shown) != 1 {
		return Member{}, fmt.Errorf("vouch: %w: %d grants shown", ErrNoGrant, len(shown))
	}
	trial := r.Clone()
	trial.chain = chain
	rec, err := openRecord(chain, shown[0])
	if err != nil {
		return Member{}, fmt.Errorf("vouch: %w", err)
	}
	if _, err := trial.insert(shown[0]); err != nil {
		return Member{}, fmt.Errorf("vouch: %w", err)
	}
	trial.rebuild()
	m, ok := trial.Lookup(rec.grant.Node, now)
	if !ok || rec.revoked != "" {
		return Member{}, fmt.Errorf("vouch for node %s: %w", rec.node().Short(), ErrNoGrant)
	}
	return m, nil
}

// admit inserts what one grant or redemption says, if it is new and may be.
func (r *Roster) admit(now time.Time, s Signed) (NodeID, error) {
	rec, err := openRecord(r.chain, s)
	if err != nil {
		return "", err
	}
	id := rec.node()
	if rec.revoked != "" || !r.holds(rec) {
		return id, ErrNoGrant
	}
	if rec.direct() {
		_, err = r.insert(s)
		return id, err
	}
	nodes, body := r.tickets[rec.redeemed.ticket], rec.redeemed.body
	if _, again := nodes[id]; again {
		return id, nil
	}
	switch {
	case now.Unix() > body.Expires:
		return id, ErrTicketExpired
	case len(nodes) >= body.Uses:
		return id, ErrTicketUsed
	case r.nameTaken(rec.grant, now):
		return id, fmt.Errorf("%w: %s", ErrNameTaken, rec.grant.Name)
	}
	_, err = r.insert(s)
	return id, err
}

// nameTaken looks at whoever holds the name now; for a grant that the operators signed themselves it is their affair.
func (r *Roster) nameTaken(g Grant, now time.Time) bool {
	for _, id := range r.holders[g.Name] {
		if id != g.Node && !r.granted[id].grant.expired(now) {
			return true
		}
	}
	return false
}
