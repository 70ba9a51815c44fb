package states

import (
	"fmt"
	"strings"
	"testing"
)

// picturePlan has each kind of node and edge, and an id that needs quoting.
func picturePlan() *Plan {
	p := &Plan{Node: Node{Name: "web-1"}, Policy: Policy{Order: Genius}}
	part := []StatePartInvocation{{Module: "file", Function: "managed"}}
	p.Invocations = []StateInvocation{
		{ID: "a/one", Number: 1, Parts: part, SupersededBy: 2},
		{ID: `a/two[x"y\z]`, Number: 1, Parts: part, Lazy: true},
		{ID: "a/one", Number: 2, Parts: append(part, part...)},
		{ID: "a/seq", Number: 1, Sequence: []int{0, 1, 2}},
		{ID: "a/help", Number: 1, Parts: part, Skip: "when: false is false"},
		{ID: "a/block", Number: 1, Block: &Block{Run: []int{0}, Rescue: []int{4}}},
	}
	p.Edges = []Edge{
		{0, 1, EdgeNotify, "notify in a/one"}, {0, 2, EdgeRequire, "meta.sequence"}, {1, 2, EdgeRequire, "meta.sequence"},
		{2, 3, EdgeAfter, "genius: a \"reason\""}, {3, 4, EdgeFailure, "listen_failure in a/help"}, {0, 5, EdgeAfter, "run of a/block"},
	}
	return p
}

func TestPictureText(t *testing.T) {
	const want = `web-1: 6 states, 6 edges, order genius
1  a/one  file.managed  (superseded by 3)
2  a/two[x"y\z]  file.managed  (lazy)
     reacts to a/one (1): notify in a/one
3  a/one (run 2)  file.managed, file.managed
     needs a/one (1), a/two[x"y\z] (2): meta.sequence
4  a/seq  (sequence of 1, 2, 3)
     after a/one (run 2) (3): genius: a "reason"
5  a/help  file.managed  (skipped: when: false is false)
     on failure of a/seq (4): listen_failure in a/help
6  a/block  (block of 1; rescue 5)
     after a/one (1): run of a/block
`
	if got := picturePlan().Picture().Text(); got != want {
		t.Errorf("it says\n%s", got)
	}
}

// A reason that holds for all others does not fill the page.
func TestPictureTextIsShort(t *testing.T) {
	p := &Plan{Node: Node{Name: "n"}}
	for i := range 100 {
		p.Invocations = append(p.Invocations, StateInvocation{ID: fmt.Sprintf("c/s%d", i), Number: 1})
		if i < 99 {
			p.Edges = append(p.Edges, Edge{i, 99, EdgeAfter, "order: last in c/s99"})
		}
	}
	text := p.Picture().Text()
	if !strings.Contains(text, "c/s5 (6), 93 more: order: last in c/s99") || strings.Count(text, "\n") != 102 {
		t.Errorf("it says\n%s", text)
	}
}

func TestPictureDOT(t *testing.T) {
	p := picturePlan()
	nodes, edges, err := parseDOT(p.Picture().DOT())
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Picture().DOT())
	}
	if len(nodes) != len(p.Invocations) || len(edges) != len(p.Edges) {
		t.Errorf("%d nodes, %d edges", len(nodes), len(edges))
	}
	for _, e := range edges {
		if !nodes[e[0]] || !nodes[e[1]] {
			t.Errorf("the edge %q joins what is no node", e)
		}
	}
	if !nodes[`a/two[x"y\\z]`] || !nodes["a/one (run 2)"] {
		t.Errorf("the nodes are %v", nodes)
	}
}

// parseDOT reads the statements that DOT writes: node and edge statements with quoted ids and attribute lists.
func parseDOT(text string) (nodes map[string]bool, edges [][2]string, err error) {
	tokens, err := dotTokens(text)
	if err != nil {
		return nil, nil, err
	}
	nodes = map[string]bool{}
	if len(tokens) < 4 || tokens[0] != "digraph" || tokens[1][0] != '"' || tokens[2] != "{" || tokens[len(tokens)-1] != "}" {
		return nil, nil, fmt.Errorf("no digraph: %q", tokens[:min(4, len(tokens))])
	}
	for body := tokens[3 : len(tokens)-1]; len(body) > 0; {
		end := 0
		for end < len(body) && body[end] != ";" {
			end++
		}
		if end == len(body) {
			return nil, nil, fmt.Errorf("a statement without its end: %q", body)
		}
		s := body[:end]
		body = body[end+1:]
		id := func(t string) string { return strings.ReplaceAll(strings.Trim(t, `"`), `\"`, `"`) }
		switch {
		case len(s) > 3 && s[1] == "->" && s[0][0] == '"' && s[2][0] == '"':
			edges = append(edges, [2]string{id(s[0]), id(s[2])})
			s = s[3:]
		case s[0][0] == '"':
			nodes[id(s[0])] = true
			s = s[1:]
		case len(s) == 3 && s[1] == "=":
			continue
		default:
			s = s[1:]
		}
		if err := dotAttributes(s); err != nil {
			return nil, nil, err
		}
	}
	return nodes, edges, nil
}

func dotAttributes(s []string) error {
	if len(s) < 2 || s[0] != "[" || s[len(s)-1] != "]" {
		return fmt.Errorf("no attribute list: %q", s)
	}
	for s = s[1 : len(s)-1]; ; s = s[4:] {
		if len(s) < 3 || s[1] != "=" || len(s) > 3 && s[3] != "," {
			return fmt.Errorf("not an attribute: %q", s)
		}
		if len(s) == 3 {
			return nil
		}
	}
}

func dotTokens(text string) (tokens []string, err error) {
	for i := 0; i < len(text); {
		start := i
		switch c := text[i]; {
		case c == ' ' || c == '\n':
			i++
			continue
		case c == '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\n' {
					return nil, fmt.Errorf("a line ends within quotes at byte %d", i)
				}
				if text[i] == '\\' {
					i++
				}
			}
			i++
		case strings.HasPrefix(text[i:], "->"):
			i += 2
		case strings.IndexByte("{}[];,=", c) >= 0:
			i++
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
			for i < len(text) && (text[i] >= 'a' && text[i] <= 'z' || text[i] >= 'A' && text[i] <= 'Z' || text[i] >= '0' && text[i] <= '9') {
				i++
			}
		default:
			return nil, fmt.Errorf("what is %q at byte %d?", c, i)
		}
		if i > len(text) {
			return nil, fmt.Errorf("quotes that do not end")
		}
		tokens = append(tokens, text[start:i])
	}
	return tokens, nil
}
