package states

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
)

// lateVariables are the variables that a sequence gave with an output in their value, and the outputs that they wait for. What
// uses such a variable waits for them too.
type lateVariables map[string][]outputRead

// give evaluates what a step gives, which may read outputs, and lays it over what is given already.
func (c *compilation) give(st step, owner *declared, s *scope, f frame) (frame, bool) {
	c.outputs.allowed = true
	v, ok := c.evaluate(st.with, s)
	c.outputs.allowed = false
	with, isMap := v.(map[string]any)
	if !ok || !isMap {
		return f, false
	}
	f.with = merge(f.with, with)
	late := lateVariables{}
	maps.Copy(late, f.late)
	for name, v := range with {
		if _, merges := v.(map[string]any); !merges {
			delete(late, name)
		}
		if reads := c.waitsFor(v, owner.comp.name); len(reads) > 0 {
			late[name] = append(slices.Clone(late[name]), reads...)
		}
	}
	if f.late = nil; len(late) > 0 {
		f.late = late
	}
	return f, true
}

// waitsFor lists the outputs that a value waits for, by the whole names of their states: what uses it may be in another
// component. Each Deferred keeps that name as the ID of its read.
func (c *compilation) waitsFor(v any, component string) (reads []outputRead) {
	replaceDeferred(v, func(d Deferred) Deferred {
		for i, ref := range d.Reads {
			d.Reads[i].ID = completed(ref.As, component)
			if base, _, _ := strings.Cut(d.Reads[i].ID, "["); c.declared[base] == nil {
				c.unknownState(d.Place, d.Reads[i].ID, component, "states[…]")
				continue
			}
			reads = append(reads, outputRead{id: d.Reads[i].ID, output: ref.Output, place: d.Place})
		}
		return d
	})
	return reads
}

// lateReads lists the outputs that the variables in the expressions of a string wait for.
func (c *compilation) lateReads(pieces []piece, s *scope) (reads []outputRead) {
	if len(s.late) == 0 {
		return nil
	}
	for _, p := range pieces {
		if !p.isExpr {
			continue
		}
		names, all := c.lib.expressions.variables(p.expression)
		for _, name := range keysOf(s.late) {
			if all || slices.Contains(names, name) {
				reads = append(reads, s.late[name]...)
			}
		}
	}
	return reads
}

// all lists what any of the variables waits for: nobody knows which of them a template uses.
func (l lateVariables) all() (reads []outputRead) {
	for _, name := range keysOf(l) {
		reads = append(reads, l[name]...)
	}
	return reads
}

// variables lists the variables that an expression names. all: it may use others too.
func (x *expressions) variables(text string) (names []string, all bool) {
	parsed, issues := x.env.Compile(text)
	if issues.Err() != nil {
		return nil, false // told where it is evaluated
	}
	for _, e := range ast.MatchDescendants(ast.NavigateAST(parsed.NativeRep()), ast.KindMatcher(ast.IdentKind)) {
		if e.AsIdent() != "vars" {
			continue
		}
		_, key, err := step1(e)
		name := constant(key)
		if err != nil || name == "" {
			return nil, true
		}
		names = append(names, name)
	}
	return names, false
}

// maxLateVariables bounds how many variables one value waits for, each as often as it is used by another.
const maxLateVariables = 1000

var errLateVariables = errors.New("its variables wait for too many outputs")

// settle replaces the variables that waited for outputs. known has these, by the whole names of their states. A variable
// whose outputs are not known is left out.
func (l *Late) settle(vars map[string]any, known map[string]map[string]any, budget *int) (map[string]any, error) {
	if !isDeferred(vars) {
		return vars, nil
	}
	v, _, err := l.settled(vars, known, budget)
	settled, _ := v.(map[string]any)
	return settled, err
}

func (l *Late) settled(v any, known map[string]map[string]any, budget *int) (any, bool, error) {
	switch v := v.(type) {
	case Deferred:
		return l.settleOne(v, known, budget)
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, item := range v {
			value, ok, err := l.settled(item, known, budget)
			if err != nil {
				return nil, false, err
			}
			if ok {
				m[name] = value
			}
		}
		return m, true, nil
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			value, ok, err := l.settled(item, known, budget)
			if err != nil || !ok {
				return nil, false, err
			}
			list[i] = value
		}
		return list, true, nil
	}
	return v, true, nil
}

func (l *Late) settleOne(d Deferred, known map[string]map[string]any, budget *int) (any, bool, error) {
	if *budget--; *budget < 0 {
		return nil, false, errLateVariables
	}
	base, err := l.base(d)
	if err != nil {
		return nil, false, err
	}
	s := *base
	s.each, s.states = d.Each, map[string]any{}
	for _, ref := range d.Reads {
		value, ok := known[ref.ID][ref.Output]
		if !ok {
			return nil, false, nil
		}
		s.know(ref, value)
	}
	if s.vars, err = l.settle(base.vars, known, budget); err != nil {
		return nil, false, err
	}
	return l.evaluate(d, &s)
}
