package ring

import (
	"cmp"
	"slices"

	"shoal/membership"
)

// CircularVersion names the placement of NewCircular.
const CircularVersion = "circular/1"

// circular is the plain placement: easy to follow by hand, perfectly even, and a change of members moves nearly
// everything. It is for meshes whose members are fixed.
type circular struct {
	members
	circle []int // places in nodes
}

// NewCircular puts the nodes in a fixed circle; partition i belongs to the nodes from the i-th on. The circle deals the
// zones out in turn, so that neighbours are in different zones for as long as the zones last.
func NewCircular(nodes []Node) Ring {
	m := newMembers(nodes)
	turns := make([]int, len(m.nodes)) // how many of its zone come before a node
	seen := make([]int, m.zoned)
	circle := make([]int, len(m.nodes))
	for i, zone := range m.zones {
		turns[i] = seen[zone]
		seen[zone]++
		circle[i] = i
	}
	slices.SortFunc(circle, func(a, b int) int {
		return cmp.Or(cmp.Compare(turns[a], turns[b]), cmp.Compare(m.zones[a], m.zones[b]))
	})
	return &circular{members: m, circle: circle}
}

// Version implements Ring.
func (c *circular) Version() string { return CircularVersion }

// Owners implements Ring.
func (c *circular) Owners(p Partition, n int) []membership.NodeID {
	return c.AppendOwners(nil, p, n)
}

// AppendOwners implements Ring.
func (c *circular) AppendOwners(to []membership.NodeID, p Partition, n int) []membership.NodeID {
	n = max(0, min(n, len(c.circle)))
	to = slices.Grow(to, n)
	for i := range n {
		to = append(to, c.nodes[c.circle[(int(p)+i)%len(c.circle)]].ID)
	}
	return to
}
