package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// oftenCollected is how far apart the collections of an agent are while it has much to do, at most; it has when busyRow of them
// have followed each other like that, which a start, or a push now and then, does not bring about.
const (
	oftenCollected = time.Second
	busyRow        = 32
)

// Beyond mostHeap bytes an agent's heap grows by someGrowth at most between two collections, but by leastGrowth percent: while a large
// file comes in some 20 MiB are alive, and more than the double of that would be filled with nothing.
const (
	mostHeap    = 40 << 20
	someGrowth  = 8 << 20
	leastGrowth = 10
)

// growWhenBusy lets the heap of an agent grow further for as long as it fills fast: a quarter of what is alive is filled in no
// time by a thousand pushes a second, and the collector would take more than the pushes. It looks at each collection, by an
// object that nobody holds and that is made anew; when none has come for a while the heap may shrink again. Whatever else
// sets the growth, it lowers it where the heap would come to more than mostHeap.
func growWhenBusy() {
	calm := time.AfterFunc(2*oftenCollected, func() { debug.SetGCPercent(idleGrowth) })
	row := 0
	var watch func(before time.Time)
	watch = func(before time.Time) {
		now := time.Now()
		if row++; now.Sub(before) >= oftenCollected {
			row = 0
		}
		growth, alive := heapState()
		want := growth
		if row >= busyRow {
			want = busyGrowth
			calm.Reset(2 * oftenCollected)
		}
		if want = boundedGrowth(want, alive); want != growth {
			debug.SetGCPercent(want)
		}
		runtime.AddCleanup(new([64]byte), watch, now)
	}
	runtime.AddCleanup(new([64]byte), watch, time.Time{})
}

// boundedGrowth is the growth that is wanted, in percent, or what the bytes that are alive leave of it.
func boundedGrowth(want int, alive uint64) int {
	if alive == 0 {
		return want
	}
	most := max(someGrowth, mostHeap-min(alive, mostHeap))
	return min(want, max(int(min(most*100/alive, busyGrowth)), leastGrowth))
}

// heapState is the growth that is set, in percent, and what was alive at the last collection, in bytes.
func heapState() (growth int, alive uint64) {
	samples := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	return int(samples[0].Value.Uint64()), samples[1].Value.Uint64()
}
