package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shoal/internal/fleet"
	"shoal/internal/lineage"
)

// The tests of the binary know nothing but its command line, and run it as a user would.

const (
	patience  = 40 * time.Second // for what takes a few seconds on an idle machine
	firstNet  = 10               // 127.0.0.x is the demonstration's
	testLimit = 3 * time.Minute  // for all of one test
)

var (
	nextNet  atomic.Int32
	buildDir string
)

// sideBySide is how many tests run at once, unless somebody says so: they wait for other processes most of the time.
const sideBySide = 4

func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue && runtime.GOMAXPROCS(0) < sideBySide {
		if err := parallel.Value.Set(strconv.Itoa(sideBySide)); err != nil {
			panic(err)
		}
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "shoal-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(buildDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		lineage.Sweep()
		os.Exit(code)
	}))
}

// binary builds shoal once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "shoal")
	build := exec.Command("go", "build", "-o", path, "../../cmd/shoal")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// world is one fleet and the test that it serves.
type world struct {
	*fleet.Fleet
	t   *testing.T
	ctx context.Context
}

// newWorld makes a fleet with a cluster of its own on loopback addresses of its own. The agents end with the test, and what
// they wrote is shown when it failed.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	w.ok("init")
	return w
}

func emptyWorld(t *testing.T) *world {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "e2e-") // a socket's path may not be as long as t.TempDir's
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.NewAt(firstNet+int(nextNet.Add(1)), path, dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	w := &world{Fleet: f, t: t, ctx: ctx}
	t.Cleanup(func() {
		if t.Failed() {
			w.showLogs()
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) showLogs() {
	for _, n := range w.Nodes {
		data, err := os.ReadFile(n.Log())
		if err != nil {
			continue // never started
		}
		w.t.Logf("== %s\n%s", n.Name, data[max(0, len(data)-6000):])
	}
}

// mesh starts count nodes n1, n2 ... with the tag role=web, each joining through the one before, and waits until all know
// all. extra are more flags for every agent.
func (w *world) mesh(count int, extra ...string) {
	w.t.Helper()
	for i := range count {
		n := w.Add(fmt.Sprintf("n%d", i+1), "role=web")
		n.Args = extra
		var peer *fleet.Node
		if i > 0 {
			peer = w.Nodes[i-1]
		}
		if _, err := n.Ticket(w.ctx); err != nil {
			w.t.Fatal(err)
		}
		if _, err := n.Join(w.ctx, peer); err != nil {
			w.t.Fatal(err)
		}
		w.answers(n)
	}
	w.together(w.Nodes...)
}

// start runs an agent that has been here before, or with the flags of its first time.
func (w *world) start(n *fleet.Node, flags ...string) {
	w.t.Helper()
	if _, err := n.Start(flags...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) answers(n *fleet.Node) {
	w.t.Helper()
	w.eventually(n.Name+" answers", func() error {
		var members []member
		return w.JSON(w.ctx, &members, "members", "--node", n.Socket())
	})
}

// together waits until each of nodes sees all of them alive.
func (w *world) together(nodes ...*fleet.Node) {
	w.t.Helper()
	for _, n := range nodes {
		for _, other := range nodes {
			w.sees(n, other.Name, "alive")
		}
	}
}

type member struct {
	Name, ID, Addr, Status, Zone string
	Tags                         map[string]string
}

type status struct {
	Envs  map[string]struct{ Version int }
	Nodes []struct {
		Name, Result, Error string
		Version, Drift      int
	}
}

// sees waits until n lists the named member with a status; "" wants it not to be listed.
func (w *world) sees(n *fleet.Node, name, want string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s sees %s %q", n.Name, name, want), func() error { return w.seesNow(n, name, want) })
}

func (w *world) seesNow(n *fleet.Node, name, want string) error {
	var members []member
	if err := w.JSON(w.ctx, &members, "members", "--node", n.Socket()); err != nil {
		return err
	}
	got := ""
	for _, m := range members {
		if m.Name == name {
			got = m.Status
		}
	}
	if got != want {
		return fmt.Errorf("it is %q", got)
	}
	return nil
}

func (w *world) eventually(what string, try func() error) {
	w.t.Helper()
	w.within(patience, what, try)
}

func (w *world) within(limit time.Duration, what string, try func() error) {
	w.t.Helper()
	if err := fleet.Eventually(w.ctx, limit, try); err != nil {
		w.t.Fatalf("never: %s: %v", what, err)
	}
}

// shoal runs a command that must end with a status.
func (w *world) shoal(want int, args ...string) fleet.Result {
	w.t.Helper()
	res, err := w.Shoal(w.ctx, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.Status != want {
		w.t.Fatalf("shoal %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), res.Status, want, res.Stdout, res.Stderr)
	}
	return res
}

func (w *world) ok(args ...string) fleet.Result {
	w.t.Helper()
	return w.shoal(0, args...)
}

// tree writes a state tree: a text archive would hide what the test is about, so it is pairs of path and content.
func (w *world) tree(name string, files ...string) string {
	w.t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(w.Dir, name, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	return name
}

// everywhere selects by a tag of the grant, so that a node that loses its tags shows.
const everywhere = "targets:\n  - on: role=web\n    components: [c]\n"

// motd is a tree that keeps one file, /etc/motd, with a text.
func (w *world) motd(name, text string) string {
	w.t.Helper()
	return w.tree(name, "site.yaml", everywhere, "components/c/states.yaml",
		fmt.Sprintf("states:\n  motd:\n    file.managed: {path: /etc/motd, content: %q}\n", text))
}

// holds waits until a file of each node has exactly this content.
func (w *world) holds(path, content string, nodes ...*fleet.Node) {
	w.t.Helper()
	for _, n := range nodes {
		w.eventually(fmt.Sprintf("%s has %s", n.Name, path), func() error {
			data, err := os.ReadFile(n.Path(path))
			if err == nil && string(data) != content {
				err = fmt.Errorf("it holds %.100q", data)
			}
			return err
		})
	}
}

// says waits until the agent has written every one of words.
func (w *world) says(n *fleet.Node, words ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s says %q", n.Name, words), func() error {
		data, err := os.ReadFile(n.Log())
		if err != nil {
			return err
		}
		for line := range bytes.Lines(data) {
			if containsAll(string(line), words) {
				return nil
			}
		}
		return errors.New("it does not")
	})
}

func containsAll(s string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(s, word) {
			return false
		}
	}
	return true
}

// head is the version of production that n knows.
func (w *world) head(n *fleet.Node) int {
	w.t.Helper()
	var st status
	if err := w.JSON(w.ctx, &st, "status", "--node", n.Socket()); err != nil {
		w.t.Fatal(err)
	}
	return st.Envs["production"].Version
}
