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

// relation of the generated trees: in word order, self runs before other (or the other way round).
var relations = []struct {
	key        string
	selfBefore bool
}{
	{"require", false}, {"require_in", true}, {"after", false}, {"before", true}, {"notify", true}, {"listen", false},
	{"listen_in", true}, {"notify_failure", true}, {"listen_failure", false},
}

// drawTree makes n states with random requisites and things, and the pairs (before, after) that they ask for.
func drawTree(t *rapid.T) (tree string, pairs [][2]int, n int) {
	n = rapid.IntRange(1, 12).Draw(t, "n")
	var b strings.Builder
	b.WriteString("states:\n")
	paths := []string{"/srv", "/srv/a", "/srv/a/b", "/srv/a/b/c", "/etc/nginx", "/etc/nginx/x"}
	for i := range n {
		fmt.Fprintf(&b, "  s%d:\n", i)
		switch kind := rapid.SampledFrom([]string{"dir", "pkg", "user", "service", "cmd", "wall"}).Draw(t, "kind"); {
		case kind == "dir" && len(paths) > 0:
			at := rapid.IntRange(0, len(paths)-1).Draw(t, "path")
			fmt.Fprintf(&b, "    file.directory: {path: %s, owner: u%d}\n", paths[at], rapid.IntRange(0, 2).Draw(t, "owner"))
			paths = slices.Delete(paths, at, at+1)
		case kind == "pkg":
			b.WriteString("    pkg.installed: {name: nginx}\n")
		case kind == "service":
			b.WriteString("    service.running: {name: nginx}\n")
		case kind == "user":
			fmt.Fprintf(&b, "    user.present: {name: u%d}\n", rapid.IntRange(0, 2).Draw(t, "user"))
		default:
			b.WriteString("    cmd.run: {shell: x}\n")
		}
		if rapid.IntRange(0, 4).Draw(t, "lazy") == 0 {
			b.WriteString("    lazy: true\n")
		}
		for _, r := range relations {
			if rapid.IntRange(0, 9).Draw(t, "has") > 0 {
				continue
			}
			other := rapid.IntRange(0, n-1).Draw(t, "other")
			fmt.Fprintf(&b, "    %s: [s%d]\n", r.key, other)
			if r.selfBefore {
				pairs = append(pairs, [2]int{i, other})
			} else {
				pairs = append(pairs, [2]int{other, i})
			}
		}
	}
	return b.String(), pairs, n
}

// cyclic is the dumb twin: the transitive closure has a loop.
func cyclic(n int, pairs [][2]int) bool {
	var reach [12][12]bool
	for _, p := range pairs {
		reach[p[0]][p[1]] = true
	}
	for k := range n {
		for i := range n {
			for j := range n {
				reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
			}
		}
	}
	for i := range n {
		if reach[i][i] {
			return true
		}
	}
	return false
}

func TestOrderRespectsEdges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree, pairs, n := drawTree(t)
		fsys := treeOf(tree, nil)
		order := rapid.SampledFrom([]string{"genius", "ansible", "justdoit"}).Draw(t, "order")
		fsys["site.yaml"].Data = append(fsys["site.yaml"].Data, "policy: {order: "+order+"}\n"...)
		plan, err := states.Compile(fsys, states.Input{Node: web()}, functions())
		if cyclic(n, pairs) {
			if err == nil || !strings.Contains(err.Error(), "cycle: ") {
				t.Fatalf("a cycle is not found: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatalf("no cycle, and: %v", err)
		}
		checkPlan(t, plan, pairs, n)
		again, err := states.Compile(fsys, states.Input{Node: web()}, functions())
		if err != nil {
			t.Fatal(err)
		}
		one, err1 := states.EncodePlan(plan)
		two, err2 := states.EncodePlan(again)
		if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
			t.Fatalf("two compilations differ: %v %v", err1, err2)
		}
	})
}

func checkPlan(t *rapid.T, plan *states.Plan, pairs [][2]int, n int) {
	position := map[string]int{}
	for i, in := range plan.Invocations {
		position[in.ID] = i
	}
	if len(position) != n || len(plan.Invocations) != n {
		t.Fatalf("%d of %d states", len(plan.Invocations), n)
	}
	has := map[[2]int]bool{}
	for _, e := range plan.Edges {
		if e.From >= e.To {
			t.Fatalf("edge %s from %s to %s goes backwards", e.Kind, plan.Invocations[e.From].ID, plan.Invocations[e.To].ID)
		}
		if e.Reason == "" {
			t.Fatal("an edge without a reason")
		}
		has[[2]int{e.From, e.To}] = true
	}
	for _, p := range pairs {
		from, to := position[fmt.Sprintf("app/s%d", p[0])], position[fmt.Sprintf("app/s%d", p[1])]
		if !has[[2]int{from, to}] {
			t.Fatalf("no edge from s%d to s%d", p[0], p[1])
		}
	}
}

func TestShorthandAgainstTwin(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", "b", "c"})
	rapid.Check(t, func(t *rapid.T) {
		n := states.Node{Name: "n", Tags: rapid.MapOf(word, word).Draw(t, "tags")}
		var terms, cel []string
		want := true
		for range rapid.IntRange(1, 4).Draw(t, "terms") {
			key, value := word.Draw(t, "key"), word.Draw(t, "value")
			if rapid.Bool().Draw(t, "not") {
				terms = append(terms, key+"!="+value)
				cel = append(cel, fmt.Sprintf("tags.%s != %q", key, value))
				want = want && n.Tags[key] != value
			} else {
				terms = append(terms, key+"="+value)
				cel = append(cel, fmt.Sprintf("tags.%s == %q", key, value))
				want = want && n.Tags[key] == value
			}
		}
		for _, expr := range []string{strings.Join(terms, ","), strings.Join(cel, " && ")} {
			if got, err := states.Selects(expr, n, nil); err != nil || got != want {
				t.Fatalf("%s on %v: got %v, %v", expr, n.Tags, got, err)
			}
		}
	})
}
