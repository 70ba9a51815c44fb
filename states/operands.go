package states

import (
	"fmt"
	"reflect"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// The names of filters that guard puts into templates; no template can write them.
const (
	leftFilter  = " left"
	plusFilter  = " plus"
	timesFilter = " times"
	outFilter   = " out"
)

// bytesPerStep is how much text counts as one step, so that a rendering handles at most 256 MiB in all.
const bytesPerStep = 256

// guard goes through what gonja parsed and puts a filter around the operands of + ~ and *, which could make a string of
// any size, and around what is written. It reflects, since some nodes keep their children to themselves; the children are
// pointers, so they can be changed all the same.
func (b *budget) guard(root any) {
	if b.guarded == nil {
		b.guarded = map[any]bool{}
	}
	b.walk(reflect.ValueOf(root))
}

const gonjaPackages = "github.com/nikolalohinski/gonja/v2/"

func (b *budget) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			b.walk(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			b.walk(v.Index(i))
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			b.walk(it.Value())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			b.walk(v.Field(i))
		}
	case reflect.Pointer:
		pkg := v.Type().Elem().PkgPath()
		ours := pkg == gonjaPackages+"nodes" || pkg == gonjaPackages+"builtins/control_structures"
		key := [2]any{v.Pointer(), v.Type()}
		if v.IsNil() || !ours || b.guarded[key] {
			return
		}
		b.guarded[key] = true
		b.walk(v.Elem())
		b.adapt(v)
	}
}

func (b *budget) adapt(v reflect.Value) {
	switch v.Type() {
	case reflect.TypeFor[*nodes.BinaryExpression]():
		e := (*nodes.BinaryExpression)(v.UnsafePointer())
		right := plusFilter
		switch e.Operator.Token.Type {
		case tokens.Multiply:
			right = timesFilter
		case tokens.Addition, tokens.Tilde:
		default:
			return
		}
		e.Left, e.Right = filtered(e.Left, leftFilter), filtered(e.Right, right)
	case reflect.TypeFor[*nodes.Output]():
		o := (*nodes.Output)(v.UnsafePointer())
		o.Expression, o.Alternative = filtered(o.Expression, outFilter), filtered(o.Alternative, outFilter)
	case reflect.TypeFor[*nodes.Wrapper]():
		w := (*nodes.Wrapper)(v.UnsafePointer())
		w.Nodes = b.payForText(w.Nodes)
	}
}

// payForText puts a tick before each long text.
func (b *budget) payForText(list []nodes.Node) []nodes.Node {
	var out []nodes.Node
	for _, n := range list {
		if d, ok := n.(*nodes.Data); ok && len(d.Data.Val) > bytesPerStep {
			out = append(out, tick{at: d.Data, budget: b, cost: len(d.Data.Val) / bytesPerStep}.node())
		}
		out = append(out, n)
	}
	return out
}

// guards are the filters of guard. A left operand leaves its size on a stack for the right one.
func (b *budget) guards(all map[string]exec.FilterFunction) {
	all[leftFilter] = func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		b.operands = append(b.operands, sizeOf(in))
		return in
	}
	all[plusFilter] = func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		if left, right := b.popOperand(), sizeOf(in); left > 0 || right > 0 {
			return b.sized(in, left+right)
		}
		return in
	}
	all[timesFilter] = func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		left := b.popOperand()
		if left == 0 || in.IsError() || !in.IsInteger() {
			return in
		}
		if n := in.Integer(); n > MaxRenderedBytes {
			return exec.AsValue(tooLong())
		} else if n < 0 {
			return exec.AsValue(fmt.Errorf("a string cannot be repeated %d times", n))
		}
		return b.sized(in, left*in.Integer())
	}
	all[outFilter] = func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value { return b.sized(in, sizeOf(in)) }
}

func (b *budget) popOperand() int {
	last := len(b.operands) - 1
	if last < 0 {
		return 0
	}
	n := b.operands[last]
	b.operands = b.operands[:last]
	return n
}

// sized pays for a value of a size, and passes it on.
func (b *budget) sized(in *exec.Value, size int) *exec.Value {
	if size > MaxRenderedBytes {
		return exec.AsValue(tooLong())
	}
	if err := b.spend(1 + size/bytesPerStep); err != nil {
		return exec.AsValue(err)
	}
	return in
}

// sizeOf is about the bytes of a string or list; 0 for anything else.
func sizeOf(v *exec.Value) int {
	switch {
	case v == nil || v.IsError():
		return 0
	case v.IsString():
		return len(v.String())
	case v.IsList():
		return bytesPerValue * v.Len()
	}
	return 0
}
