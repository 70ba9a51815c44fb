package states

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// placedError is an error of a reader at a place of its file.
type placedError struct {
	place   Place
	message string
	hint    string
}

func (e placedError) Error() string { return e.place.String() + ": " + e.message }

// readYAML reads one YAML document. It walks the syntax tree itself, since a decoder would expand aliases: here an alias
// shares its target, and only the count of what it stands for grows.
func readYAML(file string, data []byte) (node *docNode, problems []placedError) {
	defer func() {
		if r := recover(); r != nil { // the parser panics on some malformed input
			node, problems = nil, []placedError{{Place{File: file, Line: 1, Column: 1}, "not valid YAML", ""}}
		}
	}()
	r := yamlReader{file: file, anchors: map[string]*docNode{}}
	tokens := lexer.Tokenize(string(data))
	if !r.bounded(tokens) {
		return nil, r.problems
	}
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []placedError{r.syntax(err)}
	}
	var body ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			r.fail(r.place(startToken(doc.Body)), "", "a second YAML document: a file holds one")
			return nil, r.problems
		}
		body = doc.Body
	}
	if body == nil {
		return &docNode{place: Place{File: file, Line: 1, Column: 1}, size: 1}, nil
	}
	n := r.convert(body, 0)
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return n, nil
}

type yamlReader struct {
	file     string
	anchors  map[string]*docNode
	problems []placedError
	total    int
	stopped  bool
}

// bounded refuses what the parser would take too long for, before it begins: more tokens than a document has, nesting on which
// it would recurse deeply (brackets, and markers on one line; nesting by indentation needs a column each, so the size limit
// bounds it, and convert refuses it), and block maps of very many keys, since it copies what it has of one at each key.
func (r *yamlReader) bounded(tokens token.Tokens) bool {
	flow, markers, line := 0, 0, 0
	var maps blockMaps
	for i, t := range tokens {
		if i == MaxDocumentTokens {
			r.fail(r.place(t), "split the file", "more than %d words and marks in one file", MaxDocumentTokens)
			return false
		}
		if t.Position.Line != line {
			line, markers = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			if flow == 0 {
				markers++
			}
		}
		if flow > MaxDepth || markers > MaxDepth {
			r.fail(r.place(t), "", "nested deeper than %d levels", MaxDepth)
			return false
		}
		if flow == 0 && maps.take(t) > maxMapWork {
			r.fail(r.place(t), "split the file", "more than %d keys in one map, or about as much in several", MaxMapKeys)
			return false
		}
	}
	return true
}

const maxMapWork = MaxMapKeys * MaxMapKeys / 2

// blockMaps counts what the parser copies for the block maps that it is in, by their columns.
type blockMaps struct {
	open []struct{ column, keys int }
	work int
}

func (m *blockMaps) take(t *token.Token) int {
	column := t.Position.Column
	if t.Type == token.MappingValueType && t.Prev != nil {
		column = t.Prev.Position.Column
	} else if t.Type != token.SequenceEntryType {
		return m.work
	}
	n := len(m.open)
	for n > 0 && m.open[n-1].column > column {
		n--
	}
	if m.open = m.open[:n]; t.Type == token.SequenceEntryType {
		return m.work
	}
	if n == 0 || m.open[n-1].column < column {
		m.open = append(m.open, struct{ column, keys int }{column, 0})
		n++
	}
	m.open[n-1].keys++
	m.work += m.open[n-1].keys
	return m.work
}

func (r *yamlReader) fail(p Place, hint, format string, args ...any) *docNode {
	if !r.stopped {
		r.problems = append(r.problems, placedError{p, fmt.Sprintf(format, args...), hint})
	}
	return &docNode{place: p, size: 1}
}

// syntax takes place and message out of the parser's error.
func (r *yamlReader) syntax(err error) placedError {
	var se yaml.Error
	if errors.As(err, &se) && se.GetToken() != nil {
		return placedError{r.place(se.GetToken()), "not valid YAML: " + lowerFirst(se.GetMessage()), ""}
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return placedError{Place{File: r.file, Line: 1, Column: 1}, "not valid YAML: " + first, ""}
}

func (r *yamlReader) place(t *token.Token) Place {
	if t == nil || t.Position == nil {
		return Place{File: r.file, Line: 1, Column: 1}
	}
	return Place{File: r.file, Line: t.Position.Line, Column: t.Position.Column}
}

func (r *yamlReader) convert(n ast.Node, depth int) *docNode {
	p := r.place(startToken(n))
	if depth > MaxDepth {
		return r.fail(p, "", "nested deeper than %d levels", MaxDepth)
	}
	if r.total++; r.total > MaxDocumentNodes {
		r.fail(p, "", "more than %d values in one file", MaxDocumentNodes)
		r.stopped = true
	}
	if r.stopped {
		return &docNode{place: p, size: 1}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return r.mapping(p, n.Values, depth)
	case *ast.MappingValueNode:
		return r.mapping(p, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		list := &docNode{kind: kindList, place: p, size: 1}
		for _, item := range n.Values {
			c := r.convert(item, depth+1)
			list.items = append(list.items, c)
			r.grow(list, c)
		}
		return list
	case *ast.AnchorNode:
		v := r.convert(n.Value, depth+1)
		r.anchors[n.Name.String()] = v
		return v
	case *ast.AliasNode:
		name := n.Value.String()
		if v, ok := r.anchors[name]; ok {
			return v
		}
		return r.fail(p, suggest(name, keysOf(r.anchors)), "unknown alias *%s", name)
	}
	return r.scalar(p, n, depth)
}

// grow counts what a container stands for with its aliases spelled out; a bomb is refused before anything expands it.
func (r *yamlReader) grow(n, child *docNode) {
	if n.size += child.size; n.size > MaxDocumentNodes && !r.stopped {
		r.fail(n.place, "", "its aliases stand for more than %d values", MaxDocumentNodes)
		r.stopped = true
	}
}

func (r *yamlReader) scalar(p Place, n ast.Node, depth int) *docNode {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return &docNode{kind: kindNull, place: p, size: 1}
	case *ast.BoolNode:
		return &docNode{kind: kindBool, place: p, size: 1, boolean: n.Value}
	case *ast.IntegerNode:
		return r.integer(p, n)
	case *ast.FloatNode:
		return &docNode{kind: kindFloat, place: p, size: 1, float: n.Value, text: n.GetToken().Value}
	case *ast.StringNode:
		return &docNode{kind: kindString, place: p, size: textSize(n.Value), text: n.Value}
	case *ast.LiteralNode:
		return &docNode{kind: kindString, place: p, size: textSize(n.Value.Value), text: n.Value.Value}
	case *ast.TagNode:
		if n.Start.Value == secretTag {
			v := r.convert(n.Value, depth+1)
			return &docNode{kind: kindMap, place: p, size: 1 + v.size, entries: []docEntry{{secretKey, p, v}}}
		}
		return r.fail(p, "", "YAML tags such as %s are not part of the language", n.Start.Value)
	case *ast.InfinityNode, *ast.NanNode:
		return r.fail(p, "", "a number must be finite")
	}
	return r.fail(p, "", "not part of the language: %s", n.Type())
}

// textSize counts a long string as many values, so that aliases of it count too.
func textSize(s string) int { return 1 + len(s)/bytesPerValue }

func (r *yamlReader) integer(p Place, n *ast.IntegerNode) *docNode {
	d := &docNode{kind: kindInt, place: p, size: 1, text: n.GetToken().Value}
	switch v := n.Value.(type) {
	case int64:
		d.integer = v
	case uint64:
		if v > math.MaxInt64 {
			return r.fail(p, "", "the number %s does not fit into 64 bits", d.text)
		}
		d.integer = int64(v)
	}
	return d
}

func (r *yamlReader) mapping(p Place, values []*ast.MappingValueNode, depth int) *docNode {
	m := &docNode{kind: kindMap, place: p, size: 1}
	seen := make(map[string]Place, len(values))
	var merged []*docNode
	for _, v := range values {
		if v.Key.IsMergeKey() {
			from := r.convert(v.Value, depth+1)
			r.grow(m, from)
			merged = append(merged, r.mergeable(from)...)
			continue
		}
		keyPlace := r.place(v.Key.GetToken())
		key, ok := keyText(v.Key)
		if !ok {
			r.fail(keyPlace, "", "a key must be a plain string")
			continue
		}
		if first, dup := seen[key]; dup {
			r.fail(keyPlace, "", "duplicate key %q, first written in line %d", key, first.Line)
			continue
		}
		seen[key] = keyPlace
		child := r.convert(v.Value, depth+1)
		m.entries = append(m.entries, docEntry{key, keyPlace, child})
		r.grow(m, child)
	}
	for _, from := range merged {
		for _, e := range from.entries {
			if _, has := seen[e.key]; !has {
				seen[e.key] = e.place
				m.entries = append(m.entries, e)
			}
		}
	}
	return m
}

// mergeable are the maps that a << names: one, or a list of them.
func (r *yamlReader) mergeable(from *docNode) []*docNode {
	switch {
	case r.stopped:
		return nil
	case from.kind == kindMap:
		return []*docNode{from}
	case from.kind == kindList:
		var all []*docNode
		for _, item := range from.items {
			if item.kind != kindMap {
				r.fail(item.place, "", "<< merges maps, not %s", item.kind)
				continue
			}
			all = append(all, item)
		}
		return all
	}
	r.fail(from.place, "", "<< merges maps, not %s", from.kind)
	return nil
}

func keyText(k ast.MapKeyNode) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.BoolNode, *ast.FloatNode, *ast.NullNode:
		return k.GetToken().Value, true
	}
	return "", false
}

// startToken is where a value begins: a block map's own token is its first colon.
func startToken(n ast.Node) *token.Token {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
