package executor

import "shoal/states"

// graph is the plan's graph as a run asks it.
type graph struct {
	incoming [][]states.Edge // by the index of their To
	// waits lists what has to be over first beside the edges: what stands before it in its block or sequence, the block of
	// what it listens to.
	waits  map[int][]int
	within map[int]membership
	blocks map[int]*block // by index, of those that are a meta.block
	// between lists what stands between an invocation and the one that supersedes it; supersedes is the inverse of
	// SupersededBy.
	between    map[int][]int
	supersedes map[int][]int
}

// membership is where an invocation stands in a block or a sequence.
type membership struct {
	container int
	section   section
}

type section uint8

const (
	inSequence section = iota
	inRun
	inRescue
	inAlways
)

// newGraph reads the edges of a plan, of which those that do not go forward are none.
func newGraph(plan *states.Plan) *graph {
	g := &graph{
		incoming: make([][]states.Edge, len(plan.Invocations)), waits: map[int][]int{}, within: map[int]membership{},
		blocks: map[int]*block{}, between: map[int][]int{}, supersedes: map[int][]int{},
	}
	for _, e := range plan.Edges {
		if e.To >= 0 && e.To < len(g.incoming) && e.From >= 0 && e.From < e.To {
			g.incoming[e.To] = append(g.incoming[e.To], e)
		}
	}
	for i := range plan.Invocations {
		switch inv := &plan.Invocations[i]; {
		case inv.Block != nil:
			g.blocks[i] = &block{Block: inv.Block, by: -1}
			g.enter(i, inRun, inv.Block.Run)
			g.enter(i, inRescue, inv.Block.Rescue)
			g.enter(i, inAlways, inv.Block.Always)
			g.chain(plan, i, inv.Block.Run, inv.Block.Rescue, inv.Block.Always)
		case inv.Sequence != nil:
			g.enter(i, inSequence, inv.Sequence)
			g.chain(plan, i, inv.Sequence)
		}
	}
	g.waitForBlocks()
	for i := range plan.Invocations {
		if by := plan.Invocations[i].SupersededBy; by > i && by < len(plan.Invocations) {
			g.supersedes[by] = append(g.supersedes[by], i)
			g.between[i] = g.path(i, by)
		}
	}
	return g
}

// enter notes the members of a section. A container comes after what it holds, so that the innermost is met first.
func (g *graph) enter(container int, s section, members []int) {
	for _, m := range members {
		if _, ok := g.within[m]; !ok && m >= 0 && m < container {
			g.within[m] = membership{container, s}
		}
	}
}

// chain lets each member, with all that it holds, wait for the one before it, and the container for all.
func (g *graph) chain(plan *states.Plan, container int, sections ...[]int) {
	last := -1
	for _, members := range sections {
		for _, m := range members {
			if last >= 0 {
				for _, inner := range g.all(plan, m) {
					g.wait(last, inner)
				}
			}
			g.wait(m, container)
			last = m
		}
	}
}

func (g *graph) wait(first, then int) {
	if first >= 0 && first < then {
		g.waits[then] = append(g.waits[then], first)
	}
}

// all is an invocation and, of a container, all that it holds at any depth.
func (g *graph) all(plan *states.Plan, i int) []int {
	out := []int{i}
	for at := 0; at < len(out); at++ {
		if out[at] < 0 || out[at] >= len(plan.Invocations) {
			continue
		}
		inv := &plan.Invocations[out[at]]
		lists := [][]int{inv.Sequence}
		if inv.Block != nil {
			lists = [][]int{inv.Block.Run, inv.Block.Rescue, inv.Block.Always}
		}
		for _, list := range lists {
			for _, m := range list {
				if m < out[at] && g.within[m].container == out[at] {
					out = append(out, m)
				}
			}
		}
	}
	return out
}

// waitForBlocks lets what follows a member of a block wait until the block is decided: what a block changed may be rolled
// back with it.
func (g *graph) waitForBlocks() {
	if len(g.blocks) == 0 {
		return
	}
	for to, edges := range g.incoming {
		for _, e := range edges {
			for at, ok := e.From, true; ok; {
				var m membership
				if m, ok = g.within[at]; !ok {
					break
				}
				at = m.container
				if g.blocks[at] != nil && at < to && !g.holds(at, to) {
					g.wait(at, to)
				}
			}
		}
	}
}

// holds: i is in the container, at any depth.
func (g *graph) holds(container, i int) bool {
	_, ok := g.sectionOf(container, i)
	return ok
}

// sectionOf is the section of a container that holds i, at any depth.
func (g *graph) sectionOf(container, i int) (section, bool) {
	for {
		m, ok := g.within[i]
		if !ok {
			return 0, false
		}
		if m.container == container {
			return m.section, true
		}
		i = m.container
	}
}

// before lists what i comes after: the edges and the waits.
func (g *graph) before(i int, each func(from int)) {
	for _, e := range g.incoming[i] {
		each(e.From)
	}
	for _, from := range g.waits[i] {
		each(from)
	}
}

// path lists what comes after from and before to.
func (g *graph) path(from, to int) []int {
	after, needed := make([]bool, to-from), make([]bool, to-from+1) // by distance from "from"
	after[0], needed[to-from] = true, true
	for k := from + 1; k < to; k++ {
		g.before(k, func(p int) { after[k-from] = after[k-from] || p >= from && after[p-from] })
	}
	for k := to; k > from; k-- {
		if needed[k-from] {
			g.before(k, func(p int) {
				if p >= from {
					needed[p-from] = true
				}
			})
		}
	}
	var out []int
	for k := from + 1; k < to; k++ {
		if after[k-from] && needed[k-from] {
			out = append(out, k)
		}
	}
	return out
}
