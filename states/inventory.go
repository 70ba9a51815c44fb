package states

import (
	"io/fs"
	"path"
)

// Inventory is what a tree's own inventory.yaml says of the fleet; nil where it has none.
func (l *Catalogue) Inventory() ([]Node, error) {
	l.problems = newCollector(l.tree)
	nodes := l.inventory()
	if ps := l.problems.sorted(); len(ps) > 0 {
		return nil, ps
	}
	return nodes, nil
}

// ReadInventory reads a file that says who is in the fleet, as inventory.yaml of a tree does; it is JSON where its name says so.
func ReadInventory(fsys fs.FS, name string) ([]Node, error) {
	t := newTree(fsys)
	l := &Catalogue{tree: t, problems: newCollector(t), documents: map[string]*docNode{}, units: map[string]*collector{}}
	nodes := l.readInventory(name)
	if ps := l.problems.sorted(); len(ps) > 0 {
		return nil, ps
	}
	return nodes, nil
}

// inventory reads inventory.yaml, where there is one, once.
func (l *Catalogue) inventory() []Node {
	if name := l.oneForm("inventory", ".yaml", ".json"); name != "" {
		l.once("inventory", func() { l.listed = l.readInventory(name) })
	}
	return l.listed
}

func (l *Catalogue) readInventory(name string) []Node {
	c, nodes := l.problems, []Node{}
	for _, e := range c.mapOf(l.document(name), path.Base(name)) {
		if e.key != "nodes" {
			c.unknownKey(e, "an inventory", inventoryKeys)
			continue
		}
		for _, n := range c.mapOf(e.value, "nodes") {
			if !validName(n.key) {
				c.add(n.place, "letters, digits, -, . and _ only", "%q cannot be the name of a node", n.key)
				continue
			}
			nodes = append(nodes, l.readNode(n))
		}
	}
	return nodes
}

func (l *Catalogue) readNode(e docEntry) Node {
	n := Node{Name: e.key, Tags: map[string]string{}}
	for _, k := range l.problems.mapOf(e.value, "a node") {
		switch k.key {
		case "zone":
			n.Zone, _ = l.problems.stringOf(k.value, "zone")
		case "tags":
			for _, t := range l.problems.mapOf(k.value, "tags") {
				if t.value.kind != kindString {
					l.problems.add(t.value.place, "put it in quotes", "a tag must be a string, not %s", t.value.describe())
					continue
				}
				n.Tags[t.key] = t.value.text
			}
		default:
			l.problems.unknownKey(k, "a node", nodeKeys)
		}
	}
	return n
}
