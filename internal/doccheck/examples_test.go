package doccheck

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"shoal/states"
)

// Each tree of examples compiles for whatever nodes its targets mention.
func TestExamplesCompile(t *testing.T) {
	var sites []string
	for _, pattern := range []string{"../../examples/*/site.yaml", "../../examples/*/*/site.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		sites = append(sites, found...)
	}
	if len(sites) < 2 {
		t.Errorf("only %d examples found", len(sites))
	}
	for _, site := range sites {
		dir := filepath.Dir(site)
		tree := os.DirFS(dir)
		all, err := states.Open(tree, functions())
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := all.Inventory()
		if err != nil {
			t.Error(err)
		}
		problems, _ := states.ValidateLike(tree, node, functions())
		if len(nodes) > 0 {
			problems = states.Validate(tree, nodes, nodes, functions(), nil)
		}
		if len(problems) > 0 {
			t.Errorf("%s: %v", dir, problems)
		}
		if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// The case that meta.sequence is for: configure, reload, obtain certificates, configure with their path, reload.
func TestCertificatesExample(t *testing.T) {
	plan, err := states.Compile(os.DirFS("../../examples/certificates"), states.Input{Node: node}, functions())
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	at := map[string]int{}
	for i, in := range plan.Invocations {
		name := strings.TrimPrefix(in.ID, "nginx/") + "#" + strconv.Itoa(in.Number)
		if at[name] = i; !strings.HasPrefix(name, "folders") {
			order = append(order, name)
		}
	}
	want := []string{"conf#1", "reload#1", "certificate#1", "conf#2", "reload#2", "tls#1", "no-certificate#1"}
	if !slices.Equal(order, want) {
		t.Fatalf("got  %v\nwant %v", order, want)
	}
	for name, next := range map[string]string{"conf#1": "conf#2", "reload#1": "reload#2"} {
		if got := plan.Invocations[at[name]].SupersededBy; got != at[next] {
			t.Errorf("%s is superseded by %d, not by %s", name, got, next)
		}
	}
	for _, pair := range [][2]string{{"conf#1", "reload#1"}, {"conf#2", "reload#2"}} {
		if !slices.ContainsFunc(plan.Edges, func(e states.Edge) bool {
			return e.From == at[pair[0]] && e.To == at[pair[1]] && e.Kind == states.EdgeNotify
		}) {
			t.Errorf("%s does not notify %s", pair[0], pair[1])
		}
	}
}
