package states

import (
	"text/template"
	"text/template/parse"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// reads is what a text may read of its scope, found in the text and never less than what it does read: where it takes tags or
// vars as a whole, it reads all of them. The zero value reads nothing.
type reads struct {
	name, zone, each, fleet bool
	everything              bool // more than this says
	allTags, allVars        bool
	tags, vars              map[string]bool
	includes                []string // templates that a template includes by name
}

func (r *reads) add(o *reads) {
	r.name, r.zone, r.fleet = r.name || o.name, r.zone || o.zone, r.fleet || o.fleet
	r.each, r.everything = r.each || o.each, r.everything || o.everything
	r.allTags, r.allVars = r.allTags || o.allTags, r.allVars || o.allVars
	for k := range o.tags {
		r.field("tags", k)
	}
	for k := range o.vars {
		r.field("vars", k)
	}
}

// ofNode tells whether anything is read that may differ from node to node.
func (r *reads) ofNode() bool {
	return r.name || r.zone || r.fleet || r.everything || r.allTags || r.allVars || len(r.tags) > 0 || len(r.vars) > 0
}

// whole notes a name of the scope that is taken as a whole.
func (r *reads) whole(name string) {
	switch name {
	case "name":
		r.name = true
	case "zone":
		r.zone = true
	case "each":
		r.each = true
	case "tags":
		r.allTags = true
	case "vars":
		r.allVars = true
	case fleetFunction:
		r.fleet = true
	case "states", secretFunction:
		r.everything = true // outputs, and values that no other node need have
	}
}

// field notes one key of tags or vars.
func (r *reads) field(name, key string) {
	set := &r.tags
	switch name {
	case "vars":
		set = &r.vars
	case "tags":
	default:
		r.whole(name)
		return
	}
	if *set == nil {
		*set = map[string]bool{}
	}
	(*set)[key] = true
}

// readsOfCEL goes through a checked expression, with its macros expanded.
func readsOfCEL(e ast.Expr) *reads {
	r := &reads{}
	r.expression(e)
	return r
}

func (r *reads) expression(e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind:
		r.whole(e.AsIdent())
	case ast.SelectKind:
		s := e.AsSelect()
		if s.Operand().Kind() == ast.IdentKind {
			r.field(s.Operand().AsIdent(), s.FieldName())
			return
		}
		r.expression(s.Operand())
	case ast.CallKind:
		r.call(e.AsCall())
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			r.expression(item)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			r.expression(entry.AsMapEntry().Key())
			r.expression(entry.AsMapEntry().Value())
		}
	case ast.StructKind:
		for _, f := range e.AsStruct().Fields() {
			r.expression(f.AsStructField().Value())
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		for _, part := range []ast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()} {
			r.expression(part)
		}
	}
}

func (r *reads) call(c ast.CallExpr) {
	r.whole(c.FunctionName())
	args := c.Args()
	if c.IsMemberFunction() {
		r.expression(c.Target())
	}
	switch c.FunctionName() {
	case operators.Index, operators.OptIndex, operators.OptSelect:
		if len(args) == 2 && args[0].Kind() == ast.IdentKind && args[1].Kind() == ast.LiteralKind {
			if key, ok := args[1].AsLiteral().(types.String); ok {
				r.field(args[0].AsIdent(), string(key))
				return
			}
		}
	}
	for _, a := range args {
		r.expression(a)
	}
}

// dictMethod are what tags and vars have beside their keys.
var dictMethod = map[string]bool{"keys": true, "values": true, "items": true, "get": true, "copy": true, "update": true, "setdefault": true, "pop": true, "clear": true, "popitem": true}

// readsOfJinja goes through the words of a template as gonja's own lexer finds them.
func readsOfJinja(source string, conf *config.Config) *reads {
	var words []*tokens.Token
	for s := tokens.LexAll(source, conf); ; s.Next() {
		t := s.Current()
		if t == nil || t.Type == tokens.EOF {
			break
		}
		if t.Type == tokens.Error {
			return &reads{everything: true}
		}
		if t.Type != tokens.Whitespace && t.Type != tokens.Data {
			words = append(words, t)
		}
	}
	r := &reads{}
	is := func(at int, kind tokens.Type) bool { return at >= 0 && at < len(words) && words[at].Type == kind }
	for i, w := range words {
		if w.Type != tokens.Name || is(i-1, tokens.Dot) {
			continue
		}
		switch {
		case w.Val == "include" || w.Val == "import" || w.Val == "from" || w.Val == "extends":
			if is(i+1, tokens.String) && (is(i+2, tokens.BlockEnd) || is(i+2, tokens.Name)) {
				r.includes = append(r.includes, words[i+1].Val)
			} else {
				r.everything = true
			}
		case is(i+1, tokens.Dot) && is(i+2, tokens.Name) && !is(i+3, tokens.LeftParenthesis) && !dictMethod[words[i+2].Val]:
			r.field(w.Val, words[i+2].Val)
		case is(i+1, tokens.LeftBracket) && is(i+2, tokens.String) && is(i+3, tokens.RightBracket):
			r.field(w.Val, words[i+2].Val)
		default:
			r.whole(w.Val)
		}
	}
	return r
}

// goReads goes through a text/template. Inside of range and with the dot is a part of something that was noted before.
type goReads struct {
	reads
	defined bool // in a definition, where $ is what it was given
}

// readsOfGo goes through a template and what it defines: what that is given was noted where it is called.
func readsOfGo(t *template.Template) *reads {
	var r goReads
	for _, one := range t.Templates() {
		if one.Tree != nil {
			r.defined = one.Name() != t.Name()
			r.walk().list(one.Tree.Root, r.defined)
		}
	}
	return &r.reads
}

func (r *goReads) walk() goWalk { return goWalk{command: r.indexed, operand: r.operand} }

// indexed notes index .tags "dc" as one key.
func (r *goReads) indexed(c *parse.CommandNode, inner bool) bool {
	if len(c.Args) != 3 || inner {
		return false
	}
	f, isIndex := c.Args[0].(*parse.IdentifierNode)
	of, isField := c.Args[1].(*parse.FieldNode)
	key, isText := c.Args[2].(*parse.StringNode)
	if !isIndex || !isField || !isText || f.Ident != "index" || len(of.Ident) != 1 {
		return false
	}
	r.field(of.Ident[0], key.Text)
	return true
}

func (r *goReads) operand(n parse.Node, inner bool) {
	switch n := n.(type) {
	case *parse.FieldNode:
		if !inner {
			r.path(n.Ident)
		}
	case *parse.DotNode:
		r.everything = r.everything || !inner
	case *parse.VariableNode:
		if n.Ident[0] == "$" && !r.defined {
			r.everything = r.everything || len(n.Ident) == 1
			r.path(n.Ident[1:])
		}
	case *parse.IdentifierNode:
		if n.Ident == fleetFunction {
			r.fleet = true
		}
		r.everything = r.everything || n.Ident == secretFunction
	case *parse.ChainNode:
		r.operand(n.Node, inner)
	case *parse.PipeNode:
		r.walk().pipe(n, inner)
	}
}

func (r *goReads) path(words []string) {
	switch len(words) {
	case 0:
	case 1:
		r.whole(words[0])
	default:
		r.field(words[0], words[1])
	}
}
