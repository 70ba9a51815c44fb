package membership

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Errors of a roster that callers branch on.
var (
	ErrNoMesh        = errors.New("this node has no mesh")
	ErrFull          = errors.New("the roster is full")
	ErrTicketUsed    = errors.New("the ticket has been used up")
	ErrTicketExpired = errors.New("the ticket has expired")
	ErrNameTaken     = errors.New("the name is taken")
	ErrNoGrant       = errors.New("no grant that holds")
	ErrRevoked       = errors.New("an operator has evicted this node")
)

// Roster is who belongs to the mesh: the trust chain, grants, redemptions of tickets, and revocations.
//
// Adding is set union: idempotent, commutative and associative (as long as neither MaxRoster nor MaxForked is reached), so nodes that have seen the same records have the same roster, whatever the order. Therefore
// a record is kept when its signers had the right at any time, and what it is worth is judged when the roster is read:
// a grant and a ticket need the operators of now, so that the word of a removed operator lapses (the others sign anew
// what is to stay); a revocation stays. Of the redemptions of a ticket the smallest ids are kept, as many as it has
// uses: that too is a union, and no ticket ever makes more members than it says, even when two halves of a divided
// mesh both admitted one. One redemption more is kept, of the next id, and counts for nothing: it shows that there are too many.
//
// Reading is safe from many goroutines while nobody adds.
type Roster struct {
	chain   *Chain
	alone   *Member // of a node without a mesh
	records map[recordID]*record
	tickets map[ticketID]map[NodeID]recordID
	granted map[NodeID]*record  // what holds for each node, less the revoked
	revoked map[NodeID]*record  // of several revocations of one node the smallest
	holders map[string][]NodeID // by granted name: those whom the operators named first, then by id
	digest  [32]byte

	evictions Evictions
}

// NewRoster begins with a chain and no members; with a nil chain it is that of a node without a mesh, and takes nothing.
func NewRoster(chain *Chain) *Roster {
	r := &Roster{
		chain: chain, records: map[recordID]*record{}, tickets: map[ticketID]map[NodeID]recordID{},
	}
	r.rebuild()
	return r
}

// Solo is the roster of a node without a mesh: itself, as it calls itself.
func Solo(self Member) *Roster {
	r := NewRoster(nil)
	r.alone = &self
	return r
}

// Add verifies records and keeps the good ones; err joins what was wrong with the others. added counts what changed the
// roster. Statements may come in any order, and before or after the records that need them. The time is not looked at:
// an expired record is kept and shown to nobody, or two rosters could differ for ever.
func (r *Roster) Add(_ time.Time, records ...Signed) (added int, err error) {
	if r.chain == nil {
		return 0, ErrNoMesh
	}
	var errs []error
	statements, others := split(records)
	chain, err := r.chain.Extended(statements)
	if err != nil {
		errs = append(errs, err)
	}
	added = chain.told() - r.chain.told()
	r.chain = chain
	for _, s := range others {
		changed, err := r.insert(s)
		if err != nil {
			errs = append(errs, err)
		}
		if changed {
			added++
		}
	}
	if added > 0 {
		r.rebuild()
	}
	return added, errors.Join(errs...)
}

func split(records []Signed) (statements, others []Signed) {
	for _, s := range records {
		if s.Domain == DomainStatement {
			statements = append(statements, s)
		} else {
			others = append(others, s)
		}
	}
	return statements, others
}

func (r *Roster) insert(s Signed) (changed bool, err error) {
	old := r.records[idOfRecord(s)]
	if old != nil && !r.tellsMore(s, old) {
		return false, nil
	}
	rec, err := openRecord(r.chain, s)
	if err != nil {
		return false, err
	}
	if old != nil {
		if rec, err = joined(r.chain, old, rec); err != nil {
			return false, err
		}
		r.records[rec.id] = rec
		return true, nil
	}
	if len(r.records) >= MaxRoster {
		return false, fmt.Errorf("record of node %s: %w", rec.node().Short(), ErrFull)
	}
	if !rec.direct() {
		return r.insertRedemption(rec)
	}
	r.records[rec.id] = rec
	return true, nil
}

// tellsMore tells whether s carries an operator's signature that old lacks; most records come again unchanged, and need
// no look at their signatures.
func (r *Roster) tellsMore(s Signed, old *record) bool {
	return old.direct() && slices.ContainsFunc(s.Signatures, func(sig Signature) bool {
		return r.chain.everOperator(sig.Key) && !containsKey(old.signers, sig.Key)
	})
}

// insertRedemption keeps one redemption of a ticket per node and as many nodes as it has uses, and one more that does not count.
func (r *Roster) insertRedemption(rec *record) (bool, error) {
	ticket, node := rec.redeemed.ticket, rec.grant.Node
	nodes := r.tickets[ticket]
	if nodes == nil {
		nodes = map[NodeID]recordID{}
		r.tickets[ticket] = nodes
	}
	if old, ok := nodes[node]; ok {
		if bytes.Compare(old[:], rec.id[:]) < 0 {
			return false, nil
		}
		delete(r.records, old)
	}
	nodes[node], r.records[rec.id] = rec.id, rec
	changed := true
	if len(nodes) > rec.redeemed.body.Uses+1 { // one more than count is kept: that there are too many is to be seen
		last := slices.Max(slices.Collect(maps.Keys(nodes)))
		delete(r.records, nodes[last])
		delete(nodes, last)
		changed = last != node
	}
	if !changed || r.spare(ticket) == node {
		return changed, fmt.Errorf("redemption by node %s: %w", node.Short(), ErrTicketUsed)
	}
	return true, nil
}

// rebuild derives what is read from what is kept.
func (r *Roster) rebuild() {
	r.granted, r.revoked, r.holders = map[NodeID]*record{}, map[NodeID]*record{}, map[string][]NodeID{}
	for _, rec := range r.records {
		if rec.revoked != "" || !r.holds(rec) || !r.counts(rec) {
			continue
		}
		if old := r.granted[rec.grant.Node]; old == nil || rec.overrules(old) {
			r.granted[rec.grant.Node] = rec
		}
	}
	for _, rec := range r.records {
		if rec.revoked == "" {
			continue
		}
		delete(r.granted, rec.revoked)
		if old := r.revoked[rec.revoked]; old == nil || bytes.Compare(rec.id[:], old.id[:]) < 0 {
			r.revoked[rec.revoked] = rec
		}
	}
	for _, direct := range []bool{true, false} {
		for _, id := range slices.Sorted(maps.Keys(r.granted)) {
			if rec := r.granted[id]; rec.direct() == direct {
				r.holders[rec.grant.Name] = append(r.holders[rec.grant.Name], id)
			}
		}
	}
	r.evictions = evictionsOf(r.revoked)
	r.digest = r.sum()
}

func (r *Roster) holds(rec *record) bool { return r.chain.authorises(rec.signers) }

func (r *Roster) sum() [32]byte {
	h := sha256.New()
	if r.chain != nil {
		for _, l := range r.chain.sorted() {
			h.Write(l.hash[:])
			for _, key := range l.signers {
				h.Write(key)
			}
		}
	}
	for _, rec := range r.sorted() {
		h.Write(rec.id[:])
		for _, key := range rec.signers {
			h.Write(key)
		}
	}
	return [32]byte(h.Sum(nil))
}

var domainOrder = []Domain{DomainGrant, DomainRedemption, DomainRevocation}

func (r *Roster) sorted() []*record {
	return slices.SortedFunc(maps.Values(r.records), func(a, b *record) int {
		if a.signed.Domain != b.signed.Domain {
			return slices.Index(domainOrder, a.signed.Domain) - slices.Index(domainOrder, b.signed.Domain)
		}
		return bytes.Compare(a.id[:], b.id[:])
	})
}

// Records are the chain's statements, those that hold before those that lost, then grants, redemptions and revocations, in an order that equal rosters share.
func (r *Roster) Records() []Signed {
	if r.chain == nil {
		return nil
	}
	records := r.chain.All()
	for _, rec := range r.sorted() {
		records = append(records, rec.signed)
	}
	return records
}

// Size is how many records there are: who has seen more has more, but for the redemptions of a ticket beyond its uses.
func (r *Roster) Size() int {
	if r.chain == nil {
		return 0
	}
	return len(r.records)
}

// Digest is equal for equal rosters.
func (r *Roster) Digest() [32]byte { return r.digest }

// Members are those whose grants hold at now, sorted by id.
func (r *Roster) Members(now time.Time) []Member {
	if r.alone != nil {
		return []Member{*r.alone}
	}
	var members []Member
	for _, id := range slices.Sorted(maps.Keys(r.granted)) {
		if m, ok := r.Lookup(id, now); ok {
			members = append(members, m)
		}
	}
	return members
}

// Lookup finds the member with an id. Of several who were granted one name one whom the operators gave it themselves keeps it,
// before those who chose it with a ticket: they can make keys until their id comes first. Among equals the smallest id keeps it;
// each other is shown with a tilde and the end of its id.
func (r *Roster) Lookup(id NodeID, now time.Time) (Member, bool) {
	if r.alone != nil && r.alone.ID == id {
		return *r.alone, true
	}
	rec := r.granted[id]
	if rec == nil || rec.grant.expired(now) {
		return Member{}, false
	}
	m := rec.grant.member()
	for _, other := range r.holders[m.Name] {
		if other == id {
			break
		}
		if !r.granted[other].grant.expired(now) {
			m.Name += "~" + string(id[len(id)-4:])
			break
		}
	}
	return m, true
}

// Named finds the member that is shown as name.
func (r *Roster) Named(name string, now time.Time) (Member, bool) {
	if r.alone != nil && r.alone.Name == name {
		return *r.alone, true
	}
	base, _, _ := strings.Cut(name, "~")
	for _, id := range r.holders[base] {
		if m, ok := r.Lookup(id, now); ok && m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// Chain is the trust chain; nil without a mesh. A later Add does not change it, but replaces it.
func (r *Roster) Chain() *Chain { return r.chain }

// Clone is a copy that can be added to without changing this one.
func (r *Roster) Clone() *Roster {
	c := *r
	c.records, c.tickets = maps.Clone(r.records), make(map[ticketID]map[NodeID]recordID, len(r.tickets))
	for ticket, nodes := range r.tickets {
		c.tickets[ticket] = maps.Clone(nodes)
	}
	return &c
}
