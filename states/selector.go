package states

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Groups returns the named selectors of a tree's site, for Selects. A site that does not parse is Problems.
func Groups(fsys fs.FS) (map[string]string, error) {
	l, err := Open(fsys, nil)
	if err != nil {
		return nil, err
	}
	if ps := l.problems.sorted(); len(ps) > 0 {
		return nil, ps
	}
	return l.site.groups, nil
}

// Selects tells whether a selector selects a node: "*", the shorthand "role=db,dc!=ams" (comma is AND; name and zone are
// the node's own), or a CEL expression over tags, name, zone and group. In a selector a tag that the node does not have
// is the empty string; has(tags.x) and "x" in tags tell the difference. groups are named selectors.
func Selects(expr string, n Node, groups map[string]string) (bool, error) {
	s, err := newSelectors(groups)
	if err != nil {
		return false, err
	}
	ok, problem := s.selects(expr, n)
	if problem != nil {
		if problem.hint != "" {
			return false, fmt.Errorf("selector %q: %w (%s)", expr, problem, problem.hint)
		}
		return false, fmt.Errorf("selector %q: %w", expr, problem)
	}
	return ok, nil
}

var (
	shorthandTerm = regexp.MustCompile(`^\s*([\w][\w.\-/]*)\s*(!?=)\s*([\w.\-:/@+]*)\s*$`)
	comparison    = regexp.MustCompile(`(?:tags\.(\w+)|tags\["([^"]+)"\]|\b(name|zone))\s*(?:==|!=|in)\s*(\[[^\]]*\]|"[^"]*"|'[^']*')`)
	quoted        = regexp.MustCompile(`["']([^"']*)["']`)
	groupName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// term of the shorthand.
type term struct {
	key, value string
	not        bool
}

func shorthand(expr string) ([]term, bool) {
	var terms []term
	for _, part := range strings.Split(expr, ",") {
		m := shorthandTerm.FindStringSubmatch(part)
		if m == nil {
			return nil, false
		}
		terms = append(terms, term{key: m[1], value: m[3], not: m[2] == "!="})
	}
	return terms, true
}

func (t term) matches(n Node) bool {
	value, ok := n.Tags[t.key]
	if !ok {
		switch t.key {
		case "name":
			value = n.Name
		case "zone":
			value = n.Zone
		}
	}
	return (value == t.value) != t.not
}

// selectors compiles each selector once. It is not safe for concurrent use.
type selectors struct {
	env      *cel.Env
	groups   map[string]string
	programs map[string]program
}

func newSelectors(groups map[string]string) (*selectors, error) {
	options := append(sharedOptions(),
		cel.Variable("tags", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("name", cel.StringType),
		cel.Variable("zone", cel.StringType),
		cel.Macros(hasTag()),
	)
	for _, name := range keysOf(groups) {
		options = append(options, cel.Variable("group."+name, cel.BoolType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("prepare selectors: %w", err)
	}
	return &selectors{env: env, groups: groups, programs: map[string]program{}}, nil
}

// hasTag is the has() of selectors. Since a missing tag reads as the empty string there, has(tags.x) asks "x" in tags.
func hasTag() cel.Macro {
	return cel.GlobalMacro("has", 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		if args[0].Kind() != ast.SelectKind {
			return nil, f.NewError(args[0].ID(), "has() takes a field, such as has(tags.role)")
		}
		field := args[0].AsSelect()
		if field.Operand().Kind() == ast.IdentKind && field.Operand().AsIdent() == "tags" {
			return f.NewCall(operators.In, f.NewLiteral(types.String(field.FieldName())), field.Operand()), nil
		}
		return f.NewPresenceTest(field.Operand(), field.FieldName()), nil
	})
}

// compile checks a selector without a node.
func (s *selectors) compile(expr string) program {
	if p, ok := s.programs[expr]; ok {
		return p
	}
	p := compileCEL(s.env, expr)
	if p.err != nil {
		if name, ok := strings.CutPrefix(p.err.message, "undefined name "); ok {
			p.err.hint = suggest(strings.Trim(name, `"`), s.names())
			if name == `"nodes"` {
				p.err.hint = "a selector looks at one node; nodes() is known in states files, variables and templates"
			}
		} else if strings.Contains(p.err.message, "yntax error") || strings.Contains(p.err.message, "expression:") {
			p.err.hint = `a selector is "*", key=value,key!=value, or an expression such as tags.role == "web"`
		}
	} else if t := p.prg; t == nil {
		p.err = &expressionError{message: "expression: empty", offset: -1}
	}
	s.programs[expr] = p
	return p
}

func (s *selectors) names() []string {
	all := []string{"tags", "name", "zone"}
	for _, g := range keysOf(s.groups) {
		all = append(all, "group."+g)
	}
	return all
}

// check finds what is wrong with a selector for every node.
func (s *selectors) check(expr string) *expressionError {
	if strings.TrimSpace(expr) == "*" {
		return nil
	}
	if _, ok := shorthand(expr); ok {
		return nil
	}
	return s.compile(expr).err
}

func (s *selectors) selects(expr string, n Node) (bool, *expressionError) {
	a := &selection{selectors: s, node: n, tags: lenient{types.NewStringStringMap(types.DefaultTypeAdapter, n.Tags)}}
	return a.selects(expr)
}

// selection is one node before the selectors: a cel.Activation that evaluates groups as they are asked for.
type selection struct {
	selectors *selectors
	node      Node
	tags      lenient
	stack     []string // groups being evaluated
	failed    *expressionError
}

func (a *selection) selects(expr string) (bool, *expressionError) {
	if strings.TrimSpace(expr) == "*" {
		return true, nil
	}
	if terms, ok := shorthand(expr); ok {
		for _, t := range terms {
			if !t.matches(a.node) {
				return false, nil
			}
		}
		return true, nil
	}
	p := a.selectors.compile(expr)
	if p.err != nil {
		return false, p.err
	}
	out, _, err := p.prg.Eval(a)
	if a.failed != nil {
		return false, a.failed
	}
	if err != nil {
		return false, &expressionError{message: "expression: " + err.Error(), offset: -1}
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, &expressionError{message: "a selector must be true or false, not " + out.Type().TypeName(), offset: -1}
	}
	return bool(b), nil
}

// ResolveName makes a selection a cel.Activation.
func (a *selection) ResolveName(name string) (any, bool) {
	switch name {
	case "tags":
		return a.tags, true
	case "name":
		return a.node.Name, true
	case "zone":
		return a.node.Zone, true
	}
	group, ok := strings.CutPrefix(name, "group.")
	if !ok {
		return nil, false
	}
	expr, ok := a.selectors.groups[group]
	if !ok || a.failed != nil {
		return nil, false
	}
	for i, outer := range a.stack {
		if outer == group {
			a.failed = &expressionError{message: "cycle of groups: " + strings.Join(append(a.stack[i:], group), " → "), offset: -1}
			return false, true
		}
	}
	a.stack = append(a.stack, group)
	selected, err := a.selects(expr)
	a.stack = a.stack[:len(a.stack)-1]
	if err != nil && a.failed == nil {
		a.failed = &expressionError{message: "group " + group + ": " + err.message, hint: err.hint, offset: -1}
	}
	return selected, true
}

// Parent makes a selection a cel.Activation.
func (a *selection) Parent() cel.Activation { return nil }

// lenient is a map in which a key that is not there reads as the empty string.
type lenient struct{ traits.Mapper }

// Find never fails to find a string.
func (l lenient) Find(key ref.Val) (ref.Val, bool) {
	if v, ok := l.Mapper.Find(key); ok {
		return v, true
	}
	if _, ok := key.(types.String); ok {
		return types.String(""), true
	}
	return nil, false
}

// Get never fails to find a string.
func (l lenient) Get(key ref.Val) ref.Val {
	if v, ok := l.Find(key); ok {
		return v
	}
	return l.Mapper.Get(key)
}

// Selector is a selector that is used again and again. It knows no groups: these are a tree's, and change with it.
type Selector struct {
	text string
	all  *selectors
}

// ParseSelector checks a selector that knows no groups.
func ParseSelector(expr string) (*Selector, error) {
	s := &Selector{text: expr, all: &selectors{}}
	if _, short := shorthand(expr); !short && strings.TrimSpace(expr) != "*" {
		all, err := newSelectors(nil)
		if err != nil {
			return nil, err
		}
		s.all = all
	}
	if problem := s.all.check(expr); problem != nil {
		return nil, fmt.Errorf("selector %q: %s", expr, withHint(problem))
	}
	return s, nil
}

// Selects tells whether it selects a node. It is not safe for concurrent use.
func (s *Selector) Selects(n Node) (bool, error) {
	ok, problem := s.all.selects(s.text, n)
	if problem != nil {
		return false, fmt.Errorf("selector %q: %s", s.text, withHint(problem))
	}
	return ok, nil
}
