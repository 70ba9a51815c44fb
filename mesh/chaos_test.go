package mesh_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

var (
	chaosSeeds = flag.Int("chaos.seeds", 80, "random courses to run")
	chaosFrom  = flag.Uint64("chaos.from", 1, "the first of them")
	chaosSeed  = flag.Uint64("chaos.seed", 0, "run this one course alone, and tell it")
)

// chaos is a random course of pushes, partitions, kills and losses, and what it must not break.
type chaos struct {
	t      *testing.T
	seed   uint64
	dice   *rand.Rand
	w      *meshtest.Network
	made   map[store.Hash]store.Revision // by the hash of the revision
	bodies map[store.Hash][][]byte
	pushes []chaosPush
	known  map[*meshtest.Node]uint64 // version of the head
	story  []string
}

type chaosPush struct {
	at       *meshtest.Node
	id       uint64
	revision store.Hash
}

// seeds is how many courses are taken; under -short, which is for the race detector, a few of them: a Core is used by one goroutine.
func seeds(n int) int {
	if testing.Short() {
		return max(1, n/5)
	}
	return n
}

func TestChaos(t *testing.T) {
	if *chaosSeed != 0 {
		runChaos(t, *chaosSeed, true)
		return
	}
	committed, courses := 0, seeds(*chaosSeeds)
	for seed := range uint64(courses) {
		seed += *chaosFrom
		committed += runChaos(t, seed, false)
		if t.Failed() {
			t.Fatalf("replay with: go test ./mesh -run TestChaos -chaos.seed=%d -v", seed)
		}
	}
	if committed < courses {
		t.Errorf("only %d pushes were committed: the courses show little", committed)
	}
}

// TestSameSeedSameCourse: a Core depends on its input alone, not on the order of a map or on the clock.
func TestSameSeedSameCourse(t *testing.T) {
	for seed := range uint64(seeds(6)) {
		first, second := strings.Join(course(t, seed).story, "\n"), strings.Join(course(t, seed).story, "\n")
		if first != second || len(first) == 0 {
			t.Fatalf("seed %d gave two courses:\n%s\n\n%s", seed, first, second)
		}
	}
}

func runChaos(t *testing.T, seed uint64, tell bool) (committed int) {
	c := course(t, seed)
	committed = c.checkEnd()
	if tell || t.Failed() {
		t.Log(strings.Join(c.story, "\n"))
	}
	return committed
}

// course runs one course up to its end, where all is calm.
func course(t *testing.T, seed uint64) *chaos {
	c := &chaos{
		t: t, seed: seed, dice: rand.New(rand.NewPCG(seed, 77)), w: meshtest.New(seed),
		made: map[store.Hash]store.Revision{}, bodies: map[store.Hash][][]byte{},
		known: map[*meshtest.Node]uint64{},
	}
	c.w.Watch = func(n *meshtest.Node, what string) {
		c.story = append(c.story, fmt.Sprintf("%s %s %s", c.w.Now().Format("04:05.000"), n.Name, what))
	}
	c.w.Answered = c.answered
	c.w.Configure = func(_ *meshtest.Node, cfg *mesh.Config) { cfg.Collect, cfg.Scrub = 10*time.Second, time.Minute }
	c.grow(1 + 2*c.dice.IntN(4))
	c.w.Faults = meshtest.Faults{Loss: c.dice.IntN(15), Repeat: c.dice.IntN(15), Replay: c.dice.IntN(10), Reorder: c.dice.IntN(2) == 0, CrashAfterSave: c.dice.IntN(8)}
	for range 40 {
		c.act()
		c.w.Run(time.Duration(c.dice.IntN(3000)) * time.Millisecond)
		c.checkAlways()
	}
	c.calm()
	return c
}

func (c *chaos) tell(format string, args ...any) {
	c.story = append(c.story, c.w.Now().Format("04:05.000")+" -- "+fmt.Sprintf(format, args...))
}

func (c *chaos) fail(format string, args ...any) {
	c.t.Errorf("seed %d: %s", c.seed, fmt.Sprintf(format, args...))
	c.tell("FAILED: "+format, args...)
}

func (c *chaos) grow(n int) {
	for i := range n {
		var via *meshtest.Node
		if i > 0 {
			via = c.w.Nodes()[c.dice.IntN(i)]
		}
		c.w.Add(fmt.Sprintf("n%d", i+1), via)
		c.w.Run(time.Duration(c.dice.IntN(3000)) * time.Millisecond)
	}
	c.w.Run(8 * time.Second)
}

// answered looks at the disks at the very instant at which somebody is told that a push is committed.
func (c *chaos) answered(_ *meshtest.Node, a mesh.Answer) {
	pushed, ok := a.Value.(mesh.Pushed)
	if !ok || pushed.Outcome != store.Committed {
		return
	}
	need := min(len(c.w.Nodes()), mesh.DefaultReplicas)/2 + 1
	for _, body := range c.bodies[pushed.Head.Revision] {
		copies := 0
		for _, n := range c.w.Nodes() {
			if n.Holds(store.HashOf(body)) {
				copies++
			}
		}
		if copies < need {
			c.fail("committed version %d with %d copies of an object", pushed.Head.Version, copies)
		}
	}
}

func (c *chaos) any(up bool) *meshtest.Node {
	var some []*meshtest.Node
	for _, n := range c.w.Nodes() {
		if n.Up == up {
			some = append(some, n)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[c.dice.IntN(len(some))]
}

func (c *chaos) act() {
	n := c.any(true)
	switch roll := c.dice.IntN(100); {
	case roll < 30 && n != nil:
		c.push(n)
	case roll < 45:
		c.duel()
	case roll < 55 && n != nil:
		c.tell("kill %s", n.Name)
		c.w.Kill(n)
	case roll < 75:
		if down := c.any(false); down != nil {
			c.tell("restart %s", down.Name)
			c.w.Restart(down)
		}
	case roll < 85:
		c.partition()
	default:
		c.tell("heal")
		c.w.Heal()
	}
}

// duel pushes at several nodes at once, and kills and restarts some in the middle of it: here an acceptor that forgets
// would do harm.
func (c *chaos) duel() {
	for range 2 + c.dice.IntN(2) {
		if n := c.any(true); n != nil {
			c.push(n)
			c.w.Run(time.Duration(c.dice.IntN(8)) * time.Millisecond)
		}
	}
	for range c.dice.IntN(8) {
		c.w.Run(time.Duration(c.dice.IntN(25)) * time.Millisecond)
		if n := c.any(true); n != nil {
			c.tell("kill and restart %s", n.Name)
			c.w.Kill(n)
			c.w.Restart(n)
		}
	}
}

// push makes a child of some head that the node knows, or repeats an earlier push.
func (c *chaos) push(n *meshtest.Node) {
	if len(c.pushes) > 0 && c.dice.IntN(5) == 0 {
		again := c.pushes[c.dice.IntN(len(c.pushes))].revision
		bodies := c.bodies[again]
		c.begin(n, again, bodies[len(bodies)-1], bodies)
		return
	}
	head := n.Core.Heads()["production"]
	r := store.Revision{
		Env: "production", Version: head.Version + 1, Parent: head.Revision, Kind: store.KindPush,
		Message: fmt.Sprintf("%d at %s", len(c.pushes), n.Name),
	}
	object, objects := c.w.Revision(r, map[string]string{"site.yaml": r.Message, "same": "same", fmt.Sprint(c.dice.IntN(5)): "x"})
	c.made[store.HashOf(object)], c.bodies[store.HashOf(object)] = r, objects
	c.begin(n, store.HashOf(object), object, objects)
}

func (c *chaos) begin(n *meshtest.Node, h store.Hash, object []byte, objects [][]byte) {
	c.tell("push %s (%d) at %s", h.Short(), c.made[h].Version, n.Name)
	c.pushes = append(c.pushes, chaosPush{n, n.Push(object, objects), h})
}

func (c *chaos) partition() {
	var groups [2][]*meshtest.Node
	for _, n := range c.w.Nodes() {
		side := c.dice.IntN(2)
		groups[side] = append(groups[side], n)
	}
	c.tell("partition of %d and %d", len(groups[0]), len(groups[1]))
	c.w.Partition(groups[0], groups[1])
}

func (c *chaos) calm() {
	c.tell("calm")
	c.w.Faults = meshtest.Faults{}
	c.w.Heal()
	for _, n := range c.w.Nodes() {
		c.w.Restart(n)
	}
	c.w.Run(150 * time.Second)
}

// result of a push; ok is false while it is not answered.
func (p chaosPush) result() (mesh.Pushed, bool) {
	a, ok := p.at.Answers[p.id]
	if !ok || a.Err != nil {
		return mesh.Pushed{}, false
	}
	pushed, ok := a.Value.(mesh.Pushed)
	return pushed, ok
}

// checkAlways: at most one revision is a head of each version, whoever saw it; and no node goes back.
func (c *chaos) checkAlways() {
	heads := map[uint64]store.Hash{}
	saw := func(who string, h store.Head) {
		if h.Version == 0 {
			return
		}
		if old, ok := heads[h.Version]; ok && old != h.Revision {
			c.fail("two heads of version %d: %s and, at %s, %s", h.Version, old.Short(), who, h.Revision.Short())
		}
		heads[h.Version] = h.Revision
		if c.made[h.Revision].Version != h.Version {
			c.fail("%s has a head that nobody pushed", who)
		}
	}
	for _, n := range c.w.Nodes() {
		last := uint64(0)
		for _, h := range n.Applied {
			saw(n.Name, h)
			if h.Version < last {
				c.fail("%s went back from %d to %d", n.Name, last, h.Version)
			}
			last = h.Version
		}
		if n.Up {
			h := n.Core.Heads()["production"]
			saw(n.Name, h)
			if h.Version < c.known[n] {
				c.fail("%s knew head %d and now %d", n.Name, c.known[n], h.Version)
			}
			c.known[n] = h.Version
		}
	}
	for _, p := range c.pushes {
		if r, ok := p.result(); ok && r.Outcome == store.Committed {
			saw("the answer of "+p.at.Name, store.Head{Version: c.made[p.revision].Version, Revision: p.revision})
		}
	}
}

// checkEnd: all agree, what was acknowledged is in the one history and on its owners' disks, and what was told diverged is
// not in it.
func (c *chaos) checkEnd() (committed int) {
	c.checkAlways()
	var head store.Head
	for _, n := range c.w.Nodes() {
		if h := n.Core.Heads()["production"]; h.Version > head.Version {
			head = h
		}
	}
	for _, n := range c.w.Nodes() {
		if n.Version() != head.Version {
			c.fail("%s applies %d, not %d", n.Name, n.Version(), head.Version)
		}
		if staged := n.Core.Staged(); len(staged) > 0 {
			c.fail("%s still has %d staged", n.Name, len(staged))
		}
	}
	history := map[store.Hash]bool{}
	for h := head.Revision; !h.IsZero(); h = c.made[h].Parent {
		history[h] = true
	}
	for _, p := range c.pushes {
		r, ok := p.result()
		if !ok {
			continue
		}
		if r.Outcome == store.Committed {
			committed++
			c.checkKept(p.revision)
		}
		if (r.Outcome == store.Committed && !history[p.revision]) || (r.Outcome == store.Diverged && history[p.revision]) {
			c.fail("push of %s was told %s, history has it: %v", p.revision.Short(), r.Outcome, history[p.revision])
		}
	}
	return committed
}

// checkKept: by now repair has brought all objects to all their owners.
func (c *chaos) checkKept(revision store.Hash) {
	r := c.w.Nodes()[0].Core.Ring()
	for _, body := range c.bodies[revision] {
		h := store.HashOf(body)
		for _, id := range r.Owners(r.PartitionOf(h[:]), mesh.DefaultReplicas) {
			for _, n := range c.w.Nodes() {
				if n.ID == id && !n.Holds(h) {
					c.fail("object %s of %s is not on its owner %s", h.Short(), revision.Short(), n.Name)
				}
			}
		}
	}
}
