package states

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// setNode is {% set %} that keeps a list as one value, so that {% do list.append(x) %} in a loop reaches it: gonja appends
// to a copy there and says nothing. It also sets several names at once, and filters a block.
type setNode struct {
	nodes.ControlStructure
	at      *tokens.Token     // where ControlStructure is none
	names   []string          // empty when an item or attribute is set
	several nodes.Expression  // the value of more names than one
	filter  *nodes.FilterCall // of a block
}

func (n setNode) Position() *tokens.Token {
	if n.ControlStructure != nil {
		return n.ControlStructure.Position()
	}
	return n.at
}

func (n setNode) String() string { return "Set(" + strings.Join(n.names, ", ") + ")" }

func (n setNode) Execute(r *exec.Renderer, tag *nodes.ControlStructureBlock) error {
	if n.several != nil {
		return n.unpack(r)
	}
	if err := n.ControlStructure.(exec.ControlStructure).Execute(r, tag); err != nil {
		return err
	}
	for _, name := range n.names {
		v, ok := r.Environment.Context.Get(name)
		if n.filter != nil {
			out := r.Evaluator().ExecuteFilter(n.filter, exec.AsValue(v))
			if out.IsError() {
				return out
			}
			r.Environment.Context.Set(name, out)
		} else if ok && v != nil && reflect.TypeOf(v).Kind() == reflect.Slice {
			r.Environment.Context.Set(name, exec.AsValue(v))
		}
	}
	return nil
}

func (n setNode) unpack(r *exec.Renderer) error {
	v := r.Eval(n.several)
	switch {
	case v.IsError():
		return v
	case !v.IsList() || v.Len() != len(n.names):
		return fmt.Errorf("set names %d variables: it needs a list of as many values", len(n.names))
	}
	for i, name := range n.names {
		r.Environment.Context.Set(name, v.Index(i).Interface())
	}
	return nil
}

func (j *jinja) parseSet(p, args *parser.Parser) (nodes.ControlStructure, error) {
	n := setNode{}
	t := args.Current(tokens.Name)
	if t != nil {
		n.names = []string{t.Val}
	}
	switch {
	case t == nil:
	case args.Peek(tokens.Comma) != nil:
		return parseSeveral(args)
	case args.Peek(tokens.Pipe) != nil:
		args.Consume()
		args.Consume()
		filter, err := args.ParseFilter()
		if err != nil {
			return nil, err
		}
		n.filter = filter
		args = parser.NewParser("", tokens.NewStream([]*tokens.Token{t}), p.Config, p.Loader, j.env.ControlStructures)
	}
	original, _ := builtins.ControlStructures.Get("set")
	cs, err := original(p, args)
	if err != nil {
		return nil, err
	}
	n.ControlStructure = cs
	return n, nil
}

// parseSeveral is set a, b = 1, 2.
func parseSeveral(args *parser.Parser) (nodes.ControlStructure, error) {
	n := setNode{at: args.Current()}
	for ok := true; ok; ok = args.Match(tokens.Comma) != nil {
		name := args.Match(tokens.Name)
		if name == nil {
			return nil, args.Error("expected a name", args.Current())
		}
		n.names = append(n.names, name.Val)
	}
	if args.Match(tokens.Assign) == nil {
		return nil, args.Error("expected =", args.Current())
	}
	list := &nodes.List{Location: args.Current()}
	for ok := true; ok; ok = args.Match(tokens.Comma) != nil {
		e, err := args.ParseExpression()
		if err != nil {
			return nil, err
		}
		list.Val = append(list.Val, e)
	}
	if n.several = list; len(list.Val) == 1 {
		n.several = list.Val[0]
	}
	if !args.End() {
		return nil, args.Error("something after the end of the set", args.Current())
	}
	return n, nil
}

// dictMethods are gonja's, but that update and setdefault change the dict itself and not a copy of it.
func dictMethods(b *budget) *exec.MethodSet[map[string]any] {
	all := map[string]exec.Method[map[string]any]{}
	for _, name := range []string{"keys", "values", "items", "get", "copy"} {
		if m, ok := builtins.Methods.Dict.Get(name); ok {
			all[name] = m
		}
	}
	all["update"] = func(_ map[string]any, self *exec.Value, params *exec.VarArgs) (any, error) {
		for _, a := range params.Args {
			var failed error
			a.Iterate(func(_, _ int, k, v *exec.Value) bool {
				if failed = b.spend(1); failed == nil && v != nil {
					failed = put(self, k, v)
				}
				return failed == nil
			}, func() {})
			if failed != nil {
				return nil, failed
			}
		}
		for _, k := range keysOf(params.KwArgs) {
			if err := put(self, exec.AsValue(k), params.KwArgs[k]); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	all["setdefault"] = func(_ map[string]any, self *exec.Value, params *exec.VarArgs) (any, error) {
		if len(params.Args) != 2 {
			return nil, errors.New("setdefault takes a key and a value")
		}
		if v, ok := self.GetItem(params.Args[0].String()); ok {
			return v.Interface(), nil
		}
		return params.Args[1].Interface(), put(self, params.Args[0], params.Args[1])
	}
	return exec.NewMethodSet(all)
}

// put sets an item of a dict, whether a template wrote it or it came from a variable.
func put(self, key, value *exec.Value) error {
	d, ok := self.Interface().(*exec.Dict)
	if !ok {
		return self.Set(key, value.Interface())
	}
	for _, p := range d.Pairs {
		if p.Key.EqualValueTo(key) {
			p.Value = value
			return nil
		}
	}
	d.Pairs = append(d.Pairs, &exec.Pair{Key: key, Value: value})
	return nil
}

// dictFunction is dict(a=1) and dict(pairs). The names come sorted: gonja does not tell in which order they were written.
func (b *budget) dictFunction(_ *exec.Evaluator, params *exec.VarArgs) *exec.Value {
	d := exec.NewDict()
	self := exec.AsValue(d)
	for _, a := range params.Args {
		v, err := b.plain(a)
		if err != nil {
			return exec.AsValue(err)
		}
		items := []any{}
		switch v := v.(type) {
		case *dict:
			for _, k := range v.keys {
				items = append(items, []any{k, v.values[k]})
			}
		case []any:
			items = v
		}
		for _, item := range items {
			pair, ok := item.([]any)
			if !ok || len(pair) != 2 {
				return exec.AsValue(errors.New("dict takes a map, a list of pairs, or NAME=VALUE"))
			}
			_ = put(self, exec.AsValue(pythonText(pair[0])), exec.AsValue(jinjaOf(pair[1]))) // a new dict takes any key
		}
	}
	for _, k := range keysOf(params.KwArgs) {
		_ = put(self, exec.AsValue(k), params.KwArgs[k])
	}
	return self
}

// listMethods are those of Python that change a list or look into it.
func listMethods(b *budget) *exec.MethodSet[[]any] {
	all := map[string]exec.Method[[]any]{}
	change := func(name string, args int, apply func(list exec.ValuesList, args []*exec.Value) (exec.ValuesList, any, error)) {
		all[name] = func(_ []any, self *exec.Value, params *exec.VarArgs) (any, error) {
			if n := len(params.Args); n > args || args > 0 && n < args && name != "pop" || len(params.KwArgs) > 0 {
				return nil, fmt.Errorf("%s takes %d arguments, not %d", name, args, n)
			}
			list := exec.ValuesList{}
			for i := range self.Len() {
				list = append(list, self.Index(i))
			}
			if err := b.spend(1 + len(list)/bytesPerValue); err != nil {
				return nil, err
			}
			changed, out, err := apply(list, params.Args)
			if err == nil && changed != nil {
				*self = *exec.AsValue(changed)
			}
			return out, err
		}
	}
	change("append", 1, func(l exec.ValuesList, a []*exec.Value) (exec.ValuesList, any, error) {
		return append(l, a[0]), nil, nil
	})
	change("extend", 1, func(l exec.ValuesList, a []*exec.Value) (exec.ValuesList, any, error) {
		items, err := b.items(a[0])
		return append(l, items...), nil, err
	})
	change("insert", 2, func(l exec.ValuesList, a []*exec.Value) (exec.ValuesList, any, error) {
		at := min(max(a[0].Integer(), 0), len(l))
		return append(l[:at:at], append(exec.ValuesList{a[1]}, l[at:]...)...), nil, nil
	})
	change("pop", 1, func(l exec.ValuesList, a []*exec.Value) (exec.ValuesList, any, error) {
		at := len(l) - 1
		if len(a) == 1 {
			if at = a[0].Integer(); at < 0 {
				at += len(l)
			}
		}
		if at < 0 || at >= len(l) {
			return nil, nil, errors.New("pop: the list has no such item")
		}
		v := l[at]
		return append(l[:at:at], l[at+1:]...), v.Interface(), nil
	})
	find := func(l exec.ValuesList, v *exec.Value) int {
		for i, e := range l {
			if e.EqualValueTo(v) {
				return i
			}
		}
		return -1
	}
	change("index", 1, func(l exec.ValuesList, a []*exec.Value) (exec.ValuesList, any, error) {
		if i := find(l, a[0]); i >= 0 {
			return nil, i, nil
		}
		return nil, nil, errors.New("index: the list has no such item")
	})
	change("remove", 1, func(l exec.ValuesList, a []*exec.Value) (exec.ValuesList, any, error) {
		i := find(l, a[0])
		if i < 0 {
			return nil, nil, errors.New("remove: the list has no such item")
		}
		return append(l[:i:i], l[i+1:]...), nil, nil
	})
	change("reverse", 0, func(l exec.ValuesList, _ []*exec.Value) (exec.ValuesList, any, error) {
		slices.Reverse(l)
		return l, nil, nil
	})
	change("copy", 0, func(l exec.ValuesList, _ []*exec.Value) (exec.ValuesList, any, error) {
		return nil, exec.AsValue(l), nil
	})
	return exec.NewMethodSet(all)
}
