package ring

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"strings"

	"shoal/membership"
)

// partitionBits is the logarithm of Partitions.
const partitionBits = 12

// PartitionOf places a key in the same way for every algorithm: by its first bits when it is a SHA-256 already, and by
// those of its SHA-256 when it is anything else, such as a name.
func PartitionOf(key []byte) Partition {
	if len(key) != sha256.Size {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	return Partition((uint16(key[0])<<8 | uint16(key[1])) >> (16 - partitionBits))
}

// canonical returns the members sorted by id without duplicates, so that the order in which they became known does not
// matter. Of two entries with one id the one with the lesser zone stays.
func canonical(nodes []Node) []Node {
	sorted := slices.Clone(nodes)
	slices.SortFunc(sorted, func(a, b Node) int { return cmp.Or(byID(a, b), strings.Compare(a.Zone, b.Zone)) })
	return slices.CompactFunc(sorted, func(a, b Node) bool { return a.ID == b.ID })
}

func byID(a, b Node) int { return strings.Compare(string(a.ID), string(b.ID)) }

// members is what every algorithm keeps of its nodes.
type members struct {
	nodes []Node // canonical
	zones []int  // of each node, numbered in the order of the zones' names
	zoned int    // number of zones
}

func newMembers(nodes []Node) members {
	m := members{nodes: canonical(nodes)}
	var names []string
	for _, n := range m.nodes {
		names = append(names, n.Zone)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	m.zoned = len(names)
	for _, n := range m.nodes {
		at, _ := slices.BinarySearch(names, n.Zone)
		m.zones = append(m.zones, at)
	}
	return m
}

// byZone are the places of each zone's nodes.
func (m members) byZone() [][]int {
	places := make([][]int, m.zoned)
	for i, zone := range m.zones {
		places[zone] = append(places[zone], i)
	}
	return places
}

// Nodes implements Ring.
func (m members) Nodes() []Node { return slices.Clone(m.nodes) }

// PartitionOf implements Ring.
func (m members) PartitionOf(key []byte) Partition { return PartitionOf(key) }

// ids names the nodes at the given places.
func (m members) ids(places []int) []membership.NodeID {
	out := make([]membership.NodeID, len(places))
	for i, at := range places {
		out[i] = m.nodes[at].ID
	}
	return out
}
