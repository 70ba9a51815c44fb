package main

import "testing"

// A small heap grows as it is wanted to, a large one by what is left, and one that is too large already by little, not by nothing.
func TestBoundedGrowth(t *testing.T) {
	for _, c := range []struct {
		want     int
		aliveMiB uint64
		growth   int
	}{
		{idleGrowth, 0, idleGrowth}, {busyGrowth, 10, busyGrowth}, {busyGrowth, 20, busyGrowth},
		{busyGrowth, 32, 25}, {idleGrowth, 30, idleGrowth}, {busyGrowth, 36, 22}, {idleGrowth, 36, 22},
		{busyGrowth, 40, 20}, {busyGrowth, 500, leastGrowth},
	} {
		if got := boundedGrowth(c.want, c.aliveMiB<<20); got != c.growth {
			t.Errorf("%d %% wanted with %d MiB alive: %d %%, want %d %%", c.want, c.aliveMiB, got, c.growth)
		}
	}
}
