package states_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"shoal/states"
)

// refused compiles a tree that must not compile and returns what is said.
func refused(t *testing.T, fsys fs.FS) string {
	t.Helper()
	plan, err := states.Compile(fsys, states.Input{Node: web()}, functions())
	if err == nil {
		t.Fatalf("it compiles to %d invocations", len(plan.Invocations))
	}
	if _, ok := err.(states.Problems); !ok {
		t.Fatalf("not Problems: %v", err)
	}
	return err.Error()
}

func TestLimits(t *testing.T) {
	million := func(n int) string {
		var b bytes.Buffer
		b.WriteString("states:\n")
		for i := range n {
			fmt.Fprintf(&b, " s%d: {cmd.run: {shell: x}}\n", i)
		}
		return b.String()
	}
	list := func(n int) string { return "l: [" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]\n" }
	for _, c := range []struct{ name, tree, defaults, want string }{
		{"a million states in a file", million(1_000_000), "", "larger than 1 MiB"},
		{"a million states by for_each", "states:\n  a: {for_each: \"${vars.l}\", cmd.run: {shell: x}}\n", list(150_000), "for_each over 150000 values: the limit is 100000"},
		{"an expression that squares a list", "states:\n  a: {cmd.run: {shell: \"${vars.l.map(a, vars.l)}\"}}\n", list(20_000), "stands for more than"},
		{"a large value in each of many states", "states:\n  a: {for_each: \"${vars.l}\", cmd.run: {shell: x, env: {l: \"${vars.l}\"}}}\n", list(50_000), "more than 256 MiB in one plan"},
		{"a large map in each of many states", "states:\n  z: {cmd.run: {shell: x, env: &e {" + bigMap(1000) + "}}}\n  a: {for_each: \"${vars.l}\", cmd.run: {shell: x, env: *e}}\n", list(90_000), "more than 256 MiB in one plan"},
		{"too many by two for_each", "states:\n  a: {for_each: \"${vars.l}\", cmd.run: {shell: x}}\n  b: {for_each: \"${vars.l}\", cmd.run: {shell: x}}\n", list(60_000), "more than 100000 states for one node"},
		{"one mistake in each of 100,000", "states:\n  a: {for_each: \"${vars.l}\", cmd.run: {shell: \"${vars.nope + each.key}\"}}\n", list(90_000), `undefined variable "nope"`},
		{"too many edges", "states:\n  a: {for_each: \"${vars.l}\", cmd.run: {shell: x}}\n  b: {for_each: \"${vars.l}\", cmd.run: {shell: x}, require: [a]}\n", list(2000), "more than 1000000 edges"},
		{"a long expression", "states:\n  a: {cmd.run: {shell: \"${" + strings.Repeat("1+", 20_000) + "1}\"}}\n", "", "expression"},
		{"a deep expression", "states:\n  a: {cmd.run: {shell: \"${" + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + "}\"}}\n", "", "expression"},
		{"many words", "states: {}\n", list(310_000), "more than 400000 words and marks in one file"},
		{"deep YAML, on one line", "states: " + strings.Repeat("- ", 100_000) + "\n", "", "nested deeper"},
		{"deep YAML, flow", strings.Repeat("[", 1_000_000), "", "nested deeper"},
		{"deep YAML, maps in one line", strings.Repeat("{a: ", 200_000), "", "nested deeper"},
		{"deep YAML, by indentation", deepYAML(1000), "", "nested deeper"},
		{"one huge rendering of a parameter", "states:\n  a: {cmd.run: {shell: \"" + strings.Repeat("${vars.s}", 30) + "\"}}\n", "s: " + strings.Repeat("x", 900_000) + "\n", "grows larger than 16 MiB"},
		{"all renderings together", "states:\n  a: {for_each: \"${vars.l}\", cmd.run: {shell: \"${each.key}" + strings.Repeat("${vars.s}", 10) + "\"}}\n", "s: " + strings.Repeat("x", 900_000) + "\n" + list(100), "more than 256 MiB in one plan"},
		{"many names of one group", "states:\n  a: {for_each: \"${vars.l}\", cmd.run: {shell: x}}\n  b: {cmd.run: {shell: x}, require: [" + strings.Repeat("a,", 150_000) + "a]}\n", list(1000), "more than 1000000 edges"},
		{"many keys in one map", "states: {}\n", manyKeys(20_000), "more than 16384 keys in one map"},
		{"many keys in several maps", "states: {}\n", "a:\n" + indented(manyKeys(16_000)) + "b:\n" + indented(manyKeys(16_000)), "more than 16384 keys in one map, or about as much in several"},
		{"many problems", "states:\n" + manyMistakes(5000), "", "and 4800 more problems"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			more := map[string]string{}
			if c.defaults != "" {
				more["components/app/defaults.yaml"] = c.defaults
			}
			got := refused(t, treeOf(c.tree, more))
			if !strings.Contains(got, c.want) {
				t.Errorf("got %.600s\nwant %s", got, c.want)
			}
			if len(got) > 1<<20 {
				t.Errorf("a message of %d bytes", len(got))
			}
			t.Logf("%v", time.Since(start).Round(time.Millisecond))
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: v\n", i)
	}
	return b.String()
}

func indented(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n"
}

func bigMap(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: v, ", i)
	}
	return b.String()
}

func deepYAML(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func manyMistakes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  s%d: {cmd.rn: {}}\n", i)
	}
	return b.String()
}

// endless is a regular file without an end, whatever its size says.
type endless struct{ fs.File }

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type endlessTree struct{ fstest.MapFS }

func (e endlessTree) Open(name string) (fs.File, error) {
	f, err := e.MapFS.Open(name)
	if err == nil && strings.HasPrefix(name, "components/app/files/") {
		return endless{f}, nil
	}
	return f, err
}

func TestFilesOverTheLimit(t *testing.T) {
	tree := endlessTree{treeOf("states:\n  a: {file.managed: {path: /a, source: files/x}}\n", map[string]string{"components/app/files/x": ""})}
	if got := refused(t, tree); !strings.Contains(got, "larger than 1 GiB") {
		t.Errorf("an endless source: %s", got)
	}
	tree.MapFS["components/app/states.yaml"].Data = []byte("states:\n  a: {file.managed: {path: /a, template: files/x.j2}}\n")
	tree.MapFS["components/app/files/x.j2"] = &fstest.MapFile{}
	if got := refused(t, tree); !strings.Contains(got, "larger than 1 MiB") {
		t.Errorf("an endless template: %s", got)
	}
	var _ io.Reader = endless{}
}

// An alias bomb is refused before anything expands it: nine levels of ten would be a billion values.
func TestAliasesAreShared(t *testing.T) {
	// Just below the limit an alias is fine: 1,000 states share a map of 900 values.
	var b strings.Builder
	b.WriteString("states:\n  first: {cmd.run: &big {shell: x, env: {")
	for i := range 900 {
		fmt.Fprintf(&b, "k%d: v, ", i)
	}
	b.WriteString("}}}\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  s%d: {cmd.run: *big}\n", i)
	}
	if plan := mustCompile(t, treeOf(b.String(), nil), web()); len(plan.Invocations) != 1001 {
		t.Errorf("%d invocations", len(plan.Invocations))
	}
}

// Text that grows by a call rather than in a loop: each would take from gigabytes to a terabyte.
func TestCallsThatWouldMakeSomethingHuge(t *testing.T) {
	defaults := "s: &s " + strings.Repeat("x", 900_000) + "\nl: [" + strings.Repeat("1,", 2000) + "1]\n"
	check := func(kind, source, tree string, more map[string]string) {
		more["components/app/defaults.yaml"] = defaults
		if got := refused(t, treeOf(tree, more)); !strings.Contains(got, "16 MiB") && !strings.Contains(got, "too large") && !strings.Contains(got, "steps") && !strings.Contains(got, "stand for") {
			t.Errorf("%s %s: %.300s", kind, source, got)
		}
	}
	for _, s := range []string{"'x'.replace('x', vars.s).replace('x', vars.s)", "vars.s.replace('', vars.s)", "vars.l.map(a, vars.s).join('')",
		"vars.l.map(a, 'x').join(vars.s)", "vars.l.map(a, vars.l.map(b, vars.s).join('')).join('')", "vars.l.map(a, vars.s)"} {
		check("expression", s, "states:\n  a: {cmd.run: {shell: x, env: {a: \"${"+s+"}\"}}}\n", map[string]string{})
	}
	for _, s := range []string{"vars.s | replace('x', vars.s)", "vars.s.replace('x', vars.s)", "vars.l | join(vars.s)", "vars.s.join(vars.l | map('string'))", "vars.s | regex_replace('x', vars.s)",
		"vars.s | center(1000000) | indent(1000000)", "[vars.s] | batch(100000000, 'x')", "vars.s.center(99999999)", "'x' * 9999999 * 9999999", "vars.s ~ vars.s * 9999"} {
		check("template", s, "states:\n  a: {file.managed: {path: /a, template: x.j2}}\n", map[string]string{"components/app/x.j2": "{{ " + s + " }}"})
	}
	check("alias", "", "states:\n  a: {cmd.run: {shell: x}}\n", map[string]string{"variables/big.yaml": "s: &s " + strings.Repeat("x", 500_000) + "\nl: [" + strings.Repeat("*s,", 100_000) + "*s]\n",
		"site.yaml": "targets: [{on: \"*\", components: [app], variables_from: [big]}]\n"})
}
