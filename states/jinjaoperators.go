package states

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// operatorFilter computes a binary operation as Python does, and resultFilter gives what it computed; no template can write
// their names. gonja's own operators divide by zero, forget the sign, repeat no lists and compare what has no order.
const (
	operatorFilter = " operator"
	resultFilter   = " result"
)

// operator replaces a binary expression, in its place, by one that gonja evaluates as (False after computing) or (result).
func (b *budget) operator(e *nodes.BinaryExpression) {
	switch e.Operator.Token.Type {
	case tokens.And, tokens.Or:
		return
	}
	if e.Left == nil || e.Right == nil {
		return
	}
	at := e.Left.Position()
	op := &nodes.String{Location: at, Val: e.Operator.Token.Val}
	call := &nodes.FilterCall{Token: e.Operator.Token, Name: operatorFilter, Args: []nodes.Expression{op, e.Left, e.Right,
		&nodes.Integer{Location: at, Val: b.place(e.Operator.Token)}}}
	e.Left = &nodes.FilteredExpression{Expression: &nodes.None{Location: at}, Filters: []*nodes.FilterCall{call}}
	e.Right = filtered(&nodes.None{Location: at}, resultFilter)
	e.Operator = &nodes.BinOperator{Token: &tokens.Token{Type: tokens.Or, Val: "or", Line: at.Line, Col: at.Col}}
}

func (b *budget) operators(all map[string]exec.FilterFunction) {
	all[operatorFilter] = func(_ *exec.Evaluator, _ *exec.Value, params *exec.VarArgs) *exec.Value {
		left, err := b.plain(params.Args[1])
		if err != nil {
			return exec.AsValue(err)
		}
		right, err := b.plain(params.Args[2])
		if err != nil {
			return exec.AsValue(err)
		}
		out, err := b.operate(params.Args[0].String(), left, right)
		if err != nil {
			b.at = params.Args[3].Integer()
			return exec.AsValue(err)
		}
		b.result = jinjaOf(out)
		return exec.AsValue(false)
	}
	all[resultFilter] = func(_ *exec.Evaluator, _ *exec.Value, _ *exec.VarArgs) *exec.Value { return exec.AsValue(b.result) }
}

func (b *budget) operate(op string, x, y any) (any, error) {
	switch op {
	case "==":
		return equal(x, y), nil
	case "!=":
		return !equal(x, y), nil
	case "<", ">", "<=", ">=":
		d, err := compare(x, y)
		return map[string]bool{"<": d < 0, ">": d > 0, "<=": d <= 0, ">=": d >= 0}[op], err
	case "in":
		return contains(y, x)
	case "~":
		s, t := pythonText(x), pythonText(y)
		return s + t, b.pay(len(s) + len(t))
	case "+":
		if out, ok := b.join(x, y); ok {
			return out, b.pay(sizeOfPlain(out))
		}
	case "*":
		if out, ok, err := b.repeat(x, y); ok || err != nil {
			return out, err
		}
	case "%":
		if format, ok := x.(string); ok {
			args, many := y.([]any)
			if !many {
				args = []any{y}
			}
			return b.percent(format, args)
		}
	}
	return arithmetic(op, x, y)
}

// pay counts bytes that are made.
func (b *budget) pay(size int) error {
	if size > MaxRenderedBytes {
		return tooLong()
	}
	return b.spend(1 + size/bytesPerStep)
}

func sizeOfPlain(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		return len(v) * bytesPerValue
	}
	return 0
}

func (b *budget) join(x, y any) (any, bool) {
	if s, ok := x.(string); ok {
		if t, ok := y.(string); ok {
			return s + t, true
		}
	}
	if l, ok := x.([]any); ok {
		if m, ok := y.([]any); ok {
			return append(append([]any{}, l...), m...), true
		}
	}
	return nil, false
}

func (b *budget) repeat(x, y any) (any, bool, error) {
	if _, ok := x.(int); ok {
		x, y = y, x
	}
	n, ok := y.(int)
	size := sizeOfPlain(x)
	_, isText := x.(string)
	l, isList := x.([]any)
	if !ok || !isText && !isList {
		return nil, false, nil
	}
	n = max(n, 0)
	if size > 0 && n > MaxRenderedBytes/size {
		return nil, true, tooLong()
	}
	if isText {
		return strings.Repeat(x.(string), n), true, b.pay(size * n)
	}
	out := make([]any, 0, len(l)*n)
	for range n {
		out = append(out, l...)
	}
	return out, true, b.pay(size * n)
}

func contains(in, what any) (any, error) {
	switch in := in.(type) {
	case string:
		s, ok := what.(string)
		if !ok {
			return nil, fmt.Errorf("%s is not in a string: only a string can be", jinjaType(what))
		}
		return strings.Contains(in, s), nil
	case []any:
		return indexOf(in, what) >= 0, nil
	case *dict:
		s, ok := what.(string)
		_, has := in.values[s]
		return ok && has, nil
	}
	return nil, fmt.Errorf("nothing can be in %s: it is no list, map or string", jinjaType(in))
}

func indexOf(list []any, v any) int {
	for i, e := range list {
		if equal(e, v) {
			return i
		}
	}
	return -1
}

// arithmetic is that of Python: / gives a float, // and % round down, and whole numbers stay whole.
func arithmetic(op string, x, y any) (any, error) {
	a, isNumber := numberOf(x)
	c, alsoNumber := numberOf(y)
	if !isNumber || !alsoNumber {
		return nil, fmt.Errorf("%s %s %s cannot be computed", jinjaType(x), op, jinjaType(y))
	}
	if c == 0 && (op == "/" || op == "//" || op == "%") {
		return nil, errors.New("a division by zero")
	}
	i, whole := wholeOf(x)
	j, alsoWhole := wholeOf(y)
	if whole && alsoWhole {
		if out, ok := wholeArithmetic(op, i, j); ok {
			return out, nil
		}
	}
	switch op {
	case "+":
		return a + c, nil
	case "-":
		return a - c, nil
	case "*":
		return a * c, nil
	case "/":
		return a / c, nil
	case "//":
		return math.Floor(a / c), nil
	case "%":
		return a - math.Floor(a/c)*c, nil
	case "**":
		return math.Pow(a, c), nil
	}
	return nil, fmt.Errorf("an operator %q that is not known", op)
}

func wholeOf(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// wholeArithmetic is not ok where the result is a float, or does not fit.
func wholeArithmetic(op string, i, j int) (any, bool) {
	switch op {
	case "+":
		if s := i + j; (s > i) == (j > 0) {
			return s, true
		}
	case "-":
		if s := i - j; (s < i) == (j > 0) {
			return s, true
		}
	case "*":
		if p := i * j; i == 0 || p/i == j && !(i == -1 && j == math.MinInt) {
			return p, true
		}
	case "//":
		q := i / j
		if i%j != 0 && (i < 0) != (j < 0) {
			q--
		}
		return q, true
	case "%":
		r := i % j
		if r != 0 && (r < 0) != (j < 0) {
			r += j
		}
		return r, true
	case "**":
		out := 1
		for n := 0; j >= 0 && n < j; n++ {
			if out != 0 && (out*i)/out != i || n > 64 && i != 0 && i != 1 && i != -1 {
				return nil, false
			}
			if out *= i; i == 0 || i == 1 || i == -1 && n > 64 {
				if i == -1 && j%2 == 0 {
					return 1, true
				}
				return i, true
			}
		}
		return out, j >= 0
	}
	return nil, false
}
