package states

import "strconv"

// kind of a document node.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindInt
	kindFloat
	kindString
	kindList
	kindMap
)

func (k kind) String() string {
	return [...]string{"nothing", "a bool", "an int", "a float", "a string", "a list", "a map"}[k]
}

// docNode is one value of a YAML or JSON document with the place where it is written. Nodes are never changed after
// reading; an alias shares its target's node, so that a document costs no more memory than its text.
type docNode struct {
	kind    kind
	place   Place
	size    int // nodes below and including this one, an alias counted each time
	boolean bool
	integer int64
	float   float64
	text    string // of a string; as written of an int or a float
	// computed is true of what a program made: its text does not stand at its place.
	computed bool
	secret   bool // it was marked as one
	items    []*docNode
	entries  []docEntry
}

// docEntry is one key of a map, in the order written.
type docEntry struct {
	key   string
	place Place
	value *docNode
}

func (n *docNode) get(key string) *docNode {
	for i := range n.entries {
		if n.entries[i].key == key {
			return n.entries[i].value
		}
	}
	return nil
}

// value makes the plain Go value: nil, bool, int64, float64, string, []any or map[string]any.
func (n *docNode) value() any {
	switch n.kind {
	case kindBool:
		return n.boolean
	case kindInt:
		return n.integer
	case kindFloat:
		return n.float
	case kindString:
		return n.text
	case kindList:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.value()
		}
		return list
	case kindMap:
		m := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			m[e.key] = e.value.value()
		}
		return m
	}
	return nil
}

// describe says what a node is, for messages: the kind, and a short value.
func (n *docNode) describe() string {
	switch n.kind {
	case kindBool:
		return "the bool " + strconv.FormatBool(n.boolean)
	case kindInt, kindFloat:
		return "the number " + shorten(n.text)
	case kindString:
		return "the string " + strconv.Quote(shorten(n.text))
	}
	return n.kind.String()
}

func shorten(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
