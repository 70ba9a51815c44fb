package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shoal/internal/fleet"
)

// A node without a mesh takes its operators from the first push, and nobody else's word after that.
func TestSolo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.Add("solo")
	n.Args = []string{"--tag", "role=web", "--zone", "attic"}
	w.start(n)
	w.answers(n)
	w.ok("push", w.motd("mine", "mine\n"), "--wait", "--node", n.Socket())
	w.holds("etc/motd", "mine\n", n)
	t.Run("stranger", func(t *testing.T) {
		s := w.stranger(t)
		s.shoal(5, "push", s.motd("theirs", "theirs\n"), "--node", n.Socket())
	})
	if v := w.head(n); v != 1 {
		t.Errorf("version %d", v)
	}
	w.holds("etc/motd", "mine\n", n)
	n.Kill()
	if err := os.Remove(n.Path("etc/motd")); err != nil {
		t.Fatal(err)
	}
	w.start(n)
	w.holds("etc/motd", "mine\n", n) // from the disk
	w.answers(n)
	t.Run("stranger after a restart", func(t *testing.T) {
		s := w.stranger(t)
		s.shoal(5, "push", s.motd("theirs", "theirs\n"), "--node", n.Socket())
	})
	w.ok("push", w.motd("more", "more\n"), "--wait", "--node", n.Socket())
	w.holds("etc/motd", "more\n", n)
}

// What is inside a folder that a state looks after is watched as a file of its own would be: put back at once, and not at the
// next full check, which is minutes away.
func TestFolderDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.Add("solo")
	n.Args = []string{"--tag", "role=web"}
	w.start(n)
	w.answers(n)
	site := w.tree("folders", "site.yaml", everywhere, "components/c/files/site/a", "a\n", "components/c/files/site/deep/b", "b\n",
		"components/c/states.yaml", "states:\n  site:\n    file.tree: {path: /srv/www, source: files/site, purge: true, exclude: [log]}\n")
	w.ok("push", site, "--wait", "--node", n.Socket())
	if err := os.WriteFile(n.Path("srv/www/log"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func() error{
		"written over": func() error { return os.WriteFile(n.Path("srv/www/deep/b"), []byte("x"), 0o644) },
		"removed":      func() error { return os.Remove(n.Path("srv/www/a")) },
		"folder gone":  func() error { return os.RemoveAll(n.Path("srv/www/deep")) },
		"a stranger":   func() error { return os.WriteFile(n.Path("srv/www/deep/stranger"), nil, 0o644) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		w.eventually(name+" is put back", func() error {
			if _, err := os.Lstat(n.Path("srv/www/deep/stranger")); err == nil {
				return errors.New("what does not belong there is there")
			}
			for file, want := range map[string]string{"srv/www/a": "a\n", "srv/www/deep/b": "b\n", "srv/www/log": "mine"} {
				if data, err := os.ReadFile(n.Path(file)); err != nil || string(data) != want {
					return fmt.Errorf("%s: %q, %w", file, data, err)
				}
			}
			return nil
		})
	}
}

// A node of a mesh with a volatile store says so, and fetches everything again after a restart.
func TestMemoryStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(2)
	n1 := w.Nodes[0]
	n3 := w.Add("n3", "role=web")
	n3.Args = []string{"--store", "memory"}
	if _, err := n3.Ticket(w.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := n3.Join(w.ctx, n1); err != nil {
		t.Fatal(err)
	}
	w.answers(n3)
	w.together(w.Nodes...)
	w.says(n3, "level=WARN", "volatile")
	w.ok("push", w.motd("one", "one\n"), "--wait", "--node", n3.Socket())
	w.holds("etc/motd", "one\n", w.Nodes...)
	n3.Kill()
	if err := os.Remove(n3.Path("etc/motd")); err != nil {
		t.Fatal(err)
	}
	w.ok("push", w.motd("two", "two\n"), "--node", n1.Socket())
	w.start(n3) // it has forgotten its peers with everything else; they call it
	w.holds("etc/motd", "two\n", w.Nodes...)
}

// The other ring, a configuration file, and commands over TCP.
func TestCircularConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sample, err := os.ReadFile("../../docs/agent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[*fleet.Node][]string{}
	for i := range 3 {
		n := w.Add(fmt.Sprintf("n%d", i+1), "role=web")
		if _, err := n.Ticket(w.ctx); err != nil {
			t.Fatal(err)
		}
		join := ""
		if i > 0 {
			join = w.Nodes[i-1].Addr
		}
		config := uncommented(string(sample), map[string]string{
			"ring": "circular", "ticket": `"@` + n.Name + `.ticket"`, "join": "[" + join + "]", "bind": n.Addr,
			"data_dir": filepath.Join(n.Root, "var/lib/shoal"), "api": n.API(), "check_every": "1h",
		})
		if err := os.WriteFile(filepath.Join(w.Dir, n.Name+".yaml"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		n.Args = []string{"--config", n.Name + ".yaml"}
		res := w.ok("token", "create", "test", "--scope", "push:production", "--root", n.Root)
		tokens[n] = []string{"SHOAL_TOKEN=" + strings.TrimSpace(res.Stdout)}
		w.start(n)
		w.More = tokens[n]
		w.eventually("it answers over TCP", func() error {
			var members []member
			return w.JSON(w.ctx, &members, "members", "--node", n.API())
		})
	}
	n1, n3 := w.Nodes[0], w.Nodes[2]
	w.More = tokens[n1]
	w.eventually("three on a circle", func() error {
		var ring struct {
			Placement string
			Nodes     []struct{ Primary, Owned int }
		}
		if err := w.JSON(w.ctx, &ring, "ring", "--node", n1.API()); err != nil {
			return err
		}
		if !strings.HasPrefix(ring.Placement, "circular/") || len(ring.Nodes) != 3 {
			return fmt.Errorf("%+v", ring)
		}
		for _, n := range ring.Nodes {
			if n.Owned != 4096 || n.Primary < 1365 || n.Primary > 1366 {
				return fmt.Errorf("uneven: %+v", ring)
			}
		}
		return nil
	})
	w.shoal(5, "push", w.motd("round", "round\n"), "--node", n3.API()) // the token is of another node
	w.More = tokens[n3]
	w.shoal(5, "push", w.motd("round", "round\n"), "--env", "staging", "--node", n3.API())
	w.shoal(5, "leave", "--node", n3.API())
	w.ok("push", w.motd("round", "round\n"), "--wait", "--node", n3.API())
	w.holds("etc/motd", "round\n", w.Nodes...)

	// The key that nobody knows, with its place.
	path := filepath.Join(w.Dir, "wrong.yaml")
	if err := os.WriteFile(path, []byte("name: x\ndata_dri: /nowhere\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	res := w.shoal(2, "agent", "--config", path)
	if !containsAll(res.Stderr, []string{"data_dri", "2:1"}) {
		t.Errorf("%s", res.Stderr)
	}
}

// uncommented is the sample configuration with values in place of what it shows.
func uncommented(sample string, values map[string]string) string {
	var b strings.Builder
	for line := range strings.Lines(sample) {
		key, _, _ := strings.Cut(strings.TrimPrefix(line, "#"), ":")
		if v, ok := values[key]; ok {
			line = key + ": " + v + "\n"
			delete(values, key)
		}
		b.WriteString(line)
	}
	for key := range values {
		b.WriteString("the sample has no " + key + "\n")
	}
	return b.String()
}

// A large file arrives everywhere, byte for byte, and neither the agents nor the command hold much of it.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	const size, most = 96 << 20, 64 << 20 // bytes
	w := newWorld(t)
	w.mesh(3)
	tree := w.tree("large", "site.yaml", everywhere, "components/c/states.yaml",
		"states:\n  image:\n    file.managed: {path: /srv/image, source: files/image}\n", "components/c/files/small", "x")
	image := filepath.Join(w.Dir, tree, "components/c/files/image")
	sum := w.noise(image, size)
	little := w.ok("members", "--node", w.Nodes[1].Socket())
	peaks, err := w.WatchMemory()
	if err != nil {
		t.Fatal(err)
	}
	pushed := w.ok("push", tree, "--wait", "--node", w.Nodes[1].Socket())
	w.intact(sum, w.Nodes...)
	for i, peak := range append(peaks(), pushed.MaxRSS-little.MaxRSS) {
		t.Logf("%d MiB above idle at most", peak>>20)
		if peak > most {
			t.Errorf("process %d of 4 took %d MiB more than idle, at most %d are wanted", i+1, peak>>20, most>>20)
		}
	}
	// A small edit in the middle.
	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("edited"), size/2)
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		sum, err = sumOf(image)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.ok("push", tree, "--wait", "--node", w.Nodes[2].Socket())
	w.intact(sum, w.Nodes...)
}

// noise fills a file, and returns what it is known by. Nothing holds it: the kernel counts what this process has to the commands it starts.
func (w *world) noise(name string, size int64) (sum [32]byte) {
	w.t.Helper()
	f, err := os.Create(name)
	if err == nil {
		_, err = io.CopyN(f, rand.NewChaCha8(sha256.Sum256([]byte("a large file"))), size)
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		sum, err = sumOf(name)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return sum
}

func sumOf(name string) (sum [32]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close() // it was only read
	h := sha256.New()
	_, err = io.Copy(h, f)
	return [32]byte(h.Sum(nil)), err
}

func (w *world) intact(sum [32]byte, nodes ...*fleet.Node) {
	w.t.Helper()
	for _, n := range nodes {
		w.eventually(n.Name+" has the large file", func() error {
			got, err := sumOf(n.Path("srv/image"))
			if err == nil && got != sum {
				err = errors.New("it differs")
			}
			return err
		})
	}
}
