package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"shoal/internal/fleet"
)

// status is what the command line's JSON holds, as far as the demonstration looks at it.
type status struct {
	Envs  map[string]struct{ Version int }
	Nodes []struct {
		Name, Result, Error string
		Version, Drift      int
	}
}

func (w *show) gather(ctx context.Context) error {
	w.heading("A cluster, and five machines that join through one another")
	w.say("Your key is made on your machine. A ticket is one line that grants a machine its tags; the machine makes its own key.")
	if _, err := w.shoal(ctx, 0, "init"); err != nil {
		return err
	}
	for i, n := range w.fleet.Nodes {
		var peer *fleet.Node
		if i > 0 {
			peer = w.fleet.Nodes[i-1]
		}
		ticket, err := n.Ticket(ctx)
		if err != nil {
			return err
		}
		agent, err := n.Join(ctx, peer)
		if err != nil {
			return err
		}
		w.typed(ticket)
		w.typedNext(agent)
		if err := w.check(ctx, fmt.Sprintf("%s is up", n.Name), func() error { return n.Sees(ctx, min(i+1, 2)) }); err != nil {
			return err
		}
	}
	return w.check(ctx, "every machine knows all five", func() error {
		for _, n := range w.fleet.Nodes {
			if err := n.Sees(ctx, len(w.fleet.Nodes)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *show) firstPush(ctx context.Context) error {
	w.heading("Push a state tree to any of them")
	w.say("The tree is signed with your key and committed on a majority's disks. Every machine then pulls what its tags select,\nchecks the signature, and makes itself match in one transaction.")
	if _, err := w.shoal(ctx, 0, append([]string{"push", "webfleet", "-m", "the fleet begins", "--wait"}, w.at(3)...)...); err != nil {
		return err
	}
	if err := w.check(ctx, "all five report version 1", w.allAt(ctx, 1, "converged")); err != nil {
		return err
	}
	for _, command := range []string{"members", "ring", "status"} {
		if _, err := w.shoal(ctx, 0, append([]string{command}, w.at(5)...)...); err != nil {
			return err
		}
	}
	w.say("A rendered file on web-1, whose tags gave it four workers:")
	w.typed("cat web-1/etc/nginx/nginx.conf")
	conf, err := os.ReadFile(w.node(1).Path("etc/nginx/nginx.conf"))
	if err != nil {
		return err
	}
	w.answer(string(conf))
	if !strings.Contains(string(conf), "worker_processes 4;") {
		return errors.New("web-1 has no four workers")
	}
	w.checked("web-1 has the four workers of group europe, and web-3 the role's two", 0)
	return w.holds(3, "etc/nginx/nginx.conf", "worker_processes 2;")
}

// holds wants a file of machine i to contain text.
func (w *show) holds(i int, path, text string) error {
	data, err := os.ReadFile(w.node(i).Path(path))
	if err == nil && !strings.Contains(string(data), text) {
		err = fmt.Errorf("%s on %s does not hold %q", path, w.node(i).Name, text)
	}
	return err
}

// allAt wants every machine to have reported version with result.
func (w *show) allAt(ctx context.Context, version int, result string) func() error {
	return func() error {
		var st status
		if err := w.fleet.JSON(ctx, &st, append([]string{"status"}, w.at(1)...)...); err != nil {
			return err
		}
		if len(st.Nodes) != len(w.fleet.Nodes) {
			return fmt.Errorf("%d of %d machines report", len(st.Nodes), len(w.fleet.Nodes))
		}
		for _, n := range st.Nodes {
			if n.Version != version || n.Result != result {
				return fmt.Errorf("%s is %s at version %d: %s", n.Name, n.Result, n.Version, n.Error)
			}
		}
		return nil
	}
}

func (w *show) editAndCrash(ctx context.Context) error {
	w.heading("Change one line, and lose a machine")
	const motd = "components/base/templates/motd.j2"
	if err := w.edit(motd, "Cared for by", "Kept in shape by"); err != nil {
		return err
	}
	if _, err := w.shoal(ctx, 0, append([]string{"push", "webfleet", "-m", "friendlier words", "--wait"}, w.at(5)...)...); err != nil {
		return err
	}
	if err := w.holdsEverywhere("etc/motd", "Kept in shape by", 1, 2, 3, 4, 5); err != nil {
		return err
	}
	w.checked("the new line is on all five", 0)
	w.say("Now web-2 loses its power in the middle of everything, and the next push goes to lb-1.")
	w.typed(fmt.Sprintf("kill -9 %d    # web-2", w.node(2).PID()))
	w.node(2).Kill()
	if err := w.edit(motd, "Kept in shape by", "Looked after by"); err != nil {
		return err
	}
	push := append([]string{"push", "webfleet", "-m", "while web-2 is dead"}, w.at(4)...)
	if _, err := w.shoal(ctx, 0, push...); err != nil {
		return err
	}
	err := w.check(ctx, "the four that live have it; nobody waited for the dead", func() error {
		return w.holdsEverywhere("etc/motd", "Looked after by", 1, 3, 4, 5)
	})
	if err != nil {
		return err
	}
	w.say("web-2 comes back. Nobody tells it anything: not whom to join, not what it missed.")
	agent, err := w.node(2).Start()
	if err != nil {
		return err
	}
	w.typed(agent)
	err = w.check(ctx, "web-2 caught up by itself", func() error { return w.holds(2, "etc/motd", "Looked after by") })
	if err != nil {
		return err
	}
	return w.check(ctx, "all five report version 3", w.allAt(ctx, 3, "converged"))
}

func (w *show) holdsEverywhere(path, text string, machines ...int) error {
	for _, i := range machines {
		if err := w.holds(i, path, text); err != nil {
			return err
		}
	}
	return nil
}

func (w *show) drift(ctx context.Context) error {
	w.heading("Somebody deletes a file")
	path := w.node(1).Path("etc/nginx/nginx.conf")
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	w.typed("rm web-1/etc/nginx/nginx.conf")
	started := time.Now()
	if err := os.Remove(path); err != nil {
		return err
	}
	for {
		now, err := os.ReadFile(path)
		if err == nil && string(now) == string(before) {
			break
		}
		if ctx.Err() != nil || time.Since(started) > 20*time.Second {
			return fmt.Errorf("the deleted file did not come back: %v", err)
		}
		time.Sleep(500 * time.Microsecond)
	}
	w.checked("it is back, byte for byte", time.Since(started))
	return nil
}

func (w *show) failure(ctx context.Context) error {
	w.heading("A revision that fails leaves no trace")
	w.say("This one changes a file on every machine and makes a new one; its last state fails. A run changes everything or nothing.")
	if err := w.writeCanary(); err != nil {
		return err
	}
	before, err := w.snapshots()
	if err != nil {
		return err
	}
	if err := w.edit("site.yaml", "components: [base, banner]", "components: [base, banner, canary]"); err != nil {
		return err
	}
	if err := w.edit("components/base/templates/motd.j2", "Looked after by", "Broken by"); err != nil {
		return err
	}
	if _, err := w.shoal(ctx, 1, append([]string{"push", "webfleet", "-m", "a bad day", "--wait"}, w.at(2)...)...); err != nil {
		return err
	}
	if _, err := w.shoal(ctx, 0, append([]string{"report", "db-1"}, w.at(1)...)...); err != nil {
		return err
	}
	if err := w.check(ctx, "all five say that they rolled version 4 back", w.allAt(ctx, 4, "rolled_back")); err != nil {
		return err
	}
	after, err := w.snapshots()
	if err != nil {
		return err
	}
	if err := sameSnapshots(before, after); err != nil {
		return err
	}
	w.checked(fmt.Sprintf("%d files and folders are exactly what they were: bytes, modes, times", len(before)), 0)
	return nil
}

// writeCanary adds the component that fails.
func (w *show) writeCanary() error {
	dir := filepath.Join(w.tree, "components/canary")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	const text = `states:
  canary-file:
    file.managed: {path: /etc/webfleet/canary, content: "tweet\n"}
  health:
    cmd.run:
      shell: "echo 'the shop does not answer on port 8080' >&2; exit 7"
    order: last
`
	w.typed("edit webfleet/components/canary/states.yaml")
	w.answer(text)
	return os.WriteFile(filepath.Join(dir, "states.yaml"), []byte(text), 0o644)
}

func (w *show) removal(ctx context.Context) error {
	w.heading("Take a component out, and what it did is undone")
	w.say("The banner component replaced /etc/issue, which the distribution had shipped, and made /etc/issue.net. Every machine\nkeeps a ledger of what it owns and of what was there before.")
	if err := w.edit("components/base/templates/motd.j2", "Broken by", "Cared for by"); err != nil {
		return err
	}
	if err := w.edit("site.yaml", "components: [base, banner, canary]", "components: [base]"); err != nil {
		return err
	}
	if _, err := w.shoal(ctx, 0, append([]string{"push", "webfleet", "-m", "no banner", "--wait"}, w.at(1)...)...); err != nil {
		return err
	}
	w.typed("cat db-1/etc/issue; ls db-1/etc/issue.net")
	for _, n := range w.fleet.Nodes {
		data, err := os.ReadFile(n.Path("etc/issue"))
		if err != nil || string(data) != shipped {
			return fmt.Errorf("/etc/issue on %s is %q, not what was shipped (%v)", n.Name, data, err)
		}
		if _, err := os.Lstat(n.Path("etc/issue.net")); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("/etc/issue.net is still on %s (%v)", n.Name, err)
		}
	}
	w.answer(shipped + "ls: no such file")
	w.checked("what it made is gone, what it replaced is back, on all five", 0)
	if err := w.check(ctx, "all five report version 5", w.allAt(ctx, 5, "converged")); err != nil {
		return err
	}
	_, err := w.shoal(ctx, 0, append([]string{"log"}, w.at(4)...)...)
	return err
}
