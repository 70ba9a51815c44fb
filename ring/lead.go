package ring

import "slices"

// lead has no node lead more than its share: where one does, an owner beside it takes a partition over, and gives one of its own
// to another in its turn if it must, on the shortest such way (augmenting paths, as in Dinic, 1970). No copy moves for that.
func (t *token) lead(owners [][]int) {
	l := leading{owners: owners, led: make([][]int, len(t.nodes))}
	limit := leadLimit(float64(Partitions) / float64(len(t.nodes)))
	for node := range t.nodes {
		l.most = append(l.most, t.whole(limit, node))
	}
	for p, row := range owners {
		l.led[row[0]] = append(l.led[row[0]], p)
	}
	for node := range t.nodes {
		for len(l.led[node]) > l.most[node] && l.relieve(node) {
		}
	}
}

type leading struct {
	owners [][]int
	led    [][]int // partitions that a node leads, ascending
	most   []int   // of each node
}

// step is a partition that goes from one leader to another.
type step struct{ partition, from int }

// relieve takes one partition from a node; false: all that it could give to are full as well.
func (l *leading) relieve(node int) bool {
	came := map[int]step{node: {from: -1}}
	for queue := []int{node}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for _, p := range l.led[from] {
			for _, to := range l.owners[p][1:] {
				if _, known := came[to]; known {
					continue
				}
				came[to] = step{p, from}
				if len(l.led[to]) < l.most[to] {
					l.shift(to, came)
					return true
				}
				queue = append(queue, to)
			}
		}
	}
	return false
}

// shift hands partitions on along the way that came to a node.
func (l *leading) shift(to int, came map[int]step) {
	for s := came[to]; s.from >= 0; to, s = s.from, came[s.from] {
		at, _ := slices.BinarySearch(l.led[s.from], s.partition)
		l.led[s.from] = slices.Delete(l.led[s.from], at, at+1)
		at, _ = slices.BinarySearch(l.led[to], s.partition)
		l.led[to] = slices.Insert(l.led[to], at, s.partition)
		row := l.owners[s.partition]
		other := slices.Index(row, to)
		row[0], row[other] = row[other], row[0]
	}
}
