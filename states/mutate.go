package states

import (
	"errors"
	"reflect"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// setNode is {% set %} that keeps a list as one value, so that {% do list.append(x) %} in a loop reaches it: gonja appends
// to a copy there and says nothing.
type setNode struct {
	nodes.ControlStructure
	name string // empty when an item or attribute is set
}

func (n setNode) Execute(r *exec.Renderer, tag *nodes.ControlStructureBlock) error {
	if err := n.ControlStructure.(exec.ControlStructure).Execute(r, tag); err != nil {
		return err
	}
	v, ok := r.Environment.Context.Get(n.name)
	if ok && v != nil && reflect.TypeOf(v).Kind() == reflect.Slice {
		r.Environment.Context.Set(n.name, exec.AsValue(v))
	}
	return nil
}

func parseSet(p, args *parser.Parser) (nodes.ControlStructure, error) {
	name := ""
	if t := args.Current(); t != nil && t.Type == tokens.Name {
		name = t.Val
	}
	original, _ := builtins.ControlStructures.Get("set")
	cs, err := original(p, args)
	if err != nil {
		return nil, err
	}
	return setNode{cs, name}, nil
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
