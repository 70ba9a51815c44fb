package ring

import (
	"slices"

	"github.com/cespare/xxhash/v2"

	"shoal/membership"
)

// TokenVersion names the placement of NewToken with its parameters.
const TokenVersion = "token/1"

// tableDepth is how many owners of each partition are computed once. Data has three; a few more are asked for when
// owners are away.
const tableDepth = 5

// token is the placement by hashing: the first owner of a partition comes from a ring with bounded loads, and its
// followers have the highest random weights.
type token struct {
	members
	weights []uint64 // hash of each node's id
	depth   int
	table   []int32 // depth places for each partition
}

// NewToken places partitions on a consistent-hash ring with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018) and
// their copies by highest random weight (Thaler and Ravishankar, 1998), zones spread first. It costs time quadratic in
// the number of nodes; a caller that sees members come and go keeps a Placement.
func NewToken(nodes []Node) Ring { return NewPlacement().Update(nodes) }

// newToken computes the table once; leaders holds the place of the first owner of each partition.
func newToken(m members, leaders []int) *token {
	t := &token{members: m, depth: min(tableDepth, len(m.nodes))}
	for _, n := range m.nodes {
		t.weights = append(t.weights, xxhash.Sum64String(string(n.ID)))
	}
	if len(m.nodes) == 0 {
		return t
	}
	t.table = make([]int32, 0, Partitions*t.depth)
	for p := range Partitions {
		for _, at := range t.rank(Partition(p), leaders[p], t.depth) {
			t.table = append(t.table, int32(at))
		}
	}
	return t
}

// rank returns n places, the leader first. Each next one is of the zone with the fewest so far, and among those the one
// with the highest weight; so a longer list begins with the shorter.
func (t *token) rank(p Partition, leader, n int) []int {
	var (
		salt   = mix(uint64(p) + 1)
		used   = make([]int, t.zoned)
		places = append(make([]int, 0, n), leader)
	)
	used[t.zones[leader]]++
	for len(places) < n {
		best, bestUsed, bestWeight := -1, 0, uint64(0)
		for i, weight := range t.weights {
			weight, zoneUsed := mix(weight^salt), used[t.zones[i]]
			better := best < 0 || zoneUsed < bestUsed || zoneUsed == bestUsed && weight > bestWeight
			if better && !slices.Contains(places, i) {
				best, bestUsed, bestWeight = i, zoneUsed, weight
			}
		}
		used[t.zones[best]]++
		places = append(places, best)
	}
	return places
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
	row := t.table[int(p)*t.depth : (int(p)+1)*t.depth]
	if n > t.depth {
		return append(to, t.ids(t.rank(p, int(row[0]), n))...)
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
