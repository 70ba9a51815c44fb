package states

import (
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Limits of one call of states(), and of the top level of one file; what a file loads counts as its own.
const (
	maxStarSteps = 1_000_000
	maxStarBytes = 64 << 20 // all that it makes, copies and compares, also what it forgot again
	maxStarBits  = 512      // of a whole number
	maxStarCalls = 100      // functions within each other
)

const starBudgetKey = "budget"

// starBudget counts the bytes that a program handles. They are estimated from the operands before each operation, so that
// what is refused is refused on every machine, and before it is made.
type starBudget struct {
	bytes int
	err   error // of the limit that was met: no program can catch it
}

func budgetOf(t *starlark.Thread) *starBudget { return t.Local(starBudgetKey).(*starBudget) }

func (b *starBudget) spend(n int) error {
	if n < 0 || n > maxStarBytes-b.bytes {
		b.err = fmt.Errorf("it handles more than %s of values, or nests them deeper than %d levels", sizeText(maxStarBytes), maxStarNesting)
		return b.err
	}
	b.bytes += n
	return nil
}

// product is a*b, or more than any budget.
func product(a, b int) int {
	if a <= 0 || b <= 0 {
		return 0
	}
	if a > (2*maxStarBytes)/b {
		return 2 * maxStarBytes
	}
	return a * b
}

// starValueBytes is about what one element takes.
const starValueBytes = 16

// shallow is about the bytes of a value without those of its elements.
func shallow(v starlark.Value) int {
	switch v := v.(type) {
	case starlark.String:
		return len(v)
	case starlark.Bytes:
		return len(v)
	case *starlark.Dict:
		return product(v.Len(), 64)
	case *starlark.Set:
		return product(v.Len(), 64)
	}
	if n := starlark.Len(v); n > 0 {
		return product(n, starValueBytes)
	}
	return starValueBytes
}

// maxStarNesting is how deep values may nest that are spelled out, copied, hashed or frozen: all of that recurses.
const maxStarNesting = 500

// deep is about the bytes of a value spelled out, each use of a shared one counted; above limit it stops counting.
func deep(v starlark.Value, limit int) int { return deepFrom(v, limit, 0) }

func deepFrom(v starlark.Value, limit, depth int) int {
	n := shallow(v)
	if depth > maxStarNesting {
		return limit + 1
	}
	inner := func(e starlark.Value) bool {
		if n <= limit {
			n += deepFrom(e, limit-n, depth+1)
		}
		return n <= limit
	}
	switch v := v.(type) {
	case starlark.Tuple:
		for _, e := range v {
			if !inner(e) {
				break
			}
		}
	case *starlark.List:
		for i := 0; i < v.Len() && inner(v.Index(i)); i++ {
		}
	case *starlark.Dict:
		for k, e := range v.Entries() {
			if !inner(k) || !inner(e) {
				break
			}
		}
	case *starlark.Set:
		for e := range v.Elements() {
			if !inner(e) {
				break
			}
		}
	case *starlark.Function:
		for i := range v.NumFreeVars() {
			if _, e := v.FreeVar(i); e != nil && e != starlark.Value(v) && !inner(e) {
				break
			}
		}
		for i := range v.NumParams() {
			if e := v.ParamDefault(i); e != nil && !inner(e) {
				break
			}
		}
	case *starlark.Builtin:
		if r := v.Receiver(); r != nil {
			inner(r)
		}
	}
	return n
}

func (b *starBudget) spendDeep(values ...starlark.Value) error {
	for _, v := range values {
		if err := b.spend(1 + deep(v, maxStarBytes-b.bytes)); err != nil {
			return err
		}
	}
	return nil
}

func (b *starBudget) spendShallow(factor int, values ...starlark.Value) error {
	for _, v := range values {
		if err := b.spend(1 + product(shallow(v), factor)); err != nil {
			return err
		}
	}
	return nil
}

// starGuards are the functions that starGuard calls.
var starGuards = starlark.StringDict{
	starCall:       starlark.NewBuiltin(starCall, guardCall),
	starBinary:     starlark.NewBuiltin(starBinary, guardBinary),
	starAug:        starlark.NewBuiltin(starAug, guardAug),
	starSized:      starlark.NewBuiltin(starSized, guardSized),
	starKey:        starlark.NewBuiltin(starKey, guardKey),
	fleetFunction:  starlark.NewBuiltin(fleetFunction, starFleet),
	secretFunction: starlark.NewBuiltin(secretFunction, starSecret),
}

func guardSized(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[0], budgetOf(t).spendShallow(1, args[0])
}

func guardKey(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[0], budgetOf(t).spendDeep(args[0])
}

// starOperators are the operators by how they are written.
var starOperators = func() map[string]syntax.Token {
	all := map[string]syntax.Token{}
	for op := syntax.PLUS; op <= syntax.NEQ; op++ {
		all[op.String()] = op
	}
	all[syntax.IN.String()], all[syntax.NOT_IN.String()] = syntax.IN, syntax.NOT_IN
	return all
}()

func guardBinary(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	op := starOperators[string(args[0].(starlark.String))]
	x, y := args[1], args[2]
	if err := budgetOf(t).operands(op, x, y); err != nil {
		return nil, err
	}
	switch op {
	case syntax.EQL, syntax.NEQ, syntax.LT, syntax.LE, syntax.GT, syntax.GE:
		ok, err := starlark.Compare(op, x, y)
		return starlark.Bool(ok), err
	case syntax.NOT_IN:
		in, err := starlark.Binary(syntax.IN, x, y)
		if err != nil {
			return nil, err
		}
		return !in.Truth(), nil
	}
	return starlark.Binary(op, x, y)
}

// guardAug is the right side of x op= y.
func guardAug(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	op := starOperators[string(args[0].(starlark.String))]
	if _, isList := args[1].(*starlark.List); isList && op == syntax.PLUS {
		return args[2], budgetOf(t).spendShallow(1, args[2]) // grows in place
	}
	return args[2], budgetOf(t).operands(op, args[1], args[2])
}

// operands pays for an operation, by what it could make.
func (b *starBudget) operands(op syntax.Token, x, y starlark.Value) error {
	if i, ok := x.(starlark.Int); ok {
		if j, ok := y.(starlark.Int); ok {
			return b.numbers(op, i, j)
		}
	}
	switch op {
	case syntax.STAR:
		if _, ok := x.(starlark.Int); ok {
			x, y = y, x
		}
		n := 1
		if i, ok := y.(starlark.Int); ok {
			if n = 2 * maxStarBytes; i.Sign() <= 0 {
				n = 0
			} else if small, ok := i.Int64(); ok && small < int64(n) {
				n = int(small)
			}
		}
		return b.spend(1 + product(shallow(x), n))
	case syntax.PERCENT:
		if s, ok := x.(starlark.String); ok {
			return b.format(strings.Count(string(s), "%"), x, y)
		}
	case syntax.EQL, syntax.NEQ, syntax.LT, syntax.LE, syntax.GT, syntax.GE, syntax.IN, syntax.NOT_IN:
		if _, text := y.(starlark.String); text {
			return b.spendShallow(1, x, y)
		}
		if d, ok := y.(*starlark.Dict); ok && (op == syntax.IN || op == syntax.NOT_IN) && d != nil {
			return b.spendDeep(x)
		}
		return b.spendDeep(x, y)
	}
	return b.spendShallow(1, x, y)
}

// numbers bounds whole numbers, which have no size of their own in Starlark.
func (b *starBudget) numbers(op syntax.Token, x, y starlark.Int) error {
	if op == syntax.PLUS || op == syntax.MINUS || op == syntax.STAR || op == syntax.LTLT {
		if bitsOf(x) > maxStarBits || bitsOf(y) > maxStarBits {
			return fmt.Errorf("a whole number of more than %d bits", maxStarBits)
		}
	}
	return b.spend(1)
}

func bitsOf(i starlark.Int) int {
	if _, small := i.Int64(); small {
		return 64
	}
	return i.BigInt().BitLen()
}

// format pays for what a text with n places for values makes of them.
func (b *starBudget) format(n int, format starlark.Value, values ...starlark.Value) error {
	size := 0
	for _, v := range values {
		size = max(size, deep(v, maxStarBytes))
	}
	return b.spend(1 + shallow(format) + product(n, size))
}

// guardCall is f(…): it pays for what a built-in function could make, and holds how deep calls go.
func guardCall(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	fn, rest := args[0], args[1:]
	if t.CallStackDepth() > 2*maxStarCalls {
		b := budgetOf(t)
		b.err = fmt.Errorf("calls more than %d levels deep", maxStarCalls)
		return nil, b.err
	}
	builtin, ok := fn.(*starlark.Builtin)
	if !ok {
		if _, callable := fn.(starlark.Callable); !callable {
			return nil, fmt.Errorf("%s is not a function: it cannot be called", starType(fn))
		}
		return starlark.Call(t, fn, rest, kwargs)
	}
	all := append(starlark.Tuple{}, rest...)
	for _, kw := range kwargs {
		all = append(all, kw[1])
		if f, ok := kw[1].(*starlark.Builtin); ok {
			kw[1] = guardedBuiltin(f)
		}
	}
	if err := budgetOf(t).builtin(builtin, all); err != nil {
		return nil, err
	}
	out, err := starlark.Call(t, builtin, rest, kwargs)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// guardedBuiltin is for a function that is passed to another: sorted(l, key = "x".join).
func guardedBuiltin(f *starlark.Builtin) starlark.Value {
	return starlark.NewBuiltin(f.Name(), func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return guardCall(t, nil, append(starlark.Tuple{f}, args...), kwargs)
	})
}

// builtin pays for a call of a built-in function or method, by its name: most look at all of their arguments.
func (b *starBudget) builtin(f *starlark.Builtin, args starlark.Tuple) error {
	self := f.Receiver()
	if self == nil {
		return b.universal(f.Name(), args)
	}
	switch self := self.(type) {
	case starlark.String:
		return b.stringMethod(f.Name(), self, args)
	case *starlark.List:
		switch f.Name() {
		case "append", "insert", "pop", "clear":
			return b.spend(1 + self.Len()/starValueBytes)
		case "extend":
			return b.spendShallow(1, args...)
		}
	case *starlark.Dict:
		switch f.Name() {
		case "get", "pop", "setdefault":
			if len(args) > 0 {
				return b.spendDeep(args[0])
			}
			return nil
		case "keys", "values", "items", "clear", "popitem":
			return b.spendShallow(1, self)
		case "update":
			return b.spendShallow(2, args...)
		}
	}
	return errors.Join(b.spendDeep(self), b.spendDeep(args...))
}

func (b *starBudget) universal(name string, args starlark.Tuple) error {
	switch name {
	case "len", "type", "bool", "range", "hasattr", "getattr", "chr", "ord", "float", "abs":
		return b.spend(1)
	case "int":
		if len(args) > 0 && shallow(args[0]) > 2*maxStarDigits {
			return fmt.Errorf("a number of more than %d digits", 2*maxStarDigits)
		}
		return b.spend(1)
	case "list", "tuple", "reversed", "any", "all":
		return b.spendShallow(1, args...)
	case "enumerate", "zip":
		return b.spendShallow(5, args...)
	case "sorted", "dict", "set", "max", "min":
		return errors.Join(b.spendShallow(4, args...), b.spendDeep(args...))
	}
	return b.spendDeep(args...)
}

func (b *starBudget) stringMethod(name string, self starlark.String, args starlark.Tuple) error {
	sizes := make([]int, len(args))
	for i, a := range args {
		sizes[i] = shallow(a)
	}
	switch {
	case name == "join" && len(args) == 1:
		return errors.Join(b.spend(product(len(self), max(0, starlark.Len(args[0])))), b.spendDeep(args[0]))
	case name == "replace" && len(args) >= 2:
		if old, ok := args[0].(starlark.String); ok {
			return b.spend(1 + len(self) + product(strings.Count(string(self), string(old)), sizes[1]))
		}
	case name == "format":
		return b.format(strings.Count(string(self), "{"), self, args...)
	case strings.Contains(name, "split") || name == "partition" || name == "rpartition":
		return b.spend(1 + product(len(self), 8))
	}
	return b.spendShallow(1, append(starlark.Tuple{self}, args...)...)
}

// starType says what a value is, in the words of the language.
func starType(v starlark.Value) string {
	switch v := v.(type) {
	case starlark.NoneType:
		return "None"
	case starlark.String:
		return "the string " + shorten(v.String())
	case starlark.Int, starlark.Float, starlark.Bool:
		return "the " + v.Type() + " " + shorten(v.String())
	}
	return "a " + v.Type()
}
