package states

import (
	"fmt"
	"strconv"
)

// instance is one invocation on its way into the plan.
type instance struct {
	StateInvocation
	decl      *State
	component string
	scope     scope
	made      madeParts
}

// expandComponent makes the invocations of a component for the node.
func (c *compilation) expandComponent(comp *component) {
	s := c.scope(c.variablesOf(comp))
	decls := comp.states
	if comp.templated {
		made := recall(c, &comp.rendered, &s, func() renderedStates {
			states := c.renderStates(comp, &s)
			return renderedStates{states, c.problems.rendered[comp.file]}
		})
		decls = made.states
		c.problems.rendered[comp.file] = made.text
	}
	for _, d := range decls {
		id := comp.name + "/" + d.id
		if d.group {
			c.groups[id] = d
		}
		if !d.group || len(d.parts) > 0 {
			c.known[id] = []int{}
		}
		c.expandState(comp, d, s)
		if c.full {
			return
		}
	}
}

// renderStates renders a states.yaml.j2 and reads the result.
func (c *compilation) renderStates(comp *component, s *scope) StateFile {
	if _, err := c.lib.tree.read(comp.file, MaxTemplateBytes); err != nil {
		c.problems.add(Place{File: comp.file}, "", "%s", reason(err))
		return nil
	}
	data, problem := c.lib.engines[".j2"].render(comp.file, s)
	if problem != nil {
		c.problems.add(problem.place, problem.hint, "%s", problem.message)
		return nil
	}
	if len(data) > MaxDocumentBytes {
		c.problems.add(Place{File: comp.file}, "", "renders to more than %s", sizeText(MaxDocumentBytes))
		return nil
	}
	c.problems.rendered[comp.file] = data
	return c.lib.declare(c.lib.parse(comp.file, data))
}

func (c *compilation) expandState(comp *component, d *State, s scope) {
	if d.group && len(d.parts) == 0 {
		if d.forEach != nil || d.when != nil {
			c.problems.add(d.place, "", "a meta.group takes neither for_each nor when")
		}
		return
	}
	if d.forEach == nil {
		c.expandOne(comp, d, s, "")
		return
	}
	v, ok := c.sharedValue(&d.memos.forEach, d.forEach, &s)
	if !ok {
		return
	}
	keys, values, ok := eachOf(v)
	if !ok {
		c.problems.add(d.forEach.place, "", "for_each must be a list or a map, not %s", typeName(v))
		return
	}
	if len(keys) > MaxForEach {
		c.problems.add(d.forEach.place, "", "for_each over %d values: the limit is %d", len(keys), MaxForEach)
		return
	}
	for i, key := range keys {
		each := s
		each.each = map[string]any{"key": key, "value": values[i]}
		c.expandOne(comp, d, each, fmt.Sprintf("[%v]", key))
		if c.full {
			return
		}
	}
}

// eachOf lists what a for_each runs over: a list with its indices, a map in the order of its keys.
func eachOf(v any) (keys, values []any, ok bool) {
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			keys, values = append(keys, int64(i)), append(values, item)
		}
		return keys, values, true
	case map[string]any:
		for _, k := range keysOf(v) {
			keys, values = append(keys, k), append(values, v[k])
		}
		return keys, values, true
	}
	return nil, nil, false
}

func (c *compilation) expandOne(comp *component, d *State, s scope, suffix string) {
	if c.problems.hopeless() {
		c.full = true
		return
	}
	if len(c.instances) >= MaxStates {
		c.full = true
		c.problems.add(d.place, "", "more than %d states for one node", MaxStates)
		return
	}
	base := comp.name + "/" + d.id
	in := instance{decl: d, component: comp.name, scope: s, StateInvocation: StateInvocation{
		ID: base + suffix, Number: 1, Lazy: d.lazy, OnRemove: c.plan.Policy.OnRemove,
		Retry: d.retry, Timeout: d.timeout, Place: d.place,
	}}
	if d.onRemove != "" {
		in.OnRemove = d.onRemove
	}
	in.Skip = c.skipped(d, &s)
	in.made = c.parts(d, &s, comp.dir, in.Skip != "")
	in.Parts = in.made.parts
	at := len(c.instances)
	c.instances = append(c.instances, in)
	c.known[base] = append(c.known[base], at)
	if suffix != "" {
		c.known[in.ID] = []int{at}
	}
}

// madeParts are the parts of an instance. Nobody changes them.
type madeParts struct {
	parts []StatePartInvocation
	// things is what arrange looks at of them, encoded; not known where that depends on what is known later.
	things []byte
	known  bool
}

// parts evaluates the parts of a state; of one that is skipped it only names them.
func (c *compilation) parts(d *State, s *scope, dir string, skipped bool) madeParts {
	if len(d.parts) == 0 {
		return madeParts{known: true}
	}
	if skipped {
		made := make([]StatePartInvocation, len(d.parts))
		for i, p := range d.parts {
			made[i] = StatePartInvocation{Module: p.fn.Module, Function: p.fn.Name, Place: p.place}
		}
		return c.thingsOf(made)
	}
	return recall(c, &d.memos.parts, s, func() madeParts {
		made := make([]StatePartInvocation, len(d.parts))
		for i, p := range d.parts {
			made[i] = c.part(p, s, dir)
		}
		return c.thingsOf(made)
	})
}

// skipped evaluates when: and says why the state does not run; empty: it does.
func (c *compilation) skipped(d *State, s *scope) string {
	if d.when == nil {
		return ""
	}
	return recall(c, &d.memos.when, s, func() string { return c.evaluateWhen(d, s) })
}

func (c *compilation) evaluateWhen(d *State, s *scope) string {
	if d.when.kind == kindBool {
		if d.when.boolean {
			return ""
		}
		return "when: false"
	}
	text := d.when.text
	pieces, err := c.lib.split(text)
	p := piece{expression: text, isExpr: true}
	wrapped := err == nil && len(pieces) == 1 && pieces[0].isExpr
	if wrapped {
		p = pieces[0]
	}
	v, e := c.lib.expressions.eval(p.expression, s)
	if e != nil {
		place := c.lib.inString(d.when.place, e.offset)
		if wrapped {
			place = c.lib.expressionPlace(d.when.place, 0, max(0, 2+p.lead+e.offset))
		}
		c.problems.add(place, e.hint, "when: %s", e.message)
		return "when: it cannot be evaluated"
	}
	yes, ok := v.(bool)
	if !ok {
		c.problems.add(d.when.place, "", "when must be true or false, and it is %s", typeName(v))
		return "when: it cannot be evaluated"
	}
	if yes {
		return ""
	}
	return "when: " + strconv.Quote(p.expression) + " is false"
}
