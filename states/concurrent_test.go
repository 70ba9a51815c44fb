package states_test

import (
	"bytes"
	"sync"
	"testing"

	"shoal/states"
)

// Compilations share nothing, though gonja keeps its filters and tags in globals.
func TestCompilationsAreIndependent(t *testing.T) {
	fsys := thousandTree()
	encoded := make([][]byte, 4)
	var wg sync.WaitGroup
	for i := range encoded {
		wg.Go(func() {
			plan, err := states.Compile(fsys, states.Input{Node: web()}, functions())
			if err != nil {
				t.Error(err)
				return
			}
			if encoded[i], err = states.EncodePlan(plan); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, data := range encoded[1:] {
		if !bytes.Equal(data, encoded[0]) {
			t.Error("two compilations at the same time differ")
		}
	}
}
