package api

import (
	"net/netip"
	"sync"
	"time"
)

// How many tokens that nobody has an address may show: some at once, and then one each guessEvery. Until then whatever it shows is not
// looked at. A token is 256 bits, so that no rate finds one; but who tries shows, and costs little.
const (
	guessBurst  = 16
	guessEvery  = time.Second
	maxGuessers = 1024 // addresses that are remembered
)

// guesses are the wrong tokens of late, by the address that they came from. The zero value is ready.
type guesses struct {
	mu   sync.Mutex
	from map[netip.Prefix]*guesser
}

type guesser struct {
	left float64
	at   time.Time
}

func (g *guesser) refill(now time.Time) {
	g.left = min(guessBurst, g.left+now.Sub(g.at).Seconds()/guessEvery.Seconds())
	g.at = now
}

// guesserOf is whom an address stands for: in IPv6 anybody has 2^64 of them.
func guesserOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // of no address there is one
	}
	addr := at.Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // the length fits
	return p
}

// spent tells whether an address has to wait.
func (g *guesses) spent(who netip.Prefix, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.from[who]
	if one == nil {
		return false
	}
	one.refill(now)
	return one.left < 1
}

// wrong notes a guess.
func (g *guesses) wrong(who netip.Prefix, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.from[who]
	if one == nil {
		g.makeRoom(now)
		one = &guesser{left: guessBurst, at: now}
		g.from[who] = one
	}
	one.refill(now)
	one.left = max(one.left-1, 0)
}

// makeRoom forgets those who might guess as if they never had; and, when there are none, whoever guessed longest ago.
func (g *guesses) makeRoom(now time.Time) {
	if g.from == nil {
		g.from = map[netip.Prefix]*guesser{}
	}
	if len(g.from) < maxGuessers {
		return
	}
	var last netip.Prefix
	for who, one := range g.from {
		if now.Sub(one.at) > guessBurst*guessEvery {
			delete(g.from, who)
		} else if at := g.from[last]; at == nil || one.at.Before(at.at) {
			last = who
		}
	}
	if len(g.from) >= maxGuessers {
		delete(g.from, last)
	}
}
