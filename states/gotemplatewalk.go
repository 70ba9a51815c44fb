package states

import "text/template/parse"

// goWalk goes through the expressions of a parsed text/template. The dot is the scope, but inside of range and with, where it has
// another meaning: inner says so.
type goWalk struct {
	// command is asked first; true keeps the walk out of the command's arguments.
	command func(c *parse.CommandNode, inner bool) bool
	operand func(n parse.Node, inner bool)
}

func (w goWalk) list(l *parse.ListNode, inner bool) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		w.node(n, inner)
	}
}

func (w goWalk) node(n parse.Node, inner bool) {
	switch n := n.(type) {
	case *parse.ActionNode:
		w.pipe(n.Pipe, inner)
	case *parse.TemplateNode:
		w.pipe(n.Pipe, inner)
	case *parse.IfNode:
		w.branch(&n.BranchNode, inner, inner)
	case *parse.RangeNode:
		w.branch(&n.BranchNode, inner, true)
	case *parse.WithNode:
		w.branch(&n.BranchNode, inner, true)
	}
}

func (w goWalk) branch(b *parse.BranchNode, inner, body bool) {
	w.pipe(b.Pipe, inner)
	w.list(b.List, body)
	w.list(b.ElseList, inner)
}

func (w goWalk) pipe(p *parse.PipeNode, inner bool) {
	if p == nil {
		return
	}
	for _, c := range p.Cmds {
		if w.command(c, inner) {
			continue
		}
		for _, arg := range c.Args {
			w.operand(arg, inner)
		}
	}
}
