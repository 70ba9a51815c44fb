package node_test

import (
	"fmt"
	"testing"

	"shoal/mesh/meshtest"
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

// A push that is repeated after many others, since its answer was lost, is told that it was committed; one that lost is not.
func TestPushRepeatedLate(t *testing.T) {
	f := newFleet(t)
	a := f.start("n1", "", nil)
	var parent store.Hash
	var second, lost []byte
	for version := uint64(1); version <= 25; version++ {
		files := map[string]string{"site.yaml": fmt.Sprint(version)}
		object, _ := meshtest.SignRevision(f.operator, store.Revision{
			Env: "production", Version: version, Parent: parent, Kind: store.KindPush, Author: "somebody",
		}, files)
		if version == 2 {
			second = object
			lost, _ = meshtest.SignRevision(f.operator, store.Revision{
				Env: "production", Version: version, Parent: parent, Kind: store.KindPush, Author: "somebody else",
			}, files)
		}
		res := f.push(a, version, parent, files)
		if res.Status != store.Committed || res.Revision != store.HashOf(object) {
			t.Fatalf("push: %+v", res)
		}
		parent = res.Revision
	}
	for want, object := range map[store.Outcome][]byte{store.Committed: second, store.Diverged: lost} {
		if res, err := a.Push(t.Context(), store.HashOf(object), object); err != nil || res.Status != want {
			t.Errorf("repeated: %+v, %v; want %s", res, err, want)
		}
	}
}
