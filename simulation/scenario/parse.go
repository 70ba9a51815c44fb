package scenario

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing/fstest"

	"golang.org/x/tools/txtar"
)

// Limits of a scenario.
const (
	maxText     = 1 << 20 // bytes
	maxLines    = 10_000
	maxNodes    = 2000
	maxTrees    = 100
	maxProblems = 20
	maxDays     = 30
)

// parser reads lines.
type parser struct {
	s        *Scenario
	problems Problems
	inline   map[string]fstest.MapFS // files that stand at the end, by tree
	written  map[string][]string     // "tree NAME file" in the order of their lines
	lastAt   Step
}

// Parse reads a scenario. The error is Problems. Given trees need not be named in it.
func Parse(file string, text []byte, given ...Tree) (*Scenario, error) {
	p := &parser{s: &Scenario{File: file, Text: string(text), Seed: 1, Trees: given}, inline: map[string]fstest.MapFS{}, written: map[string][]string{}}
	if len(text) > maxText {
		return nil, Problems{{Pos: Pos{file, 1, 1}, What: fmt.Sprintf("the scenario has %d bytes", len(text)), Do: fmt.Sprintf("at most %d are read; name big trees by their folder: tree v1 from DIR", maxText)}}
	}
	archive := txtar.Parse(text)
	p.files(archive)
	for i, text := range strings.Split(string(archive.Comment), "\n") {
		if i >= maxLines || len(p.problems) >= maxProblems {
			break
		}
		l := split(file, i+1, strings.TrimRight(text, " \t\r"))
		if len(l.words) > 0 && l.problem == nil {
			p.line(l)
		}
		if l.problem != nil {
			p.problems = append(p.problems, l.problem)
		}
	}
	p.whole()
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return p.s, nil
}

// files takes the trees that stand at the end of the file: -- TREE/PATH --.
func (p *parser) files(archive *txtar.Archive) {
	line := 1 + strings.Count(string(archive.Comment), "\n")
	for _, f := range archive.Files {
		at := Pos{p.s.File, line, 1}
		line += 1 + strings.Count(string(f.Data), "\n")
		tree, name, ok := strings.Cut(f.Name, "/")
		if !ok || name == "" || path.Clean(name) != name || strings.HasPrefix(name, "..") {
			p.problem(at, fmt.Sprintf("the file %q at the end belongs to no tree", f.Name), "name it after its tree: -- v1/site.yaml --")
			continue
		}
		if p.inline[tree] == nil {
			p.inline[tree] = fstest.MapFS{}
		}
		p.inline[tree][name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
	}
}

func (p *parser) problem(at Pos, what, do string) {
	p.problems = append(p.problems, &Problem{Pos: at, What: what, Do: do})
}

// whole looks at what only the end tells.
func (p *parser) whole() {
	for _, name := range slices.Sorted(maps.Keys(p.inline)) {
		if _, ok := p.s.Find(name); !ok {
			p.s.Trees = append(p.s.Trees, Tree{Pos: Pos{p.s.File, 1, 1}, Name: name, Files: p.inline[name]})
		}
	}
	for i, t := range p.s.Trees {
		if lines := p.written[t.Name]; lines != nil {
			p.s.Trees[i].Files = treeOf(lines)
		}
	}
	if len(p.problems) > 0 {
		return
	}
	if len(p.s.Nodes) == 0 {
		p.problem(Pos{p.s.File, 1, 1}, "there are no nodes", "name some: node a b c zone z1 tag role=web")
	}
	for _, step := range p.s.Steps {
		for _, name := range treesOf(step) {
			if _, ok := p.s.Find(name); !ok {
				p.problems = append(p.problems, &Problem{
					Pos: step.Pos, Line: step.Line, What: fmt.Sprintf("there is no tree %q", name),
					Do: "the trees are: " + list(p.trees()) + fmt.Sprintf("; make one: tree %s file /etc/motd \"hello\"", name),
				})
			}
		}
	}
}

func treesOf(s Step) (names []string) {
	if s.Check != nil && s.Check.Tree != "" {
		names = append(names, s.Check.Tree)
	}
	if s.Action != nil {
		for _, push := range s.Action.Pushes {
			names = append(names, push.Tree)
		}
	}
	return names
}

func (p *parser) trees() (names []string) {
	for _, t := range p.s.Trees {
		names = append(names, t.Name)
	}
	return names
}

// treeOf makes the tree of "tree NAME file PATH TEXT" lines: these files on all nodes.
func treeOf(files []string) fstest.MapFS {
	var states strings.Builder
	states.WriteString("states:\n")
	for i := 0; i+1 < len(files); i += 2 {
		fmt.Fprintf(&states, "  f%d:\n    file.managed: {path: %q, content: %q}\n", i/2, files[i], files[i+1])
	}
	return fstest.MapFS{
		"site.yaml":                      {Data: []byte("targets:\n  - on: \"*\"\n    components: [written]\n"), Mode: 0o644},
		"components/written/states.yaml": {Data: []byte(states.String()), Mode: 0o644},
	}
}

const anyLine = "at 30s crash b"

func (p *parser) line(l *line) {
	switch first := l.next("", ""); first {
	case "title":
		p.s.Title, _, _ = strings.Cut(strings.TrimPrefix(l.text, "title"), " #")
		p.s.Title = strings.TrimSpace(p.s.Title)
	case "seed":
		p.s.Seed = uint64(l.integer("a seed", "seed 7", 0, 1<<31-1))
		l.end("seed 7")
	case "store":
		p.store(l)
	case "acquainted":
		p.s.Acquainted = true
		l.end("acquainted")
	case "set":
		p.set(l)
	case "node":
		p.node(l)
	case "nodes":
		p.nodes(l)
	case "tree":
		p.tree(l)
	case "at", "after", "then", "eventually", "never":
		p.step(l, Clock(first))
	default:
		l.wrong(fmt.Sprintf("no line begins with %q", first),
			"a line begins with title, seed, store, acquainted, set, node, nodes, tree, at, after, then, eventually or never; for example: "+anyLine)
	}
}

func (p *parser) store(l *line) {
	switch kind := l.next("the kind of store", "store memory"); kind {
	case "memory":
	case "disk":
		p.s.OnDisk = true
	default:
		l.wrong(fmt.Sprintf("there is no store %q", kind), "write store memory or store disk")
	}
	l.end("store disk")
}

func (p *parser) set(l *line) {
	const example = "set grace 2m"
	switch what := l.next("what to set", example); what {
	case "grace":
		p.s.Grace = l.duration(example)
	case "check":
		p.s.Check = l.duration("set check 1m")
	default:
		l.wrong(fmt.Sprintf("%q cannot be set", what), "write set grace TIME (how long a dead node keeps its place) or set check TIME (how often all is looked at)")
	}
	l.end(example)
}

const nodeLine = "node a b c zone z1 tag role=web"

func (p *parser) node(l *line) {
	var names []string
	var at []int
	for l.more() && l.peek() != "zone" && l.peek() != "tag" && l.peek() != "later" {
		names = append(names, p.name(l, "node"))
		at = append(at, l.words[l.at-1].col)
	}
	if len(names) == 0 {
		l.next("a name", nodeLine)
		if l.problem == nil {
			l.wrong("the name of the node is missing", "for example: "+nodeLine)
		}
		return
	}
	node := p.traits(l, nodeLine)
	if l.problem != nil {
		return
	}
	for i, name := range names {
		one := node
		one.Name, one.Pos, one.Tags = name, l.pos(at[i]), maps.Clone(node.Tags)
		p.add(l, one)
	}
}

func (p *parser) add(l *line, n Node) {
	if len(p.s.Nodes) >= maxNodes {
		l.fail(n.Pos.Col, "too many nodes", fmt.Sprintf("at most %d", maxNodes))
		return
	}
	if slices.ContainsFunc(p.s.Nodes, func(o Node) bool { return o.Name == n.Name }) {
		l.fail(n.Pos.Col, fmt.Sprintf("there are two nodes %q", n.Name), "give each a name of its own")
		return
	}
	p.s.Nodes = append(p.s.Nodes, n)
}

// traits reads zone, tags and later.
func (p *parser) traits(l *line, example string) Node {
	n := Node{Tags: map[string]string{}}
	for l.more() {
		switch {
		case l.is("zone"):
			n.Zone = l.next("a zone", example)
		case l.is("later"):
			n.Later = true
		case l.is("tag"):
			key, value, ok := strings.Cut(l.next("a tag", example), "=")
			if l.problem == nil && (!ok || key == "") {
				l.wrong("a tag is written key=value", "for example: "+example)
			}
			n.Tags[key] = value
		default:
			l.end(example)
		}
	}
	return n
}

func (p *parser) nodes(l *line) {
	const example = "nodes 9 named n zones 3 tag role=web"
	count := l.integer("a number of nodes", example, 1, maxNodes)
	prefix, zones := "n", 1
	if l.is("named") {
		prefix = p.name(l, "node")
	}
	if l.is("zones") {
		zones = l.integer("a number of zones", example, 1, 100)
	}
	node := p.traits(l, example)
	for i := range count {
		if l.problem != nil {
			return
		}
		one := node
		one.Name, one.Pos, one.Tags = fmt.Sprint(prefix, i+1), l.pos(1), maps.Clone(node.Tags)
		if one.Zone == "" && zones > 1 {
			one.Zone = fmt.Sprint("z", i%zones+1)
		}
		p.add(l, one)
	}
}

// reserved are words that would make a line mean something else.
var reserved = []string{"all", "to", "at", "for", "and", "via", "by", "expect", "zone", "tag", "later", "nothing", "not", "from", "named", "zones"}

// name reads one that a node or a tree may have.
func (p *parser) name(l *line, of string) string {
	name := l.next("the name of a "+of, map[string]string{"node": nodeLine, "tree": treeLine}[of])
	if l.problem != nil {
		return ""
	}
	plain := name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
	if !plain || len(name) > 63 || slices.Contains(reserved, name) {
		l.wrong(fmt.Sprintf("%q cannot be the name of a %s", name, of), "a name is of letters, digits, - and _, and no word of the language")
	}
	return name
}

const treeLine = `tree v1 file /etc/motd "hello"`

func (p *parser) tree(l *line) {
	name := p.name(l, "tree")
	at := l.pos(1)
	if l.problem != nil {
		return
	}
	_, there := p.s.Find(name)
	switch {
	case l.is("from"):
		from := l.next("a folder", "tree v1 from ../trees/web")
		l.end("tree v1 from ../trees/web")
		if there || p.inline[name] != nil {
			l.fail(1, fmt.Sprintf("there are two trees %q", name), "give each a name of its own")
		} else if l.problem == nil {
			p.s.Trees = append(p.s.Trees, Tree{Pos: at, Name: name, From: from})
		}
	case l.is("file"):
		file, text := l.next("a path", treeLine), l.next("what is in the file", treeLine)
		l.end(treeLine)
		if l.problem != nil {
			return
		}
		if !strings.HasPrefix(file, "/") {
			l.fail(1, fmt.Sprintf("the path %q is not absolute", file), "for example: "+treeLine)
			return
		}
		if p.inline[name] != nil || there && p.written[name] == nil {
			l.fail(1, fmt.Sprintf("the tree %q is written elsewhere", name), "write all of it in one way")
			return
		}
		if !there {
			p.s.Trees = append(p.s.Trees, Tree{Pos: at, Name: name})
		}
		p.written[name] = append(p.written[name], file, text)
	default:
		got := l.next(`"from" or "file"`, treeLine)
		l.wrong(fmt.Sprintf("a tree is not made by %q", got),
			"write "+treeLine+", or tree v1 from DIR, or its files at the end of the scenario: -- v1/site.yaml --")
	}
	if len(p.s.Trees) > maxTrees {
		l.fail(1, "too many trees", fmt.Sprintf("at most %d", maxTrees))
	}
}
