package mesh

import (
	"container/heap"
	"time"
)

// timers is what is due when. Of two that are due at one instant the one set first comes first, so that a Core's course
// depends on its input alone.
type timers struct {
	heap []*timer
	set  uint64
}

// timer is one of them. Who has no use for it any more stops it: thousands of pushes a second would else be kept for as long as
// each of them might have taken.
type timer struct {
	at    time.Time
	order uint64
	run   func()
	place int // in the heap
}

func (t *timers) Len() int { return len(t.heap) }
func (t *timers) Less(i, j int) bool {
	if !t.heap[i].at.Equal(t.heap[j].at) {
		return t.heap[i].at.Before(t.heap[j].at)
	}
	return t.heap[i].order < t.heap[j].order
}
func (t *timers) Swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].place, t.heap[j].place = i, j
}

func (t *timers) Push(x any) {
	x.(*timer).place = len(t.heap)
	t.heap = append(t.heap, x.(*timer))
}

func (t *timers) Pop() any {
	last := t.heap[len(t.heap)-1]
	t.heap[len(t.heap)-1] = nil
	t.heap = t.heap[:len(t.heap)-1]
	return last
}

func (t *timers) add(at time.Time, run func()) *timer {
	t.set++
	one := &timer{at: at, order: t.set, run: run}
	heap.Push(t, one)
	return one
}

// stop takes a timer out; one that has run, that was stopped, or that is nil is left alone.
func (t *timers) stop(one *timer) {
	if one == nil || one.run == nil {
		return
	}
	heap.Remove(t, one.place)
	one.run = nil
}

// due removes and returns the next timer that is not after now.
func (t *timers) due(now time.Time) (func(), bool) {
	if len(t.heap) == 0 || t.heap[0].at.After(now) {
		return nil, false
	}
	first := heap.Pop(t).(*timer)
	run := first.run
	first.run = nil
	return run, true
}

// dice is a small generator (splitmix64: Steele, Lea and Flood, 2014) for jitter and the choice of peers; nothing secret
// comes from it.
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below is a number from 0 to n-1.
func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

// between is a duration from low to high.
func (d *dice) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.next()%uint64(high-low+1))
}
