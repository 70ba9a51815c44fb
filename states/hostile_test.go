package states_test

import (
	"runtime"
	"testing"
	"time"

	"shoal/internal/hostile"
)

// maxHostileHeap is how much of the heap one reader may need for an input of 1 MiB.
const maxHostileHeap = 512 << 20

// TestHostileInputs bounds what each reader allocates while it is at work. All that ends, ends by counts; how long it takes
// is logged and not asserted: make bench prints it.
func TestHostileInputs(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short, as the race detector's run has it: its allocations are not the product's")
	}
	for name, read := range hostile.Readings(functions()) {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			var before runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				if err := read(); err != nil && len(err.Error()) > hostile.Size {
					t.Errorf("a message of %d bytes", len(err.Error()))
				}
			}()
			most := heapUntil(done)
			grown := int64(most) - int64(before.HeapAlloc)
			if grown > maxHostileHeap {
				t.Errorf("the heap grows by %d MiB", grown>>20)
			}
			t.Logf("%v, %d MiB", time.Since(start).Round(time.Millisecond), grown>>20)
		})
	}
}

// heapUntil is the largest heap, garbage included, that is seen until done.
func heapUntil(done <-chan struct{}) uint64 {
	most := uint64(0)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
		select {
		case <-done:
			return most
		case <-tick.C:
		}
	}
}
