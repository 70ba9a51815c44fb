// Package ringtest is the suite that every placement passes.
package ringtest

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"shoal/membership"
	"shoal/ring"
)

// Copies is how many owners of each partition the suite looks at.
const Copies = 3

// Traits is what a placement promises beyond the laws that hold for all.
type Traits struct {
	// MaxLoad is the most copies that a node may hold, as a multiple of the average, without zones.
	MaxLoad float64
	// MaxMoved is the most copies that may move when one of many nodes goes, as a multiple of what that node held; 0:
	// no promise.
	MaxMoved float64
}

// Run checks the placement that build makes.
func Run(t *testing.T, build func([]ring.Node) ring.Ring, traits Traits) {
	for _, law := range []struct {
		name  string
		check func(*testing.T, func([]ring.Node) ring.Ring, Traits)
	}{
		{"distinct owners", distinctOwners},
		{"a longer list begins with the shorter", prefixes},
		{"fewer nodes than copies", fewNodes},
		{"no nodes", noNodes},
		{"equal members, equal rings", equalRings},
		{"returned slices belong to the caller", noAliasing},
		{"keys fall evenly and everywhere", keys},
		{"balance", balance},
		{"zones spread first", zones},
		{"movement", movement},
	} {
		t.Run(law.name, func(t *testing.T) { law.check(t, build, traits) })
	}
}

// Nodes makes n members in as many zones as named, dealt in turn. Their ids are as long as real ones.
func Nodes(n int, zones ...string) []ring.Node {
	nodes := make([]ring.Node, n)
	for i := range nodes {
		var key [32]byte
		rng := rand.New(rand.NewPCG(uint64(i), 42))
		for j := range key {
			key[j] = byte(rng.Uint32())
		}
		nodes[i].ID = membership.IDOf(key[:])
		if len(zones) > 0 {
			nodes[i].Zone = zones[i%len(zones)]
		}
	}
	return nodes
}

func distinctOwners(t *testing.T, build func([]ring.Node) ring.Ring, _ Traits) {
	nodes := Nodes(7, "a", "b")
	r := build(nodes)
	for p := range ring.Partition(ring.Partitions) {
		owners := r.Owners(p, 7)
		if len(owners) != 7 {
			t.Fatalf("partition %d: %d owners of 7 nodes", p, len(owners))
		}
		slices.Sort(owners)
		if len(slices.Compact(owners)) != 7 {
			t.Fatalf("partition %d names an owner twice", p)
		}
	}
}

func prefixes(t *testing.T, build func([]ring.Node) ring.Ring, _ Traits) {
	r := build(Nodes(12, "a", "b", "c"))
	for p := range ring.Partition(ring.Partitions) {
		all := r.Owners(p, 12)
		for n := range all {
			if got := r.Owners(p, n); !slices.Equal(got, all[:n]) {
				t.Fatalf("partition %d: %d owners are %v, but 12 begin with %v", p, n, got, all[:n])
			}
		}
	}
}

func fewNodes(t *testing.T, build func([]ring.Node) ring.Ring, _ Traits) {
	for n := 1; n < Copies; n++ {
		r := build(Nodes(n))
		for p := range ring.Partition(ring.Partitions) {
			if got := len(r.Owners(p, Copies)); got != n {
				t.Fatalf("%d nodes: partition %d has %d owners", n, p, got)
			}
		}
	}
}

func noNodes(t *testing.T, build func([]ring.Node) ring.Ring, _ Traits) {
	r := build(nil)
	if got := r.Owners(7, Copies); len(got) != 0 {
		t.Errorf("an empty ring names the owners %v", got)
	}
	if got := r.Nodes(); len(got) != 0 {
		t.Errorf("an empty ring has the nodes %v", got)
	}
}

func equalRings(t *testing.T, build func([]ring.Node) ring.Ring, _ Traits) {
	nodes := Nodes(9, "a", "b", "c")
	want := build(nodes)
	if want.Version() == "" {
		t.Error("a ring without a version")
	}
	shuffled := append(slices.Clone(nodes), nodes[3], nodes[3])
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		before := slices.Clone(shuffled)
		got := build(shuffled)
		if !slices.Equal(before, shuffled) {
			t.Fatal("the caller's slice was changed")
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal("rings of equal members differ with the order of the members or a duplicate")
		}
	}
	if got := want.Nodes(); len(got) != 9 || !slices.IsSortedFunc(got, func(a, b ring.Node) int {
		return slices.Compare([]byte(a.ID), []byte(b.ID))
	}) {
		t.Errorf("Nodes is not the sorted members without duplicates: %v", got)
	}
}

func noAliasing(t *testing.T, build func([]ring.Node) ring.Ring, _ Traits) {
	nodes := Nodes(5)
	r := build(nodes)
	owners, first := r.Owners(0, 3), r.Owners(0, 1)[0]
	clear(owners)
	clear(r.Nodes())
	clear(nodes)
	if got := r.Owners(0, 1)[0]; got != first || r.Nodes()[0].ID == "" {
		t.Error("a caller can change the ring through what it was given or gave")
	}
}

func keys(t *testing.T, build func([]ring.Node) ring.Ring, _ Traits) {
	r := build(Nodes(3))
	var counts [ring.Partitions]int
	rng := rand.New(rand.NewPCG(3, 4))
	const perPartition = 50
	for range ring.Partitions * perPartition {
		var key [32]byte
		for j := 0; j < len(key); j += 8 {
			x := rng.Uint64()
			for k := range 8 {
				key[j+k] = byte(x >> (8 * k))
			}
		}
		counts[r.PartitionOf(key[:])]++
	}
	for p, n := range counts {
		if n < perPartition/4 || n > perPartition*4 {
			t.Errorf("partition %d has %d of on average %d keys", p, n, perPartition)
		}
	}
	if p := r.PartitionOf([]byte("heads/production")); p >= ring.Partitions {
		t.Errorf("a name falls into partition %d", p)
	}
}

func balance(t *testing.T, build func([]ring.Node) ring.Ring, traits Traits) {
	for _, n := range []int{3, 5, 10, 50, 200} {
		held := copies(build(Nodes(n)))
		most := 0
		for _, h := range held {
			most = max(most, len(h))
		}
		load := float64(most) / (ring.Partitions * Copies / float64(n))
		t.Logf("%d nodes: the fullest holds %.3f times the average", n, load)
		if len(held) != n || load > traits.MaxLoad {
			t.Errorf("%d of %d nodes hold copies, the fullest %.3f times the average; at most %.2f is promised",
				len(held), n, load, traits.MaxLoad)
		}
	}
}

func zones(t *testing.T, build func([]ring.Node) ring.Ring, _ Traits) {
	for _, names := range [][]string{{"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d", "e"}} {
		nodes := Nodes(len(names)*4, names...)
		zone := map[membership.NodeID]string{}
		for _, n := range nodes {
			zone[n.ID] = n.Zone
		}
		r := build(nodes)
		for p := range ring.Partition(ring.Partitions) {
			seen := map[string]bool{}
			for _, id := range r.Owners(p, Copies) {
				seen[zone[id]] = true
			}
			if len(seen) != min(Copies, len(names)) {
				t.Fatalf("%d zones: the %d copies of partition %d are in %d of them", len(names), Copies, p, len(seen))
			}
		}
	}
}

func movement(t *testing.T, build func([]ring.Node) ring.Ring, traits Traits) {
	for _, zones := range [][]string{nil, {"a", "b", "c"}} {
		nodes := Nodes(30, zones...)
		before := copies(build(nodes))
		for _, gone := range []int{0, 11, 29} {
			id := nodes[gone].ID
			after := copies(build(slices.Delete(slices.Clone(nodes), gone, gone+1)))
			if len(after[id]) != 0 {
				t.Fatalf("a node that is gone owns %d partitions", len(after[id]))
			}
			moved, ideal := 0, len(before[id])
			for node, held := range after {
				for p := range held {
					if !before[node][p] {
						moved++
					}
				}
			}
			t.Logf("%d zones: %d copies move where %d must", len(zones), moved, ideal)
			if limit := traits.MaxMoved; limit > 0 && float64(moved) > limit*float64(ideal) {
				t.Errorf("%d zones: %d copies move where %d must; at most %.2f times as many is promised",
					len(zones), moved, ideal, limit)
			}
		}
	}
}

// copies returns which partitions each node holds.
func copies(r ring.Ring) map[membership.NodeID]map[ring.Partition]bool {
	held := map[membership.NodeID]map[ring.Partition]bool{}
	for p := range ring.Partition(ring.Partitions) {
		for _, id := range r.Owners(p, Copies) {
			if held[id] == nil {
				held[id] = map[ring.Partition]bool{}
			}
			held[id][p] = true
		}
	}
	return held
}
