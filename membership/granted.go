package membership

import (
	"maps"
	"slices"
	"strings"
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
		if rec.revoked == "" && rec.node() == id {
			return true
		}
	}
	return false
}

// Single tells whether the node is the only one that ever was granted a place and that was not revoked. Time is not looked
// at: a clock that is wrong must not make a node believe that it is alone.
func (r *Roster) Single(id NodeID) bool {
	revoked := map[NodeID]bool{}
	for _, rec := range r.records {
		revoked[rec.revoked] = true
	}
	for _, rec := range r.records {
		if node := rec.node(); rec.revoked == "" && node != id && !revoked[node] {
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
