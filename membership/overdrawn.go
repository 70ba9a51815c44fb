package membership

import (
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// Overdrawn is a ticket that more nodes have redeemed than it has uses: two halves of a divided mesh admitted one each, or who has the
// ticket made keys for more. Those with the smallest ids count; which came first no record can prove.
type Overdrawn struct {
	Ticket string   // as Ticket.ID has it
	Uses   int      // how many nodes it is for
	In     []Member // those that count, sorted by id, and who of them are members now
	Out    Member   // the first that does not, as its redemption names it
}

// ID names the ticket: the begin of the SHA-256 of what the operators signed.
func (t Ticket) ID() string { return idOfTicket(t.envelope.Ticket).String() }

func (id ticketID) String() string { return hex.EncodeToString(id[:4]) }

// spare is the one redemption more than a ticket has uses that is kept, so that all who have seen the same records know of it:
// the greatest id; empty: there is none.
func (r *Roster) spare(ticket ticketID) NodeID {
	nodes := r.tickets[ticket]
	for _, id := range nodes {
		if len(nodes) > r.records[id].redeemed.body.Uses {
			return slices.Max(slices.Collect(maps.Keys(nodes)))
		}
		break // all are of one ticket
	}
	return ""
}

// counts tells whether a redemption is one of as many as its ticket has uses; of another record it is true.
func (r *Roster) counts(rec *record) bool {
	return rec.direct() || r.spare(rec.redeemed.ticket) != rec.grant.Node
}

// Overdrawn are the tickets that were redeemed too often, sorted by name, until an operator has granted the node that does not count
// a place of its own, or has evicted it.
func (r *Roster) Overdrawn(now time.Time) (tickets []Overdrawn) {
	for ticket, nodes := range r.tickets {
		spare := r.spare(ticket)
		if spare == "" || r.granted[spare] != nil || r.revoked[spare] != nil {
			continue // an operator has put it right
		}
		o := Overdrawn{Ticket: ticket.String(), Out: r.records[nodes[spare]].grant.member()}
		for _, id := range slices.Sorted(maps.Keys(nodes)) {
			o.Uses = r.records[nodes[id]].redeemed.body.Uses
			if m, ok := r.Lookup(id, now); ok && id != spare {
				o.In = append(o.In, m)
			}
		}
		tickets = append(tickets, o)
	}
	slices.SortFunc(tickets, func(a, b Overdrawn) int {
		if a.Ticket < b.Ticket {
			return -1
		}
		return 1
	})
	return tickets
}
