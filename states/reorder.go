package states

import "slices"

// reorder makes room for a link against the present positions: what l.to reaches moves behind what reaches l.from, within
// the positions that both together have now. It is not ok when the link would close a cycle. visited is the work it did.
func (g *graph) reorder(l link, position []int, in [][]int) (ok bool, visited int) {
	low, high := position[l.to], position[l.from]
	after, steps, cyclic := g.search(l.to, l.from, func(at int) []int { return g.out[at] }, func(e link) int { return e.to },
		func(at int) bool { return position[at] <= high })
	if cyclic {
		return false, steps
	}
	before, more, _ := g.search(l.from, -1, func(at int) []int { return in[at] }, func(e link) int { return e.from },
		func(at int) bool { return position[at] >= low })
	byPosition := func(a, b int) int { return position[a] - position[b] }
	slices.SortFunc(before, byPosition)
	slices.SortFunc(after, byPosition)
	moved := append(before, after...)
	slots := make([]int, len(moved))
	for i, at := range moved {
		slots[i] = position[at]
	}
	slices.Sort(slots)
	for i, at := range moved {
		position[at] = slots[i]
	}
	return true, steps + more
}

// search lists what start reaches within bounds and counts its steps; it stops and says true when that includes goal.
func (g *graph) search(start, goal int, edges func(int) []int, end func(link) int, within func(int) bool) (found []int, steps int, cyclic bool) {
	seen := map[int]bool{start: true}
	found = []int{start}
	for i := 0; i < len(found); i++ {
		for _, e := range edges(found[i]) {
			at := end(g.links[e])
			if steps++; at == goal {
				return nil, steps, true
			}
			if !seen[at] && within(at) {
				seen[at] = true
				found = append(found, at)
			}
		}
	}
	return found, steps, false
}
