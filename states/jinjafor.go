package states

import (
	"errors"
	"fmt"
	"strings"

	controls "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// forNode is {% for %}: gonja's own takes no more than two names, no parentheses, and knows no loop in a recursive one.
type forNode struct {
	At        *tokens.Token
	Names     []string
	Over      nodes.Expression
	If        nodes.Expression
	Recursive bool
	Body      *nodes.Wrapper
	Else      *nodes.Wrapper
	budget    *budget
}

func (n forNode) Position() *tokens.Token { return n.At }
func (n forNode) String() string          { return "For()" }

func (j *jinja) parseFor(p, args *parser.Parser) (nodes.ControlStructure, error) {
	n := forNode{At: args.Current(), budget: j.budget}
	var err error
	if n.Names, err = parseNames(args); err != nil {
		return nil, err
	}
	if args.Match(tokens.In) == nil {
		return nil, args.Error("expected in: for NAME in LIST", args.Current())
	}
	if n.Over, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	if n.Over == nil {
		return nil, args.Error("expected a list after in", args.Current())
	}
	if args.MatchName("if") != nil {
		if n.If, err = args.ParseExpression(); err != nil {
			return nil, err
		}
	}
	n.Recursive = args.MatchName("recursive") != nil
	if !args.End() {
		return nil, args.Error("something after the end of the for", args.Current())
	}
	if n.Body, _, err = p.WrapUntil("else", "endfor"); err != nil {
		return nil, err
	}
	if n.Body.EndTag == "else" {
		if n.Else, _, err = p.WrapUntil("endfor"); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// parseNames is a, b or (a, b).
func parseNames(args *parser.Parser) ([]string, error) {
	var names []string
	bracket := args.Match(tokens.LeftParenthesis) != nil
	for {
		name := args.Match(tokens.Name)
		if name == nil {
			return nil, args.Error("expected a name", args.Current())
		}
		names = append(names, name.Val)
		if args.Match(tokens.Comma) == nil {
			break
		}
	}
	if bracket && args.Match(tokens.RightParenthesis) == nil {
		return nil, args.Error("expected )", args.Current())
	}
	return names, nil
}

// Execute implements exec.ControlStructure.
func (n forNode) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	over := r.Eval(n.Over)
	if over.IsError() {
		return over
	}
	return n.loop(r, over, 1)
}

func (n forNode) loop(r *exec.Renderer, over *exec.Value, depth int) error {
	if n.budget.calls += depth - 1; n.budget.calls > maxCalls || depth > maxCalls {
		n.budget.err = fmt.Errorf("calls itself more than %d levels deep", maxCalls)
		return n.budget.err
	}
	defer func() { n.budget.calls -= depth - 1 }()
	rounds, err := n.rounds(r, over)
	if err != nil {
		return err
	}
	if len(rounds) == 0 {
		if n.Else == nil {
			return nil
		}
		return r.ExecuteWrapper(n.Else)
	}
	var changed *exec.Value
	for i := range rounds {
		if err := n.budget.spend(1); err != nil {
			return err
		}
		sub := r.Inherit()
		if err := n.bind(sub, rounds[i]); err != nil {
			return err
		}
		sub.Environment.Context.Set("loop", n.info(r, rounds, i, depth, &changed))
		if err := sub.ExecuteWrapper(n.Body); err != nil {
			var stop *controls.LoopBreakError
			var next *controls.LoopContinueError
			switch {
			case errors.As(err, &stop):
				return nil
			case errors.As(err, &next):
				continue
			}
			return err
		}
	}
	return nil
}

// rounds are the items, without those that the condition leaves out.
func (n forNode) rounds(r *exec.Renderer, over *exec.Value) ([]*exec.Value, error) {
	items, err := n.budget.items(over)
	if err != nil || n.If == nil {
		return items, err
	}
	var kept []*exec.Value
	for _, item := range items {
		if err := n.budget.spend(1); err != nil {
			return nil, err
		}
		sub := r.Inherit()
		if err := n.bind(sub, item); err != nil {
			return nil, err
		}
		ok := sub.Eval(n.If)
		if ok.IsError() {
			return nil, ok
		}
		if ok.IsTrue() {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

// items are what a loop goes over: the items of a list, the keys of a map, the characters of a string.
func (b *budget) items(over *exec.Value) ([]*exec.Value, error) {
	var items []*exec.Value
	switch {
	case over.IsList():
		for i := range over.Len() {
			items = append(items, over.Index(i))
		}
	case over.IsDict():
		for _, k := range over.Keys() {
			items = append(items, k)
		}
		if _, ordered := over.Interface().(*exec.Dict); !ordered {
			sortValues(items)
		}
	case over.IsString():
		for _, c := range over.String() {
			items = append(items, exec.AsValue(string(c)))
		}
	case over.IsNil():
		return nil, errors.New("nothing to loop over: it is none")
	default:
		return nil, fmt.Errorf("cannot loop over %s", shorten(over.String()))
	}
	return items, b.spend(len(items))
}

func (n forNode) bind(r *exec.Renderer, item *exec.Value) error {
	if len(n.Names) == 1 {
		r.Environment.Context.Set(n.Names[0], item)
		return nil
	}
	if pair, ok := item.Interface().(*exec.Pair); ok {
		item = exec.AsValue([]any{pair.Key, pair.Value})
	}
	if !item.IsList() || item.Len() != len(n.Names) {
		return fmt.Errorf("for %s: each item must be a list of %d values; of a map, loop over .items()", strings.Join(n.Names, ", "), len(n.Names))
	}
	for i, name := range n.Names {
		r.Environment.Context.Set(name, item.Index(i))
	}
	return nil
}

// loopInfo is the variable loop: a function, so that loop(list) recurses, that has attributes.
type loopInfo func(*exec.VarArgs) *exec.Value

const loopAttribute = " attribute"

// GetAttribute implements exec.AttributeGetter.
func (l loopInfo) GetAttribute(name string) (*exec.Value, bool) {
	v := l(&exec.VarArgs{KwArgs: map[string]*exec.Value{loopAttribute: exec.AsValue(name)}})
	return v, v != nil
}

func (n forNode) info(r *exec.Renderer, rounds []*exec.Value, i, depth int, changed **exec.Value) loopInfo {
	return func(va *exec.VarArgs) *exec.Value {
		if name, ok := va.KwArgs[loopAttribute]; ok {
			return loopValue(name.String(), rounds, i, depth, changed)
		}
		if !n.Recursive || len(va.Args) != 1 {
			return exec.AsValue(errors.New("loop(LIST) takes one list, inside of a loop that is declared recursive"))
		}
		var out strings.Builder
		sub := r.Inherit()
		sub.Output = &out
		if err := n.loop(sub, va.Args[0], depth+1); err != nil {
			return exec.AsValue(err)
		}
		return exec.AsSafeValue(out.String())
	}
}

// loopValue is an attribute of loop; nil where there is none, such as the item before the first.
func loopValue(name string, rounds []*exec.Value, i, depth int, changed **exec.Value) *exec.Value {
	last := len(rounds) - 1
	switch name {
	case "previtem":
		if i > 0 {
			return rounds[i-1]
		}
		return nil
	case "nextitem":
		if i < last {
			return rounds[i+1]
		}
		return nil
	case "cycle":
		return exec.AsValue(func(va *exec.VarArgs) *exec.Value {
			if len(va.Args) == 0 {
				return exec.AsValue(errors.New("loop.cycle takes one value or more"))
			}
			return va.Args[i%len(va.Args)]
		})
	case "changed":
		return exec.AsValue(func(va *exec.VarArgs) *exec.Value {
			now := exec.AsValue(exec.ValuesList(va.Args))
			same := *changed != nil && now.EqualValueTo(*changed)
			*changed = now
			return exec.AsValue(!same)
		})
	}
	v, ok := map[string]any{"index": i + 1, "index0": i, "revindex": last - i + 1, "revindex0": last - i, "first": i == 0,
		"last": i == last, "length": last + 1, "depth": depth, "depth0": depth - 1}[name]
	if !ok {
		return nil
	}
	return exec.AsValue(v)
}

// callNode is {% call %}, with the names that the macro passes to caller().
type callNode struct {
	At    *tokens.Token
	Names []string
	Call  nodes.Expression
	Body  *nodes.Wrapper
}

func (n callNode) Position() *tokens.Token { return n.At }
func (n callNode) String() string          { return "Call()" }

func parseCall(p, args *parser.Parser) (nodes.ControlStructure, error) {
	n := callNode{At: args.Current()}
	var err error
	if args.Current(tokens.LeftParenthesis) != nil && args.Peek(tokens.RightParenthesis) == nil {
		if n.Names, err = parseNames(args); err != nil {
			return nil, err
		}
	}
	if n.Call, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	if _, ok := n.Call.(*nodes.Call); !ok || !args.End() {
		return nil, args.Error("expected the call of a macro: call NAME(…)", n.At)
	}
	n.Body, _, err = p.WrapUntil("endcall")
	return n, err
}

// Execute implements exec.ControlStructure.
func (n callNode) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	const slot = "__gonja_caller__" // where gonja's macros look for their caller
	r.Environment.Context.Set(slot, func(va *exec.VarArgs) *exec.Value {
		if len(va.Args) > len(n.Names) {
			return exec.AsValue(fmt.Errorf("caller takes %d arguments, not %d", len(n.Names), len(va.Args)))
		}
		var out strings.Builder
		sub := r.Inherit()
		sub.Output = &out
		for i, v := range va.Args {
			sub.Environment.Context.Set(n.Names[i], v)
		}
		if err := sub.ExecuteWrapper(n.Body); err != nil {
			return exec.AsValue(err)
		}
		return exec.AsSafeValue(out.String())
	})
	out := r.Eval(n.Call)
	r.Environment.Context.Set(slot, nil)
	if out.IsError() {
		return out
	}
	_, err := r.Output.Write([]byte(out.String()))
	return err
}
