package doccheck

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// A fenced block is a file of a tree when its first line is a comment that holds nothing but the file's path.
var named = regexp.MustCompile(`^(?:#|\{#|\{\{/\*|//) ((?:site|inventory|components/|roles/|variables/)[^ ]*)(?: #\}| \*/\}\})?$`)

// example is what one section of a page shows: a tree, and what the compiler says of it.
type example struct {
	heading string
	tree    fstest.MapFS
	says    string // empty: it compiles
	graph   string // what plan --graph prints of it
}

// examples takes a page apart: each heading begins a new tree.
func examples(t *testing.T, page string) []example {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	now := example{tree: fstest.MapFS{}}
	var fence []string
	inside := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```") && inside:
			now.take(fence)
			inside = false
		case strings.HasPrefix(line, "```"):
			fence, inside = nil, true
		case inside:
			fence = append(fence, line)
		case strings.HasPrefix(line, "#"):
			all = append(all, now)
			now = example{heading: strings.TrimLeft(line, "# "), tree: fstest.MapFS{}}
		}
	}
	return append(all, now)
}

func (e *example) take(fence []string) {
	if len(fence) == 0 {
		return
	}
	if said, ok := strings.CutPrefix(strings.Join(fence, "\n"), "$ shoal validate .\nshoal: "); ok {
		e.says = said
	} else if drawn, ok := strings.CutPrefix(strings.Join(fence, "\n"), "$ shoal plan . --tag role=web --name web-1 --graph\n"); ok {
		e.graph = drawn + "\n"
	} else if m := named.FindStringSubmatch(fence[0]); m != nil {
		if strings.HasSuffix(m[1], ".json") || path.Ext(m[1]) == ".tmpl" || path.Ext(m[1]) == ".j2" {
			fence = fence[1:] // the comment is for the reader, and would be part of what is rendered
		}
		e.tree[m[1]] = &fstest.MapFile{Data: []byte(strings.Join(fence, "\n") + "\n")}
	}
}

// complete gives a tree that shows only components a site that selects them.
func (e *example) complete() {
	if e.tree["site.yaml"] != nil {
		return
	}
	site := "targets:\n  - on: \"*\"\n    components:\n"
	for name := range e.tree {
		if dir, file := path.Split(name); strings.HasPrefix(file, "states.") {
			site += "      - " + path.Base(dir) + "\n"
		}
	}
	e.tree["site.yaml"] = &fstest.MapFile{Data: []byte(site)}
}

func TestLanguagePage(t *testing.T) {
	compiled := 0
	for _, e := range examples(t, "../../docs/language.md") {
		if len(e.tree) == 0 {
			continue
		}
		e.complete()
		compiled++
		said := ""
		plan, err := states.Compile(e.tree, states.Input{Node: node}, functions())
		if err != nil {
			said = err.Error()
		} else if e.graph != "" && e.graph != plan.Picture().Text() {
			t.Errorf("section %q: the graph is\n%s", e.heading, plan.Picture().Text())
		}
		if said != e.says {
			t.Errorf("section %q: the compiler says:\n%s\nthe page says:\n%s", e.heading, said, e.says)
		}
	}
	if compiled < 10 {
		t.Errorf("only %d sections of the page show a tree: has the way of marking them changed?", compiled)
	}
}

// The annotated sample names each key of the agent's configuration, and no other.
func TestSampleConfiguration(t *testing.T) {
	keys := func(file, pattern string) (found []string) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(data), -1) {
			found = append(found, m[1])
		}
		return slices.Sorted(slices.Values(found))
	}
	want, got := keys("../../cmd/shoal/config.go", `yaml:"(\w+)"`), keys("../../docs/agent.yaml", `(?m)^#?([a-z_]+): `)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("docs/agent.yaml has %v, the code %v", got, want)
	}
}
