package ring_test

import (
	"fmt"
	"slices"
	"testing"

	"shoal/membership"
	"shoal/ring"
	"shoal/ring/ringtest"
)

// mostMoved is how many copies may move for each that must, when a node joins or leaves.
const mostMoved = 1.2

// Sizes before a node joins. At 511 and 853 a bound of one whole number for all nodes would fall, and every node that is at it
// give something away.
var sizesOfMeshes = []int{3, 4, 5, 7, 10, 19, 30, 31, 47, 64, 100, 101, 150, 200, 257, 300, 409, 511, 512, 640, 731, 853, 900, 998, 999}

func TestMovement(t *testing.T) {
	for _, zones := range [][]string{nil, {"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d", "e"}, {"a", "b", "c", "c", "c", "c", "b"}} {
		t.Run(fmt.Sprint(zones), func(t *testing.T) {
			t.Parallel()
			nodes := ringtest.Nodes(1000, zones...)
			kept := ring.NewPlacement()
			for _, size := range sizesOfMeshes {
				// The most time by far goes into making the circles; under -short, which is for the race detector, few are made.
				if size > 300 && (len(zones) != 0 && len(zones) != 3 || testing.Short()) {
					break
				}
				without := kept.Update(nodes[:size])
				with := kept.Update(nodes[:size+1])
				newcomer := nodes[size].ID
				in, held := moves(without, with, newcomer)
				out, _ := moves(with, without, newcomer)
				t.Logf("%d nodes: %d copies move in and %d out where %d must", size, in, out, held)
				if most := mostMoved * float64(held); float64(in) > most || float64(out) > most {
					t.Errorf("%d nodes: %d copies move in and %d out where %d must", size, in, out, held)
				}
			}
		})
	}
}

// moves counts the copies that have a new place, and those that one node has before or after.
func moves(before, after ring.Ring, node membership.NodeID) (moved, held int) {
	for p := range ring.Partition(ring.Partitions) {
		old, now := before.Owners(p, ringtest.Copies), after.Owners(p, ringtest.Copies)
		for _, id := range now {
			if !slices.Contains(old, id) {
				moved++
			}
		}
		if slices.Contains(old, node) || slices.Contains(now, node) {
			held++
		}
	}
	return moved, held
}

// No node leads more than a quarter above its share, and one more for what is left of a fraction; and none has many more copies
// than others of its zone.
func TestShares(t *testing.T) {
	for _, zones := range [][]string{nil, {"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d", "e"}} {
		for _, size := range []int{3, 4, 6, 10, 31, 100, 250, 600} {
			if size < len(zones) {
				continue
			}
			nodes := ringtest.Nodes(size, zones...)
			leads, held, inZone, sizes := map[membership.NodeID]int{}, map[membership.NodeID]int{}, map[string]int{}, map[string]int{}
			zoneOf := map[membership.NodeID]string{}
			for _, n := range nodes {
				zoneOf[n.ID] = n.Zone
				sizes[n.Zone]++
			}
			r := ring.NewToken(nodes)
			for p := range ring.Partition(ring.Partitions) {
				owners := r.Owners(p, ringtest.Copies)
				leads[owners[0]]++
				for _, id := range owners {
					held[id]++
					inZone[zoneOf[id]]++
				}
			}
			mostLed := 1.25*ring.Partitions/float64(size) + 1
			for _, n := range nodes {
				average := float64(inZone[n.Zone]) / float64(sizes[n.Zone])
				mostHeld := 1.3*average + 12
				if float64(leads[n.ID]) > mostLed || float64(held[n.ID]) > mostHeld {
					t.Errorf("%d nodes in zones %v: one leads %d and holds %d; at most %.0f and %.0f are wanted", size, zones, leads[n.ID], held[n.ID], mostLed, mostHeld)
				}
			}
		}
	}
}
