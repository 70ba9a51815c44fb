package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What bad input may cost at most: resident memory in bytes, and time. The time is generous, for slow machines: it is there
// to tell a refusal from a loop.
const (
	maxMemory = 512 << 20
	maxTime   = 60 * time.Second
)

// Bad input is refused with its place and exit status 2, within limits, by every command that reads a tree; nothing is
// touched by it.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mesh(1)
	n := w.Nodes[0]
	w.ok("push", w.motd("good", "good\n"), "--wait", "--node", n.Socket())
	box := filepath.Join(w.Dir, "box")
	before := snapshotOf(t, n)
	for _, c := range badTrees() {
		t.Run(c.name, func(t *testing.T) {
			w := w.in(t)
			tree := w.tree("bad-"+strings.ReplaceAll(c.name, " ", "-"), "site.yaml", everywhere, "components/c/states.yaml", c.states)
			if c.more != nil {
				if err := c.more(filepath.Join(w.Dir, tree, "components/c")); err != nil {
					t.Fatal(err)
				}
			}
			for _, command := range [][]string{
				{"apply", tree, "--name", "n1", "--tag", "role=web", "--root", box},
				{"push", tree, "--node", n.Socket()},
			} {
				w.refused(command, c.want...)
			}
			if _, err := os.Lstat(box); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("apply has touched the machine: %v", err)
			}
		})
	}
	if v := w.head(n); v != 1 {
		t.Errorf("the head is %d", v)
	}
	if err := same(before, snapshotOf(t, n)); err != nil {
		t.Error(err)
	}
}

// refused runs a command that must end with exit status 2 and words, within the limits.
func (w *world) refused(args []string, words ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, maxTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.Binary, args...)
	cmd.Env, cmd.Dir = w.Env(), w.Dir
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	what := "shoal " + args[0]
	if ctx.Err() != nil {
		w.t.Fatalf("%s took longer than %s", what, maxTime)
	}
	text := diag.String()
	if code := cmd.ProcessState.ExitCode(); code != 2 {
		w.t.Errorf("%s: exit status %d, want 2: %.2000s", what, code, text)
	}
	if !containsAll(text, words) {
		w.t.Errorf("%s does not say %q: %.2000s", what, words, text)
	}
	if len(text) > 256<<10 {
		w.t.Errorf("%s says %d bytes", what, len(text))
	}
	// Linux counts the peak of the process that forked as well: what is measured is at least that of this test.
	peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	if peak > maxMemory {
		w.t.Errorf("%s took %d MiB", what, peak>>20)
	}
	w.t.Logf("%s: %d MiB, %s", what, peak>>20, cmd.ProcessState.UserTime().Round(time.Millisecond))
}

type badTree struct {
	name, states string
	more         func(component string) error
	want         []string
}

func badTrees() []badTree {
	const at = "components/c/states.yaml:"
	file := func(path, content string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, path), []byte(content), 0o644) }
	}
	link := func(target string) func(string) error {
		return func(dir string) error { return os.Symlink(target, filepath.Join(dir, "link")) }
	}
	source := func(path string) string {
		return "states:\n  f:\n    file.managed: {path: /etc/f, source: " + path + "}\n"
	}
	template := "states:\n  f:\n    file.managed: {path: /etc/f, template: t.j2}\n"
	list := "l: [" + strings.TrimSuffix(strings.Repeat("1,", 150_000), ",") + "]\n"
	return []badTree{
		{"a YAML bomb", bomb(), nil, []string{at, "aliases"}},
		{"a million states in a file", manyStates(1_000_000), nil, []string{at, "larger than 1 MiB"}},
		{"a million states by for_each", "states:\n  a: {for_each: \"${vars.l}\", cmd.run: {shell: x}}\n", file("defaults.yaml", list), []string{at + "2:", "100000"}},
		{"two lists multiplied", "states:\n  a: {for_each: \"${vars.l.map(x, vars.l)}\", cmd.run: {shell: x}}\n", file("defaults.yaml", list), []string{at + "2:"}},
		{"a file over 1 GiB", source("huge"), func(dir string) error {
			f, err := os.Create(filepath.Join(dir, "huge"))
			if err != nil {
				return err
			}
			return errors.Join(f.Truncate(1<<30+1), f.Close()) // a hole: it takes no room
		}, []string{at + "3:", "1 GiB"}},
		{"a huge states file", "states: {}\n#" + strings.Repeat("x", 2<<20), nil, []string{at, "larger than 1 MiB"}},
		{"a path with dots", source("../../../../etc/passwd"), nil, []string{at + "3:", "leaves"}},
		{"an absolute source", source("/etc/passwd"), nil, []string{at + "3:"}},
		{"an absolute template", "states:\n  f:\n    file.managed: {path: /etc/f, template: /etc/passwd}\n", nil, []string{at + "3:"}},
		{"a target with dots", "states:\n  f:\n    file.managed: {path: /etc/../../x, content: y}\n", nil, []string{at + "3:"}},
		{"a relative target", "states:\n  f:\n    file.managed: {path: etc/x, content: y}\n", nil, []string{at + "3:"}},
		{"a link out of the tree", source("link"), link("/etc/passwd"), []string{at + "3:", "leaves the tree"}},
		{"a link up and out", source("link"), link("../../../good/site.yaml"), []string{at + "3:", "leaves the tree"}},
		{"a link to itself", source("link"), link("link"), []string{at + "3:"}},
		{"a pipe", source("link"), func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "link"), 0o644) }, []string{at + "3:", "regular file"}},
		{"deep nesting", "states: " + strings.Repeat("[", 100_000), nil, []string{at, "nested deeper"}},
		{"deep maps", "states: " + strings.Repeat("{a: ", 100_000), nil, []string{at, "nested deeper"}},
		{"an endless Jinja loop", template, file("t.j2", "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}"), []string{"components/c/t.j2:1:", "steps"}},
		{"Jinja that calls itself", template, file("t.j2", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), []string{"components/c/t.j2:1:"}},
		{"Jinja that includes itself", template, file("t.j2", "{% include 't.j2' %}"), []string{"components/c/t.j2:1:"}},
		{"Jinja that doubles", template, file("t.j2", "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}"), []string{"components/c/t.j2:1:"}},
		{"bytes that are no text", "states:\n  \xff\xfe\x00: 1\n", nil, []string{at}},
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String() + "states: *a11\n"
}

func manyStates(n int) string {
	var b strings.Builder
	b.WriteString("states:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%d: {cmd.run: {shell: x}}\n", i)
	}
	return b.String()
}
