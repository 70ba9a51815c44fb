package mesh

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestSpacedServesEach: whoever wants something is served by a run that begins later, within the longest gap; and at once when nobody
// has wanted it for long.
func TestSpacedServesEach(t *testing.T) {
	const most = 500 * time.Millisecond
	dice := rand.New(rand.NewPCG(3, 4))
	c := &Core{heads: newHeads(), now: time.Unix(1000, 0)}
	var ran time.Time
	runs := 0
	pass := func(d time.Duration) {
		for end := c.now.Add(d); ; {
			next := c.Next()
			if next.IsZero() || next.After(end) {
				c.now = end
				return
			}
			c.now = next
			c.runTimers()
		}
	}
	want := func() { c.spaced("x", most, func() { ran = c.now; runs++ }) }
	for range 50 {
		pass(hintOver + 2*most + time.Millisecond)
		began := c.now
		want()
		if ran != began {
			t.Fatal("the first of a row waits")
		}
		runs = 0
		var last time.Time
		for c.now.Sub(began) < 10*time.Second {
			last = c.now
			want()
			pass(time.Duration(1+dice.IntN(20)) * time.Millisecond)
			if c.now.Sub(ran) > most+20*time.Millisecond {
				t.Fatalf("nothing for %s", c.now.Sub(ran))
			}
		}
		if runs > 30 {
			t.Errorf("%d runs in 10 s", runs)
		}
		pass(most)
		if ran.Before(last) {
			t.Error("the last of a row is not served")
		}
	}
}
