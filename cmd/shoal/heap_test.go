package main

import "testing"

// A small heap grows as it is wanted to, a large one by what is left, and one that is too large already by little, not by nothing.
func TestBoundedGrowth(t *testing.T) {
	for _, c := range []struct {
		want     int
		aliveMiB uint64
		growth   int
	}{
		{idleGrowth, 0, idleGrowth}, {busyGrowth, 20, busyGrowth}, {busyGrowth, 28, busyGrowth},
		{busyGrowth, 40, 40}, {idleGrowth, 40, idleGrowth}, {busyGrowth, 50, 16}, {idleGrowth, 50, 16},
		{busyGrowth, 56, 14}, {busyGrowth, 500, leastGrowth},
	} {
		if got := boundedGrowth(c.want, c.aliveMiB<<20); got != c.growth {
			t.Errorf("%d %% wanted with %d MiB alive: %d %%, want %d %%", c.want, c.aliveMiB, got, c.growth)
		}
	}
}
