package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"shoal/internal/fleet"
)

const (
	firstValue  = "correct-horse-battery-staple-1"
	secondValue = "purple-monkey-dishwasher-2"
	thirdValue  = "hunter-of-snarks-3"
	control     = "a-text-that-is-no-secret"
)

// TestSecrets goes the way of a secret: set, applied by who may have it, read by nobody else, handed on to who joins later, changed
// without a push, and exposed by an eviction.
func TestSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(2)
	n1, n2 := w.Nodes[0], w.Nodes[1]
	db1 := w.join("db-1", n1, "role=db")
	w.together(n1, n2, db1)

	w.secret(firstValue, "set", "db/password", "--on", "role=db")
	tree := w.tree("sealed",
		"site.yaml", "targets:\n  - {on: role=db, components: [db]}\n  - {on: role=web, components: [web]}\n",
		"components/web/states.yaml", "states:\n  motd: {file.managed: {path: /etc/motd, content: \""+control+"\\n\"}}\n",
		"components/db/states.yaml", "states:\n  conf: {file.managed: {path: /etc/db.conf, mode: \"0600\", template: db.j2}}\n",
		"components/db/db.j2", "password={{ secret(\"db/password\") }}\n",
	)
	w.ok("push", tree, "--wait", "--node", n1.Socket())
	w.holds("etc/db.conf", "password="+firstValue+"\n", db1)
	w.holds("etc/motd", control+"\n", n1, n2)

	w.part(t, "who may not have it cannot read it", func(w *world) { w.deniedSecret(n1, db1) })
	w.part(t, "it is in clear nowhere else", func(w *world) { w.nowhere(firstValue, n1, n2) })

	db2 := w.join("db-2", n2, "role=db")
	w.part(t, "who joins later is handed it", func(w *world) {
		w.holds("etc/db.conf", "password="+firstValue+"\n", db2)
		w.nowhere(firstValue, n1, n2)
	})
	w.part(t, "and has it without the others", func(w *world) { w.secretAlone(db2) })
	w.part(t, "a new value needs no push", func(w *world) {
		w.secret(secondValue, "set", "db/password")
		w.holds("etc/db.conf", "password="+secondValue+"\n", db1, db2)
		w.nowhere(secondValue, n1, n2)
	})
	w.part(t, "an eviction names it", func(w *world) { w.secretExposed(db1, db2) })
}

// join adds a node with tags through a peer.
func (w *world) join(name string, peer *fleet.Node, tags ...string) *fleet.Node {
	w.t.Helper()
	n := w.Add(name, tags...)
	if _, err := n.Ticket(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	if _, err := n.Join(w.ctx, peer); err != nil {
		w.t.Fatal(err)
	}
	w.answers(n)
	return n
}

// secret runs shoal secret with a value on its standard input, at the first node.
func (w *world) secret(value string, args ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.Binary, append([]string{"secret"}, append(args, "--node", w.Nodes[0].Socket())...)...)
	cmd.Env, cmd.Dir, cmd.Stdin = w.Env(), w.Dir, strings.NewReader(value+"\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("shoal secret %v: %v\n%s", args, err, out)
	}
	if bytes.Contains(out, []byte(value)) {
		w.t.Errorf("shoal secret %v prints the value:\n%s", args, out)
	}
}

// try runs a command whatever its status.
func (w *world) try(args ...string) fleet.Result {
	w.t.Helper()
	res, err := w.Shoal(w.ctx, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// deniedSecret: neither a tree nor a command gives a value to a node that may not have it.
func (w *world) deniedSecret(web, db *fleet.Node) {
	bad := w.tree("curious",
		"site.yaml", "targets:\n  - {on: \"*\", components: [web]}\n",
		"components/web/states.yaml", "states:\n  motd: {file.managed: {path: /etc/motd, content: \"${secret('db/password')}\"}}\n",
	)
	res := w.try("push", bad, "--node", web.Socket())
	if res.Status != 2 || !strings.Contains(res.Stderr, `states.yaml:2:`) || !strings.Contains(res.Stderr, "may not have it") || !strings.Contains(res.Stderr, "role=db") {
		w.t.Errorf("a tree that reads it everywhere: status %d\n%s", res.Status, res.Stderr)
	}
	if res := w.try("secret", "show", "db/password", "--node", web.Socket()); res.Status != 5 || strings.Contains(res.Stdout, firstValue) {
		w.t.Errorf("show at a web node: status %d %s%s", res.Status, res.Stdout, res.Stderr)
	}
	if res := w.try("secret", "show", "db/password", "--node", db.Socket()); res.Status != 0 || res.Stdout != firstValue+"\n" {
		w.t.Errorf("show at a db node: status %d %s%s", res.Status, res.Stdout, res.Stderr)
	}
	if res := w.try("plan", "--node", db.Socket(), "--json"); res.Status != 0 || strings.Contains(res.Stdout, firstValue) || strings.Contains(res.Stdout, `"would_change"`) {
		w.t.Errorf("plan at a db node: status %d %s%s", res.Status, res.Stdout, res.Stderr)
	}
}

// nowhere: a value is in no file of some nodes, nor in the log of any; a text that is no secret is found in the same way.
func (w *world) nowhere(value string, nodes ...*fleet.Node) {
	w.t.Helper()
	for _, n := range nodes {
		if hits := w.grep(n.Root, control); len(hits) == 0 {
			w.t.Errorf("%s: the search finds nothing at all", n.Name)
		}
		if hits := w.grep(n.Root, value); len(hits) > 0 {
			w.t.Errorf("%s has the value in %v", n.Name, hits)
		}
	}
	for _, n := range w.Nodes {
		if data, err := os.ReadFile(n.Log()); err != nil || bytes.Contains(data, []byte(value)) {
			w.t.Errorf("the log of %s has the value (%v)", n.Name, err)
		}
	}
	for _, args := range [][]string{{"report", "db-1", "--json"}, {"status", "--json"}, {"log", "--json"}, {"secret", "list", "--json"}} {
		if res := w.try(append(args, "--node", w.Nodes[0].Socket())...); res.Status != 0 || strings.Contains(res.Stdout+res.Stderr, value) {
			w.t.Errorf("shoal %v: status %d, or the value is in it\n%s", args, res.Status, res.Stderr)
		}
	}
}

// grep names the files below dir that hold a text.
func (w *world) grep(dir, text string) (hits []string) {
	w.t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // the store removes files while we look
		}
		if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(text)) {
			hits = append(hits, path)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return hits
}

// secretAlone starts a node that was handed the key while nobody else is there: it goes on enforcing.
func (w *world) secretAlone(n *fleet.Node) {
	var others []*fleet.Node
	for _, other := range w.Nodes {
		if other != n {
			others = append(others, other)
		}
	}
	n.Kill()
	for _, other := range others {
		other.Kill()
	}
	if err := os.Remove(n.Path("etc/db.conf")); err != nil {
		w.t.Fatal(err)
	}
	w.start(n)
	w.holds("etc/db.conf", "password="+firstValue+"\n", n)
	for _, other := range others {
		w.start(other)
	}
	w.together(w.Nodes...)
}

// secretExposed evicts a node that could read the secret.
func (w *world) secretExposed(stays, goes *fleet.Node) {
	first := w.Nodes[0]
	if got := w.exposed(); len(got) != 0 {
		w.t.Errorf("exposed before anything happened: %v", got)
	}
	res := w.try("evict", goes.Name, "--node", first.Socket())
	if res.Status != 0 || !strings.Contains(res.Stdout, "shoal secret set db/password") {
		w.t.Errorf("evict: status %d\n%s%s", res.Status, res.Stdout, res.Stderr)
	}
	if got := w.exposed(); len(got) != 1 || got[0] != goes.Name {
		w.t.Errorf("exposed after the eviction: %v", got)
	}
	w.secret(thirdValue, "set", "db/password")
	if got := w.exposed(); len(got) != 0 {
		w.t.Errorf("exposed after it was set again: %v", got)
	}
	w.holds("etc/db.conf", "password="+thirdValue+"\n", stays)
	if hits := w.grep(goes.Root, thirdValue); len(hits) > 0 {
		w.t.Errorf("the evicted node has the new value in %v", hits)
	}
}

func (w *world) exposed() (all []string) {
	w.t.Helper()
	var list []struct{ Exposed []string }
	res := w.try("secret", "list", "--json", "--node", w.Nodes[0].Socket())
	if err := json.Unmarshal([]byte(res.Stdout), &list); err != nil || len(list) != 1 {
		w.t.Fatal(fmt.Errorf("secret list: %w %s%s", err, res.Stdout, res.Stderr))
	}
	return list[0].Exposed
}
