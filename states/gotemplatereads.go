package states

import (
	"errors"
	"text/template/parse"
)

// outputs walks the parsed template and all that it defines.
func (g *goTemplates) outputs(name string) ([]outputRead, *placedError) {
	t := g.parse(name)
	if t.err != nil {
		return nil, nil // told where it is rendered
	}
	s := goScan{g: g, file: name}
	for _, each := range t.t.Templates() {
		if each.Tree != nil && each.Root != nil {
			s.tree = each.Tree
			s.walk().list(each.Root, false)
		}
	}
	return s.reads, s.err
}

// evaluate has nothing to evaluate: the id of a state is constant in a Go template.
func (g *goTemplates) evaluate(string, string, *scope) (any, error) {
	return nil, errors.New("a Go template names it by a constant")
}

// goScan looks for .states.ID.outputs.NAME, $.states…, and (index .states "ID").outputs.NAME or (index .states "ID" "outputs" "NAME").
type goScan struct {
	g     *goTemplates
	file  string
	tree  *parse.Tree
	reads []outputRead
	err   *placedError
}

func (s *goScan) walk() goWalk { return goWalk{command: s.command, operand: s.argument} }

func (s *goScan) command(c *parse.CommandNode, inner bool) bool {
	keys, ok := indexed(c, inner)
	if ok {
		s.read(c, keys)
	}
	return ok
}

func (s *goScan) argument(n parse.Node, inner bool) {
	switch n := n.(type) {
	case *parse.PipeNode:
		s.walk().pipe(n, inner)
	case *parse.ChainNode:
		if p, ok := n.Node.(*parse.PipeNode); ok && len(p.Cmds) == 1 {
			if keys, ok := indexed(p.Cmds[0], inner); ok {
				s.read(n, append(keys, n.Field...))
				return
			}
		}
		s.argument(n.Node, inner)
	default:
		if keys, ok := statesField(n, inner); ok {
			s.read(n, keys)
		}
	}
}

// statesField is what follows .states or $.states.
func statesField(n parse.Node, inner bool) ([]string, bool) {
	switch n := n.(type) {
	case *parse.FieldNode:
		if !inner && n.Ident[0] == "states" {
			return n.Ident[1:], true
		}
	case *parse.VariableNode:
		if len(n.Ident) > 1 && n.Ident[0] == "$" && n.Ident[1] == "states" {
			return n.Ident[2:], true
		}
	}
	return nil, false
}

// indexed is what follows the states in: index .states "ID" …
func indexed(cmd *parse.CommandNode, inner bool) ([]string, bool) {
	if len(cmd.Args) < 2 {
		return nil, false
	}
	if f, ok := cmd.Args[0].(*parse.IdentifierNode); !ok || f.Ident != "index" {
		return nil, false
	}
	keys, ok := statesField(cmd.Args[1], inner)
	if !ok {
		return nil, false
	}
	keys = append([]string{}, keys...)
	for _, arg := range cmd.Args[2:] {
		s, ok := arg.(*parse.StringNode)
		if !ok {
			return nil, true
		}
		keys = append(keys, s.Text)
	}
	return keys, true
}

func (s *goScan) read(n parse.Node, keys []string) {
	if s.err != nil {
		return
	}
	at := s.g.placeOf(s.file, s.tree, n)
	if len(keys) < 3 || keys[1] != "outputs" {
		s.err = &placedError{place: at, message: errReadForm.Error(), hint: `write (index .states "ID").outputs.NAME, with a constant ID`}
		return
	}
	s.reads = append(s.reads, outputRead{id: keys[0], output: keys[2], place: at})
}

// placeOf is where a node is written.
func (g *goTemplates) placeOf(file string, t *parse.Tree, n parse.Node) Place {
	location, _ := t.ErrorContext(n)
	p := Place{File: file, Line: 1, Column: 1}
	if m := goPlace.FindStringSubmatch("template: " + location + ": "); m != nil {
		p = g.problemPlace(file, m)
	}
	return p
}
