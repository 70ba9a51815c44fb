package states

import (
	"errors"
	"fmt"
	"io"
	"strings"

	controls "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// includeNode is {% include %}. gonja's own parses the file again each time; this one parses it once, and so that it
// counts like the rest.
type includeNode struct {
	j             *jinja
	at            *tokens.Token
	file          nodes.Expression
	ignoreMissing bool
}

func (n *includeNode) Position() *tokens.Token { return n.at }

// String names the file as jinjaInclude looks for it.
func (n *includeNode) String() string { return fmt.Sprintf("Include(Filename=%s)", n.file) }

func (j *jinja) parseInclude(p, args *parser.Parser) (nodes.ControlStructure, error) {
	n := &includeNode{j: j, at: args.Current()}
	var err error
	if n.file, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	j.budget.guard(n.file, j.file(p))
	if args.MatchName("ignore") != nil {
		if args.MatchName("missing") == nil {
			return nil, args.Error("expected: ignore missing", args.Current())
		}
		n.ignoreMissing = true
	}
	if args.MatchName("with", "without") != nil && args.MatchName("context") == nil {
		return nil, args.Error("expected: with context", args.Current())
	}
	if !args.End() {
		return nil, args.Error("include takes one file", args.Current())
	}
	return n, nil
}

// file is the path in the tree of what a parser reads.
func (j *jinja) file(p *parser.Parser) string {
	if p.Template == nil {
		return ""
	}
	return strings.TrimPrefix(p.Template.Identifier, "/")
}

// Execute implements exec.ControlStructure.
func (n *includeNode) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	value := r.Eval(n.file)
	if value.IsError() {
		return value
	}
	t, loader, err := n.j.first(r, value)
	if err != nil {
		if _, missing := err.(*includeError); missing && n.ignoreMissing {
			return nil
		}
		return err
	}
	return exec.NewRenderer(r.Environment, r.Output, r.Config.Inherit(), loader, t).Execute()
}

// first finds and parses the file that a value names, or the first that is there of a list.
func (j *jinja) first(r *exec.Renderer, value *exec.Value) (*exec.Template, loaders.Loader, error) {
	names := []string{value.String()}
	if value.IsList() {
		names = nil
		for i := range value.Len() {
			names = append(names, value.Index(i).String())
		}
	}
	var missing error = &includeError{errors.New("an empty list of files")}
	for _, name := range names {
		found, err := r.Loader.Resolve(name)
		if err != nil {
			missing = err
			continue
		}
		loader, err := r.Loader.Inherit(found)
		if err != nil {
			return nil, nil, err
		}
		if err := j.budget.read(0); err != nil {
			return nil, nil, err
		}
		t := j.parse(found[1:])
		if t.err != nil {
			j.failed = t.err
			return nil, nil, errors.New("the included file is malformed")
		}
		return t.t, loader, nil
	}
	return nil, nil, missing
}

// importNode is {% import %} and {% from … import %}: it runs the file, in a scope of its own that sees the template's, and
// takes what the file sets and defines. gonja's own takes macros only, which do not see each other.
type importNode struct {
	j       *jinja
	at      *tokens.Token
	file    nodes.Expression
	as      string      // of import
	names   [][2]string // of from: each with its name here
	context bool
}

func (n *importNode) Position() *tokens.Token { return n.at }
func (n *importNode) String() string          { return fmt.Sprintf("Include(Filename=%s)", n.file) }

func (j *jinja) parseImport(p, args *parser.Parser) (nodes.ControlStructure, error) {
	n := &importNode{j: j, at: args.Current()}
	var err error
	if n.file, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	if args.MatchName("as") == nil {
		return nil, args.Error("expected: import \"FILE\" as NAME", args.Current())
	}
	name := args.Match(tokens.Name)
	if name == nil {
		return nil, args.Error("expected a name after as", args.Current())
	}
	n.as = name.Val
	return n, j.endImport(p, args, n)
}

func (j *jinja) parseFrom(p, args *parser.Parser) (nodes.ControlStructure, error) {
	n := &importNode{j: j, at: args.Current()}
	var err error
	if n.file, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	if args.MatchName("import") == nil {
		return nil, args.Error("expected: from \"FILE\" import NAME", args.Current())
	}
	for {
		name := args.Match(tokens.Name)
		if name == nil {
			return nil, args.Error("expected a name to import", args.Current())
		}
		as := name
		if args.MatchName("as") != nil {
			if as = args.Match(tokens.Name); as == nil {
				return nil, args.Error("expected a name after as", args.Current())
			}
		}
		n.names = append(n.names, [2]string{name.Val, as.Val})
		if args.Match(tokens.Comma) == nil {
			return n, j.endImport(p, args, n)
		}
	}
}

func (j *jinja) endImport(p, args *parser.Parser, n *importNode) error {
	j.budget.guard(n.file, j.file(p))
	if args.MatchName("with", "without") != nil && args.MatchName("context") == nil {
		return args.Error("expected: with context", args.Current())
	}
	if !args.End() {
		return args.Error("something after the end of the import", args.Current())
	}
	return nil
}

// Execute implements exec.ControlStructure.
func (n *importNode) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	value := r.Eval(n.file)
	if value.IsError() {
		return value
	}
	t, loader, err := n.j.first(r, value)
	if err != nil {
		return err
	}
	at := n.j.budget.at
	sub := r.Inherit()
	own := exec.NewRenderer(sub.Environment, io.Discard, r.Config.Inherit(), loader, t)
	if err := own.Execute(); err != nil {
		return err
	}
	n.j.budget.at = at
	names := topNames(t.Root())
	if n.as != "" {
		module := map[string]any{}
		for name := range names {
			if v, ok := own.Environment.Context.Get(name); ok {
				module[name] = v
			}
		}
		r.Environment.Context.Set(n.as, module)
		return nil
	}
	for _, pair := range n.names {
		v, ok := own.Environment.Context.Get(pair[0])
		if !ok || !names[pair[0]] {
			hint := suggest(pair[0], keysOf(names))
			return fmt.Errorf("import: %s defines no %q%s", value.String(), pair[0], strings.Replace(" ("+hint+")", " ()", "", 1))
		}
		r.Environment.Context.Set(pair[1], v)
	}
	return nil
}

// topNames are what a file sets and defines outside of loops and blocks.
func topNames(t *nodes.Template) map[string]bool {
	names := map[string]bool{}
	for name := range t.Macros {
		names[name] = true
	}
	collectNames(t.Nodes, names)
	return names
}

func collectNames(list []nodes.Node, names map[string]bool) {
	for _, n := range list {
		block, ok := n.(*nodes.ControlStructureBlock)
		if !ok {
			continue
		}
		switch cs := block.ControlStructure.(type) {
		case setNode:
			for _, name := range cs.names {
				names[name] = true
			}
		case *importNode:
			for _, pair := range cs.names {
				names[pair[1]] = true
			}
		case *controls.IfControlStructure:
			for _, w := range cs.Wrappers {
				collectNames(w.Nodes, names)
			}
		}
	}
}
