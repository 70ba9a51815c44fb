package mesh_test

import (
	"fmt"
	"testing"
	"time"

	"shoal/mesh"
	"shoal/mesh/meshtest"
	"shoal/store"
)

func TestFirst(t *testing.T) {
	w := meshtest.New(1)
	w.Watch = func(n *meshtest.Node, what string) { t.Log(w.Now().Format("05.000"), n.Name, what) }
	var prev *meshtest.Node
	for i := range 5 {
		prev = w.Add(fmt.Sprintf("n%d", i+1), prev)
		w.Run(2 * time.Second)
	}
	w.Run(5 * time.Second)
	n3 := w.Node("n3")
	object, objects := w.Revision(store.Revision{Env: "production", Version: 1, Kind: store.KindPush}, map[string]string{"a": "1", "b": "2"})
	id := n3.Push(object, objects)
	w.RunUntil(15*time.Second, func() bool { _, ok := n3.Answers[id]; return ok })
	t.Log(w.Now().Format("05.000"), n3.Answers[id])
	w.Run(5 * time.Second)
	for _, n := range w.Nodes() {
		if n.Version() != 1 {
			t.Errorf("%s at %d", n.Name, n.Version())
		}
	}
	_ = mesh.DefaultEnv
}
