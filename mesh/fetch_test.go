package mesh

import (
	"testing"
	"time"

	"shoal/store"
)

// TestAListRepeatedAddsNobodyWhoWaits: a peer may send the same list of what nobody has as often as it likes.
func TestAListRepeatedAddsNobodyWhoWaits(t *testing.T) {
	c, err := soloCore(t)
	if err != nil {
		t.Fatal(err)
	}
	h := store.HashOf([]byte("nobody has this"))
	for range 100 {
		c.onHashes("peer", &Hashes{Hashes: []store.Hash{h}, Answer: true})
	}
	if f := c.objects.fetches.open[h]; f == nil || len(f.wants) != 1 {
		t.Errorf("%+v", f)
	}
}

// TestATreeThatCouldNotBeReadIsTriedAgain: one failing read of the disk must not leave the node at an old revision for good.
func TestATreeThatCouldNotBeReadIsTriedAgain(t *testing.T) {
	c, err := soloCore(t)
	if err != nil {
		t.Fatal(err)
	}
	h := head{value: store.HeadValue{Version: 1, Revision: []byte("r")}}
	h.revision.Manifest = store.HashOf([]byte("m"))
	c.heads.current[DefaultEnv] = h
	c.follow()
	c.Step(c.now, TreeChecked{Manifest: h.revision.Manifest, Err: store.ErrBroken})
	for _, a := range c.Step(c.now.Add(2*time.Minute), Tick{}) {
		if check, ok := a.(CheckTree); ok && check.Manifest == h.revision.Manifest {
			return
		}
	}
	t.Error("is not looked at again")
}
