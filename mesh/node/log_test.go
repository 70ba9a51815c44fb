package node_test

import (
	"fmt"
	"testing"

	"shoal/mesh/node"
	"shoal/store"
)

// What was collected is beyond the beginning of the log; what should be there and is not is an error.
func TestLogEndsWhereRevisionsWereCollected(t *testing.T) {
	f := newFleet(t)
	f.configure = func(c *node.Config) { c.Keep = 3 }
	a := f.start("n1", "", nil)
	var made []store.Hash
	for version := uint64(1); version <= 5; version++ {
		parent := store.Hash{}
		if len(made) > 0 {
			parent = made[len(made)-1]
		}
		res := f.push(a, version, parent, map[string]string{"site.yaml": fmt.Sprint(version)})
		if res.Status != store.Committed {
			t.Fatalf("push: %+v", res)
		}
		made = append(made, res.Revision)
	}
	forget := func(h store.Hash) {
		t.Helper()
		if err := a.kv.Write(t.Context(), []store.Change{{Key: store.ObjectKey(h)}}); err != nil {
			t.Fatal(err)
		}
	}
	forget(made[1])
	log, err := a.Log(t.Context(), "production")
	if err != nil || len(log) != 3 || log[0].Version != 3 {
		t.Errorf("log: %+v, %v", log, err)
	}
	forget(made[3])
	if log, err := a.Log(t.Context(), "production"); err == nil {
		t.Errorf("with a gap: %+v", log)
	}
}
