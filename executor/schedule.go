package executor

import (
	"cmp"
	"container/heap"
	"context"

	"shoal/states"
)

// schedule is the walk with the hands: each invocation has its turn when all that it comes after is over. One goroutine owns
// it and everything that invocations may know of each other; workers are sent one item at a time.
//
// Whatever the mode, the order agrees with the edges. ansible: the order of the plan, one after another. justdoit: whatever is
// ready, as many at a time as there are workers. genius: the same, the longest path first and reloads last. In both, what
// cannot be undone waits until nothing else is left that could run without it.
type schedule struct {
	r       *run
	waiting []int // how many it waits for yet
	follows [][]int
	lane    []lane
	weight  []int // how many invocations with something to do stand on the longest path behind it
	joints  *joints
	ready   readyHeap
	lanes   [lanes]int // running, by lane
	busy    map[string]int
	running int
	done    chan finishedItem
}

// lane is a group of invocations that begins when nothing of a lower one runs or is ready.
type lane uint8

const (
	laneNormal lane = iota
	laneReload
	laneIrreversible
	lanes
)

// item is what one worker does: an invocation, or several that are joined.
type item struct {
	members []int
	lane    lane
	weight  int
}

type finishedItem struct {
	item
	held    []string
	changed []bool
	errs    []error
}

func newSchedule(r *run) *schedule {
	n := len(r.plan.Invocations)
	s := &schedule{
		r: r, waiting: make([]int, n), follows: make([][]int, n), lane: make([]lane, n), weight: make([]int, n),
		busy: map[string]int{}, done: make(chan finishedItem),
	}
	for i := range n {
		r.graph.before(i, func(from int) {
			s.waiting[i]++
			s.follows[from] = append(s.follows[from], i)
		})
	}
	if r.plan.Policy.Order != states.Ansible {
		s.rank()
	}
	s.joints = r.join(s.follows)
	s.ready.ansible = r.plan.Policy.Order == states.Ansible
	for i := range n {
		if s.waiting[i] == 0 {
			s.arrive(i)
		}
	}
	return s
}

// rank finds the lane of each invocation and, in genius, how long the path behind it is.
func (s *schedule) rank() {
	genius := s.r.plan.Policy.Order == states.Genius
	for i := len(s.lane) - 1; i >= 0; i-- {
		if genius && s.r.inv(i).Lazy {
			s.lane[i] = laneReload
		}
		work := 0
		for _, t := range s.r.tasks[i] {
			if t.found.surveyed {
				work = 1
			}
			if t.found.irreversible {
				s.lane[i] = laneIrreversible
			}
		}
		for _, next := range s.follows[i] {
			if genius {
				s.weight[i] = max(s.weight[i], s.weight[next])
			}
		}
		if genius {
			s.weight[i] += work
		}
	}
}

// arrive: all that an invocation comes after is over.
func (s *schedule) arrive(i int) {
	it := item{members: []int{i}, lane: s.lane[i], weight: s.weight[i]}
	if group := s.joints.of(i); group != nil {
		if group.waiting--; group.waiting > 0 {
			return
		}
		it.members = group.members
		for _, m := range group.members {
			it.lane, it.weight = max(it.lane, s.lane[m]), max(it.weight, s.weight[m])
		}
	}
	heap.Push(&s.ready, it)
}

// act does what the survey found.
func (r *run) act(ctx context.Context) {
	r.hands = true
	r.seen = make([]outcome, len(r.plan.Invocations))
	r.values.made = map[invocation]produced{}
	r.failure.err, r.failure.index = nil, -1
	r.report.ran = make([]int, 0, len(r.plan.Invocations))
	r.remove(ctx)
	newSchedule(r).run(ctx)
}

func (s *schedule) run(ctx context.Context) {
	workers := 1
	if !s.ready.ansible {
		workers = max(s.r.e.Workers, 1)
	}
	for {
		for s.running < workers {
			it, ok := s.next()
			if !ok {
				break
			}
			s.begin(ctx, it, workers)
		}
		if s.running == 0 {
			return // nothing is ready either: with nothing running, nothing is kept from beginning
		}
		s.end(<-s.done)
	}
}

// next takes the first item that may begin now: nothing of a lower lane is left, and nothing that it needs for itself is taken.
func (s *schedule) next() (item, bool) {
	var aside []item
	defer func() {
		for _, it := range aside {
			heap.Push(&s.ready, it)
		}
	}()
	for s.ready.Len() > 0 {
		it := heap.Pop(&s.ready).(item)
		lower := len(aside) > 0 && aside[0].lane < it.lane
		for l := range it.lane {
			lower = lower || s.lanes[l] > 0
		}
		if !lower && s.free(it) {
			return it, true
		}
		aside = append(aside, it)
		if lower {
			break
		}
	}
	return item{}, false
}

func (s *schedule) free(it item) bool {
	for _, i := range it.members {
		for _, what := range s.r.alone(i) {
			if s.busy[what] > 0 {
				return false
			}
		}
	}
	return true
}

// begin decides on each member, and sends a worker to those that run.
func (s *schedule) begin(ctx context.Context, it item, workers int) {
	r := s.r
	f := finishedItem{item: item{lane: it.lane}}
	var verdicts []verdict
	for _, i := range it.members {
		r.report.ran = append(r.report.ran, i)
		v := r.decide(ctx, i)
		switch {
		case v.skip != "":
			r.pass(ctx, i, v)
		case v.err != nil:
			r.refuse(i, v.err)
		case len(r.tasks[i]) == 0:
			r.concludeContainer(i)
			r.produce(i)
		default:
			r.enterBlocks(i)
			f.members, verdicts = append(f.members, i), append(verdicts, v)
			f.held = append(f.held, r.alone(i)...)
			continue
		}
		s.release(i)
	}
	if len(f.members) == 0 {
		return
	}
	s.running++
	s.lanes[f.lane]++
	for _, what := range f.held {
		s.busy[what]++
	}
	work := func() finishedItem {
		f.changed, f.errs = r.together(ctx, f.members, verdicts)
		return f
	}
	if workers == 1 {
		s.end(work())
		return
	}
	go func() { s.done <- work() }()
}

// end takes up what a worker did.
func (s *schedule) end(f finishedItem) {
	s.running--
	s.lanes[f.lane]--
	for _, what := range f.held {
		s.busy[what]--
	}
	for n, i := range f.members {
		s.r.seen[i] = outcome{changed: f.changed[n], ended: lastEnd(s.r.tasks[i])}
		if f.errs[n] != nil {
			s.r.fail(i, f.errs[n])
		}
		s.r.produce(i)
		s.release(i)
	}
}

// lastEnd is the tick at which the last change of some tasks was done.
func lastEnd(tasks []*task) (tick int64) {
	for _, t := range tasks {
		tick = max(tick, t.work.ended)
	}
	return tick
}

func (s *schedule) release(i int) {
	for _, next := range s.follows[i] {
		if s.waiting[next]--; s.waiting[next] == 0 {
			s.arrive(next)
		}
	}
}

// foresee lists the invocations in the order in which one worker would take them.
func (s *schedule) foresee() []int {
	order := make([]int, 0, len(s.waiting))
	for s.ready.Len() > 0 {
		it := heap.Pop(&s.ready).(item)
		order = append(order, it.members...)
		for _, i := range it.members {
			s.release(i)
		}
	}
	return order
}

// readyHeap orders what is ready: by lane, the longest path first, then as in the plan.
type readyHeap struct {
	items   []item
	ansible bool // as in the plan alone
}

func (h *readyHeap) Len() int { return len(h.items) }

func (h *readyHeap) Less(a, b int) bool {
	x, y := h.items[a], h.items[b]
	if h.ansible {
		return x.members[0] < y.members[0]
	}
	return cmp.Or(cmp.Compare(x.lane, y.lane), cmp.Compare(y.weight, x.weight), cmp.Compare(x.members[0], y.members[0])) < 0
}

func (h *readyHeap) Swap(a, b int) { h.items[a], h.items[b] = h.items[b], h.items[a] }

func (h *readyHeap) Push(x any) { h.items = append(h.items, x.(item)) }

func (h *readyHeap) Pop() any {
	last := h.items[len(h.items)-1]
	h.items = h.items[:len(h.items)-1]
	return last
}
