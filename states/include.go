package states

import (
	"errors"
	"fmt"

	"github.com/nikolalohinski/gonja/v2/exec"
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
	j.budget.guard(n.file)
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

// Execute implements exec.ControlStructure.
func (n *includeNode) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	value := r.Eval(n.file)
	if value.IsError() {
		return value
	}
	name, err := r.Loader.Resolve(value.String())
	if err != nil {
		if n.ignoreMissing {
			return nil
		}
		return err
	}
	loader, err := r.Loader.Inherit(name)
	if err != nil {
		return err
	}
	if err := n.j.budget.read(0); err != nil {
		return err
	}
	t := n.j.parse(name[1:])
	if t.err != nil {
		n.j.failed = t.err
		return errors.New("the included file is malformed")
	}
	return exec.NewRenderer(r.Environment, r.Output, r.Config.Inherit(), loader, t.t).Execute()
}
