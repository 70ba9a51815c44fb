package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"shoal/mesh"
)

// Plan is what happens in a world: a function of its seed, which can then be made smaller.
type Plan struct {
	Seed    uint64
	Profile string `json:",omitempty"` // that it was drawn with
	Nodes   int    // to begin with
	Clients int
	Zones   int
	Envs    int
	Length  time.Duration // of the phase with faults; what follows is calm
	Grace   time.Duration // these as mesh.Config has them
	Keep    int
	Most    time.Duration // mesh.Config.PushMost
	Collect time.Duration
	Scrub   time.Duration
	Read    time.Duration `json:",omitempty"` // most that it takes to read all that a node keeps
	Faults  []Fault

	Stretch int `json:",omitempty"` // all that faults and clients do takes that many times as long; 0: 1
}

// Stretched is the same plan in slow motion: what was a partition of half a minute lasts for hours, while the nodes do all that
// they do as often as ever.
func (p Plan) Stretched(by int) Plan {
	p.Stretch, p.Length = by, p.Length*time.Duration(by)
	p.Faults = slices.Clone(p.Faults)
	for i := range p.Faults {
		f := &p.Faults[i]
		f.At, f.For = settling+(f.At-settling)*time.Duration(by), f.For*time.Duration(by)
	}
	return p
}

// Limits of a world.
const (
	minNodes = 3
	maxNodes = 12
	mostEver = 20 // nodes, with those that joined
	settling = 6 * time.Second
	calmTime = 4 * time.Minute // in which all must be well again
)

// Fault is one thing that goes wrong.
type Fault struct {
	At, For time.Duration
	Kind    Kind
	Who     uint64 // one bit for each node that is hit; taken modulo the nodes that there are
	N       int    // how much, see kinds
	size    int    // nodes when it began
}

// Kind of a fault.
type Kind string

// kindOf says what a kind of fault may be like.
type kindOf struct {
	kind          Kind
	weight        int
	low, high     int // of N
	short, long   time.Duration
	many          bool // Who has more than one
	begin, finish func(w *World, f Fault)
}

const second = time.Second

// NewPlan draws a plan. Each seed has some kinds of faults and not others, since those that never meet in a world of all
// kinds do in one of few (Groce et al., "Swarm testing", 2012).
func NewPlan(seed uint64) Plan {
	dice := rand.New(rand.NewPCG(seed, 0xfa17))
	p := Plan{
		Seed: seed, Nodes: minNodes + dice.IntN(maxNodes-minNodes+1), Clients: 1 + dice.IntN(4),
		Zones: 1 + dice.IntN(3), Envs: 1, Length: time.Duration(15+dice.IntN(45)) * second,
		Grace: time.Duration(10+dice.IntN(40)) * second, Keep: 2 + dice.IntN(8), Most: time.Duration(11+dice.IntN(10)) * second,
		Collect: time.Duration(10+dice.IntN(40)) * second, Scrub: time.Duration(10+dice.IntN(100)) * second,
	}
	if dice.IntN(2) == 0 {
		p.Nodes = minNodes + dice.IntN(4) // small meshes have the narrow majorities
	}
	if dice.IntN(4) == 0 {
		p.Envs = 2
	}
	profile := drawProfile(dice)
	p.Profile = profile.name
	profile.shape(&p, dice)
	chosen := profile.chosen(dice)
	faults := dice.IntN(14)
	if len(profile.kinds) > 0 {
		faults += 4
	}
	for range faults {
		p.Faults = append(p.Faults, drawFault(dice, chosen, p.Length))
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return int(a.At - b.At) })
	return p
}

func swarm(dice *rand.Rand) (chosen []kindOf) {
	all := kinds()
	for _, k := range all {
		if dice.IntN(3) == 0 {
			chosen = append(chosen, k)
		}
	}
	if len(chosen) == 0 {
		chosen = all[dice.IntN(len(all)):][:1]
	}
	return chosen
}

func drawFault(dice *rand.Rand, chosen []kindOf, length time.Duration) Fault {
	total := 0
	for _, k := range chosen {
		total += k.weight
	}
	roll := dice.IntN(total)
	for _, k := range chosen {
		if roll -= k.weight; roll >= 0 {
			continue
		}
		f := Fault{
			Kind: k.kind, At: settling + time.Duration(dice.Int64N(int64(length))), N: k.low + dice.IntN(k.high-k.low+1),
			For: k.short + time.Duration(dice.Int64N(int64(k.long-k.short)+1)), Who: 1 << dice.IntN(maxNodes),
		}
		if k.many {
			f.Who = dice.Uint64() & (1<<maxNodes - 1)
		}
		return f
	}
	panic("unreachable")
}

// envOf is the environment that a node follows.
func (p Plan) envOf(num int) string {
	if p.Envs > 1 && num%3 == 2 {
		return "staging"
	}
	return mesh.DefaultEnv
}

func (p Plan) envs() []string { return []string{mesh.DefaultEnv, "staging"}[:p.Envs] }

func (p Plan) zoneOf(num int) string {
	if p.Zones < 2 {
		return ""
	}
	return string(rune('a' + num%p.Zones))
}

// config is that of a node at a start.
func (p Plan) config(n *Node) mesh.Config {
	return mesh.Config{
		Key: n.key, Seed: n.w.dice.Uint64(), Place: n.place, Grace: p.Grace, Keep: p.Keep, Forget: second, PushMost: p.Most,
		Collect: p.Collect, Scrub: p.Scrub, Joins: n.via != nil, Lineage: n.disk.Lineage(),
		LogEntries: logEntries, LogBytes: logEntries << 10,
	}
}

// String is the fault as a line for people.
func (f Fault) String() string {
	s := fmt.Sprintf("%6.1fs %-9s", f.At.Seconds(), f.Kind)
	if f.Who != 0 {
		s += " of " + nodesIn(f.Who)
	}
	if f.N != 0 {
		s += fmt.Sprintf(" n=%d", f.N)
	}
	if f.For != 0 {
		s += fmt.Sprintf(" for %.1fs", f.For.Seconds())
	}
	return s
}

func nodesIn(who uint64) string {
	var names []string
	for i := range mostEver {
		if who&(1<<i) != 0 {
			names = append(names, fmt.Sprintf("n%d", i+1))
		}
	}
	return "{" + strings.Join(names, ",") + "}"
}
