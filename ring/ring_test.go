package ring_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"shoal/ring"
	"shoal/ring/ringtest"
)

func TestToken(t *testing.T) {
	ringtest.Run(t, ring.NewToken, ringtest.Traits{MaxLoad: 1.3, MaxMoved: 2})
}

func TestCircular(t *testing.T) {
	ringtest.Run(t, ring.NewCircular, ringtest.Traits{MaxLoad: 1.06})
}

// Two nodes that saw members come and go in different orders must agree on every owner.
func TestPlacementForgetsItsHistory(t *testing.T) {
	pool := ringtest.Nodes(12, "a", "b", "c")
	rapid.Check(t, func(t *rapid.T) {
		kept := ring.NewPlacement()
		var last []ring.Node
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			last = rapid.SliceOfDistinct(rapid.SampledFrom(pool), func(n ring.Node) string { return string(n.ID) }).
				Draw(t, "members")
			if got, want := kept.Update(last), ring.NewToken(last); !reflect.DeepEqual(got, want) {
				t.Fatalf("after a history the owners differ from those made from scratch")
			}
		}
	})
}

func BenchmarkNewToken(b *testing.B) {
	for _, n := range []int{5, 100, 300, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			nodes := ringtest.Nodes(n)
			for b.Loop() {
				ring.NewToken(nodes)
			}
		})
	}
}

func BenchmarkPlacementOneMember(b *testing.B) {
	for _, n := range []int{5, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			nodes := ringtest.Nodes(n)
			p := ring.NewPlacement()
			p.Update(nodes)
			for i := 0; b.Loop(); i++ {
				p.Update(nodes[i%2:])
			}
		})
	}
}

// All nodes of a mesh must place alike, whatever version of shoal they run: a change here needs a new algorithm version.
func TestPlacementsStayAsTheyAre(t *testing.T) {
	nodes := ringtest.Nodes(20, "a", "b", "c")
	for _, c := range []struct {
		ring ring.Ring
		want string
	}{
		{ring.NewToken(nodes), "02d9f3e4a92d"},
		{ring.NewCircular(nodes), "8d3e686a6c50"},
	} {
		all := sha256.New()
		for p := range ring.Partition(ring.Partitions) {
			fmt.Fprintln(all, p, c.ring.Owners(p, 3))
		}
		if got := hex.EncodeToString(all.Sum(nil)[:6]); got != c.want {
			t.Errorf("the owners of %s changed: %s, was %s", c.ring.Version(), got, c.want)
		}
	}
}
