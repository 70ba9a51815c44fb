package mesh_test

import (
	"fmt"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// What rots on a disk, or vanishes from it, is found by the scrub within a pass and comes back from a peer, though nobody
// asked for it; and the scrub reads no more in a turn than its share.
func TestScrubFindsAndRepairs(t *testing.T) {
	w := meshtest.New(9)
	w.Configure = func(_ *meshtest.Node, c *mesh.Config) { c.Scrub = 10 * time.Minute }
	var via *meshtest.Node
	for i := range 3 {
		via = w.Add(string(rune('a'+i)), via)
		w.Run(time.Second)
	}
	w.Run(8 * time.Second)
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprint(i)] = string(noise(byte(i), 2000))
	}
	n := w.Nodes()[0]
	object, objects := w.Revision(store.Revision{Env: "production", Version: 1, Kind: store.KindPush}, files)
	id := n.Push(object, objects)
	w.Run(10 * time.Second)
	committed(t, n, id)

	victim := w.Nodes()[1]
	damaged := objects[:40]
	for _, o := range damaged {
		victim.Damage(store.HashOf(o))
	}
	before := victim.Verified
	w.Run(time.Minute)
	if read := victim.Verified - before; read == 0 || read > 3*len(objects)/10 {
		t.Errorf("in a tenth of a pass %d of %d objects were read", read, len(objects))
	}
	w.Run(14 * time.Minute)
	for i, o := range damaged {
		if !victim.Holds(store.HashOf(o)) {
			t.Fatalf("damaged object %d did not come back", i)
		}
	}
}
