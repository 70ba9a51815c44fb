package mesh_test

import (
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// storm pushes again and again for a time, as fast as each is committed.
func storm(t *testing.T, w *meshtest.Network, n *meshtest.Node, env string, last store.Head, long time.Duration) (store.Head, int) {
	t.Helper()
	until, count := w.Now().Add(long), 0
	for w.Now().Before(until) {
		object, objects := w.Revision(store.Revision{
			Env: env, Version: last.Version + 1, Parent: last.Revision, Kind: store.KindPush,
		}, map[string]string{"site.yaml": "targets: []\n"})
		id := n.Push(object, objects)
		if !w.RunUntil(20*time.Second, func() bool { _, ok := n.Answers[id]; return ok }) {
			t.Fatalf("%s: no answer", env)
		}
		p, ok := n.Answers[id].Value.(mesh.Pushed)
		if !ok || p.Outcome != store.Committed {
			t.Fatalf("%s: %+v", env, n.Answers[id])
		}
		last, count = p.Head, count+1
	}
	return last, count
}

// TestAStormIsNotAskedForHeadByHead: of many heads in a row the others ask for few, and for the fewer where they do not follow the
// environment; they have the last soon, and when the storm is over each head at once again.
func TestAStormIsNotAskedForHeadByHead(t *testing.T) {
	for _, c := range []struct {
		env  string
		most int           // questions of one node in ten seconds
		soon time.Duration // until all know the last
	}{{"production", 45, time.Second}, {"other", 20, 4 * time.Second}} {
		t.Run(c.env, func(t *testing.T) {
			w := meshtest.New(8)
			n1 := w.Add("n1", nil)
			others := []*meshtest.Node{w.Add("n2", n1), w.Add("n3", n1)}
			w.Run(20 * time.Second)
			asks := map[string]int{}
			w.Tamper = func(n *meshtest.Node, m mesh.Message) mesh.Message {
				if _, ok := m.(*mesh.HeadAsk); ok {
					asks[n.Name]++
				}
				return m
			}
			know := func(h store.Head) func() bool {
				return func() bool {
					for _, n := range others {
						if n.Core.Heads()[c.env] != h {
							return false
						}
					}
					return true
				}
			}
			last, _ := storm(t, w, n1, c.env, store.Head{}, time.Millisecond)
			w.Run(5 * time.Second)
			clear(asks)
			last, count := storm(t, w, n1, c.env, last, 10*time.Second)
			if asks["n2"] > c.most || count < 10*c.most {
				t.Errorf("%d questions for %d heads", asks["n2"], count)
			}
			if !w.RunUntil(c.soon, know(last)) {
				t.Errorf("after %s the last head is not known to all", c.soon)
			}
			w.Run(5 * time.Second)
			last, _ = storm(t, w, n1, c.env, last, time.Millisecond)
			if !w.RunUntil(500*time.Millisecond, know(last)) { // a rumour takes up to 450
				t.Error("long after the storm a head is not known to all at once")
			}
		})
	}
}
