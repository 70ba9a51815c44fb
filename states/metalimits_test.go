package states_test

import (
	"fmt"
	"strings"
	"testing"
)

// What a tree can ask of blocks and sequences is bounded: each of these is refused, and soon.
func TestLimitsOfRunners(t *testing.T) {
	var doubling strings.Builder
	doubling.WriteString("states:\n  m0: {cmd.run: {shell: x}}\n")
	for i := range 40 {
		fmt.Fprintf(&doubling, "  m%d: {meta.sequence: [m%d, m%d]}\n", i+1, i, i)
	}
	var groups strings.Builder
	groups.WriteString("states:\n  a: {cmd.run: {shell: x}}\n  g0: {meta.group: [a]}\n")
	for i := range 40 {
		fmt.Fprintf(&groups, "  g%d: {meta.group: [g%d, g%d]}\n", i+1, i, i)
	}
	list := func(n int) string { return "l: [" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]\n" }
	many := func(n int, word string) string {
		return strings.TrimSuffix(strings.Repeat(word+",", n), ",")
	}
	for _, c := range []struct{ name, tree, want string }{
		{"sequences that double", doubling.String(), "more than 100000 states for one node"},
		{"a sequence of a large for_each, often", "states:\n  a: {cmd.run: {shell: x}, for_each: \"${vars.l}\"}\n  s: {meta.sequence: [" + many(100, "a") + "]}\n", "more than 100000 states for one node"},
		{"a group that many items name", "states:\n  g: {meta.group: [" + manyNames(1000) + "]}\n" + manyStates(1000) + "  s: {meta.sequence: [" + many(3000, "g") + "]}\n", "blocks and sequences run more than 400000 states"},
		{"requisites between many invocations", "states:\n  a: {cmd.run: {shell: x}}\n  b: {cmd.run: {shell: x}, require: [a]}\n  s: {meta.sequence: [" + many(20_000, "a,b") + "]}\n", "more than 1000000 edges"},
		{"requisites that lead into a long sequence", "states:\n  a: {cmd.run: {shell: x}}\n  b: {cmd.run: {shell: x}, for_each: \"${vars.l}\", before: [s]}\n  s: {meta.sequence: [" + many(2000, "a") + "]}\n", "more than 1000000 edges"},
		{"variables that grow", "states:\n  a: {cmd.run: {shell: x}}\n  s: {meta.sequence: [" + many(20_000, `{run: a, with: {v: "${vars.l}"}}`) + "]}\n", "more than 256 MiB in one plan"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := refused(t, treeOf(c.tree, map[string]string{"components/app/defaults.yaml": list(2000)}))
			if !strings.Contains(got, c.want) {
				t.Errorf("got %.600s\nwant %s", got, c.want)
			}
		})
	}
	t.Run("groups that double name one state", func(t *testing.T) {
		mustCompile(t, treeOf(groups.String()+"  s: {meta.sequence: [g40]}\n", nil), web())
	})
	t.Run("many elements by name", func(t *testing.T) {
		var names []string
		for i := range 20_000 {
			names = append(names, fmt.Sprintf(`"a[%d]"`, i))
		}
		tree := "states:\n  a: {cmd.run: {shell: x}, for_each: \"${vars.l}\"}\n  s: {meta.sequence: [" + strings.Join(names, ",") + "]}\n"
		plan := mustCompile(t, treeOf(tree, map[string]string{"components/app/defaults.yaml": list(20_000)}), web())
		if len(plan.Invocations) != 20_001 {
			t.Errorf("%d invocations", len(plan.Invocations))
		}
	})
}

func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("s", i)
	}
	return strings.Join(names, ",")
}

func manyStates(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  s%d: {cmd.run: {shell: x}}\n", i)
	}
	return b.String()
}
