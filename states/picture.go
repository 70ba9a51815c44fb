package states

import (
	"fmt"
	"strings"
)

// Picture is the graph of a plan's run as people and tools look at it: what runs, in its order, and why in this order.
type Picture struct {
	Node  string        `json:"node"`
	Order Order         `json:"order"`
	Nodes []PictureNode `json:"nodes"` // in the order in which they run
	Edges []PictureEdge `json:"edges"` // sorted by to, then from
}

// PictureNode is one invocation. Numbers count from 1, in the order of the run.
type PictureNode struct {
	Number     int      `json:"number"`
	ID         string   `json:"id"`
	Invocation int      `json:"invocation"` // which one of this state
	Parts      []string `json:"parts"`
	Lazy       bool     `json:"lazy,omitempty"`
	Skip       string   `json:"skip,omitempty"` // why it does not run
	When       string   `json:"when,omitempty"` // decided during the run
	Place      string   `json:"place,omitempty"`
	Run        []int    `json:"run,omitempty"` // of a meta.block
	Rescue     []int    `json:"rescue,omitempty"`
	Always     []int    `json:"always,omitempty"`
	Sequence   []int    `json:"sequence,omitempty"`
	Superseded int      `json:"superseded_by,omitempty"`
}

// PictureEdge joins two nodes by their numbers: From runs before To.
type PictureEdge struct {
	From   int      `json:"from"`
	To     int      `json:"to"`
	Kind   EdgeKind `json:"kind"`
	Reason string   `json:"reason"`
}

// Picture makes the graph of a plan.
func (p *Plan) Picture() Picture {
	mask := NewMask(p.Secrets)
	g := Picture{Node: p.Node.Name, Order: p.Policy.Order, Nodes: []PictureNode{}, Edges: []PictureEdge{}}
	for i := range p.Invocations {
		in := &p.Invocations[i]
		n := PictureNode{Number: i + 1, ID: in.ID, Invocation: in.Number, Parts: []string{}, Lazy: in.Lazy, Skip: mask.Text(in.Skip),
			Place: in.Place.String(), Sequence: numbersOf(in.Sequence)}
		for _, part := range in.Parts {
			n.Parts = append(n.Parts, part.FullName())
		}
		for d := in.When; d != nil; d = d.And {
			if n.When != "" {
				n.When = " and " + n.When
			}
			n.When = mask.Text(d.Text) + n.When
		}
		if in.Block != nil {
			n.Run, n.Rescue, n.Always = numbersOf(in.Block.Run), numbersOf(in.Block.Rescue), numbersOf(in.Block.Always)
		}
		if in.SupersededBy > 0 {
			n.Superseded = in.SupersededBy + 1
		}
		g.Nodes = append(g.Nodes, n)
	}
	for _, e := range p.Edges {
		g.Edges = append(g.Edges, PictureEdge{From: e.From + 1, To: e.To + 1, Kind: e.Kind, Reason: mask.Text(e.Reason)})
	}
	return g
}

func numbersOf(indices []int) []int {
	var out []int
	for _, i := range indices {
		out = append(out, i+1)
	}
	return out
}

// name of a node: its id, and which invocation where there is more than one.
func (n *PictureNode) name() string {
	if n.Invocation > 1 {
		return fmt.Sprintf("%s (run %d)", n.ID, n.Invocation)
	}
	return n.ID
}

// notes say what else there is to say of a node.
func (n *PictureNode) notes() []string {
	var notes []string
	add := func(what string, numbers []int) {
		if len(numbers) > 0 {
			notes = append(notes, what+" "+strings.Join(spelled(numbers), ", "))
		}
	}
	if n.Lazy {
		notes = append(notes, "lazy")
	}
	if n.Skip != "" {
		notes = append(notes, "skipped: "+n.Skip)
	}
	if n.When != "" {
		notes = append(notes, "when "+n.When)
	}
	add("block of", n.Run)
	add("rescue", n.Rescue)
	add("always", n.Always)
	add("sequence of", n.Sequence)
	if n.Superseded > 0 {
		notes = append(notes, fmt.Sprintf("superseded by %d", n.Superseded))
	}
	return notes
}

func spelled(numbers []int) []string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = fmt.Sprint(n)
	}
	return words
}

// edgeWords say what each kind of edge means to the node that it leads to.
var edgeWords = map[EdgeKind]string{
	EdgeRequire: "needs", EdgeAfter: "after", EdgeNotify: "reacts to", EdgeFailure: "on failure of",
}

// maxNamed is how many of the nodes that stand for one reason are named: order: last means all others.
const maxNamed = 6

// Text is the graph for people, one node after another in the order of the run.
func (g Picture) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s, order %s\n", g.Node, counted(len(g.Nodes), "state"), counted(len(g.Edges), "edge"), g.Order)
	width := len(fmt.Sprint(len(g.Nodes)))
	into := make([][]PictureEdge, len(g.Nodes)+1)
	for _, e := range g.Edges {
		into[e.To] = append(into[e.To], e)
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		line := fmt.Sprintf("%*d  %s  %s", width, n.Number, n.name(), strings.Join(n.Parts, ", "))
		b.WriteString(strings.TrimRight(line, " "))
		if notes := n.notes(); len(notes) > 0 {
			b.WriteString("  (" + strings.Join(notes, "; ") + ")")
		}
		b.WriteString("\n")
		for _, same := range byReason(into[n.Number]) {
			fmt.Fprintf(&b, "%*s    %s %s: %s\n", width, "", edgeWords[same[0].Kind], g.named(same), same[0].Reason)
		}
	}
	return b.String()
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// byReason gathers the edges that share kind and reason, each group where its first edge stands.
func byReason(edges []PictureEdge) [][]PictureEdge {
	type why struct {
		kind   EdgeKind
		reason string
	}
	at := map[why]int{}
	var groups [][]PictureEdge
	for _, e := range edges {
		w := why{e.Kind, e.Reason}
		i, ok := at[w]
		if !ok {
			i = len(groups)
			at[w] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], e)
	}
	return groups
}

// named lists where edges come from.
func (g Picture) named(edges []PictureEdge) string {
	var names []string
	for _, e := range edges[:min(len(edges), maxNamed)] {
		names = append(names, fmt.Sprintf("%s (%d)", g.Nodes[e.From-1].name(), e.From))
	}
	if more := len(edges) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// edgeStyles are the colours of edges, and how they are drawn, so that they differ without colours too.
var edgeStyles = map[EdgeKind]string{
	EdgeRequire: `color="#1f4e9c", fontcolor="#1f4e9c"`,
	EdgeAfter:   `color="#767676", fontcolor="#767676", style=dashed`,
	EdgeNotify:  `color="#1b7f3b", fontcolor="#1b7f3b", arrowhead=vee, style=bold`,
	EdgeFailure: `color="#b3261e", fontcolor="#b3261e", style=dotted`,
}

// DOT is the graph in the language of Graphviz (the DOT language, graphviz.org/doc/info/lang.html).
func (g Picture) DOT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n", quoteDOT(g.Node))
	b.WriteString("  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", fillcolor=\"#f5f5f5\", fontname=\"Helvetica\", fontsize=11];\n")
	b.WriteString("  edge [fontname=\"Helvetica\", fontsize=9];\n")
	ids := make([]string, len(g.Nodes)+1)
	for i := range g.Nodes {
		n := &g.Nodes[i]
		ids[n.Number] = quoteDOT(n.name())
		lines := append([]string{fmt.Sprintf("%d  %s", n.Number, n.name())}, n.Parts...)
		for _, note := range n.notes() {
			lines = append(lines, "("+note+")")
		}
		style := ""
		switch {
		case n.Skip != "":
			style = `, style="rounded,dashed", fontcolor="#767676"`
		case n.Lazy:
			style = `, fillcolor="#fff4d6"`
		case len(n.Parts) == 0:
			style = `, shape=ellipse, style=filled`
		}
		fmt.Fprintf(&b, "  %s [label=%s%s];\n", ids[n.Number], quoteDOT(strings.Join(lines, "\n")), style)
	}
	for _, e := range g.Edges {
		label := e.Reason
		if !strings.HasPrefix(label, string(e.Kind)) {
			label = string(e.Kind) + "\n" + label
		}
		fmt.Fprintf(&b, "  %s -> %s [label=%s, %s];\n", ids[e.From], ids[e.To], quoteDOT(label), edgeStyles[e.Kind])
	}
	b.WriteString("}\n")
	return b.String()
}

// quoteDOT writes a quoted id: only the quote ends one, and a backslash begins an escape of labels.
func quoteDOT(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", " ", "\x00", " ").Replace(s)
	return `"` + s + `"`
}
