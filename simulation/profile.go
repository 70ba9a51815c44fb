package simulation

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A profile is what a course looks at: some mistakes need many collections in a minute, others many changes of acceptors, and
// neither come together in a course that has a little of everything.
type profile struct {
	name   string
	weight int
	kinds  []Kind // of most of its faults; none: no more of these than of others
	shape  func(p *Plan, dice *rand.Rand)
}

// profiles are all that there are. Their order is part of what a seed means.
func profiles() []profile {
	between := func(dice *rand.Rand, low, high time.Duration) time.Duration {
		return low + time.Duration(dice.Int64N(int64(high-low)))
	}
	return []profile{
		{"all", 6, nil, func(*Plan, *rand.Rand) {}},
		{"acceptors", 4, []Kind{"ambush", "ambush", "reseat", "reseat", "reseat", "reseat", "halftold", "halftold", "halftold", "wipe", "rewind", "join", "leave", "evict", "oneway", "alone"},
			func(p *Plan, dice *rand.Rand) {
				p.Nodes, p.Clients = 4+dice.IntN(6), 1+dice.IntN(4)
				p.Grace = between(dice, 5*second, 15*second)
			}},
		{"collection", 3, []Kind{"ambush", "join", "leave", "pause", "alone", "split", "slow", "clog", "crash", "storm"},
			func(p *Plan, dice *rand.Rand) {
				p.Nodes, p.Keep, p.Most = 4+dice.IntN(7), 2+dice.IntN(2), 11*second
				p.Grace, p.Length = between(dice, 4*second, 12*second), between(dice, 40*second, 90*second)
				p.Collect = between(dice, second, 5*second)
				p.Read = between(dice, 0, 3*second)
			}},
		{"partitions", 3, []Kind{"alone", "alone", "split", "oneway", "bridge", "island", "flap", "join"},
			func(p *Plan, dice *rand.Rand) {
				p.Grace, p.Length = between(dice, 3*second, 8*second), between(dice, 40*second, 80*second)
			}},
		{"upgrade", 2, []Kind{"misplace", "misplace", "misplace", "storm", "wipe", "join", "leave", "split"},
			func(p *Plan, dice *rand.Rand) {
				p.Nodes, p.Grace = 4+dice.IntN(6), between(dice, 4*second, 12*second)
			}},
	}
}

func drawProfile(dice *rand.Rand) profile {
	all, total := profiles(), 0
	for _, p := range all {
		total += p.weight
	}
	roll := dice.IntN(total)
	for _, p := range all {
		if roll -= p.weight; roll < 0 {
			return p
		}
	}
	panic("unreachable")
}

// chosen are the kinds of a course's faults: those of the profile for the most part, and a few of all.
func (p profile) chosen(dice *rand.Rand) []kindOf {
	some := swarm(dice)
	if len(p.kinds) == 0 {
		return some
	}
	if len(some) > 3 {
		some = some[:3]
	}
	for _, k := range some {
		k.weight = min(k.weight, 2)
	}
	for _, name := range p.kinds {
		k := kindNamed(name)
		k.weight = 4
		some = append(some, k)
	}
	return slices.Clip(some)
}
