package swim

import (
	"encoding/binary"
	"sync"
	"time"

	"shoal/membership"
)

// record is what each node has been told of each other, and when.
type record struct {
	index map[membership.NodeID]int

	mu    sync.Mutex
	sees  [][]sight // by observer, then by whom it is about
	alive []int     // by observer: how many that are up it sees alive, not counting itself
	isUp  []bool
	count int         // of those that are up
	died  []time.Time // by node: when it went down; zero: it is up
	// False deaths: how many there were, and how often one was told of one.
	episodes, told int
	blamed         []int // by node: how many see it dead, and it is not
	// found are how long it took each observer to see a crashed node dead.
	found []time.Duration
	hints [][]time.Duration // by number of the hint: how long it took
	sent  []time.Time
	heard []map[int]bool
}

// sight is what a node knows of another: whether it is alive, whether it ever was, and whether its death is counted already.
type sight struct{ alive, known, found bool }

func newRecord(index map[membership.NodeID]int) *record {
	n := len(index)
	r := &record{index: index, sees: make([][]sight, n), alive: make([]int, n), isUp: make([]bool, n), died: make([]time.Time, n), blamed: make([]int, n)}
	for i := range r.sees {
		r.sees[i] = make([]sight, n)
	}
	return r
}

// up: a node is there, and knows itself alone.
func (r *record) up(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.sees[i])
	r.isUp[i], r.died[i], r.alive[i] = true, time.Time{}, 0
	r.count++
	for o := range r.sees {
		if o != i && r.isUp[o] && r.sees[o][i].alive {
			r.alive[o]++
		}
	}
}

func (r *record) down(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isUp[i], r.died[i] = false, time.Now()
	r.count--
	for o := range r.sees {
		if o != i && r.isUp[o] && r.sees[o][i].alive {
			r.alive[o]--
		}
	}
	r.blamed[i] = 0
}

// take notes what the gossip tells a node.
func (r *record) take(me int, e membership.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isUp[me] {
		return
	}
	if e.Hint != nil {
		r.hear(me, e.Hint)
		return
	}
	about, ok := r.index[e.Node]
	if !ok || about == me {
		return
	}
	before, now := r.sees[me][about], e.Status == membership.Alive
	r.sees[me][about] = sight{alive: now, known: true, found: before.found}
	if before.alive == now {
		return
	}
	r.changed(me, about, now)
}

// changed: an observer sees another die, or come back. The caller holds the lock.
func (r *record) changed(me, about int, alive bool) {
	switch {
	case !r.isUp[about]:
		if s := &r.sees[me][about]; !alive && !s.found {
			s.found = true
			r.found = append(r.found, time.Since(r.died[about]))
		}
		return
	case alive:
		r.alive[me]++
		if r.blamed[about] > 0 {
			r.blamed[about]--
		}
	default:
		r.alive[me]--
		r.told++
		if r.blamed[about]++; r.blamed[about] == 1 {
			r.episodes++
		}
	}
}

// gaps are how many pairs there are of which one does not see the other, both being up.
func (r *record) gaps() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, alive := range r.alive {
		if r.isUp[i] {
			n += r.count - 1 - alive
		}
	}
	return n
}

// blind are how many pairs there are of which one still sees the other, which is down.
func (r *record) blind() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for about, up := range r.isUp {
		if up {
			continue
		}
		for o := range r.sees {
			if r.isUp[o] && r.sees[o][about].alive {
				n++
			}
		}
	}
	return n
}

// missing are those whom a node has seen, and does not see alive.
func (r *record) missing(me int) (who []int, alone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	alone = true
	for about, s := range r.sees[me] {
		switch {
		case s.alive:
			alone = false
		case s.known:
			who = append(who, about)
		}
	}
	return who, alone
}

// hint begins another one and gives what it carries.
func (r *record) hint(sender int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	number := len(r.sent)
	r.sent = append(r.sent, time.Now())
	r.hints = append(r.hints, nil)
	r.heard = append(r.heard, map[int]bool{sender: true})
	return binary.BigEndian.AppendUint32(nil, uint32(number))
}

// hear notes that a hint is here. The caller holds the lock.
func (r *record) hear(me int, payload []byte) {
	if len(payload) != 4 {
		return
	}
	number := int(binary.BigEndian.Uint32(payload))
	if number >= len(r.sent) || r.heard[number][me] {
		return
	}
	r.heard[number][me] = true
	r.hints[number] = append(r.hints[number], time.Since(r.sent[number]))
}
