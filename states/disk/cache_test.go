package disk_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"shoal/states"
	"shoal/states/disk"
)

// later is a clock that says that the tree was not written just now.
func later() time.Time { return time.Now().Add(time.Hour) }

func TestCache(t *testing.T) {
	tree, folder := t.TempDir(), t.TempDir()
	write(t, filepath.Join(tree, "site.yaml"), "targets: []\n")
	compiled := 0
	hash := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("text")))
	compile := func() (*states.Plan, error) {
		compiled++
		return &states.Plan{Node: states.Node{Name: "n"}, Rendered: map[string][]byte{hash: []byte("text")}}, nil
	}
	plan := func(c disk.Cache) (*states.Plan, []byte) {
		t.Helper()
		p, open, err := c.Plan(tree, compile)
		if err != nil {
			t.Fatal(err)
		}
		if open == nil {
			return p, p.Rendered[hash]
		}
		if p.Rendered != nil {
			t.Error("the plan holds what the cache has")
		}
		data, err := open(hash)
		if err != nil {
			t.Fatal(err)
		}
		return p, data
	}
	c := disk.Cache{Dir: folder, Salt: []byte("a"), Now: later}
	for _, step := range []struct {
		name   string
		before func()
		cache  disk.Cache
		want   int // compilations so far
	}{
		{"first", func() {}, c, 1},
		{"again", func() {}, c, 1},
		{"another node", func() {}, disk.Cache{Dir: folder, Salt: []byte("b"), Now: later}, 2},
		{"back", func() {}, c, 3},
		{"edited", func() { write(t, filepath.Join(tree, "site.yaml"), "targets: [ ]\n") }, c, 4},
		{"damaged", func() { damage(t, filepath.Join(folder, "plan.cache")) }, c, 5},
		{"written just now", func() { write(t, filepath.Join(tree, "x"), "") }, disk.Cache{Dir: folder, Salt: []byte("a"), Now: time.Now}, 6},
		{"and therefore not kept", func() {}, disk.Cache{Dir: folder, Salt: []byte("a"), Now: later}, 7},
		{"version control", func() { write(t, filepath.Join(tree, ".git", "index"), "x") }, disk.Cache{Dir: folder, Salt: []byte("c"), Now: later}, 8},
		{"does not count", func() { write(t, filepath.Join(tree, ".git", "index"), "yy") }, disk.Cache{Dir: folder, Salt: []byte("c"), Now: later}, 8},
	} {
		step.before()
		p, rendered := plan(step.cache)
		if p.Node.Name != "n" || string(rendered) != "text" {
			t.Errorf("%s: got %+v and %q", step.name, p, rendered)
		}
		if compiled != step.want {
			t.Errorf("%s: compiled %d times, want %d", step.name, compiled, step.want)
		}
	}
}

func damage(t *testing.T, path string) {
	t.Helper()
	data := read(t, path)
	data[len(data)-1] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedRenderedIsCompiledAgain: whatever byte of the file is another, or wherever it ends, each content comes whole; and what
// is in no plan does not come.
func TestDamagedRenderedIsCompiledAgain(t *testing.T) {
	tree, folder := t.TempDir(), t.TempDir()
	write(t, filepath.Join(tree, "site.yaml"), "targets: []\n")
	texts, contents := []string{"", "one", "another one\n"}, map[string][]byte{}
	hashOf := func(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }
	for _, text := range texts {
		contents[hashOf(text)] = []byte(text)
	}
	c, compiled := disk.Cache{Dir: folder, Now: later}, 0
	opened := func() func(string) ([]byte, error) {
		t.Helper()
		_, open, err := c.Plan(tree, func() (*states.Plan, error) {
			compiled++
			return &states.Plan{Rendered: contents}, nil
		})
		if err != nil || open == nil {
			t.Fatalf("not kept: %v", err)
		}
		return open
	}
	opened()
	name, planName := filepath.Join(folder, "rendered.cache"), filepath.Join(folder, "plan.cache")
	whole, plan := read(t, name), read(t, planName)
	try := func(what string, data []byte) {
		t.Helper()
		if err := errors.Join(os.WriteFile(name, data, 0o600), os.WriteFile(planName, plan, 0o600)); err != nil {
			t.Fatal(err)
		}
		open, before := opened(), compiled
		for _, text := range texts {
			if got, err := open(hashOf(text)); err != nil || string(got) != text {
				t.Errorf("%s: %q in the place of %q: %v", what, got, text, err)
			}
		}
		if compiled != before+1 {
			t.Errorf("%s: compiled %d times for it", what, compiled-before)
		}
		if _, err := open(hashOf("nothing")); err == nil {
			t.Errorf("%s: it has what is not in it", what)
		}
	}
	for n := range whole {
		data := slices.Clone(whole)
		data[n] ^= 0x40
		try(fmt.Sprintf("byte %d", n), data)
		try(fmt.Sprintf("cut at %d", n), whole[:n])
	}
	compiled = 0
	try("of another plan", append(make([]byte, len(whole)), whole...))
	opened()
	if compiled != 2 {
		t.Errorf("a file that was of no use is still there: compiled %d times", compiled)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestKilledBetweenTheFiles: what is left of a command that died when it had kept what its templates rendered, and not the plan.
func TestKilledBetweenTheFiles(t *testing.T) {
	first, second, folder := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(first, "site.yaml"), "targets: []\n")
	write(t, filepath.Join(second, "site.yaml"), "targets: [ ]\n")
	c := disk.Cache{Dir: folder, Now: later}
	hash := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("text")))
	plan := func(tree, text string) func(string) ([]byte, error) {
		t.Helper()
		_, open, err := c.Plan(tree, func() (*states.Plan, error) {
			return &states.Plan{Rendered: map[string][]byte{fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))): []byte(text)}}, nil
		})
		if err != nil || open == nil {
			t.Fatalf("not kept: %v", err)
		}
		return open
	}
	plan(first, "text")
	kept := read(t, filepath.Join(folder, "plan.cache"))
	plan(second, "other")
	write(t, filepath.Join(folder, "plan.cache"), string(kept))
	if got, err := plan(first, "text")(hash); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
}
