package ring

import (
	"slices"
	"strconv"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

// Parameters of token/1. A change of any of them, of the hash or of the library's key format is a new version.
const (
	virtualNodes = 100
	loadFactor   = 1.25 // the busiest node leads at most this many times the average
)

// Placement makes token rings one after another as members come and go. It keeps the library's one instance, since
// building it anew sorts the whole circle once for each node; the rings it returns do not change with it. It belongs to
// one goroutine.
//
// The result depends on the members alone and not on the history that led to them (tested): the library deals all
// partitions anew after each change, from the sorted circle. The one exception would be two points of the circle with
// the same hash, which someone who may choose node ids can make; such members are placed from scratch.
type Placement struct {
	circle *consistent.Consistent
	placed []Node
	clash  bool // of placed: two points have one hash
}

// NewPlacement returns a Placement without members.
func NewPlacement() *Placement { return &Placement{circle: newCircle(nil)} }

// Update returns the ring of exactly these nodes.
func (p *Placement) Update(nodes []Node) Ring {
	m := newMembers(nodes)
	clash := pointsClash(m.nodes)
	if clash || p.clash {
		p.circle = newCircle(m.nodes)
	} else {
		p.move(m.nodes)
	}
	p.placed, p.clash = m.nodes, clash
	return newToken(m, p.leaders(m))
}

// move brings the kept instance to the wanted members by the shortest way. With most of them new, starting over is
// cheaper: Add also deals out all partitions each time.
func (p *Placement) move(want []Node) {
	added, removed := difference(want, p.placed), difference(p.placed, want)
	if len(added) > len(want)/2 {
		p.circle = newCircle(want)
		return
	}
	for _, n := range added { // first, so that the circle is never empty in between
		p.circle.Add(point(n.ID))
	}
	for _, n := range removed {
		p.circle.Remove(string(n.ID))
	}
}

func (p *Placement) leaders(m members) []int {
	if len(m.nodes) == 0 {
		return nil
	}
	places := make(map[string]int, len(m.nodes))
	for i, n := range m.nodes {
		places[string(n.ID)] = i
	}
	leaders := make([]int, Partitions)
	for i := range leaders {
		leaders[i] = places[p.circle.GetPartitionOwner(i).String()]
	}
	return leaders
}

// difference returns the nodes of a whose ids are not in b; both are sorted.
func difference(a, b []Node) []Node {
	var out []Node
	for _, n := range a {
		if _, ok := slices.BinarySearchFunc(b, n, byID); !ok {
			out = append(out, n)
		}
	}
	return out
}

// pointsClash says whether two points of the library's circle have one hash: then its result would depend on the order
// of Add, and Remove would leave a point without a member.
func pointsClash(nodes []Node) bool {
	points := make([]uint64, 0, len(nodes)*virtualNodes)
	var key []byte
	for _, n := range nodes {
		for i := range virtualNodes {
			key = append(append(strconv.AppendInt(key[:0], int64(i), 10), ':'), n.ID...)
			points = append(points, xxhash.Sum64(key))
		}
	}
	slices.Sort(points)
	return len(slices.Compact(points)) < len(nodes)*virtualNodes
}

func newCircle(nodes []Node) *consistent.Consistent {
	var points []consistent.Member
	for _, n := range nodes {
		points = append(points, point(n.ID))
	}
	return consistent.New(points, consistent.Config{
		Hasher:            hasher{},
		PartitionCount:    Partitions,
		ReplicationFactor: virtualNodes,
		Load:              loadFactor,
	})
}

// point is a node as the library wants it.
type point string

func (p point) String() string { return string(p) }

type hasher struct{}

func (hasher) Sum64(data []byte) uint64 { return xxhash.Sum64(data) }
