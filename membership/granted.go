package membership

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Revocation is the operators' word that a node is evicted, if they have given it.
func (r *Roster) Revocation(id NodeID) (Signed, bool) {
	if rec := r.revoked[id]; rec != nil {
		return rec.signed, true
	}
	return Signed{}, false
}

// Granted tells whether the node ever was granted a place, even if that has ended or was revoked since. It is the question
// of who checks an old signature: what a member signed while it was one stays signed.
func (r *Roster) Granted(id NodeID) bool {
	if r.alone != nil {
		return r.alone.ID == id
	}
	for _, rec := range r.records {
		if rec.revoked == "" && rec.node() == id && r.counts(rec) {
			return true
		}
	}
	return false
}

// Lapsed tells whether the node was granted a place that has ended, and that nobody took from it: its grant may have been renewed
// without our having heard of it.
func (r *Roster) Lapsed(id NodeID, now time.Time) bool {
	if _, member := r.Lookup(id, now); member || !r.Granted(id) {
		return false
	}
	_, revoked := r.Revocation(id)
	return !revoked
}

// Grants are the records that make a node what it is: what a peer needs to see of it and of itself.
func (r *Roster) Grants(ids ...NodeID) (records []Signed) {
	for _, id := range ids {
		if rec := r.granted[id]; rec != nil {
			records = append(records, rec.signed)
		}
	}
	return records
}

// NextSerial is for a grant that is to hold in place of what the node was granted before, also when that was within this second.
func (r *Roster) NextSerial(id NodeID, now time.Time) uint64 {
	next := uint64(max(now.Unix(), 0))
	for _, rec := range r.records {
		if rec.direct() && rec.revoked == "" && rec.grant.Node == id && rec.grant.Serial < 1<<62 {
			next = max(next, rec.grant.Serial+1)
		}
	}
	return next
}

// Ending are the members whose grants end within a time, and those whose grants have ended and that nobody evicted, sorted by id.
func (r *Roster) Ending(now time.Time, within time.Duration) (members []Member) {
	for _, id := range slices.Sorted(maps.Keys(r.granted)) {
		if g := r.granted[id].grant; g.NotAfter != 0 && g.NotAfter <= now.Add(within).Unix() {
			members = append(members, g.member())
		}
	}
	return members
}

// Single tells whether the node is the only one that ever was granted a place and that was not revoked. Time is not looked
// at: a clock that is wrong must not make a node believe that it is alone.
func (r *Roster) Single(id NodeID) bool {
	revoked := map[NodeID]bool{}
	for _, rec := range r.records {
		revoked[rec.revoked] = true
	}
	for _, rec := range r.records {
		if node := rec.node(); rec.revoked == "" && node != id && !revoked[node] && r.counts(rec) {
			return false
		}
	}
	return true
}

// Former is what was granted once and holds no more: all grants of evicted nodes, and of members those that another has taken the
// place of; sorted by id. That a grant has ended is not looked at: its node may have it renewed. A grant whose signers are operators
// no more is told too.
func (r *Roster) Former() []Member {
	var former []Member
	for _, rec := range r.sorted() {
		if rec.revoked == "" && r.granted[rec.grant.Node] != rec {
			former = append(former, rec.grant.member())
		}
	}
	slices.SortStableFunc(former, func(a, b Member) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return former
}

// Current is what is granted, whether or not it has ended; sorted by id.
func (r *Roster) Current() []Member {
	var current []Member
	for _, id := range slices.Sorted(maps.Keys(r.granted)) {
		current = append(current, r.granted[id].grant.member())
	}
	return current
}
