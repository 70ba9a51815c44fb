package states

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// Late evaluates what a plan left open, once the outputs that it reads are known. Like compiling it is a function of the tree,
// the plan and the outputs, under the same limits; it may be used by several goroutines.
type Late struct {
	fsys    fs.FS
	plan    *Plan
	secrets *Secrets

	mu     sync.Mutex
	lib    *Catalogue // made when first asked for
	scopes map[string]*lateScope
}

// lateScope is a decoded scope, with all nodes there are where the text asks for them.
type lateScope struct {
	scope scope
	fleet []Node
}

// NewLate evaluates the deferred values of a plan that was compiled from this tree.
func NewLate(fsys fs.FS, plan *Plan) *Late {
	return &Late{fsys: fsys, plan: plan, scopes: map[string]*lateScope{}}
}

// With says what secret() answers from; without it there is no mesh.
func (l *Late) With(secrets *Secrets) *Late {
	l.secrets = secrets
	return l
}

// Resolve evaluates d. A Content comes with the bytes that its hash names. An error is Problems, at the place in the tree.
func (l *Late) Resolve(d Deferred, outputs map[OutputRef]any) (value any, rendered []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.scope(d, outputs)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.Place, err)
	}
	c := l.compilation(s, d)
	if _, err := l.lib.tree.read(d.Place.File, MaxDocumentBytes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: %w", d.Place, err)
	}
	value, ok := c.resolve1(d, s)
	if ps := c.problems.sorted(); !ok || len(ps) > 0 {
		return nil, nil, ps
	}
	if content, ok := value.(Content); ok {
		rendered = c.plan.Rendered[content.Hash]
	}
	return value, rendered, nil
}

func (l *Late) compilation(s *scope, d Deferred) *compilation {
	l.lib.give(l.secrets, s.node.Name)
	l.lib.secrets.twin = d.StandIns
	c := &compilation{lib: l.lib, problems: newCollector(l.lib.tree), node: s.node, plan: &Plan{Rendered: map[string][]byte{}}}
	l.lib.problems = c.problems
	return c
}

// evaluate evaluates a variable.
func (l *Late) evaluate(d Deferred, s *scope) (any, bool, error) {
	c := l.compilation(s, d)
	value, ok := c.resolve1(d, s)
	if ps := c.problems.sorted(); !ok || len(ps) > 0 {
		return nil, false, ps
	}
	return value, true, nil
}

// resolve1 evaluates d in a scope that has the outputs.
func (c *compilation) resolve1(d Deferred, s *scope) (any, bool) {
	n := &docNode{kind: kindString, place: d.Place, text: d.Text}
	if d.Template {
		e := docEntry{key: "template", value: n, place: d.Place}
		v, ok := c.template(d.Text, d.Text, e, s)
		return marked(v, d.Secret), ok
	}
	v, ok := c.interpolate(n, s)
	if !ok {
		return nil, false
	}
	if d.Type == Contents {
		text, isText := v.(string)
		if !isText {
			c.problems.add(d.Place, "", "content must be a string, not %s", typeName(v))
			return nil, false
		}
		v, ok := c.keep([]byte(text), "content", d.Place)
		return marked(v, d.Secret), ok
	}
	checked, hint, err := checkValue(&Param{Type: d.Type, OneOf: d.OneOf}, v)
	if err != nil {
		c.problems.add(d.Place, hint, "${ … } %s", err)
		return nil, false
	}
	return checked, true
}

func marked(v any, secret bool) any {
	if content, ok := v.(Content); ok {
		content.Secret = content.Secret || secret
		return content
	}
	return v
}

// scope is what d was written under, with its outputs.
func (l *Late) scope(d Deferred, outputs map[OutputRef]any) (*scope, error) {
	base, err := l.base(d)
	if err != nil {
		return nil, err
	}
	s := *base
	s.each, s.states = d.Each, map[string]any{}
	whole := map[string]map[string]any{} // the outputs by the whole names of their states
	for _, ref := range d.Reads {
		v, known := outputs[ref]
		if !known {
			continue // it is an error where it is read, and only there
		}
		plain, err := plainOutput(v, 0)
		if err != nil {
			return nil, fmt.Errorf("output %s of %s: %w", ref.Output, ref.As, err)
		}
		s.know(ref, plain)
		if whole[ref.ID] == nil {
			whole[ref.ID] = map[string]any{}
		}
		whole[ref.ID][ref.Output] = plain
	}
	budget := maxLateVariables
	s.vars, err = l.settle(base.vars, whole, &budget)
	return &s, err
}

// know adds an output to a scope.
func (s *scope) know(ref OutputRef, value any) {
	state, _ := s.states[ref.As].(map[string]any)
	if state == nil {
		state = map[string]any{"outputs": map[string]any{}}
		s.states[ref.As] = state
	}
	state["outputs"].(map[string]any)[ref.Output] = value
}

// base is what d was written under, without outputs.
func (l *Late) base(d Deferred) (*scope, error) {
	if l.lib == nil {
		lib, err := Open(l.fsys, nil)
		if err != nil {
			return nil, err
		}
		l.lib = lib
	}
	base, ok := l.scopes[d.Scope]
	if !ok {
		data, has := l.plan.Scopes[d.Scope]
		if !has || hashOf(data) != d.Scope {
			return nil, errors.New("the plan does not hold its variables")
		}
		var err error
		if base, err = decodeScope(data); err != nil {
			return nil, err
		}
		l.scopes[d.Scope] = base
	}
	l.lib.noting = &effects{outermost: true}
	l.lib.newFleet(base.fleet)
	return &base.scope, nil
}

// plainOutput brings what a module returned to the types that expressions and templates know.
func plainOutput(v any, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", MaxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, string:
		return v, nil
	case int:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case uint64:
		return int64(v), nil
	case []string:
		return normal(v), nil
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			plain, err := plainOutput(item, depth+1)
			if err != nil {
				return nil, err
			}
			list[i] = plain
		}
		return list, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, item := range v {
			plain, err := plainOutput(item, depth+1)
			if err != nil {
				return nil, err
			}
			m[k] = plain
		}
		return m, nil
	}
	return nil, fmt.Errorf("it has the type %T, which the language does not know", v)
}

const scopeMagic = "shoal scope 1\n"

// encodeScope encodes what a text may know beside each and outputs: equal scopes have equal bytes.
func encodeScope(s *scope, fleet []Node) ([]byte, error) {
	e := encoder{out: []byte(scopeMagic), strings: map[string]uint64{}}
	e.node(s.node)
	e.number(len(fleet))
	for _, n := range fleet {
		e.node(n)
	}
	if s.vars == nil {
		e.number(0)
		return e.out, nil
	}
	err := e.entries(s.vars, 0)
	return e.out, err
}

func decodeScope(data []byte) (*lateScope, error) {
	d := newDecoder(data, scopeMagic)
	node := d.node()
	var fleet []Node
	for range d.count(3) {
		fleet = append(fleet, d.node())
	}
	vars := d.entries(0)
	if !d.done() {
		return nil, errors.New("decode variables: malformed")
	}
	return &lateScope{scope{vars: vars, node: node, tags: tagsOf(node)}, fleet}, nil
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
