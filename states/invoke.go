package states

// frame is what a block or sequence hands on to all that it runs.
type frame struct {
	with   map[string]any // lies over the variables
	late   lateVariables  // of these
	skip   string         // why nothing of it runs
	when   *Deferred
	lazy   bool
	rescue bool
}

// under lays the frame's variables over those of a component.
func (f frame) under(s scope) scope {
	if len(f.with) > 0 {
		s.vars, s.late = merge(s.vars, f.with), f.late
	}
	return s
}

// expandRunner makes the invocations of all that a block or sequence runs, and after them its own.
func (c *compilation) expandRunner(d *declared, f frame) []int {
	s := f.under(*d.scope)
	in := c.instanceOf(d, s, "", f)
	in.first = len(c.instances)
	inner := frame{with: f.with, late: f.late, skip: in.Skip, when: in.When, lazy: in.Lazy, rescue: f.rescue}
	if in.Skip != "" && f.skip == "" {
		inner.skip += ", in " + in.ID
	}
	lists := make([][]int, len(d.runs))
	for i, list := range d.runs {
		inner.rescue = f.rescue || list.key == "rescue"
		for _, st := range list.steps {
			lists[i] = append(lists[i], c.expandStep(d, st, &s, inner)...)
			if c.full {
				return nil
			}
		}
	}
	if d.meta == metaBlock {
		in.Block = &Block{Run: lists[0], Rescue: lists[1], Always: lists[2]}
	} else {
		in.Sequence = append([]int{}, lists[0]...)
	}
	at := c.appendInstance(in)
	if at < 0 {
		return nil
	}
	for _, list := range lists {
		for _, child := range list {
			c.instances[child].parent = at + 1
		}
	}
	return []int{at}
}

// expandStep makes the invocations of one item: of a for_each all elements in order, of a group all members.
func (c *compilation) expandStep(owner *declared, st step, s *scope, f frame) []int {
	if st.with != nil && f.skip == "" {
		var ok bool
		if f, ok = c.give(st, owner, s, f); !ok {
			return nil // reported
		}
	}
	var made []int
	for _, to := range c.callees(st.named, owner) {
		c.checkWith(st, to, f)
		switch {
		case to.runsOthers():
			made = append(made, c.expandRunner(to.declared, f)...)
		case to.element == "":
			made = append(made, c.expandAll(to.declared, f)...)
		default:
			made = append(made, c.expandElement(to, st.named, f)...)
		}
		if c.full {
			return nil
		}
	}
	return made
}

// checkWith checks the variables that a step gives against the parameters that the component of the state declares.
func (c *compilation) checkWith(st step, to callee, f frame) {
	if st.with == nil || f.skip != "" {
		return
	}
	for _, e := range st.with.entries {
		v := f.with[e.key]
		for i := range to.comp.parameters {
			d := &to.comp.parameters[i]
			if d.Name != e.key || v == nil || isDeferred(v) {
				continue
			}
			if hint, err := d.check(v); err != nil {
				c.problems.add(e.value.place, hint, "parameter %q of component %q: %s", d.Name, to.comp.name, err)
			}
		}
		if to.comp.declares && !c.lib.elsewhere(e.key) {
			known := map[string]bool{}
			to.comp.variables(known)
			c.problems.add(e.place, suggest(e.key, keysOf(known)), "unknown variable %q: no component has a parameter of this name", e.key)
		}
	}
}

// eachElements are the elements of a for_each, found by what their ids end with.
type eachElements struct {
	keys, values []any
	index        map[string]int
}

// expandElement makes the invocation of one element of a for_each.
func (c *compilation) expandElement(to callee, n named, f frame) []int {
	s := f.under(*to.scope)
	all := c.elementsFor(to.declared, &s, len(f.with) == 0)
	if i, ok := all.index[to.element]; ok {
		return c.expandEach(to.declared, s, all.keys[i], all.values[i], f)
	}
	if all.index != nil {
		known := keysOf(all.index)
		c.problems.add(n.place, suggest(to.element, known), "there is no element %s of %s", to.element, to.fullID())
	}
	return nil
}

// elementsFor evaluates a for_each; where no with: changes its variables, once.
func (c *compilation) elementsFor(d *declared, s *scope, plain bool) eachElements {
	if all, ok := c.elements[d]; ok && plain {
		return all
	}
	keys, values, ok := c.eachOf(d.State, s)
	all := eachElements{keys: keys, values: values}
	if ok {
		all.index = make(map[string]int, len(keys))
		for i, key := range keys {
			all.index[suffixOf(key)] = i
		}
	}
	if plain {
		c.elements[d] = all
	}
	return all
}

// mark says of what was made for a block or sequence that nothing else runs that it counts as written where that is.
func (c *compilation) mark(root int) {
	r := &c.instances[root]
	for at := r.first; at <= root; at++ {
		in := &c.instances[at]
		in.root, in.home, in.order = root+1, r.component, r.decl.order
	}
}

// supersede tells each invocation of a state of the next one that runs. What rescues is needed when it is its turn, whatever
// comes later.
func (c *compilation) supersede() {
	later := map[string]int{}
	for at := len(c.instances) - 1; at >= 0; at-- {
		in := &c.instances[at]
		if in.root == 0 || in.Skip != "" || len(in.Parts) == 0 || in.rescue {
			continue
		}
		in.SupersededBy = later[in.ID]
		later[in.ID] = at
	}
}
