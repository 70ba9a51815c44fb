package simulation

import (
	"container/heap"
	"time"
)

// epoch is when each world begins.
var epoch = time.Unix(1_800_000_000, 0)

// happening is something that happens at a time; of two at one instant the one set first comes first.
type happening struct {
	at    time.Duration
	order uint64
	run   func()
}

type agenda struct {
	heap []happening
	set  uint64
}

func (a *agenda) Len() int { return len(a.heap) }
func (a *agenda) Less(i, j int) bool {
	if a.heap[i].at != a.heap[j].at {
		return a.heap[i].at < a.heap[j].at
	}
	return a.heap[i].order < a.heap[j].order
}
func (a *agenda) Swap(i, j int) { a.heap[i], a.heap[j] = a.heap[j], a.heap[i] }
func (a *agenda) Push(x any)    { a.heap = append(a.heap, x.(happening)) }
func (a *agenda) Pop() any {
	last := a.heap[len(a.heap)-1]
	a.heap[len(a.heap)-1] = happening{}
	a.heap = a.heap[:len(a.heap)-1]
	return last
}

func (a *agenda) add(at time.Duration, run func()) {
	a.set++
	heap.Push(a, happening{at: at, order: a.set, run: run})
}

func (a *agenda) next() (happening, bool) {
	if len(a.heap) == 0 {
		return happening{}, false
	}
	return heap.Pop(a).(happening), true
}

// clock is that of one node. As Go's own it does not jump while the process lives: what an operator does to the time of day is
// seen at the next start.
type clock struct {
	base   time.Time // at the start of this life
	since  time.Duration
	jumped time.Duration
	drift  float64 // seconds gained in a second
}

func (c *clock) start(now time.Duration) {
	c.base, c.since = epoch.Add(now+c.jumped), now
}

func (c *clock) at(now time.Duration) time.Time {
	passed := now - c.since
	return c.base.Add(passed + time.Duration(float64(passed)*c.drift))
}

// until is how long it takes by the world's time until this clock shows t.
func (c *clock) until(now time.Duration, t time.Time) time.Duration {
	left := t.Sub(c.at(now))
	if left <= 0 {
		return 0
	}
	return time.Duration(float64(left)/(1+c.drift)) + 1
}
