package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A store that is put back from a backup has forgotten what its node promised since. The node does not vote before it has asked all
// who may know: with one of them gone too, a push is staged, and says whom it waits for, where two acceptors of three are there.
func TestBackupIsFenced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(3)
	n1, n2, n3 := w.Nodes[0], w.Nodes[1], w.Nodes[2]
	w.ok("push", w.motd("one", "one\n"), "--wait", "--node", n1.Socket())
	w.holds("etc/motd", "one\n", w.Nodes...)

	if err := n3.Stop(); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(w.Dir, "n3.shoal")
	w.ok("store", "export", backup, "--root", n3.Root)
	w.start(n3)
	w.answers(n3)
	w.together(w.Nodes...)
	w.ok("push", w.motd("two", "two\n"), "--wait", "--node", n3.Socket())
	w.holds("etc/motd", "two\n", w.Nodes...)

	if err := n3.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(n3.Path("var/lib/shoal/store")); err != nil {
		t.Fatal(err)
	}
	w.ok("store", "import", backup, "--root", n3.Root)
	n2.Kill()
	w.start(n3)
	w.answers(n3)
	w.within(patience, "n1 sees n2 failed, and n3 alive", func() error {
		if err := w.seesNow(n1, "n2", "failed"); err != nil {
			return err
		}
		return w.seesNow(n1, "n3", "alive")
	})
	if res := w.shoal(3, "push", w.motd("three", "three\n"), "--node", n1.Socket()); !strings.Contains(res.Stderr+res.Stdout, "n2") {
		t.Errorf("it does not say whom it waits for: %s%s", res.Stdout, res.Stderr)
	}
	w.holds("etc/motd", "two\n", n1, n3)

	w.start(n2)
	w.retried(n1)
	w.holds("etc/motd", "three\n", w.Nodes...)
}
