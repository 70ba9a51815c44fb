package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"shoal/internal/fleet"
)

// Five agents through what a mesh may meet: a node alone, a minority, two pushes at once, a restart of everything.
func TestFive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(5)
	w.ok("push", w.motd("one", "one\n"), "--wait", "--node", w.Nodes[3].Socket())
	w.holds("etc/motd", "one\n", w.Nodes...)

	w.part(t, "a node cut off catches up", (*world).cutOff)
	w.part(t, "a minority stages", (*world).minority)
	w.part(t, "two at once", (*world).twoAtOnce)
	w.part(t, "a node alone keeps enforcing", (*world).alone)
	w.part(t, "restart of everything", (*world).restart)
	w.part(t, "a goodbye", (*world).goodbye)
}

func (w *world) part(t *testing.T, name string, run func(*world)) {
	if t.Failed() {
		return // the parts build on one another
	}
	t.Run(name, func(t *testing.T) { run(w.in(t)) })
}

// cutOff stops a process, which to the others is a node that is cut off, and lets it go on.
func (w *world) cutOff() {
	n1, n5 := w.Nodes[0], w.Nodes[4]
	if err := n5.Signal(syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	w.within(patience, "n1 sees n5 failed", func() error { return w.seesNow(n1, "n5", "failed") })
	w.ok("push", w.motd("two", "two\n"), "--wait", "--node", n1.Socket())
	w.holds("etc/motd", "two\n", w.Nodes[:4]...)
	if err := n5.Signal(syscall.SIGCONT); err != nil {
		w.t.Fatal(err)
	}
	w.holds("etc/motd", "two\n", n5)
	w.sees(n1, "n5", "alive")
}

type pushed struct {
	Env, Status string
	Version     int
}

// minority pushes at two nodes of five, twice on one parent; when the others are back one of the two is committed.
func (w *world) minority() {
	n1, n2 := w.Nodes[0], w.Nodes[1]
	parent := w.head(n1)
	for _, n := range w.Nodes[2:] {
		n.Kill()
	}
	var staging sync.WaitGroup
	for i, n := range []*fleet.Node{n1, n2} {
		tree := w.motd(fmt.Sprintf("minority-%d", i), fmt.Sprintf("minority %d\n", i))
		staging.Go(func() { w.staged(n, tree, parent) })
	}
	staging.Wait()
	w.holds("etc/motd", "two\n", n1, n2)
	res, err := w.Shoal(w.ctx, "push", "--retry", "--node", n1.Socket(), "--json")
	var again []pushed
	if err == nil {
		err = json.Unmarshal([]byte(res.Stdout), &again)
	}
	if err != nil || res.Status != 3 || len(again) != 1 || again[0].Status != "staged" {
		w.t.Errorf("push --retry without a majority: exit status %d, %+v, %v\n%s", res.Status, again, err, res.Stderr)
	}
	for _, n := range w.Nodes[2:] {
		w.start(n)
	}
	w.eventually("a staged push is committed by itself", func() error {
		if got := w.head(n1); got != parent+1 {
			return fmt.Errorf("the head is %d", got)
		}
		return nil
	})
	var history []struct{ Version int }
	if err := w.JSON(w.ctx, &history, "log", "--node", n1.Socket()); err != nil || len(history) != parent+1 {
		w.t.Errorf("the log has %v, %v", history, err)
	}
	winner := ""
	w.eventually("all have the one that won", func() error {
		data, err := os.ReadFile(n1.Path("etc/motd"))
		winner = string(data)
		if err == nil && !strings.HasPrefix(winner, "minority ") {
			err = errors.New("n1 has none yet")
		}
		return err
	})
	w.holds("etc/motd", winner, w.Nodes...)
	w.together(w.Nodes...)
	w.eventually("the other was told that it diverged", func() error {
		for _, n := range []*fleet.Node{n1, n2} {
			data, err := os.ReadFile(n.Log())
			if err != nil || strings.Contains(string(data), "staged revision is diverged") {
				return err
			}
		}
		return errors.New("nobody says so")
	})
}

func (w *world) staged(n *fleet.Node, tree string, parent int) {
	res, err := w.Shoal(w.ctx, "push", tree, "--node", n.Socket(), "--json")
	var p pushed
	if err == nil {
		err = json.Unmarshal([]byte(res.Stdout), &p)
	}
	if err != nil || res.Status != 3 || p.Status != "staged" || p.Version != parent+1 || p.Env != "production" {
		w.t.Errorf("%s: exit status %d, %+v, %v\n%s", n.Name, res.Status, p, err, res.Stderr)
	}
}

// twoAtOnce pushes at two nodes until both began on one parent: then one is committed and the other has diverged.
func (w *world) twoAtOnce() {
	n2, n4 := w.Nodes[1], w.Nodes[3]
	for round := range 20 {
		var at [2]fleet.Result
		var out [2]pushed
		var pushing sync.WaitGroup
		for i, n := range []*fleet.Node{n2, n4} {
			tree := w.motd(fmt.Sprintf("race-%d-%d", round, i), fmt.Sprintf("race %d %d\n", round, i))
			pushing.Go(func() {
				res, err := w.Shoal(w.ctx, "push", tree, "--node", n.Socket(), "--json")
				if err == nil {
					err = json.Unmarshal([]byte(res.Stdout), &out[i])
				}
				if err != nil {
					w.t.Errorf("%s: %v %s", n.Name, err, res.Stderr)
				}
				at[i] = res
			})
		}
		pushing.Wait()
		switch {
		case w.t.Failed():
			return
		case at[0].Status == 0 && at[1].Status == 0:
			if out[0].Version == out[1].Version {
				w.t.Fatalf("both were committed as version %d", out[0].Version)
			}
			continue // one after the other
		}
		won, lost := 0, 1
		if at[0].Status != 0 {
			won, lost = 1, 0
		}
		if at[won].Status != 0 || at[lost].Status != 3 || out[won].Status != "committed" || out[lost].Status != "diverged" {
			w.t.Fatalf("%+v\n%+v", at, out)
		}
		w.holds("etc/motd", fmt.Sprintf("race %d %d\n", round, won), w.Nodes...)
		return
	}
	w.t.Error("twenty pairs of pushes, and none on one parent")
}

// alone kills all but one: it goes on putting back what drifts, and answers.
func (w *world) alone() {
	n1 := w.Nodes[0]
	before, err := os.ReadFile(n1.Path("etc/motd"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range w.Nodes[1:] {
		n.Kill()
	}
	for _, n := range w.Nodes[1:] {
		w.sees(n1, n.Name, "failed") // nobody else confirms it, so this takes longer than for one
	}
	for range 3 {
		if err := os.Remove(n1.Path("etc/motd")); err != nil {
			w.t.Fatal(err)
		}
		w.holds("etc/motd", string(before), n1)
	}
	w.ok("status", "--node", n1.Socket())
	w.ok("members", "--node", n1.Socket())
	// Also after a restart with nobody there.
	n1.Kill()
	if err := os.Remove(n1.Path("etc/motd")); err != nil {
		w.t.Fatal(err)
	}
	w.start(n1)
	w.holds("etc/motd", string(before), n1)
}

// restart starts all after a power cut, with no word on whom to join.
func (w *world) restart() {
	w.Nodes[0].Kill()
	for _, n := range w.Nodes {
		w.start(n)
	}
	w.together(w.Nodes...)
	var versions []int
	for _, n := range w.Nodes {
		versions = append(versions, w.head(n))
	}
	for i, v := range versions {
		if v == 0 || v != versions[0] {
			w.t.Errorf("%s is at version %d of %v", w.Nodes[i].Name, v, versions)
		}
	}
	w.ok("push", w.motd("after", "after the restart\n"), "--wait", "--node", w.Nodes[2].Socket())
	w.holds("etc/motd", "after the restart\n", w.Nodes...)
	if v := w.head(w.Nodes[4]); v != versions[0]+1 {
		w.t.Errorf("version %d follows %d", v, versions[0])
	}
}

// goodbye: SIGTERM ends an agent within five seconds (Stop sees to it), and the others know that it went on purpose; of one
// that is killed they know that too.
func (w *world) goodbye() {
	n1, n4, n5 := w.Nodes[0], w.Nodes[3], w.Nodes[4]
	if err := n5.Stop(); err != nil {
		w.t.Fatal(err)
	}
	w.sees(n1, "n5", "left")
	w.ok("leave", "--node", n4.Socket())
	if status, err := n4.Ended(w.ctx); err != nil || status != 0 {
		w.t.Errorf("after leave: exit status %d, %v", status, err)
	}
	w.sees(n1, "n4", "left")
	w.ok("push", w.motd("few", "three are left\n"), "--wait", "--node", n1.Socket())
	w.start(n5)
	w.holds("etc/motd", "three are left\n", append(w.Nodes[:3:3], n5)...)
	w.sees(n1, "n5", "alive")
	n5.Kill()
	w.within(patience, "n1 sees n5 failed", func() error { return w.seesNow(n1, "n5", "failed") })
}
