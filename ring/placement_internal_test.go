package ring

import (
	"reflect"
	"testing"

	"shoal/membership"
)

func TestPointsClash(t *testing.T) {
	var nodes []Node
	for i := range 200 {
		nodes = append(nodes, Node{ID: membership.IDOf(append(make([]byte, 31), byte(i)))})
	}
	if pointsClash(nodes) {
		t.Error("200 ordinary nodes clash")
	}
	if !pointsClash(append(nodes, nodes[7])) { // the one way to make a clash of 64 bits by hand
		t.Error("two nodes with all points in common do not clash")
	}
	p := NewPlacement()
	p.Update(nodes[:3])
	p.clash = true // as if they had clashed: the circle must not be moved, but made anew
	old := p.circle
	if got := p.Update(nodes[:4]); !reflect.DeepEqual(got, NewToken(nodes[:4])) || p.circle == old || p.clash {
		t.Error("after a clash the kept circle was used")
	}
}
