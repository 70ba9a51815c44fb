package mesh_test

import (
	"fmt"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// writer pushes one revision after another at one node, on the newest head that any writer was told of; when its node dies, at
// the next, as a person would whose connection is reset.
type writer struct {
	w    *meshtest.Network
	node int
	ask  uint64
	told *meshtest.Node // whom it asked
	n    int
}

// writers share what is known of the head.
type writers struct {
	t       *testing.T
	head    store.Head
	last    time.Time // of a push that was committed
	longest time.Duration
	commits int
}

func (s *writers) turn(c *writer) {
	if c.told != nil && c.told.Up {
		a, ok := c.told.Answers[c.ask]
		if !ok {
			return
		}
		if p, pushed := a.Value.(mesh.Pushed); !pushed {
			s.t.Errorf("%s: %+v", c.told.Name, a)
		} else {
			s.answered(c.w.Now(), p)
		}
	}
	c.told = nil
	for !c.w.Nodes()[c.node].Up {
		c.node = (c.node + 1) % len(c.w.Nodes())
	}
	c.n++
	r := store.Revision{Env: "production", Version: s.head.Version + 1, Parent: s.head.Revision, Kind: store.KindPush,
		Message: fmt.Sprint(c.node, c.n)}
	object, objects := c.w.Revision(r, map[string]string{"site.yaml": r.Message})
	c.told = c.w.Nodes()[c.node]
	c.ask = c.told.Push(object, objects)
}

func (s *writers) answered(now time.Time, p mesh.Pushed) {
	if p.Head.Version > s.head.Version {
		s.head = p.Head
	}
	if p.Outcome != store.Committed {
		return
	}
	s.longest = max(s.longest, now.Sub(s.last))
	s.last, s.commits = now, s.commits+1
}

// TestAnAcceptorDiesAndPushesGoOn: nobody is waited for. The bound is that of the guarantee; time is virtual.
func TestAnAcceptorDiesAndPushesGoOn(t *testing.T) {
	worst := map[string]time.Duration{}
	for _, c := range []struct{ nodes, writers, seeds int }{{3, 1, 6}, {3, 3, 6}, {5, 1, 5}, {5, 5, 5}} {
		name := fmt.Sprintf("%d nodes, %d writers", c.nodes, c.writers)
		for seed := range seeds(c.seeds) {
			w := meshtest.New(uint64(seed) + 1)
			for i := range c.nodes {
				w.Add(fmt.Sprintf("n%d", i+1), w.Node(fmt.Sprintf("n%d", i)))
			}
			w.Run(10 * time.Second)
			s := &writers{t: t, last: w.Now()}
			all := make([]*writer, c.writers)
			for i := range all {
				all[i] = &writer{w: w, node: i}
			}
			turns := func() bool {
				for _, one := range all {
					s.turn(one)
				}
				return false
			}
			w.RunUntil(time.Duration(3000+37*seed)*time.Millisecond, turns)
			s.longest = 0
			w.Kill(w.Nodes()[seed%c.nodes])
			w.RunUntil(8*time.Second, turns)
			s.longest = max(s.longest, w.Now().Sub(s.last))
			if s.longest > time.Second {
				t.Errorf("%s, seed %d: %v without a push", name, seed, s.longest)
			}
			worst[name] = max(worst[name], s.longest)
		}
	}
	t.Logf("longest time without a push: %v", worst)
}
