package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// Three of five acceptors never come back: pushes are staged until the operator chooses others, and nobody else can.
func TestMajorityLostForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(5)
	n4, n5 := w.Nodes[3], w.Nodes[4]
	w.ok("push", w.motd("one", "one\n"), "--wait", "--node", n4.Socket())
	res := w.shoal(2, "trust", "recover-head", "production", "--yes", "--node", n4.Socket())
	if !strings.Contains(res.Stderr, "a majority of the acceptors of production is here") {
		t.Errorf("it does not say that nothing is lost: %s", res.Stderr)
	}

	for _, n := range w.Nodes[:3] {
		n.Kill()
	}
	res = w.shoal(3, "push", w.motd("two", "two\n"), "--node", n4.Socket())
	if !strings.Contains(res.Stderr, "staged") {
		t.Fatalf("with two of five acceptors: %s", res.Stderr)
	}
	for _, n := range w.Nodes[:3] {
		w.ok("evict", n.Name, "--node", n4.Socket())
	}
	own := w.Home
	s := w.stranger(t)
	s.shoal(5, "trust", "recover-head", "production", "--yes", "--node", n4.Socket())
	w.Home = own

	res = w.ok("trust", "recover-head", "production", "--node", n5.Socket())
	// The two that are left may have accepted version 2 before it was staged: then it counts.
	certified := strings.Contains(res.Stdout, "would go on from version 1 ") && strings.Contains(res.Stdout, "held by 2 of the 2 nodes")
	accepted := strings.Contains(res.Stdout, "would go on from version 2 ") && strings.Contains(res.Stdout, "which an acceptor has accepted")
	if !certified && !accepted || !strings.Contains(res.Stderr, "nothing was done") {
		t.Errorf("it does not tell what it would do: %s%s", res.Stdout, res.Stderr)
	}
	w.ok("trust", "recover-head", "production", "--yes", "--node", n5.Socket())
	w.eventually("what was staged is committed", func() error {
		if head := w.head(n5); head != 2 {
			return fmt.Errorf("the head is %d", head)
		}
		return nil
	})
	w.holds("etc/motd", "two\n", n4, n5)
	w.ok("push", w.motd("three", "three\n"), "--wait", "--node", n5.Socket())
	w.holds("etc/motd", "three\n", n4, n5)
}
