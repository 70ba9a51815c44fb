package states

import (
	"bytes"
	"io/fs"
	"path"
	"strings"
)

// Format lays a YAML document out: blocks indented by two, lists below their key, one blank after a colon, a dash and a
// comma, at most one empty line, no blanks at the ends of lines. It changes white space alone, line by line, so that
// comments, the order of keys, anchors, quotes and the lines of long values stay; and what it returns is read back and
// compared with what was there. A document for which that fails is refused. The error is Problems.
func Format(name string, data []byte) ([]byte, error) {
	before, wrong := readYAML(name, data)
	if len(wrong) > 0 {
		return nil, asProblems(name, data, wrong)
	}
	var refused *placedError
	for _, how := range layouts {
		out, err := how.format(name, data)
		switch {
		case err != nil:
			refused = err
		case unharmed(name, before, data, out):
			return out, nil
		}
	}
	if refused == nil {
		refused = &placedError{Place{File: name}, "cannot format: no layout was found that keeps what it means", "it is left as it is"}
	}
	return nil, asProblems(name, data, []placedError{*refused})
}

// layouts are tried in this order: a parser may be pickier than the standard about white space that is nobody's business.
var layouts = []layoutStyle{{flows: true}, {}, {flows: true, open: true}, {open: true}}

// unharmed tells whether nothing but white space was changed, and none that means something.
func unharmed(name string, before *docNode, data, out []byte) bool {
	if !bytes.Equal(inked(data), inked(out)) {
		return false
	}
	after, wrong := readYAML(name, out)
	return len(wrong) == 0 && sameMeaning(before, after, map[pair]bool{})
}

// inked is all that is not white space.
func inked(data []byte) []byte {
	return bytes.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n':
			return -1
		}
		return r
	}, data)
}

// pair is two nodes that are compared.
type pair struct{ a, b *docNode }

// sameMeaning compares documents but for the places. An alias is the very node that it stands for, on both sides.
func sameMeaning(a, b *docNode, seen map[pair]bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	if len(a.items) != len(b.items) || len(a.entries) != len(b.entries) || !sameScalar(a, b) {
		return false
	}
	if len(a.items)+len(a.entries) == 0 || seen[pair{a, b}] {
		return true
	}
	seen[pair{a, b}] = true
	for i, item := range a.items {
		if !sameMeaning(item, b.items[i], seen) {
			return false
		}
	}
	for i, e := range a.entries {
		if e.key != b.entries[i].key || !sameMeaning(e.value, b.entries[i].value, seen) {
			return false
		}
	}
	return true
}

func sameScalar(a, b *docNode) bool {
	return a.kind == b.kind && a.text == b.text && a.boolean == b.boolean && a.integer == b.integer && a.float == b.float
}

func asProblems(name string, data []byte, wrong []placedError) Problems {
	c := newCollector(&tree{texts: map[string]*textFile{name: {data: data}}})
	c.addAll(wrong)
	return c.sorted()
}

// layoutStyle says what format does beyond indentation.
type layoutStyle struct {
	flows bool // blanks within { } and [ ] of one line
	open  bool // a last line without its newline stays so
}

func (s layoutStyle) format(name string, data []byte) ([]byte, *placedError) {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	l := layout{style: s, file: name, lines: strings.Split(text, "\n")}
	last := len(l.lines) - 1
	closed := l.lines[last] == ""
	if closed {
		l.lines = l.lines[:last]
	}
	if strings.Contains(text, "\r") {
		l.refuse("cannot format: a carriage return that ends no line")
	}
	for l.at < len(l.lines) && l.err == nil {
		l.next()
	}
	l.flush(-1, 0, l.levels)
	if l.err != nil {
		return nil, l.err
	}
	out := l.out.String()
	if s.open && !closed {
		out = strings.TrimSuffix(out, "\n")
	}
	return []byte(out), nil
}

// Documents lists the YAML documents of a tree: the site, the inventory, roles, variables, and of each component its
// states, its defaults and what it says of itself. Other files may be YAML too; they are what states make of them.
// Templates are listed apart: what they render to is YAML, and they are not.
func Documents(fsys fs.FS) (documents, templates []string, err error) {
	for _, pattern := range []string{"site.yaml", "inventory.yaml", "roles/*.yaml", "components/*/*.yaml"} {
		found, err := fs.Glob(fsys, pattern)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range found {
			switch stem := strings.TrimSuffix(path.Base(name), ".yaml"); {
			case path.Dir(path.Dir(name)) != "components", stem == "states", stem == "defaults", stem == "component":
				documents = append(documents, name)
			}
		}
	}
	templates, err = fs.Glob(fsys, "components/*/states.yaml.j2")
	if err != nil {
		return nil, nil, err
	}
	if _, err := fs.Stat(fsys, "variables"); err != nil {
		return documents, templates, nil
	}
	err = fs.WalkDir(fsys, "variables", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(name, ".yaml") {
			documents = append(documents, name)
		}
		return err
	})
	return documents, templates, err
}
