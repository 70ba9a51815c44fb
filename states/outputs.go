package states

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

const (
	outputsUnknown = "outputs cannot be read here"
	outputsHint    = "they are known only while the states run: read them in a parameter, in when, or in a template of a parameter"
)

// changedOutput is an output of every state: whether this run changed it.
const changedOutput = "changed"

// deferring is what a compilation keeps of the outputs that its states read.
type deferring struct {
	allowed bool // what is evaluated now may read outputs
	made    int
	// reads says where each Deferred reads what, by the address of its first OutputRef, which stays with its copies.
	reads  map[*OutputRef][]outputRead
	scopes map[scopeKey]string // hashes
}

// scopeKey is a set of variables by its identity, and whether the fleet belongs to it.
type scopeKey struct {
	vars  uintptr
	fleet bool
}

// withoutOutputs runs f where the value must be known when the plan is made.
func (c *compilation) withoutOutputs(f func() (any, bool)) (any, bool) {
	defer func(before bool) { c.outputs.allowed = before }(c.outputs.allowed)
	c.outputs.allowed = false
	return f()
}

// textReads finds the outputs that a string reads.
func (c *compilation) textReads(n *docNode, pieces []piece) []outputRead {
	if !strings.Contains(n.text, "states") {
		return nil
	}
	var all []outputRead
	for _, p := range pieces {
		if !p.isExpr {
			continue
		}
		for _, r := range c.lib.expressions.compile(p.expression).outputs {
			r.whole = r.whole && len(pieces) == 1
			r.place = c.lib.expressionPlace(n, p.nth, len("${")+p.lead+max(0, r.offset))
			all = append(all, r)
		}
	}
	return all
}

// deferText leaves a string for the time when its outputs are known.
func (c *compilation) deferText(n *docNode, single bool, reads []outputRead, s *scope) (any, bool) {
	d := Deferred{Text: n.text, Type: String, Place: c.inTree(n.place)}
	if single {
		d.Type = Any
	}
	return c.deferred(d, reads, s, func(r outputRead) (any, error) {
		v, err := c.lib.expressions.eval(r.id, s)
		if err != nil {
			return nil, err
		}
		return v, nil
	})
}

// deferred completes d. Each read is known by the id that the text computes for it.
func (c *compilation) deferred(d Deferred, reads []outputRead, s *scope, id func(outputRead) (any, error)) (any, bool) {
	if !c.outputs.allowed {
		c.problems.add(reads[0].place, outputsHint, outputsUnknown)
		return nil, false
	}
	known := reads[:0:0]
	for _, r := range reads {
		as := r.id
		if r.isExpr {
			v, err := id(r)
			if err != nil {
				c.problems.add(r.place, "", "the id of a state whose outputs are read must be known when the plan is made: %s", err)
				return nil, false
			}
			as = asText(v)
		}
		ref := OutputRef{As: as, Output: r.output}
		if !slices.Contains(d.Reads, ref) {
			d.Reads, known = append(d.Reads, ref), append(known, r)
		}
	}
	if !c.spend(int64(len(d.Reads))*bytesPerValue, d.Place) {
		return nil, false
	}
	if c.outputs.reads == nil {
		c.outputs.reads, c.outputs.scopes = map[*OutputRef][]outputRead{}, map[scopeKey]string{}
	}
	c.outputs.made++
	c.lib.noting.reads.everything = true // it is not shared between nodes: its place in the plan is written into it
	c.outputs.reads[&d.Reads[0]] = known
	d.Each = s.each
	if !c.promises(&d) {
		return nil, false
	}
	var ok bool
	d.Scope, ok = c.keepScope(s, c.asksForFleet(d), d.Place)
	return d, ok
}

// asksForFleet is true where d might call nodes(). What a template includes is not looked into.
func (c *compilation) asksForFleet(d Deferred) bool {
	if !d.Template {
		return strings.Contains(d.Text, fleetFunction)
	}
	data, err := c.lib.tree.read(d.Text, MaxTemplateBytes)
	return err == nil && (strings.Contains(string(data), fleetFunction) || mutating.Match(data))
}

// keepScope puts what a text may know beside outputs into the plan, once for each set of variables.
func (c *compilation) keepScope(s *scope, withFleet bool, p Place) (string, bool) {
	key := scopeKey{reflect.ValueOf(s.vars).Pointer(), withFleet}
	if hash, ok := c.outputs.scopes[key]; ok {
		return hash, true
	}
	var fleet []Node
	if withFleet {
		fleet = c.lib.theFleet().nodes
		c.lib.noting.reads.fleet = true
	}
	data, err := encodeScope(s, fleet)
	if err != nil {
		c.problems.add(p, "", "the variables cannot be kept: %s", err)
		return "", false
	}
	hash := hashOf(data)
	c.outputs.scopes[key] = hash
	if c.plan.Scopes == nil {
		c.plan.Scopes = map[string][]byte{}
	}
	if _, has := c.plan.Scopes[hash]; !has {
		c.plan.Scopes[hash] = data
		return hash, c.spend(int64(len(data)), p)
	}
	return hash, true
}

// deferTemplate leaves a template that reads outputs for later; false: it reads none.
func (c *compilation) deferTemplate(engine engine, name string, e docEntry, s *scope) (v any, ok, later bool) {
	reads, problem := engine.outputs(name)
	if problem != nil {
		c.problems.add(problem.place, problem.hint, "%s", problem.message)
		return nil, false, true
	}
	if reads = append(slices.Clone(reads), s.late.all()...); len(reads) == 0 {
		return nil, false, false
	}
	d := Deferred{Text: name, Template: true, Type: Contents, Place: c.inTree(e.value.place)}
	v, ok = c.deferred(d, reads, s, func(r outputRead) (any, error) { return engine.evaluate(name, r.id, s) })
	return v, ok, true
}

// deferredWhen makes a when that reads outputs into a Deferred; nil: it reads none, or a problem was reported.
func (c *compilation) deferredWhen(d *State, p piece, wrapped bool, s *scope) (*Deferred, bool) {
	program := c.lib.expressions.compile(p.expression)
	late := c.lateReads([]piece{p}, s)
	if program.err != nil || len(program.outputs)+len(late) == 0 {
		return nil, false
	}
	n := &docNode{kind: kindString, place: d.when.place, text: "${" + p.expression + "}", computed: d.when.computed}
	reads := slices.Clone(program.outputs)
	for i := range reads {
		if wrapped {
			reads[i].place = c.lib.expressionPlace(d.when, 0, len("${")+p.lead+max(0, reads[i].offset))
		} else {
			reads[i].place = c.lib.inString(d.when.place, reads[i].offset)
		}
	}
	reads = append(reads, late...)
	c.outputs.allowed = true
	v, ok := c.deferText(n, true, reads, s)
	c.outputs.allowed = false
	if !ok {
		return nil, true
	}
	later := v.(Deferred)
	later.Type = Bool
	return &later, true
}

// both joins the when of a state with that of the block or sequence that runs it, which is asked first.
func both(outer, own *Deferred) *Deferred {
	if own == nil {
		return outer
	}
	own.And = outer
	return own
}

// inTree is a place in the tree for one in rendered text.
func (c *compilation) inTree(p Place) Place {
	if data, ok := c.problems.rendered[p.File]; ok && p.Line > 0 {
		moved := Problem{Place: p}
		c.problems.fromRendered(&moved, data)
		return moved.Place
	}
	return p
}

// asParameter gives what is deferred in a parameter's value its type, and checks the rest.
func asParameter(p *Param, v any) (any, string, error) {
	d, ok := v.(Deferred)
	if !ok {
		if list, isList := v.([]any); isList && p.Type == Strings {
			for i, item := range list {
				if d, ok := item.(Deferred); ok {
					d.Type = String
					list[i] = d
				}
			}
		}
		return checkValue(p, v)
	}
	if d.Type == String && !fits(String, p.Type) {
		return nil, "a text with other characters around ${ … } is a string", fmt.Errorf("must be %s, not a string", article(p.Type))
	}
	d.Type, d.OneOf = p.Type, p.OneOf
	return d, "", nil
}

func article(t Type) string {
	if t == Int {
		return "an int"
	}
	return "a " + string(t)
}

// fits tells whether an output of a type may be what a parameter of another needs. Of a string only its value can tell.
func fits(from, to Type) bool {
	text := []Type{String, Path, Mode, Duration}
	switch {
	case from == to, from == Any, to == Any:
		return true
	case to == Contents:
		return slices.Contains(text, from)
	case from == String || to == String:
		return slices.Contains(text, from) && slices.Contains(text, to)
	}
	return false
}

// replaceDeferred replaces each Deferred in a value.
func replaceDeferred(v any, f func(Deferred) Deferred) any {
	switch v := v.(type) {
	case Deferred:
		return f(v)
	case []any:
		for i, item := range v {
			v[i] = replaceDeferred(item, f)
		}
	case map[string]any:
		for k, item := range v {
			v[k] = replaceDeferred(item, f)
		}
	}
	return v
}

// connectOutputs finds the states whose outputs are read, and puts them before their readers.
func (c *compilation) connectOutputs() {
	if c.outputs.made == 0 {
		return
	}
	for at := range c.instances {
		in := &c.instances[at]
		if !in.reads {
			continue
		}
		if in.ownWhen {
			*in.When = c.resolveReads(at, *in.When, "when")
		}
		for i := range in.Parts {
			part := &in.Parts[i]
			for _, name := range keysOf(part.Params) {
				if !isDeferred(part.Params[name]) {
					continue
				}
				what := fmt.Sprintf("parameter %q of %s", name, part.FullName())
				part.Params[name] = replaceDeferred(part.Params[name], func(d Deferred) Deferred { return c.resolveReads(at, d, what) })
			}
		}
	}
}

// resolveReads finds the invocations whose outputs d reads. Where none runs before this one, as in a sequence that runs it
// again later, the output is left out: reading it is an error then, but not having it in a branch that is not taken.
func (c *compilation) resolveReads(at int, d Deferred, what string) Deferred {
	if len(d.Reads) == 0 {
		return d
	}
	reads := c.outputs.reads[&d.Reads[0]]
	var found []OutputRef
	for i, ref := range d.Reads {
		producer, out := c.producer(at, ref, reads[i])
		if producer < 0 {
			continue
		}
		from := &c.instances[producer]
		if reads[i].whole && !fits(out.Type, d.Type) {
			c.problems.add(reads[i].place, "", "%s must be %s, and output %s of %s is %s", what, article(d.Type), ref.Output, ref.As, article(out.Type))
		}
		ref.ID, ref.Number = from.ID, from.Number
		found = append(found, ref)
	}
	d.Reads = found
	return d
}

// producer is the invocation that an output is read of, and what it says of it; -1: none, or a problem was reported.
func (c *compilation) producer(at int, ref OutputRef, r outputRead) (int, Output) {
	in := &c.instances[at]
	name := completed(ref.As, in.component)
	decl := c.declared[name]
	switch {
	case decl != nil && decl.forEach != nil:
		hint := fmt.Sprintf(`write states["%s[KEY]"]`, ref.As)
		c.problems.add(r.place, hint, "%q stands for all elements of a for_each: name the one whose output is meant", ref.As)
		return -1, Output{}
	case decl != nil && decl.meta != "":
		c.problems.add(r.place, "name one of its states", "a %s has no outputs", decl.meta)
		return -1, Output{}
	case len(c.known[name]) == 0 && decl == nil:
		c.unknownState(r.place, name, in.component, "states[…]")
		return -1, Output{}
	}
	out, ok := c.outputOf(ref, r, c.known[name])
	if !ok {
		return -1, Output{}
	}
	producer, skip := -1, ""
	fit := c.fitting("require", named{ref.As, r.place}, at, c.known[name])
	for _, from := range fit {
		if skip = c.instances[from].Skip; skip == "" {
			producer = from
		}
		reason := fmt.Sprintf("output %s of %s in %s", ref.Output, ref.As, in.ID)
		if !c.join(link{from: from, to: at, kind: EdgeRequire, reason: reason, place: r.place}) {
			return -1, Output{}
		}
	}
	if producer < 0 && skip != "" {
		c.problems.add(r.place, "", "%s has no outputs on this node, since it is skipped (%s)", ref.As, skip)
	}
	return producer, out
}

// outputOf is what the functions of a state say of an output; the last part that has it wins.
func (c *compilation) outputOf(ref OutputRef, r outputRead, targets []int) (Output, bool) {
	if ref.Output == changedOutput {
		return Output{Name: changedOutput, Type: Bool}, true
	}
	if len(targets) == 0 {
		return Output{}, false
	}
	known := []string{changedOutput}
	parts := c.instances[targets[0]].decl.parts
	for i := len(parts) - 1; i >= 0; i-- {
		for _, out := range parts[i].fn.Outputs {
			if out.Name != ref.Output {
				known = append(known, out.Name)
				continue
			}
			if out.Command && c.plan.Policy.CommandOutputs != "allow" {
				c.problems.add(r.place, "write command_outputs: allow below policy in site.yaml",
					"output %s of %s is what a command printed, and policy.command_outputs is deny", ref.Output, ref.As)
				return Output{}, false
			}
			return out, true
		}
	}
	hint := suggest(ref.Output, known)
	if hint == "" {
		slices.Sort(known)
		hint = "it has " + strings.Join(slices.Compact(known), ", ")
	}
	c.problems.add(r.place, hint, "%s has no output %q", ref.As, ref.Output)
	return Output{}, false
}
