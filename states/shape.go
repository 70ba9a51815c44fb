package states

import "strings"

// Helpers that take a document apart and report what has another shape.

// mapOf returns a node's entries; nothing and null are an empty map.
func (c *collector) mapOf(n *docNode, what string) []docEntry {
	if n == nil || n.kind == kindNull {
		return nil
	}
	if n.kind != kindMap {
		c.add(n.place, "", "%s must be a map, not %s", what, n.describe())
		return nil
	}
	return n.entries
}

func (c *collector) listOf(n *docNode, what string) []*docNode {
	if n == nil || n.kind == kindNull {
		return nil
	}
	if n.kind != kindList {
		c.add(n.place, "", "%s must be a list, not %s", what, n.describe())
		return nil
	}
	return n.items
}

func (c *collector) stringOf(n *docNode, what string) (string, bool) {
	if n.kind != kindString {
		c.add(n.place, "", "%s must be a string, not %s", what, n.describe())
		return "", false
	}
	return n.text, true
}

func (c *collector) boolOf(n *docNode, what string) bool {
	if n.kind != kindBool {
		c.add(n.place, "", "%s must be true or false, not %s", what, n.describe())
	}
	return n.boolean
}

func (c *collector) oneOf(n *docNode, what string, allowed ...string) string {
	s, ok := c.stringOf(n, what)
	if !ok {
		return ""
	}
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	c.add(n.place, suggest(s, allowed), "%s must be one of %s, not %q", what, strings.Join(allowed, ", "), s)
	return ""
}

// named is a name with the place where it is written.
type named struct {
	name  string
	place Place
}

// namesOf returns the strings of a list; one string stands for a list of one.
func (c *collector) namesOf(n *docNode, what string) []named {
	if n != nil && n.kind == kindString {
		return []named{{n.text, n.place}}
	}
	var names []named
	for _, item := range c.listOf(n, what) {
		if s, ok := c.stringOf(item, "an item of "+what); ok {
			names = append(names, named{s, item.place})
		}
	}
	return names
}

func (c *collector) unknownKey(e docEntry, where string, known []string) {
	c.add(e.place, suggest(e.key, known), "unknown key %q in %s", e.key, where)
}
