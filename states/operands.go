package states

import (
	"reflect"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// The names of filters that guard puts into templates; no template can write them.
const (
	outFilter  = " out"
	markFilter = " at"
)

// bytesPerStep is how much text counts as one step, so that a rendering handles at most 256 MiB in all.
const bytesPerStep = 256

// guard goes through what gonja parsed of a file: it takes the operators over, pays for what is written, and leaves marks, so
// that an error has a place. It reflects, since some nodes keep their children to themselves; the children are pointers, so
// they can be changed all the same.
func (b *budget) guard(root any, file string) {
	if b.guarded == nil {
		b.guarded = map[any]bool{}
	}
	b.file = file
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
		b.operator((*nodes.BinaryExpression)(v.UnsafePointer()))
	case reflect.TypeFor[*nodes.FilteredExpression]():
		e := (*nodes.FilteredExpression)(v.UnsafePointer())
		for _, f := range e.Filters {
			b.markFilter(f)
		}
	case reflect.TypeFor[*nodes.TestExpression]():
		t := (*nodes.TestExpression)(v.UnsafePointer()).Test
		if tuple, ok := only(t.Args).(*nodes.Tuple); ok && t.Name != "in" { // gonja takes the arguments in brackets for one
			t.Args = tuple.Val
		}
		t.Args = append([]nodes.Expression{&nodes.String{Location: t.Token, Val: t.Name}, &nodes.Integer{Location: t.Token, Val: b.place(t.Token)}}, t.Args...)
		t.Name = markFilter
	case reflect.TypeFor[*nodes.Name]():
		switch n := (*nodes.Name)(v.UnsafePointer()); n.Name.Val {
		case "varargs", "kwargs":
			b.extra = append(b.extra, n.Name.Val)
		}
	case reflect.TypeFor[*nodes.Macro]():
		m := (*nodes.Macro)(v.UnsafePointer())
		for _, name := range b.extra { // as Jinja2 has it: a macro that names them takes any arguments
			switch {
			case name == "varargs" && m.VarArgsName == "":
				m.VarArgsName = name
			case name == "kwargs" && m.KwArgsName == "":
				m.KwArgsName = name
			}
		}
		b.extra = nil
	case reflect.TypeFor[*nodes.Output]():
		o := (*nodes.Output)(v.UnsafePointer())
		o.Expression, o.Alternative = filtered(o.Expression, outFilter), filtered(o.Alternative, outFilter)
	case reflect.TypeFor[*nodes.Wrapper]():
		w := (*nodes.Wrapper)(v.UnsafePointer())
		w.Nodes = b.payForText(w.Nodes)
	case reflect.TypeFor[*nodes.Template]():
		t := (*nodes.Template)(v.UnsafePointer())
		t.Nodes = b.payForText(t.Nodes)
	}
}

// payForText puts a tick before each long text, and a mark before what is evaluated.
func (b *budget) payForText(list []nodes.Node) []nodes.Node {
	var out []nodes.Node
	for _, n := range list {
		switch n := n.(type) {
		case *nodes.Data:
			if len(n.Data.Val) > bytesPerStep {
				out = append(out, tick{at: n.Data, budget: b, cost: len(n.Data.Val) / bytesPerStep}.node())
			}
		case *nodes.Output:
			out = append(out, tick{at: n.Start, budget: b, mark: b.place(n.Start)}.node())
		case *nodes.ControlStructureBlock:
			if n.Name != "tick" {
				out = append(out, tick{at: n.Location, budget: b, mark: b.place(n.Location)}.node())
			}
		}
		out = append(out, n)
	}
	return out
}

// place remembers where a token is, and gives its number: places are counted from 1.
func (b *budget) place(t *tokens.Token) int {
	b.places = append(b.places, Place{File: b.file, Line: t.Line, Column: max(1, t.Col)})
	return len(b.places)
}

func only(list []nodes.Expression) nodes.Expression {
	if len(list) == 1 {
		return list[0]
	}
	return nil
}

// markFilter lets a filter remember that evaluation came to it.
func (b *budget) markFilter(f *nodes.FilterCall) {
	if strings.HasPrefix(f.Name, " ") {
		return
	}
	f.Args = append([]nodes.Expression{&nodes.String{Location: f.Token, Val: f.Name}, &nodes.Integer{Location: f.Token, Val: b.place(f.Token)}}, f.Args...)
	f.Name = markFilter
}

// guards are the filters of guard.
func (b *budget) guards(all map[string]exec.FilterFunction) {
	all[markFilter] = func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		name := params.Args[0].String()
		if !in.IsError() || !e.Environment.Filters.Exists(name) {
			b.at = params.Args[1].Integer()
		}
		return e.ExecuteFilterByName(name, in, &exec.VarArgs{Args: params.Args[2:], KwArgs: params.KwArgs})
	}
	all[outFilter] = func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		if in.IsList() || in.IsDict() {
			v, err := b.plain(in)
			if err != nil {
				return exec.AsValue(err)
			}
			in = exec.AsValue(pythonText(v))
		}
		return b.sized(in, sizeOf(in))
	}
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
