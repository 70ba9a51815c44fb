package states

import (
	"path"
	"strings"
	"time"
)

// component is components/NAME as far as it is the same for every node.
type component struct {
	name      string
	dir       string
	file      string // its states file
	templated bool   // rendered for each node before it is parsed
	defaults  *docNode
	states    StateFile // of one that is not templated
	manifest
	rendered memo[renderedStates]
}

// renderedStates are what a templated states file comes to.
type renderedStates struct {
	states StateFile
	text   []byte
}

// StateFile is a states file as written: its States, in the order written.
type StateFile []*State

// State is one State as written: a StatePart for each function it names, and how it relates to other States.
type State struct {
	id         string
	full       string // component/id, from when it was first declared
	place      Place
	parts      []StatePart
	requisites []requisite
	lazy       bool
	when       *docNode
	forEach    *docNode
	order      string // first, last or nothing
	retry      Retry
	timeout    time.Duration
	onRemove   string
	undo       named
	meta       string    // meta.group and so on; empty: it has parts
	members    []named   // of a meta.group
	runs       []runList // of a meta.block or meta.sequence
	serial     int       // tells it from every other State of the catalogue
	memos      memos
}

// StatePart is one function with its parameters as written.
type StatePart struct {
	fn     *Function
	place  Place
	params []docEntry
}

// requisite is one relation as written, such as require: [a, b].
type requisite struct {
	key   string
	names []named
}

// component reads components/NAME once; nil when it cannot be used.
func (l *Catalogue) component(n named) *component {
	dir := path.Join("components", n.name)
	if _, ok := l.components[n.name]; !ok {
		l.components[n.name] = nil
		if validName(n.name) && l.tree.exists(dir) {
			l.components[n.name] = &component{name: n.name, dir: dir}
		} else {
			l.unknown[n.name] = suggest(n.name, l.tree.list("components"))
		}
	}
	c := l.components[n.name]
	switch {
	case !validName(n.name):
		l.problems.add(n.place, "letters, digits, -, . and _ only", "%q cannot be the name of a component", n.name)
	case c == nil:
		l.problems.add(n.place, l.unknown[n.name], "unknown component %q: there is no %s", n.name, dir)
	default:
		l.once(dir, func() { l.readComponent(c) })
	}
	return c
}

func (l *Catalogue) readComponent(c *component) {
	c.manifest = l.readManifest(c.dir)
	if name := l.oneForm(path.Join(c.dir, "defaults"), ".yaml", ".json"); name != "" {
		c.defaults = l.document(name)
		for _, e := range l.problems.mapOf(c.defaults, "defaults") {
			for _, d := range c.parameters {
				if d.Name == e.key && d.fallback != nil {
					l.problems.add(e.place, "keep one of them", "parameter %q has a default in component.yaml and one here", e.key)
				}
			}
		}
	}
	l.readStates(c)
}

func (l *Catalogue) readStates(c *component) {
	c.file = l.oneForm(path.Join(c.dir, "states"), ".yaml", ".yaml.j2", ".json", ".star")
	switch {
	case c.file == "":
		l.problems.add(Place{File: c.dir}, "", "a component needs a states.yaml, states.yaml.j2, states.json or states.star")
	case strings.HasSuffix(c.file, ".j2"), strings.HasSuffix(c.file, ".star"):
		c.templated = true
	default:
		c.states = l.declare(l.document(c.file))
	}
}

// declare takes a states file apart.
func (l *Catalogue) declare(doc *docNode) StateFile {
	doc = l.unwrap(doc)
	var decls StateFile
	for _, top := range l.problems.mapOf(doc, "a states file") {
		if top.key != "states" {
			l.problems.unknownKey(top, "a states file", []string{"states"})
			continue
		}
		for _, e := range l.problems.mapOf(top.value, "states") {
			if len(decls) >= MaxStates {
				l.problems.add(e.place, "", "more than %d states", MaxStates)
				return decls
			}
			if !validName(e.key) {
				l.problems.add(e.place, "letters, digits, -, . and _ only", "%q cannot be the id of a state", e.key)
				continue
			}
			decls = append(decls, l.declareState(e))
		}
	}
	return decls
}

func (l *Catalogue) declareState(e docEntry) *State {
	l.serial++
	d := &State{id: e.key, place: e.place, serial: l.serial}
	for _, k := range l.problems.mapOf(e.value, "a state") {
		switch {
		case strings.HasPrefix(k.key, "meta."):
			l.declareMeta(d, k)
		case strings.Contains(k.key, "."):
			l.declarePart(d, k)
		default:
			l.declareKey(d, k)
		}
	}
	l.checkMeta(d, e)
	if len(d.parts) == 0 && d.meta == "" && !l.saidWrong(d, e) {
		l.problems.add(e.place, "", "state %q does nothing: it names no function", e.key)
	}
	return d
}

// saidWrong is true when a part of the state was refused already.
func (l *Catalogue) saidWrong(_ *State, e docEntry) bool {
	if e.value == nil || e.value.kind != kindMap {
		return e.value != nil && e.value.kind != kindNull
	}
	for _, k := range e.value.entries {
		if strings.Contains(k.key, ".") {
			return true
		}
	}
	return false
}

func (l *Catalogue) declarePart(d *State, k docEntry) {
	fn, ok := l.functions[k.key]
	if !ok {
		l.unknownFunction(k)
		return
	}
	p := StatePart{fn: fn, place: k.place, params: l.problems.mapOf(k.value, k.key)}
	if k.value.kind == kindMap || k.value.kind == kindNull {
		l.checkNames(p)
	}
	d.parts = append(d.parts, p)
}

func (l *Catalogue) unknownFunction(k docEntry) {
	module, _, _ := strings.Cut(k.key, ".")
	if l.refused[module] {
		return // what is wrong with the module is said already
	}
	if !l.modules[module] {
		l.problems.add(k.place, suggest(k.key, keysOf(l.functions)), "unknown module %q", module)
		return
	}
	l.problems.add(k.place, suggest(k.key, keysOf(l.functions)), "unknown function %q", k.key)
}

func (l *Catalogue) declareKey(d *State, k docEntry) {
	c := l.problems
	switch k.key {
	case "lazy":
		d.lazy = c.boolOf(k.value, "lazy")
	case "when":
		if k.value.kind != kindString && k.value.kind != kindBool {
			c.add(k.value.place, "", "when must be an expression, not %s", k.value.describe())
			return
		}
		d.when = k.value
	case "for_each":
		if k.value.kind != kindString && k.value.kind != kindList && k.value.kind != kindMap {
			c.add(k.value.place, "", "for_each must be a list, a map or an expression, not %s", k.value.describe())
			return
		}
		d.forEach = k.value
	case "order":
		d.order = c.oneOf(k.value, k.key, wordsOf(stateTable, k.key)...)
	case "retry":
		d.retry = l.retryOf(k.value)
	case "timeout":
		d.timeout = l.durationOf(k.value, "timeout")
	case "on_remove":
		d.onRemove = c.oneOf(k.value, k.key, wordsOf(stateTable, k.key)...)
	case "undo":
		if s, ok := c.stringOf(k.value, "undo"); ok {
			d.undo = named{s, k.value.place}
		}
	default:
		for _, known := range requisiteKeys {
			if k.key == known {
				d.requisites = append(d.requisites, requisite{k.key, c.namesOf(k.value, k.key)})
				return
			}
		}
		c.unknownKey(k, "a state", append(keysOf(l.functions), stateKeys...))
	}
}

func (l *Catalogue) retryOf(n *docNode) Retry {
	r := Retry{Attempts: 1}
	for _, e := range l.problems.mapOf(n, "retry") {
		switch e.key {
		case "attempts":
			if e.value.kind != kindInt || e.value.integer < 1 || e.value.integer > 1000 {
				l.problems.add(e.value.place, "", "attempts must be a number from 1 to 1000, not %s", e.value.describe())
				continue
			}
			r.Attempts = int(e.value.integer)
		case "delay":
			r.Delay = l.durationOf(e.value, "delay")
		default:
			l.problems.unknownKey(e, "retry", keyNames(retryTable))
		}
	}
	return r
}

func (l *Catalogue) durationOf(n *docNode, what string) time.Duration {
	if n.kind != kindString {
		l.problems.add(n.place, `write a number and a unit, such as "30s"`, "%s must be a duration, not %s", what, n.describe())
		return 0
	}
	d, err := time.ParseDuration(n.text)
	if err != nil || d < 0 {
		l.problems.add(n.place, `write a number and a unit, such as "30s"`, "%s must be a duration, not %q", what, n.text)
	}
	return d
}
