package states

import "go.starlark.net/syntax"

// The names of the functions that starGuard puts into programs; no program can write them.
const (
	starCall   = " call"
	starBinary = " binary"
	starAug    = " aug"
	starSized  = " sized"
	starKey    = " key"
	starTemp   = " t"
)

// starGuard rewrites a syntax tree so that everything that can make, copy or compare more than a step's worth asks the
// budget first: Starlark counts steps, but one step can repeat a string, join a list or compare two huge trees.
type starGuard struct{ temps int }

func (g *starGuard) call(name string, at syntax.Position, args ...syntax.Expr) syntax.Expr {
	return &syntax.CallExpr{Fn: &syntax.Ident{NamePos: at, Name: name}, Lparen: at, Args: args, Rparen: at}
}

func starText(at syntax.Position, s string) syntax.Expr {
	return &syntax.Literal{Token: syntax.STRING, TokenPos: at, Raw: `"` + s + `"`, Value: s}
}

func (g *starGuard) statements(list []syntax.Stmt) []syntax.Stmt {
	var out []syntax.Stmt
	for _, s := range list {
		out = append(out, g.statement(s)...)
	}
	return out
}

func (g *starGuard) statement(s syntax.Stmt) []syntax.Stmt {
	switch s := s.(type) {
	case *syntax.AssignStmt:
		return g.assign(s)
	case *syntax.DefStmt:
		g.params(s.Params)
		s.Body = g.statements(s.Body)
	case *syntax.ExprStmt:
		s.X = g.expr(s.X)
	case *syntax.ForStmt:
		s.Vars, s.X, s.Body = g.expr(s.Vars), g.expr(s.X), g.statements(s.Body)
	case *syntax.IfStmt:
		s.Cond, s.True, s.False = g.expr(s.Cond), g.statements(s.True), g.statements(s.False)
	case *syntax.WhileStmt:
		s.Cond, s.Body = g.expr(s.Cond), g.statements(s.Body)
	case *syntax.ReturnStmt:
		s.Result = g.expr(s.Result)
	}
	return []syntax.Stmt{s}
}

// assign rewrites x op= y. The parts of a target such as f(x)[i] are evaluated once, into names of their own.
func (g *starGuard) assign(s *syntax.AssignStmt) []syntax.Stmt {
	if s.Op == syntax.EQ {
		s.LHS, s.RHS = g.expr(s.LHS), g.expr(s.RHS)
		return []syntax.Stmt{s}
	}
	var before []syntax.Stmt
	hold := func(e syntax.Expr) func() syntax.Expr {
		at, _ := e.Span()
		g.temps++
		name := starTemp + string(rune('a'+g.temps%26)) + string(rune('a'+g.temps/26%26))
		before = append(before, &syntax.AssignStmt{OpPos: at, Op: syntax.EQ, LHS: &syntax.Ident{NamePos: at, Name: name}, RHS: g.expr(e)})
		return func() syntax.Expr { return &syntax.Ident{NamePos: at, Name: name} }
	}
	var again syntax.Expr
	target := s.LHS
	for p, ok := target.(*syntax.ParenExpr); ok; p, ok = target.(*syntax.ParenExpr) {
		target = p.X
	}
	switch t := target.(type) {
	case *syntax.Ident:
		again = &syntax.Ident{NamePos: t.NamePos, Name: t.Name}
	case *syntax.IndexExpr:
		x, y := hold(t.X), hold(t.Y)
		t.X, t.Y = x(), g.call(starKey, t.Lbrack, y())
		again = &syntax.IndexExpr{X: x(), Lbrack: t.Lbrack, Y: y(), Rbrack: t.Rbrack}
	case *syntax.DotExpr:
		x := hold(t.X)
		t.X = x()
		again = &syntax.DotExpr{X: x(), Dot: t.Dot, NamePos: t.NamePos, Name: &syntax.Ident{NamePos: t.Name.NamePos, Name: t.Name.Name}}
	default:
		return []syntax.Stmt{s} // the resolver refuses it
	}
	op := (s.Op - syntax.PLUS_EQ + syntax.PLUS).String()
	s.RHS = g.call(starAug, s.OpPos, starText(s.OpPos, op), again, g.expr(s.RHS))
	return append(before, s)
}

func (g *starGuard) params(list []syntax.Expr) {
	for _, p := range list {
		if b, ok := p.(*syntax.BinaryExpr); ok {
			b.Y = g.expr(b.Y)
		}
	}
}

func (g *starGuard) exprs(list []syntax.Expr) {
	for i := range list {
		list[i] = g.expr(list[i])
	}
}

func (g *starGuard) expr(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case nil:
		return nil
	case *syntax.BinaryExpr:
		return g.binary(e)
	case *syntax.CallExpr:
		return g.callExpr(e)
	case *syntax.Comprehension:
		g.comprehension(e)
	case *syntax.CondExpr:
		e.Cond, e.True, e.False = g.expr(e.Cond), g.expr(e.True), g.expr(e.False)
	case *syntax.DictEntry:
		e.Key, e.Value = g.key(e.Key, e.Colon), g.expr(e.Value)
	case *syntax.DictExpr:
		g.exprs(e.List)
	case *syntax.DotExpr:
		e.X = g.expr(e.X)
	case *syntax.IndexExpr:
		e.X, e.Y = g.expr(e.X), g.key(e.Y, e.Lbrack)
	case *syntax.LambdaExpr:
		g.params(e.Params)
		e.Body = g.expr(e.Body)
	case *syntax.ListExpr:
		g.exprs(e.List)
	case *syntax.ParenExpr:
		e.X = g.expr(e.X)
	case *syntax.SliceExpr:
		e.X = g.call(starSized, e.Lbrack, g.expr(e.X))
		e.Lo, e.Hi, e.Step = g.expr(e.Lo), g.expr(e.Hi), g.expr(e.Step)
	case *syntax.TupleExpr:
		g.exprs(e.List)
	case *syntax.UnaryExpr:
		e.X = g.expr(e.X)
	}
	return e
}

// key asks for what is hashed: a tuple of tuples can stand for far more than it takes.
func (g *starGuard) key(e syntax.Expr, at syntax.Position) syntax.Expr {
	if _, ok := e.(*syntax.Literal); ok {
		return e
	}
	return g.call(starKey, at, g.expr(e))
}

func (g *starGuard) binary(e *syntax.BinaryExpr) syntax.Expr {
	e.X, e.Y = g.expr(e.X), g.expr(e.Y)
	switch e.Op {
	case syntax.AND, syntax.OR, syntax.EQ:
		return e
	}
	return g.call(starBinary, e.OpPos, starText(e.OpPos, e.Op.String()), e.X, e.Y)
}

func (g *starGuard) callExpr(e *syntax.CallExpr) syntax.Expr {
	at, _ := e.Fn.Span()
	if d, ok := e.Fn.(*syntax.DotExpr); ok {
		at = d.NamePos
	}
	args := []syntax.Expr{g.expr(e.Fn)}
	for _, a := range e.Args {
		switch x := a.(type) {
		case *syntax.BinaryExpr:
			if x.Op == syntax.EQ {
				x.Y = g.expr(x.Y)
			} else {
				a = g.expr(x)
			}
		case *syntax.UnaryExpr:
			if (x.Op == syntax.STAR || x.Op == syntax.STARSTAR) && x.X != nil {
				x.X = g.call(starSized, x.OpPos, g.expr(x.X))
			} else {
				a = g.expr(x)
			}
		default:
			a = g.expr(a)
		}
		args = append(args, a)
	}
	return &syntax.CallExpr{Fn: &syntax.Ident{NamePos: at, Name: starCall}, Lparen: at, Args: args, Rparen: e.Rparen}
}

func (g *starGuard) comprehension(e *syntax.Comprehension) {
	e.Body = g.expr(e.Body)
	for _, c := range e.Clauses {
		switch c := c.(type) {
		case *syntax.ForClause:
			c.Vars, c.X = g.expr(c.Vars), g.expr(c.X)
		case *syntax.IfClause:
			c.Cond = g.expr(c.Cond)
		}
	}
}
