package api

import (
	"fmt"
	"testing"
	"time"
)

// TestGuesses: an address that guessed too often waits, the others do not, and what is remembered is bounded.
func TestGuesses(t *testing.T) {
	var g guesses
	now := time.Unix(1_800_000_000, 0)
	thief, near, other := guesserOf("192.0.2.1:5"), guesserOf("192.0.2.1:6"), guesserOf("192.0.2.2:5")
	for i := range guessBurst {
		if g.spent(thief, now) {
			t.Fatalf("it waits after %d guesses", i)
		}
		g.wrong(thief, now)
	}
	if !g.spent(thief, now) || !g.spent(near, now) || g.spent(other, now) {
		t.Error("the same address from another port does not wait, or another address does")
	}
	if now = now.Add(guessEvery); g.spent(thief, now) {
		t.Error("it waits for ever")
	}
	if g.wrong(thief, now); !g.spent(thief, now) {
		t.Error("a second gives more than one guess")
	}
	if guesserOf("[2001:db8::1]:5") != guesserOf("[2001:db8::ffff:2]:6") || guesserOf("[::ffff:192.0.2.1]:1") != thief {
		t.Error("addresses of one holder count as several")
	}
	for i := range 3 * maxGuessers {
		g.wrong(guesserOf(fmt.Sprintf("10.%d.%d.1:1", i>>8, i&0xff)), now.Add(time.Duration(i)))
		if len(g.from) > maxGuessers {
			t.Fatalf("%d addresses are remembered", len(g.from))
		}
	}
	if g.from[thief] != nil {
		t.Error("the oldest is not who was forgotten")
	}
}
