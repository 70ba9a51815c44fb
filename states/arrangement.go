package states

import "crypto/sha256"

// The order and the edges of a plan follow from little of what its states hold, so that most nodes of a tree share them.

// Limits of the arrangements that a catalogue keeps.
const (
	maxArrangements = 16
	maxArranged     = 2 * MaxEdges // invocations and edges of all
)

// arrangement is a plan without the parts of its invocations.
type arrangement struct {
	invocations []StateInvocation
	sources     []int // the instance of each invocation
	edges       []Edge
	effects     effects
}

// arrangeShared is arrange, or what it did for another node with the same instances as far as arrange looks at them.
func (c *compilation) arrangeShared() {
	key, ok := c.arrangementKey()
	if !ok {
		c.arrange()
		return
	}
	if a, has := c.lib.graphs[key]; has && c.replay(&a.effects) {
		c.plan.Edges = a.edges
		c.plan.Invocations = make([]StateInvocation, len(a.invocations))
		copy(c.plan.Invocations, a.invocations)
		for i, at := range a.sources {
			c.plan.Invocations[i].Parts = c.instances[at].Parts
		}
		return
	}
	before, made := c.problems.calls, len(c.instances)
	outer, did := c.lib.noting, &effects{}
	c.lib.noting = did
	c.arrange()
	c.lib.noting = outer
	outer.add(did)
	if c.problems.calls == before && !did.reads.ofNode() && len(c.instances) == made {
		c.lib.keepArrangement(key, &arrangement{c.plan.Invocations, c.order, c.plan.Edges, *did})
	}
}

func (l *Catalogue) keepArrangement(key [32]byte, a *arrangement) {
	size := len(a.invocations) + len(a.edges)
	if len(l.graphs) >= maxArrangements || l.arranged+size > maxArranged {
		clear(l.graphs) // those that are wanted come again
		l.arranged = 0
	}
	l.graphs[key] = a
	l.arranged += size
}

// arrangementKey hashes all of the instances that arrange looks at; not ok: it cannot be said, as where outputs are read.
func (c *compilation) arrangementKey() (key [32]byte, ok bool) {
	e := encoder{out: c.lib.keyBuffer[:0]}
	e.text(string(c.plan.Policy.Order))
	for i := range c.instances {
		in := &c.instances[i]
		bare := in.StateInvocation
		bare.Parts = nil
		if e.invocation(&bare) != nil || bare.When != nil || in.reads {
			return key, false
		}
		e.number(in.decl.serial)
		e.text(in.component)
		e.text(in.home)
		e.text(in.order)
		for _, n := range []int{in.first, in.parent, in.root} {
			e.number(n)
		}
		e.bool(in.rescue)
		if in.scope.each != nil && e.value(in.scope.each, 0) != nil {
			return key, false
		}
		if !in.made.known {
			return key, false
		}
		e.number(len(in.made.things))
		e.out = append(e.out, in.made.things...)
	}
	for _, id := range keysOf(c.groups) {
		e.text(id)
		e.number(c.groups[id].serial)
	}
	for _, d := range c.written {
		e.number(d.serial)
	}
	c.lib.keyBuffer = e.out
	return sha256.Sum256(e.out), true
}

// thingsOf encodes what parts are, and what their parameters name on the machine.
func (c *compilation) thingsOf(parts []StatePartInvocation) madeParts {
	made := madeParts{parts: parts, known: true}
	var e encoder
	for _, p := range parts {
		e.text(p.Module)
		e.text(p.Function)
		fn := c.lib.functions[p.FullName()]
		for i := range fn.Params {
			param := &fn.Params[i]
			v := p.Params[param.Name]
			if isDeferred(v) || (param.Provides != "" || param.Needs != "") && e.value(v, 0) != nil {
				made.known = false
			}
		}
	}
	made.things = e.out
	return made
}

// isDeferred tells whether any of a value is known only later.
func isDeferred(v any) bool {
	switch v := v.(type) {
	case Deferred:
		return true
	case []any:
		for _, item := range v {
			if isDeferred(item) {
				return true
			}
		}
	case map[string]any:
		for _, item := range v {
			if isDeferred(item) {
				return true
			}
		}
	}
	return false
}
