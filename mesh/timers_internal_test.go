package mesh

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestTimersRunInOrder: whatever is stopped, and whenever, those that are left run when they are due, in the order in which they were
// set, and each once. The twin is a list that is searched.
func TestTimersRunInOrder(t *testing.T) {
	type set struct {
		at    time.Time
		one   *timer
		alive bool
	}
	dice := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(0, 0)
	var all timers
	var list []set
	var ran []int
	for range 5000 {
		switch dice.IntN(4) {
		case 0, 1:
			i, at := len(list), now.Add(time.Duration(dice.IntN(20)))
			list = append(list, set{at, all.add(at, func() { ran = append(ran, i) }), true})
		case 2:
			if len(list) > 0 {
				i := dice.IntN(len(list)) // it may be over by now
				all.stop(list[i].one)
				list[i].alive = false
			}
		case 3:
			now = now.Add(time.Duration(dice.IntN(5)))
			var want []int
			for i := range list {
				if list[i].alive && !list[i].at.After(now) {
					want, list[i].alive = append(want, i), false
				}
			}
			slices.SortStableFunc(want, func(a, b int) int { return list[a].at.Compare(list[b].at) })
			ran = nil
			for run, ok := all.due(now); ok; run, ok = all.due(now) {
				run()
			}
			if !slices.Equal(ran, want) {
				t.Fatalf("ran %v of %v", ran, want)
			}
		}
	}
	left := 0
	for _, s := range list {
		if s.alive {
			left++
		}
	}
	if left != len(all.heap) {
		t.Errorf("%d are kept, %d are to run", len(all.heap), left)
	}
	all.stop(nil)
}
