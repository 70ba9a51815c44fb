package ring

import (
	"slices"
	"strconv"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

// virtualNodes is how many points of a circle a node has. A change of it, of the hash or of the library's key format is a new
// version.
const virtualNodes = 100

// Placement makes token rings one after another as members come and go. It keeps the library's circle of each zone, since
// building one anew sorts it once for each node; the rings it returns do not change with it. It belongs to one goroutine.
//
// The result depends on the members alone and not on the history that led to them (tested): the library deals all
// partitions anew after each change, from the sorted circle. The one exception would be two points of a circle with
// the same hash, which someone who may choose node ids can make; such members are placed from scratch.
type Placement struct{ circles map[string]*circle }

// NewPlacement returns a Placement without members.
func NewPlacement() *Placement { return &Placement{circles: map[string]*circle{}} }

// Update returns the ring of exactly these nodes.
func (p *Placement) Update(nodes []Node) Ring {
	m := newMembers(nodes)
	zones, circles := make([]nearest, m.zoned), map[string]*circle{}
	for zone, places := range m.byZone() {
		name := m.nodes[places[0]].Zone
		c := p.circles[name]
		if c == nil {
			c = &circle{points: newCircle(nil)}
		}
		circles[name] = c
		zones[zone] = c.update(m, places)
	}
	p.circles = circles // what a zone without nodes had is forgotten
	return newToken(m, zones)
}

// circle is the library's instance for the nodes of one zone.
type circle struct {
	points *consistent.Consistent
	placed []Node
	clash  bool // of placed: two points have one hash
}

// nearest says for each partition which node of a zone comes first on its circle, and how far away it is.
type nearest struct {
	nodes     []int // places in members
	first     []int // place of a node, for each partition
	distances []uint64
}

func (c *circle) update(m members, places []int) nearest {
	var nodes []Node
	for _, at := range places {
		nodes = append(nodes, m.nodes[at])
	}
	points := pointsOf(nodes)
	clash := len(slices.Compact(slices.Clone(points))) < len(points)
	if clash || c.clash {
		c.points = newCircle(nodes)
	} else {
		c.move(nodes)
	}
	c.placed, c.clash = nodes, clash
	return c.nearest(places, points)
}

// move brings the kept instance to the wanted members by the shortest way. With most of them new, starting over is
// cheaper: Add also deals out all partitions each time.
func (c *circle) move(want []Node) {
	added, removed := difference(want, c.placed), difference(c.placed, want)
	if len(added) > len(want)/2 {
		c.points = newCircle(want)
		return
	}
	for _, n := range added { // first, so that the circle is never empty in between
		c.points.Add(point(n.ID))
	}
	for _, n := range removed {
		c.points.Remove(string(n.ID))
	}
}

func (c *circle) nearest(places []int, points []uint64) nearest {
	byID := make(map[string]int, len(places))
	for i, n := range c.placed {
		byID[string(n.ID)] = places[i]
	}
	z := nearest{nodes: places, first: make([]int, Partitions), distances: make([]uint64, Partitions)}
	for p := range Partitions {
		z.first[p] = byID[c.points.GetPartitionOwner(p).String()]
		key := circleKey(p)
		at, _ := slices.BinarySearch(points, key)
		z.distances[p] = points[at%len(points)] - key // past the end it wraps around, as the circle does
	}
	return z
}

// circleKey is where the library looks for a partition on its circle.
func circleKey(p int) uint64 {
	return xxhash.Sum64([]byte{byte(p), byte(p >> 8), 0, 0, 0, 0, 0, 0})
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

// pointsOf are the points of the library's circle, sorted. Two with one hash would have its result depend on the order of
// Add, and Remove leave a point without a member.
func pointsOf(nodes []Node) []uint64 {
	points := make([]uint64, 0, len(nodes)*virtualNodes)
	var key []byte
	for _, n := range nodes {
		for i := range virtualNodes {
			key = append(append(strconv.AppendInt(key[:0], int64(i), 10), ':'), n.ID...)
			points = append(points, xxhash.Sum64(key))
		}
	}
	slices.Sort(points)
	return points
}

// newCircle has no bound of the library's own: that is one whole number for all nodes, and where it falls as the mesh grows
// by one, every node that is at it gives a partition away at once (see match for the one that holds).
func newCircle(nodes []Node) *consistent.Consistent {
	var points []consistent.Member
	for _, n := range nodes {
		points = append(points, point(n.ID))
	}
	return consistent.New(points, consistent.Config{
		Hasher:            hasher{},
		PartitionCount:    Partitions,
		ReplicationFactor: virtualNodes,
		Load:              Partitions,
	})
}

// point is a node as the library wants it.
type point string

func (p point) String() string { return string(p) }

type hasher struct{}

func (hasher) Sum64(data []byte) uint64 { return xxhash.Sum64(data) }
