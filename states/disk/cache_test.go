package disk_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
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
	plan := func(c disk.Cache) (*states.Plan, map[string][]byte) {
		t.Helper()
		p, rendered, err := c.Plan(tree, compile)
		if err != nil {
			t.Fatal(err)
		}
		if rendered == nil {
			return p, p.Rendered
		}
		m, err := rendered()
		if err != nil {
			t.Fatal(err)
		}
		return p, m
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
		if p.Node.Name != "n" || string(rendered[hash]) != "text" {
			t.Errorf("%s: got %+v and %v", step.name, p, rendered)
		}
		if compiled != step.want {
			t.Errorf("%s: compiled %d times, want %d", step.name, compiled, step.want)
		}
	}
}

func damage(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
