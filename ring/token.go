package ring

import (
	"cmp"
	"slices"

	"shoal/membership"
)

// Versions of the placement by hashing. FirstTokenVersion is that of shoal 0.1, which nothing here makes any more.
const (
	FirstTokenVersion = "token/1"
	TokenVersion      = "token/2"
)

// Parameters of token/2, beside virtualNodes and the limits; a change of any of them is a new version.
const (
	// copies is how many owners of each partition are dealt so that no node gets many more than others.
	copies = 3
	// tableDepth is how many owners of each partition are computed once. Data has three; a few more are asked for when
	// owners are away.
	tableDepth = 5
)

// token is the placement by hashing, in four steps of which none knows what was before:
//
//  1. Each zone has a circle of its own nodes. A partition takes one copy in each of the three zones whose first point is
//     nearest, from the node of that point: who comes takes copies from nodes of its own zone, or a zone's whole turn.
//  2. With fewer than three zones, the rest goes to the nodes with the highest random weights.
//  3. In both a node that is full turns partitions away, see match.
//  4. Which of its owners leads a partition is dealt last, since it moves no copy, see lead.
type token struct {
	members
	weights []uint64 // hash of each node's id
	all     []int    // places of the nodes
	depth   int
	table   []int32 // depth places for each partition
}

// NewToken places partitions on consistent-hash rings with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018), a ring
// for each zone, and by highest random weight (Thaler and Ravishankar, 1998). It costs time quadratic in the number of nodes; a
// caller that sees members come and go keeps a Placement.
func NewToken(nodes []Node) Ring { return NewPlacement().Update(nodes) }

// newToken computes the table once.
func newToken(m members, zones []nearest) *token {
	t := &token{members: m, depth: min(tableDepth, len(m.nodes))}
	for i, n := range m.nodes {
		t.all = append(t.all, i)
		t.weights = append(t.weights, hashOf(n))
	}
	if len(m.nodes) == 0 {
		return t
	}
	owners := t.deal(zones)
	t.lead(owners)
	t.table = make([]int32, 0, Partitions*t.depth)
	for p, row := range owners {
		for _, at := range t.rank(Partition(p), row, t.depth) {
			t.table = append(t.table, int32(at))
		}
	}
	return t
}

// deal gives each partition its owners, the one that is nearest on a circle first.
func (t *token) deal(zones []nearest) [][]int {
	owners := make([][]int, Partitions)
	turns := zoneTurns(zones)
	for zone, z := range zones {
		t.dealZone(zone, z, turns, owners)
	}
	missing := min(copies, len(t.nodes)) - len(turns[0])
	if missing == 0 {
		return owners
	}
	d := newDeal(owners, func(p, node int) uint64 { return t.weight(Partition(p), node) })
	held := make([]int, len(t.nodes))
	for p, row := range owners {
		d.want[p] = missing
		for _, at := range row {
			held[at]++
		}
	}
	average := float64(Partitions*min(copies, len(t.nodes))) / float64(len(t.nodes))
	limit := copyLimit(average)
	if len(zones) > 1 { // what a zone's nodes took differs more from one to another
		limit = zoneLimit(average)
	}
	for at := range t.nodes {
		d.room[at] = t.whole(limit, at) - held[at]
	}
	d.match()
	return owners
}

// dealZone gives one copy of each partition whose turn it is to nodes of a zone: the nearest first, and where that is full
// the others by their weights.
func (t *token) dealZone(zone int, z nearest, turns [][]int, owners [][]int) {
	d := newDeal(make([][]int, Partitions), func(p, node int) uint64 {
		if z.first[p] == node {
			return 1<<63 | t.weight(Partition(p), node)>>1
		}
		return t.weight(Partition(p), node) >> 1
	})
	dealt := 0
	for p, turn := range turns {
		if slices.Contains(turn, zone) {
			d.want[p] = 1
			dealt++
		}
	}
	limit := zoneLimit(float64(dealt) / float64(len(z.nodes)))
	for _, at := range z.nodes {
		d.room[at] = t.whole(limit, at)
	}
	d.match()
	for p, row := range d.owners {
		if len(row) > 0 && turns[p][0] == zone {
			owners[p] = slices.Insert(owners[p], 0, row...)
		} else {
			owners[p] = append(owners[p], row...)
		}
	}
}

// zoneTurns are for each partition the zones that take a copy each, the nearest first.
func zoneTurns(zones []nearest) [][]int {
	turns := make([][]int, Partitions)
	order := make([]int, len(zones))
	for p := range turns {
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Or(cmp.Compare(zones[a].distances[p], zones[b].distances[p]), cmp.Compare(a, b))
		})
		turns[p] = slices.Clone(order[:min(copies, len(order))])
	}
	return turns
}

// rank returns n places: the leader, the owners that were dealt beside it, then others. Each next one is of the zone with the
// fewest so far, and among those the one with the highest weight; so a longer list begins with the shorter.
func (t *token) rank(p Partition, owners []int, n int) []int {
	places, used := append(make([]int, 0, n), owners[0]), make([]int, t.zoned)
	used[t.zones[owners[0]]]++
	for len(places) < n {
		from := t.all
		if len(places) < len(owners) {
			from = owners
		}
		best, bestWeight := -1, uint64(0)
		for _, i := range from {
			if slices.Contains(places, i) {
				continue
			}
			weight := t.weight(p, i)
			if best < 0 || cmp.Or(cmp.Compare(used[t.zones[best]], used[t.zones[i]]), cmp.Compare(weight, bestWeight)) > 0 {
				best, bestWeight = i, weight
			}
		}
		used[t.zones[best]]++
		places = append(places, best)
	}
	return places
}

// weight of a node for a partition.
func (t *token) weight(p Partition, node int) uint64 {
	return mix(t.weights[node] ^ mix(uint64(p)+1))
}

// Version implements Ring.
func (t *token) Version() string { return TokenVersion }

// Owners implements Ring.
func (t *token) Owners(p Partition, n int) []membership.NodeID {
	return t.AppendOwners(nil, p, n)
}

// AppendOwners implements Ring.
func (t *token) AppendOwners(to []membership.NodeID, p Partition, n int) []membership.NodeID {
	n = max(0, min(n, len(t.nodes)))
	if n == 0 || p >= Partitions {
		return to
	}
	row := t.table[int(p)*t.depth:][:t.depth]
	if n > t.depth {
		var places []int
		for _, at := range row[:min(copies, t.depth)] {
			places = append(places, int(at))
		}
		return append(to, t.ids(t.rank(p, places, n))...)
	}
	to = slices.Grow(to, n)
	for _, at := range row[:n] {
		to = append(to, t.nodes[at].ID)
	}
	return to
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the input moves half of the output.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
