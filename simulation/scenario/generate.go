package scenario

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Fleet says what to generate a scenario for.
type Fleet struct {
	Nodes []Node
	// Trees are pushed in turn, the last of them in the end.
	Trees []string
	Loss  int // in percent, of all packets
	// Chaos is how many faults there are; 0: none.
	Chaos int
	Seed  uint64
}

// Numbered makes so many nodes in so many zones, all with the same tags.
func Numbered(count, zones int, tags map[string]string) []Node {
	nodes := make([]Node, count)
	for i := range nodes {
		nodes[i] = Node{Name: fmt.Sprint("n", i+1), Zone: fmt.Sprint("z", i%max(zones, 1)+1), Tags: tags}
	}
	return nodes
}

// Text is a scenario: all meet, the trees are pushed, and all are to match the last. With chaos, faults drawn from the seed happen
// meanwhile; each of them ends.
func (f Fleet) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "title %d nodes, %d faults\nseed %d\n", len(f.Nodes), f.Chaos, f.Seed)
	for _, n := range f.Nodes {
		fmt.Fprintf(&b, "node %s", n.Name)
		if n.Zone != "" {
			fmt.Fprintf(&b, " zone %s", n.Zone)
		}
		for _, k := range slices.Sorted(maps.Keys(n.Tags)) {
			fmt.Fprintf(&b, " tag %s=%s", k, n.Tags[k])
		}
		b.WriteByte('\n')
	}
	first := f.Nodes[0].Name
	fmt.Fprintf(&b, "eventually within 5m all sees all alive\n")
	if f.Loss > 0 {
		fmt.Fprintf(&b, "then loss %d%%\n", f.Loss)
	}
	last := f.Trees[len(f.Trees)-1]
	if f.Chaos == 0 {
		for _, t := range f.Trees {
			fmt.Fprintf(&b, "after 30s push %s to %s\neventually within 5m all applied %s\n", t, first, t)
		}
		return b.String()
	}
	f.chaos(&b)
	fmt.Fprintf(&b, "after 2m heal\neventually within 4m all agree\neventually within 4m all staged nothing\n")
	fmt.Fprintf(&b, "then push %s to %s\neventually within 4m all applied %s\n", last, first, last)
	return b.String()
}

// draw is a time between two, in whole seconds.
func draw(dice *rand.Rand, low, high time.Duration) time.Duration {
	return (low + time.Duration(dice.Int64N(int64(high-low)))).Round(time.Second)
}

// chaos writes faults, and pushes between them.
func (f Fleet) chaos(b *strings.Builder) {
	dice := rand.New(rand.NewPCG(f.Seed, 0xc4a05))
	busy := map[string]time.Duration{} // until when a node has a fault of its own
	now, lossy := time.Duration(0), time.Duration(0)
	for i := range f.Chaos {
		wait := draw(dice, time.Second, 20*time.Second)
		now += wait
		fmt.Fprintf(b, "after %s ", wait)
		if i%3 == 0 {
			fmt.Fprintf(b, "push %s to %s expect any\n", f.Trees[dice.IntN(len(f.Trees))], f.Nodes[dice.IntN(len(f.Nodes))].Name)
			continue
		}
		span := draw(dice, 5*time.Second, 2*time.Minute)
		one := f.Nodes[dice.IntN(len(f.Nodes))].Name
		free := busy[one] < now
		switch kind := dice.IntN(9); {
		case kind < 3 && free:
			busy[one] = now + span + 10*time.Second
			fmt.Fprintf(b, "%s %s for %s\n", []string{"crash", "stop", "fill"}[kind], one, span)
		case kind == 3 && free:
			busy[one] = now + span + 10*time.Second
			fmt.Fprintf(b, "slow %s by %dms for %s\n", one, 50+dice.IntN(2000), span)
		case kind == 8 && free:
			busy[one] = now + span + 10*time.Second
			fmt.Fprintf(b, "pause %s for %s\n", one, span)
		case kind == 4 && lossy < now:
			lossy = now + span
			fmt.Fprintf(b, "loss %d%% for %s\n", 1+dice.IntN(30), span)
		case kind == 5 && len(f.Nodes) > 1:
			names := namesOf(f.Nodes)
			dice.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			at := 1 + dice.IntN(len(names)-1)
			fmt.Fprintf(b, "partition {%s} | {%s} for %s\n", strings.Join(names[:at], ", "), strings.Join(names[at:], ", "), span)
		case kind == 6 && len(f.Nodes) > 1:
			names := namesOf(f.Nodes)
			dice.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			fmt.Fprintf(b, "cut %s > %s for %s\n", names[0], names[1], span)
		default:
			fmt.Fprintf(b, "isolate %s for %s\n", one, span)
		}
	}
}

func namesOf(nodes []Node) []string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return names
}
