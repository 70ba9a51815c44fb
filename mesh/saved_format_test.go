package mesh_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"shoal/mesh/meshtest"
	"shoal/store"
)

// savedWorld is a node with every kind of record: two heads, a staged revision, reports.
func savedWorld(t *testing.T) *meshtest.Node {
	w := meshtest.New(3)
	n1 := w.Add("n1", nil)
	n2 := w.Add("n2", n1)
	w.Add("n3", n1)
	w.Run(8 * time.Second)
	parent := store.Hash{}
	for version := uint64(1); version <= 3; version++ {
		if version == 3 {
			w.Partition(nil, []*meshtest.Node{n2})
			w.Run(5 * time.Second)
		}
		object, objects := w.Revision(store.Revision{
			Env: "production", Version: version, Parent: parent, Kind: store.KindPush,
		}, map[string]string{"site.yaml": "x"})
		n2.Push(object, objects)
		w.Run(15 * time.Second)
		parent = store.HashOf(object)
	}
	return n2
}

func writeSaved(t *testing.T, file string) {
	data, err := json.MarshalIndent(savedWorld(t).Saved(), "", " ")
	if err == nil {
		err = os.WriteFile(file, append(data, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func testWriteSaved(t *testing.T) {
	os.MkdirAll("testdata/saved", 0o755)
	writeSaved(t, "testdata/saved/v1.json")
}
