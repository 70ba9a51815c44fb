package states

import (
	"fmt"
	"strconv"
	"strings"
)

// instance is one invocation on its way into the plan.
type instance struct {
	StateInvocation
	decl      *State
	component string
	scope     scope
	made      madeParts
	home      string // the component in whose order it is: of what runs it
	order     string
	first     int  // the first of the instances that a block or sequence runs, down to itself; of others itself
	parent    int  // 1 + the block or sequence that runs it; 0: none
	root      int  // 1 + the outermost of these, itself included; 0: none
	rescue    bool // runs to rescue
	reads     bool // outputs
	ownWhen   bool // When is its own, not of what runs it
}

// declareComponent declares the states of a component for the node.
func (c *compilation) declareComponent(comp *component) {
	s := c.scope(c.variablesOf(comp))
	decls := comp.states
	if comp.templated {
		made := recall(c, &comp.rendered, &s, func() renderedStates {
			states := c.renderStates(comp, &s)
			return renderedStates{states, c.problems.rendered[comp.file]}
		})
		decls = made.states
		if made.text != nil {
			c.problems.rendered[comp.file] = made.text
		}
	}
	all := make([]declared, len(decls))
	for i, state := range decls {
		d := &all[i]
		if state.full == "" {
			state.full = comp.name + "/" + state.id
		}
		*d = declared{State: state, comp: comp, scope: &s}
		c.written = append(c.written, d)
		c.declared[d.fullID()] = d
		if d.meta == metaGroup {
			c.groups[d.fullID()] = d
		} else {
			c.known[d.fullID()] = []int{}
		}
	}
}

// expand makes the invocations of what is declared, in the order written. What a block or sequence runs is expanded there.
func (c *compilation) expand() {
	c.claimAll()
	for _, d := range c.written {
		if c.full {
			return
		}
		switch {
		case d.meta == metaGroup || c.claimed(d.fullID(), ""):
		case d.runsOthers():
			for _, at := range c.expandRunner(d, frame{}) {
				c.mark(at)
			}
		default:
			c.expandAll(d, frame{})
		}
	}
	c.supersede()
}

// renderStates renders a states.yaml.j2 and reads the result, or calls the states() of a states.star.
func (c *compilation) renderStates(comp *component, s *scope) StateFile {
	if strings.HasSuffix(comp.file, ".star") {
		c.lib.noting.reads.everything = true // a program may look at anything
		doc, errs := c.lib.star.states(comp.file, s)
		c.problems.addAll(errs)
		return c.lib.declare(doc)
	}
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

// expandAll makes the invocations of a state: of a for_each all elements in order, but those that something else runs.
func (c *compilation) expandAll(d *declared, f frame) []int {
	s := f.under(*d.scope)
	if d.forEach == nil {
		return c.expandOne(d, s, "", f)
	}
	var made []int
	keys, values, _ := c.eachOf(d.State, &s)
	for i, key := range keys {
		if c.claimed(d.fullID(), suffixOf(key)) && !c.claimed(d.fullID(), "") {
			continue
		}
		made = append(made, c.expandEach(d, s, key, values[i], f)...)
		if c.full {
			return nil
		}
	}
	return made
}

func (c *compilation) expandEach(d *declared, s scope, key, value any, f frame) []int {
	s.each = map[string]any{"key": key, "value": value}
	return c.expandOne(d, s, suffixOf(key), f)
}

// suffixOf is how the id of an element ends.
func suffixOf(key any) string { return fmt.Sprintf("[%v]", key) }

// eachOf evaluates what a for_each runs over; false when a problem was reported.
func (c *compilation) eachOf(d *State, s *scope) (keys, values []any, ok bool) {
	v, ok := c.sharedValue(&d.memos.forEach, d.forEach, s)
	if !ok {
		return nil, nil, false
	}
	if keys, values, ok = eachOf(v); !ok {
		c.problems.add(d.forEach.place, "", "for_each must be a list or a map, not %s", typeName(v))
		return nil, nil, false
	}
	if len(keys) > MaxForEach {
		c.problems.add(d.forEach.place, "", "for_each over %d values: the limit is %d", len(keys), MaxForEach)
		return nil, nil, false
	}
	return keys, values, true
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

func (c *compilation) expandOne(d *declared, s scope, suffix string, f frame) []int {
	made := c.outputs.made
	in := c.instanceOf(d, s, suffix, f)
	in.made = c.parts(d.State, &s, d.comp.dir, in.Skip != "")
	in.Parts = in.made.parts
	in.first, in.reads = len(c.instances), in.reads || c.outputs.made > made
	if at := c.appendInstance(in); at >= 0 {
		return []int{at}
	}
	return nil
}

// instanceOf makes an invocation without parts.
func (c *compilation) instanceOf(d *declared, s scope, suffix string, f frame) instance {
	in := instance{decl: d.State, component: d.comp.name, home: d.comp.name, order: d.order, scope: s, rescue: f.rescue, StateInvocation: StateInvocation{
		ID: d.fullID() + suffix, Lazy: d.lazy || f.lazy, OnRemove: c.plan.Policy.OnRemove, When: f.when,
		Retry: d.retry, Timeout: d.timeout, Place: d.place, Skip: f.skip,
	}}
	if d.onRemove != "" {
		in.OnRemove = d.onRemove
	}
	if in.Skip == "" {
		var own *Deferred
		in.Skip, own = c.skipped(d.State, &s)
		in.When, in.ownWhen = both(f.when, ownOf(own)), own != nil
		in.reads = own != nil
	}
	return in
}

// ownOf is a copy: what made it may be shared.
func ownOf(when *Deferred) *Deferred {
	if when == nil {
		return nil
	}
	own := *when
	return &own
}

// appendInstance gives an invocation its number and its index; -1: there are too many.
func (c *compilation) appendInstance(in instance) int {
	if c.problems.hopeless() {
		c.full = true
	}
	if len(c.instances) >= MaxStates && !c.full {
		c.full = true
		c.problems.add(in.Place, "", "more than %d states for one node", MaxStates)
	}
	if c.full {
		return -1
	}
	at := len(c.instances)
	base := in.ID
	if in.scope.each != nil {
		base = in.component + "/" + in.decl.id
	}
	if known := c.known[base]; len(known) == 0 {
		c.indices = append(c.indices, at) // one allocation for the usual lists of one
		c.known[base] = c.indices[len(c.indices)-1 : len(c.indices) : len(c.indices)]
	} else {
		c.known[base] = append(known, at)
	}
	if in.ID != base {
		c.known[in.ID] = append(c.known[in.ID], at)
		in.Number = len(c.known[in.ID])
	} else {
		in.Number = len(c.known[base])
	}
	c.instances = append(c.instances, in)
	return at
}

const whenFailed = "when: it cannot be evaluated"

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

// whenMade is what a when says: why the state does not run, or the outputs that decide it.
type whenMade struct {
	skip  string
	later *Deferred
}

// skipped evaluates when: and says why the state does not run; empty: it does, or what it reads decides.
func (c *compilation) skipped(d *State, s *scope) (string, *Deferred) {
	if d.when == nil {
		return "", nil
	}
	made := recall(c, &d.memos.when, s, func() whenMade {
		skip, later := c.evaluateWhen(d, s)
		return whenMade{skip, later}
	})
	return made.skip, made.later
}

func (c *compilation) evaluateWhen(d *State, s *scope) (string, *Deferred) {
	if d.when.kind == kindBool {
		if d.when.boolean {
			return "", nil
		}
		return "when: false", nil
	}
	text := d.when.text
	pieces, err := c.lib.split(text)
	p := piece{expression: text, isExpr: true}
	wrapped := err == nil && len(pieces) == 1 && pieces[0].isExpr
	if wrapped {
		p = pieces[0]
	}
	if later, reads := c.deferredWhen(d, p, wrapped, s); reads {
		if later == nil {
			return whenFailed, nil
		}
		return "", later
	}
	v, e := c.lib.expressions.eval(p.expression, s)
	if e != nil {
		place := c.lib.inString(d.when.place, e.offset)
		if wrapped {
			place = c.lib.expressionPlace(d.when, 0, max(0, 2+p.lead+e.offset))
		}
		c.problems.add(place, e.hint, "when: %s", e.message)
		return whenFailed, nil
	}
	yes, ok := v.(bool)
	if !ok {
		c.problems.add(d.when.place, "", "when must be true or false, and it is %s", typeName(v))
		return whenFailed, nil
	}
	if yes {
		return "", nil
	}
	return "when: " + strconv.Quote(p.expression) + " is false", nil
}
