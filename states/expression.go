package states

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// scope is what an expression or a template may know.
type scope struct {
	vars map[string]any
	node Node
	each map[string]any // nil outside of a for_each
	tags map[string]any // node.Tags, converted once
	// states are the outputs that are known; nil while a plan is made.
	states map[string]any
	late   lateVariables
}

func tagsOf(n Node) map[string]any {
	tags := make(map[string]any, len(n.Tags))
	for k, v := range n.Tags {
		tags[k] = v
	}
	return tags
}

// ResolveName makes a scope a cel.Activation.
func (s *scope) ResolveName(name string) (any, bool) {
	switch name {
	case "vars":
		return s.vars, s.vars != nil
	case "tags":
		return s.tags, true
	case "name":
		return s.node.Name, true
	case "zone":
		return s.node.Zone, true
	case "each":
		return s.each, s.each != nil
	case "states":
		return s.states, s.states != nil
	}
	return nil, false
}

// Parent makes a scope a cel.Activation.
func (s *scope) Parent() cel.Activation { return nil }

// names are all that an expression could have meant, for suggestions.
func (s *scope) names() []string {
	all := []string{"vars", "tags", "name", "zone", "each"}
	all = append(all, keysOf(s.tags)...)
	return append(all, nestedKeys(s.vars, nil, 0)...)
}

func nestedKeys(m map[string]any, into []string, depth int) []string {
	for _, k := range keysOf(m) {
		if len(into) > 1000 {
			break
		}
		into = append(into, k)
		if inner, ok := m[k].(map[string]any); ok && depth < 5 {
			into = nestedKeys(inner, into, depth+1)
		}
	}
	return into
}

// expressionError is a wrong expression, with the offset in its text where that is known (else -1).
type expressionError struct {
	message, hint string
	offset        int
}

func (e *expressionError) Error() string { return e.message }

// expressions compiles each text once. It is not safe for concurrent use.
type expressions struct {
	env      *cel.Env
	programs map[string]program
	// note is told what each evaluation may read.
	note func(*reads)
	// refused knows the error of a secret.
	refused func(text string) *expressionError
}

type program struct {
	prg   cel.Program
	reads *reads
	// outputs are what it reads of states, in the order written.
	outputs []outputRead
	err     *expressionError
}

func newExpressions(l *Catalogue, note func(*reads)) (*expressions, error) {
	env, err := cel.NewEnv(append(sharedOptions(), fleetInCEL(l.nodesOf), secretInCEL(l.secretOf),
		cel.Variable("vars", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("tags", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("name", cel.StringType),
		cel.Variable("zone", cel.StringType),
		cel.Variable("each", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("states", cel.MapType(cel.StringType, cel.DynType)),
	)...)
	if err != nil {
		return nil, fmt.Errorf("prepare expressions: %w", err)
	}
	return &expressions{env: env, programs: map[string]program{}, note: note, refused: l.refusedSecret}, nil
}

func sharedOptions() []cel.EnvOption {
	return append(stringFunctions(),
		cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(MaxExpressionBytes), cel.ParserRecursionLimit(100), cel.ExpressionNestingDepthLimit(100),
		ext.Lists(), ext.Sets(), ext.Math(), ext.Encoders(), ext.TwoVarComprehensions(),
	)
}

func (x *expressions) compile(text string) program {
	if p, ok := x.programs[text]; ok {
		return p
	}
	p := compileCEL(x.env, text)
	x.programs[text] = p
	return p
}

// compileCEL compiles text and reports the first thing wrong with it.
func compileCEL(env *cel.Env, text string) program {
	parsed, issues := env.Compile(text)
	if list := issues.Errors(); len(list) > 0 {
		first := list[0]
		return program{err: &expressionError{message: celMessage(first.Message), offset: offsetOf(text, first.Location.Line(), first.Location.Column())}}
	}
	prg, err := env.Program(parsed, cel.CostLimit(MaxExpressionCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return program{err: &expressionError{message: err.Error(), offset: -1}}
	}
	p := program{prg: prg, reads: readsOfCEL(parsed.NativeRep().Expr())}
	if strings.Contains(text, "states") {
		p.outputs, p.err = outputReads(parsed)
	}
	return p
}

func offsetOf(text string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		next := strings.IndexByte(text[at:], '\n')
		if next < 0 {
			return -1
		}
		at += next + 1
	}
	if at += column; at > len(text) || column < 0 {
		return -1
	}
	return at
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	missingKey = regexp.MustCompile(`no such (?:key|attribute\(s\)): (.*)$`)
	reserved   = regexp.MustCompile(`reserved identifier: (\w+)$`)
	celPrefix  = regexp.MustCompile(`^(?:Syntax error|ERROR): `)
)

// celMessage puts cel-go's words into the language's.
func celMessage(m string) string {
	if u := undeclared.FindStringSubmatch(m); u != nil {
		if u[1] == "states" {
			return outputsUnknown
		}
		return fmt.Sprintf("undefined name %q", u[1])
	}
	if r := reserved.FindStringSubmatch(m); r != nil {
		return fmt.Sprintf("undefined name %q", r[1])
	}
	m = celPrefix.ReplaceAllString(m, "")
	first, _, _ := strings.Cut(m, "\n")
	first, _, _ = strings.Cut(first, " expecting {")
	return "expression: " + strings.ReplaceAll(lowerFirst(first), "mismatched input '<EOF>'", "it ends too early")
}

// eval evaluates text over s to a plain value: nil, bool, int64, float64, string, []any or map[string]any.
func (x *expressions) eval(text string, s *scope) (any, *expressionError) {
	p := x.compile(text)
	if p.err != nil {
		e := *p.err
		if name, ok := strings.CutPrefix(e.message, "undefined name "); ok && e.hint == "" {
			e.hint = suggest(strings.Trim(name, `"`), s.names())
		}
		return nil, &e
	}
	x.note(p.reads)
	if len(p.outputs) > 0 && s.states == nil {
		return nil, &expressionError{message: outputsUnknown, hint: outputsHint, offset: p.outputs[0].offset}
	}
	out, _, err := p.prg.Eval(s)
	if err != nil {
		return nil, x.explain(text, err, s)
	}
	var w weight
	v, err := w.plain(out, 0)
	if err != nil {
		return nil, &expressionError{message: err.Error(), offset: -1}
	}
	return v, nil
}

// weight counts what a value holds: an expression can stand for far more than it costs to evaluate.
type weight struct{ values, bytes int }

// bytesPerValue is about what a value in a list or map takes in memory.
const bytesPerValue = 64

func (w *weight) add(bytes int) error {
	w.values++
	w.bytes += bytes
	if w.values > MaxDocumentNodes || w.bytes > MaxRenderedBytes {
		return fmt.Errorf("expression: its value stands for more than %d values or %s", MaxDocumentNodes, sizeText(MaxRenderedBytes))
	}
	return nil
}

func (x *expressions) explain(text string, err error, s *scope) *expressionError {
	m := missingKey.FindStringSubmatch(err.Error())
	if m == nil {
		if e := x.refused(err.Error()); e != nil {
			return &expressionError{message: e.message, hint: e.hint, offset: wordIndex(text, secretFunction)}
		}
		if strings.HasPrefix(err.Error(), fleetFunction+"(") {
			return &expressionError{message: err.Error(), offset: wordIndex(text, fleetFunction)}
		}
		message := "expression: " + err.Error()
		if strings.Contains(message, "cost limit") {
			message = fmt.Sprintf("expression: it takes more than %d steps", MaxExpressionCost)
		}
		return &expressionError{message: message, offset: -1}
	}
	hint := ""
	switch m[1] {
	case "each":
		hint = "each is known inside a for_each only"
	case "vars":
		hint = "variables are made from tags, name and zone; vars is known in states files and templates"
	default:
		hint = suggest(m[1], s.names())
	}
	offset := wordIndex(text, m[1])
	if hint == "" && offset > 0 && isOwnTag(text[:offset]) {
		hint = fmt.Sprintf("this node has no such tag; has(tags.%s) asks whether it has", m[1])
	}
	return &expressionError{message: fmt.Sprintf("undefined variable %q", m[1]), hint: hint, offset: offset}
}

// isOwnTag: what follows is a tag of the node, and not of one that nodes() gives.
func isOwnTag(before string) bool {
	before, ok := strings.CutSuffix(before, "tags.")
	return ok && (before == "" || before[len(before)-1] != '.' && !wordByte(before[len(before)-1]))
}

// wordIndex is the offset of a name in an expression, or -1.
func wordIndex(text, word string) int {
	for from := 0; word != ""; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			break
		}
		i += from
		end := i + len(word)
		if (i == 0 || !wordByte(text[i-1])) && (end == len(text) || !wordByte(text[end])) {
			return i
		}
		from = end
	}
	return -1
}

func wordByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

var errNotPlain = errors.New("expression: its value is not a bool, number, string, list or map")

// plain converts a CEL value.
func (w *weight) plain(v ref.Val, depth int) (any, error) {
	text, _ := v.(types.String)
	if err := w.add(len(text)); err != nil {
		return nil, err
	}
	if depth > MaxDepth {
		return nil, fmt.Errorf("expression: its value is nested deeper than %d levels", MaxDepth)
	}
	switch v := v.(type) {
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		if v > math.MaxInt64 {
			return nil, fmt.Errorf("expression: %d does not fit into 64 bits", uint64(v))
		}
		return int64(v), nil
	case types.Double:
		return float64(v), nil
	case types.String:
		return string(v), nil
	case types.Null:
		return nil, nil
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			item, err := w.plain(it.Next(), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case traits.Mapper:
		return w.plainMap(v, depth)
	}
	return nil, errNotPlain
}

func (w *weight) plainMap(v traits.Mapper, depth int) (any, error) {
	m := map[string]any{}
	for it := v.Iterator(); it.HasNext() == types.True; {
		k := it.Next()
		key, ok := k.(types.String)
		if !ok {
			return nil, fmt.Errorf("expression: a map's keys must be strings, not %s", k.Type().TypeName())
		}
		item, err := w.plain(v.Get(k), depth+1)
		if err != nil {
			return nil, err
		}
		m[string(key)] = item
	}
	return m, nil
}
