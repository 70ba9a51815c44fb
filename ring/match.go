package ring

import (
	"cmp"
	"container/heap"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// deal gives copies of partitions to nodes that have room for so many. A partition asks the nodes in the order of their
// weights for it; a full node keeps those for which it has the most weight and sends the others on (Gale and Shapley,
// "College Admissions and the Stability of Marriage", 1962). Both sides go by the same weights, which are all different but
// for the number of node or partition, so that there is one result, in whatever order they ask. Where a node comes or goes only
// those who asked it are dealt anew, and whom these push on: with few nodes full, these are few.
type deal struct {
	weight func(partition, node int) uint64
	want   []int       // copies, for each partition
	room   map[int]int // of the nodes that take part
	owners [][]int     // of each partition; those that it had before stay
	nodes  []int

	asked []int // how many nodes a partition has asked
	lists [][]bid
	held  map[int]*bids
}

// bid is a partition at a node, with its weight there.
type bid struct {
	partition, node int
	weight          uint64
}

// listed is how many nodes a partition's list has to begin with; it is hardly ever asked for more.
const listed = 8

func newDeal(owners [][]int, weight func(partition, node int) uint64) *deal {
	return &deal{
		weight: weight, owners: owners, want: make([]int, Partitions), room: map[int]int{},
		asked: make([]int, Partitions), lists: make([][]bid, Partitions), held: map[int]*bids{},
	}
}

// match deals. Copies for which all nodes are full, as where one zone is much smaller than others, go to the node with the highest
// weight all the same.
func (d *deal) match() {
	for node := range d.room {
		d.nodes = append(d.nodes, node)
		d.held[node] = &bids{}
	}
	slices.Sort(d.nodes)
	var open []int
	for p, want := range d.want {
		for range want {
			open = append(open, p)
		}
	}
	var nowhere []int
	for len(open) > 0 {
		p := open[len(open)-1]
		open = open[:len(open)-1]
		sent, ok := d.ask(p)
		if !ok {
			nowhere = append(nowhere, p)
		} else if sent >= 0 {
			open = append(open, sent)
		}
	}
	got := make([][]bid, Partitions)
	for _, node := range d.nodes {
		for _, b := range *d.held[node] {
			got[b.partition] = append(got[b.partition], b)
		}
	}
	for p, bids := range got {
		slices.SortFunc(bids, better)
		for _, b := range bids {
			d.owners[p] = append(d.owners[p], b.node)
		}
	}
	d.anywhere(nowhere)
}

// ask finds a place for a copy of p. The partition that loses its own for that is sent on; -1: none.
func (d *deal) ask(p int) (sent int, ok bool) {
	for {
		b, more := d.next(p)
		if !more {
			return -1, false
		}
		held, room := d.held[b.node], d.room[b.node]
		switch {
		case room <= 0:
		case held.Len() < room:
			heap.Push(held, b)
			return -1, true
		case worse((*held)[0], b):
			sent = (*held)[0].partition
			(*held)[0] = b
			heap.Fix(held, 0)
			return sent, true
		}
	}
}

// next is the node that a partition asks after those that it has asked.
func (d *deal) next(p int) (b bid, ok bool) {
	if d.asked[p] == len(d.lists[p]) {
		if d.lists[p] = d.best(p, max(listed, 4*len(d.lists[p]))); d.asked[p] == len(d.lists[p]) {
			return bid{}, false
		}
	}
	b = d.lists[p][d.asked[p]]
	d.asked[p]++
	return b, true
}

// best are the n nodes with the highest weights that have no copy of p yet, the first first.
func (d *deal) best(p, n int) []bid {
	list := make([]bid, 0, n+1)
	for _, node := range d.nodes {
		b := bid{p, node, d.weight(p, node)}
		if len(list) == n && better(list[n-1], b) < 0 || slices.Contains(d.owners[p], node) {
			continue
		}
		at, _ := slices.BinarySearchFunc(list, b, better)
		if list = slices.Insert(list, at, b); len(list) > n {
			list = list[:n]
		}
	}
	return list
}

func (d *deal) anywhere(partitions []int) {
	slices.Sort(partitions)
	for _, p := range partitions {
		if list := d.best(p, 1); len(list) > 0 {
			d.owners[p] = append(d.owners[p], list[0].node)
		}
	}
}

// better orders the nodes for a partition, the one with the most weight first.
func better(a, b bid) int {
	return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.node, b.node))
}

// worse tells whether a node would rather have b than a.
func worse(a, b bid) bool {
	return a.weight < b.weight || a.weight == b.weight && a.partition > b.partition
}

// bids are what a node holds, the worst on top (container/heap).
type bids []bid

func (b bids) Len() int           { return len(b) }
func (b bids) Less(i, j int) bool { return worse(b[i], b[j]) }
func (b bids) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *bids) Push(x any)        { *b = append(*b, x.(bid)) }
func (b *bids) Pop() any {
	last := (*b)[len(*b)-1]
	*b = (*b)[:len(*b)-1]
	return last
}

// The most that a node takes, where the average is as given. Where that is small, chance alone gives some nodes much more than
// others, and a bound that many nodes are at moves much: so it is wider there.
func zoneLimit(average float64) float64 { return average + max(average/4, 10+average/6) }
func copyLimit(average float64) float64 { return average + max(average/4, 10+average/10) }
func leadLimit(average float64) float64 { return average * 1.25 }

// whole makes a limit a whole number, which is one more for some nodes than for others: as a mesh grows it falls for few of them
// at a time, and not for all at once.
func (t *token) whole(limit float64, node int) int {
	fraction := float64(mix(t.weights[node])>>11) / (1 << 53)
	return int(math.Floor(limit + fraction))
}

// hashOf is what a node's weights are made from.
func hashOf(n Node) uint64 { return xxhash.Sum64String(string(n.ID)) }
