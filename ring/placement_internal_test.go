package ring

import (
	"reflect"
	"slices"
	"testing"

	"shoal/membership"
)

func numbered(n int) (nodes []Node) {
	for i := range n {
		nodes = append(nodes, Node{ID: membership.IDOf(append(make([]byte, 31), byte(i)))})
	}
	return nodes
}

func TestCirclesThatClash(t *testing.T) {
	nodes := numbered(200)
	distinct := func(nodes []Node) int { return len(slices.Compact(pointsOf(nodes))) }
	if got := distinct(nodes); got != 200*virtualNodes {
		t.Errorf("200 ordinary nodes have %d points", got)
	}
	if got := distinct(append(nodes, nodes[7])); got != 200*virtualNodes { // the one way to make a clash of 64 bits by hand
		t.Errorf("two nodes with all points in common: %d points", got)
	}
	p := NewPlacement()
	p.Update(nodes[:3])
	c := p.circles[""]
	c.clash = true // as if they had clashed: the circle must not be moved, but made anew
	old := c.points
	if got := p.Update(nodes[:4]); !reflect.DeepEqual(got, NewToken(nodes[:4])) || c.points == old || c.clash {
		t.Error("after a clash the kept circle was used")
	}
}
