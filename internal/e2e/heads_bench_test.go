package e2e

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"shoal/mesh/meshtest"
	"shoal/store"
)

// BenchmarkHeads advances heads in three nodes of this process, for a profile; cmd/bench has the figures of real agents.
func BenchmarkHeads(b *testing.B) {
	chain := trust(b)
	var nodes []*real
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		var join []string
		if i > 0 {
			join = []string{nodes[0].addr}
		}
		nodes = append(nodes, startReal(b, name, b.TempDir(), fmt.Sprintf("127.0.0.%d:0", i+1), memberOf(b, chain, name), join...))
	}
	for _, n := range nodes {
		waitFor(b, "all are here", func() bool { return aliveAt(n) == len(nodes) })
	}
	advance := func(n *real, env string, head *store.Head) {
		object, objects := meshtest.SignRevision(keyOf("operator"), store.Revision{
			Env: env, Version: head.Version + 1, Parent: head.Revision, Kind: store.KindPush,
		}, map[string]string{"site.yaml": "targets: []\n"})
		var err error
		if head.Version == 0 {
			err = n.Intake().Put(context.Background(), objects)
		}
		if err == nil {
			var res any
			if r, e := n.Push(context.Background(), store.HashOf(object), object); e != nil || r.Status != store.Committed {
				err, res = e, r
				b.Errorf("%s: %v %+v", env, err, res)
			}
		}
		*head = store.Head{Env: env, Version: head.Version + 1, Revision: store.HashOf(object)}
	}
	heads := make([]store.Head, 64) // of the clients' environments
	for _, clients := range []int{1, len(heads)} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			b.SetParallelism(max(1, clients/runtime.GOMAXPROCS(0)))
			work := make(chan int, clients)
			for i := range clients {
				work <- i
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := <-work
					advance(nodes[i%len(nodes)], fmt.Sprintf("e%d", i), &heads[i])
					work <- i
				}
			})
		})
	}
}
