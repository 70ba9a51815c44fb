package states_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"shoal/states"
)

// with: lies over the variables, the inner over the outer, and maps merge.
func TestWith(t *testing.T) {
	plan := mustCompile(t, treeOf(`
states:
  a: {cmd.run: {shell: "${vars.x} ${vars.y} ${vars.m}"}}
  inner: {meta.sequence: [a, {run: a, with: {y: "${vars.x}i", m: {b: 2}}}]}
  outer: {meta.sequence: [{run: inner, with: {x: o, m: {a: "${vars.y}"}}}, inner]}
`, map[string]string{"components/app/defaults.yaml": "x: dx\ny: dy\nm: {c: 1}\n"}), web())
	var got []string
	for _, in := range plan.Invocations {
		for _, p := range in.Parts {
			got = append(got, fmt.Sprint(in.Number, " ", p.Params["shell"]))
		}
	}
	want := []string{`1 o dy {"a":"dy","c":1}`, `2 o oi {"a":"dy","b":2,"c":1}`, `3 dx dy {"c":1}`, `4 dx dxi {"b":2,"c":1}`}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// drawRunners makes states, and blocks, sequences and groups that run them: each is run by one at most.
func drawRunners(t *rapid.T) string {
	var b strings.Builder
	b.WriteString("states:\n")
	n := rapid.IntRange(2, 8).Draw(t, "states")
	var free []string
	for i := range n {
		id := fmt.Sprintf("s%d", i)
		fmt.Fprintf(&b, "  %s: {file.directory: {path: /srv%s}", id, strings.Repeat("/d", i))
		if rapid.IntRange(0, 3).Draw(t, "lazy") == 0 {
			b.WriteString(", lazy: true")
		}
		if rapid.IntRange(0, 5).Draw(t, "skipped") == 0 {
			b.WriteString(", when: 'false'")
		}
		b.WriteString(drawRequisites(t, n) + "}\n")
		free = append(free, id)
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "runners") {
		id := fmt.Sprintf("m%d", i)
		take := func() (some []string) {
			for range min(len(free), rapid.IntRange(0, 2).Draw(t, "take")) {
				at := rapid.IntRange(0, len(free)-1).Draw(t, "at")
				some, free = append(some, free[at]), slices.Delete(free, at, at+1)
			}
			return some
		}
		list := take()
		if len(list) == 0 {
			if len(free) == 0 {
				break
			}
			list, free = free[:1:1], free[1:]
		}
		switch kind := rapid.SampledFrom([]string{"sequence", "block", "group"}).Draw(t, "kind"); kind {
		case "sequence":
			list = append(list, rapid.SliceOfN(rapid.SampledFrom(list), 0, 3).Draw(t, "again")...)
			fmt.Fprintf(&b, "  %s: {meta.sequence: [%s]%s}\n", id, strings.Join(list, ", "), drawRequisites(t, n))
		case "block":
			fmt.Fprintf(&b, "  %s: {meta.block: {run: [%s], rescue: [%s], always: [%s]}%s}\n", id, strings.Join(list, ", "),
				strings.Join(take(), ", "), strings.Join(take(), ", "), drawRequisites(t, n))
		default:
			fmt.Fprintf(&b, "  %s: {meta.group: [%s]}\n", id, strings.Join(list, ", "))
		}
		free = append(free, id)
	}
	return b.String()
}

func drawRequisites(t *rapid.T, n int) string {
	s := ""
	for _, r := range relations {
		if rapid.IntRange(0, 24).Draw(t, "has") == 24 {
			s += fmt.Sprintf(", %s: [s%d]", r.key, rapid.IntRange(0, n-1).Draw(t, "other"))
		}
	}
	return s
}

func TestRunnersInAllModes(t *testing.T) {
	compiled, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		tree := drawRunners(t)
		fsys := treeOf(tree, nil)
		said := map[bool]bool{}
		for _, order := range []states.Order{states.Genius, states.Ansible, states.JustDoIt} {
			plan, err := states.Compile(fsys, states.Input{Node: web(), Order: order}, functions())
			if said[err == nil] = true; err != nil {
				if refused++; !strings.Contains(err.Error(), "cycle: ") && !strings.Contains(err.Error(), "one of the two runs the other") {
					t.Fatalf("%s: %v\n%s", order, err, tree)
				}
				continue
			}
			compiled++
			checkRunners(t, plan)
			checkNearest(t, plan, tree)
			data, err := states.EncodePlan(plan)
			if err != nil {
				t.Fatal(err)
			}
			again, err := states.DecodePlan(data)
			if err != nil {
				t.Fatal(err)
			}
			if data2, err := states.EncodePlan(again); err != nil || !bytes.Equal(data, data2) {
				t.Fatalf("the plan changes on its way: %v", err)
			}
		}
		if len(said) > 1 {
			t.Fatalf("the modes do not agree whether this compiles:\n%s", tree)
		}
	})
	if compiled == 0 || refused == 0 {
		t.Errorf("%d compiled, %d refused: the trees are all of one kind", compiled, refused)
	}
}

// checkRunners: all edges go forward, a runner comes after what it runs, in this order, and all indices fit.
func checkRunners(t *rapid.T, plan *states.Plan) {
	before := make(map[[2]int]bool) // by the edges, transitively
	for _, e := range plan.Edges {
		if e.From >= e.To || e.Reason == "" {
			t.Fatalf("edge %v", e)
		}
		before[[2]int{e.From, e.To}] = true
	}
	n := len(plan.Invocations)
	for k := range n {
		for i := range n {
			for j := range n {
				if before[[2]int{i, k}] && before[[2]int{k, j}] {
					before[[2]int{i, j}] = true
				}
			}
		}
	}
	number, owner := map[string]int{}, map[int]int{}
	for at, in := range plan.Invocations {
		if number[in.ID]++; in.Number != number[in.ID] {
			t.Fatalf("%s is number %d, and it is the %dth", in.ID, in.Number, number[in.ID])
		}
		list := slices.Clone(in.Sequence)
		if in.Block != nil {
			list = slices.Concat(in.Block.Run, in.Block.Rescue, in.Block.Always)
		}
		if in.Block == nil && in.Sequence == nil && len(in.Parts) == 0 {
			t.Fatalf("%s does nothing", in.ID)
		}
		for i, to := range append(list, at)[:len(list)] {
			next := append(list, at)[i+1]
			if !before[[2]int{to, next}] {
				t.Fatalf("nothing says that %s runs before %s", label(plan, to), label(plan, next))
			}
			if _, taken := owner[to]; taken {
				t.Fatalf("%s is run twice", label(plan, to))
			}
			owner[to] = at
		}
		if next := in.SupersededBy; next != 0 && (plan.Invocations[next].ID != in.ID || !before[[2]int{at, next}] || plan.Invocations[next].Skip != "") {
			t.Fatalf("%s superseded by %s", label(plan, at), label(plan, next))
		}
	}
}

// checkNearest is the dumb twin of the rule for requisites between two states.
func checkNearest(t *rapid.T, plan *states.Plan, tree string) {
	root := roots(plan)
	direct := map[string]bool{}
	for _, e := range plan.Edges {
		direct[fmt.Sprint(e.From, e.To, e.Kind)] = true
	}
	kinds := map[string]states.EdgeKind{"require": "require", "require_in": "require", "after": "after", "before": "after", "notify": "notify",
		"listen": "notify", "listen_in": "notify", "notify_failure": "notify_failure", "listen_failure": "notify_failure"}
	for line := range strings.Lines(tree) {
		self, rest, _ := strings.Cut(strings.TrimSpace(line), ": {file")
		for _, r := range relations {
			_, other, found := strings.Cut(rest, ", "+r.key+": [")
			if !found {
				continue
			}
			other, _, _ = strings.Cut(other, "]")
			for s, in := range plan.Invocations {
				if in.ID != "app/"+self {
					continue
				}
				for _, to := range wanted(plan, root, s, "app/"+other, r.selfBefore, kinds[r.key]) {
					from, to := to, s
					if r.selfBefore {
						from, to = to, from
					}
					if !direct[fmt.Sprint(from, to, kinds[r.key])] {
						t.Fatalf("%s in %s names %s: no edge from %s to %s\n%s%s", r.key, self, other, label(plan, from), label(plan, to), tree, show(plan))
					}
				}
			}
		}
	}
}

// wanted lists the invocations of a state that a requisite of one invocation should join.
func wanted(plan *states.Plan, root map[int]int, self int, id string, after bool, kind states.EdgeKind) (all []int) {
	nearest := -1
	for pass := 0; pass < 2 && nearest < 0; pass++ {
		for at, in := range plan.Invocations {
			if in.ID != id {
				continue
			}
			if root[at] != root[self] || root[at] == -1 {
				if pass == 0 {
					all = append(all, at)
				}
				continue
			}
			deaf := in.Skip != "" && (kind == "notify" || kind == "notify_failure") && pass == 0
			if !deaf && (after && at > self && nearest < 0 || !after && at < self) {
				nearest = at
			}
		}
	}
	if nearest >= 0 {
		all = append(all, nearest)
	}
	return all
}

// roots finds the outermost runner of each invocation; -1: none.
func roots(plan *states.Plan) map[int]int {
	root := map[int]int{}
	for at := len(plan.Invocations) - 1; at >= 0; at-- {
		in := &plan.Invocations[at]
		if _, ok := root[at]; !ok {
			root[at] = -1
			if in.Block != nil || in.Sequence != nil {
				root[at] = at
			}
		}
		list := slices.Clone(in.Sequence)
		if in.Block != nil {
			list = slices.Concat(in.Block.Run, in.Block.Rescue, in.Block.Always)
		}
		for _, to := range list {
			root[to] = root[at]
		}
	}
	return root
}
