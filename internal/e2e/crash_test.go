package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/internal/fleet"
)

// An agent that is killed in the middle of a transaction: at its next start the machine is what it was before, byte for
// byte, and then what the revision says.
func TestKilledInARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(1)
	n := w.Nodes[0]
	w.ok("push", w.motd("one", "one\n"), "--wait", "--node", n.Socket())
	before := snapshotOf(t, n)

	started, open, broken := filepath.Join(w.Dir, "started"), filepath.Join(w.Dir, "open"), filepath.Join(w.Dir, "broken")
	tree := w.tree("two", "site.yaml", everywhere, "components/c/states.yaml", `states:
  motd:
    file.managed: {path: /etc/motd, content: "two\n", mode: "0600"}
  shop:
    file.directory: {path: /srv/shop}
  list:
    file.managed: {path: /srv/shop/list, content: "new\n"}
    require: [shop]
  last:
    cmd.run:
      shell: |
        echo $$ > `+started+`
        [ ! -e `+broken+` ] || exit 7
        until [ -e `+open+` ]; do sleep 0.02; done
    require: [motd, list]
    undo: nothing
  nothing:
    lazy: true
    cmd.run: {argv: ["true"]}
`)
	w.ok("push", tree, "--node", n.Socket())
	w.killWhen(n, started)
	if now := snapshotOf(t, n); now["etc/motd"].data != "two\n" || now["srv/shop/list"].data != "new\n" {
		t.Fatalf("it was not killed in the middle: %v", now)
	}
	res := w.ok("recover", "--root", n.Root)
	if err := same(before, snapshotOf(t, n)); err != nil {
		t.Errorf("after shoal recover: %v\n%s", err, res.Stdout)
	}

	// Killed again; and the next start finds that the last state fails.
	w.start(n)
	w.killWhen(n, started)
	if same(before, snapshotOf(t, n)) == nil {
		t.Fatal("nothing was changed when it was killed")
	}
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(n)
	w.says(n, "rolled back a run that was interrupted")
	w.says(n, "level=INFO", "enforced", "version=2", "result=rolled_back")
	if err := same(before, snapshotOf(t, n)); err != nil {
		t.Errorf("after the failed run: %v", err)
	}

	// And when it can succeed, it is done.
	if err := errors.Join(os.Remove(broken), os.WriteFile(open, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	w.start(n)
	w.holds("etc/motd", "two\n", n)
	w.holds("srv/shop/list", "new\n", n)
	w.eventually("it reports that it converged", func() error {
		var st status
		if err := w.JSON(w.ctx, &st, "status", "--node", n.Socket()); err != nil {
			return err
		}
		if len(st.Nodes) != 1 || st.Nodes[0].Version != 2 || st.Nodes[0].Result != "converged" {
			return fmt.Errorf("%+v", st.Nodes)
		}
		return nil
	})
}

// killWhen kills the agent as soon as the file that its command writes is there, and sees the command end with it.
func (w *world) killWhen(n *fleet.Node, started string) {
	w.t.Helper()
	var pid string
	w.eventually("the last state runs", func() error {
		data, err := os.ReadFile(started)
		if err == nil && !strings.HasSuffix(string(data), "\n") {
			err = errors.New("it has not said its process id")
		}
		pid = strings.TrimSpace(string(data))
		return err
	})
	n.Kill()
	w.eventually("the command is gone", func() error {
		if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
			return errors.New("process " + pid + " still runs")
		}
		return nil
	})
	if err := os.Remove(started); err != nil {
		w.t.Fatal(err)
	}
}

// entry is what a path is, as far as somebody could notice a difference.
type entry struct {
	mode   fs.FileMode
	mtime  int64
	target string
	data   string
}

// snapshotOf reads a node's machine, but for what shoal keeps for itself.
func snapshotOf(t *testing.T, n *fleet.Node) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	err := filepath.WalkDir(n.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == n.Path("var/lib/shoal") {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{mode: info.Mode()}
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			e.data, e.mtime = string(data), info.ModTime().UnixNano()
		case info.Mode().Type() == fs.ModeSymlink:
			if e.target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		all[strings.TrimPrefix(strings.TrimPrefix(path, n.Root), "/")] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(before, after map[string]entry) error {
	if maps.Equal(before, after) {
		return nil
	}
	return fmt.Errorf("before:\n%v\nafter:\n%v", before, after)
}
