// Package bounded lets a fuzz target say how much it may allocate.
package bounded

import (
	"runtime/metrics"
	"testing"
)

// MiB is a unit of most.
const MiB = 1 << 20

// Run fails the test when run allocates more than most bytes, kept or not. Nothing else may run meanwhile.
func Run(t testing.TB, most uint64, run func()) {
	t.Helper()
	before := allocated()
	run()
	if got := allocated() - before; got > most {
		t.Errorf("%d MiB were allocated, more than %d", got/MiB, most/MiB)
	}
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
