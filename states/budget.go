package states

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	controls "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// Limits within MaxTemplateSteps. A call that recurses takes stack, and gonja repeats the whole chain in each level's error.
const (
	maxCalls    = 100 // macros, and recursive loops, within each other
	maxIncludes = 5000
	maxNumber   = 1 << 20 // the largest width, count or length that a filter or method takes
)

// budget counts what one rendering does, and stops one that would not end. Steps are counted rather than time, so that a
// template that is refused is refused on every machine.
type budget struct {
	steps, calls, includes, bytes int
	guarded                       map[any]bool // nodes that guard has been at
	result                        any          // of the operation that was computed last
	file                          string       // that guard is at
	places                        []Place      // of the marks in all templates
	extra                         []string     // varargs or kwargs, where the macro that guard is in names them
	at                            int          // the mark that evaluation came to last; 0 before the first
	err                           error        // an error that gonja would have swallowed
}

const tooManyIncludes = "includes more than"

func (b *budget) reset() { *b = budget{guarded: b.guarded, places: b.places} }

func (b *budget) spend(n int) error {
	if b.steps += n; b.steps > MaxTemplateSteps {
		b.err = fmt.Errorf("takes more than %d steps", MaxTemplateSteps)
		return b.err
	}
	return nil
}

func (b *budget) read(n int) error {
	b.includes++
	if b.bytes += n; b.includes > maxIncludes || b.bytes > MaxRenderedBytes {
		b.err = fmt.Errorf("%s %d files or %s", tooManyIncludes, maxIncludes, sizeText(MaxRenderedBytes))
		return b.err
	}
	return nil
}

// rangeFunction is Jinja's range, as a list that is paid for: gonja's own starts a goroutine that never ends when the loop
// does not.
func (b *budget) rangeFunction(_ *exec.Evaluator, params *exec.VarArgs) *exec.Value {
	at := []int{0, 0, 1}
	for i, a := range params.Args {
		if i > 2 || !a.IsInteger() {
			return exec.AsValue(errors.New("range takes one to three whole numbers"))
		}
		at[i] = a.Integer()
	}
	start, stop, step := at[0], at[1], at[2]
	switch {
	case len(params.Args) == 0 || step == 0:
		return exec.AsValue(errors.New("range takes one to three whole numbers, the last not 0"))
	case len(params.Args) == 1:
		start, stop = 0, start
	}
	list := []int{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(list) >= MaxForEach {
			return exec.AsValue(fmt.Errorf("range of more than %d numbers", MaxForEach))
		}
		list = append(list, i)
	}
	if err := b.spend(len(list)); err != nil {
		return exec.AsValue(err)
	}
	return exec.AsValue(list)
}

// tick is a node that counts a round of a loop, or goes into or out of a call.
type tick struct {
	at     *tokens.Token
	budget *budget
	calls  int // +1 into a call, -1 out of it
	cost   int
	mark   int
}

func (t tick) Position() *tokens.Token { return t.at }
func (t tick) String() string          { return "tick" }

// Execute implements exec.ControlStructure.
func (t tick) Execute(*exec.Renderer, *nodes.ControlStructureBlock) error {
	if t.mark > 0 {
		t.budget.at = t.mark
	}
	if t.budget.calls += t.calls; t.budget.calls > maxCalls {
		t.budget.err = fmt.Errorf("calls itself more than %d levels deep", maxCalls)
		return t.budget.err
	}
	return t.budget.spend(t.cost)
}

func (t tick) node() nodes.Node {
	return &nodes.ControlStructureBlock{Location: t.at, Name: "tick", ControlStructure: t}
}

// counted puts ticks around the body of a macro.
func (b *budget) counted(at *tokens.Token, w *nodes.Wrapper) {
	w.Nodes = append(append([]nodes.Node{tick{at: at, budget: b, calls: 1, cost: 1}.node()}, w.Nodes...), tick{at: at, budget: b, calls: -1}.node())
}

func filtered(e nodes.Expression, name string) nodes.Expression {
	if e == nil {
		return nil
	}
	return &nodes.FilteredExpression{Expression: e, Filters: []*nodes.FilterCall{{Token: e.Position(), Name: name}}}
}

// structures are gonja's, with loops and macros that count.
func (j *jinja) structures() *exec.ControlStructureSet {
	b := j.budget
	set := exec.NewControlStructureSet(map[string]parser.ControlStructureParser{}).Update(builtins.ControlStructures)
	replace := func(name string, parse parser.ControlStructureParser) {
		if err := set.Replace(name, parse); err != nil {
			panic(err) // gonja has no such tag any more
		}
	}
	count := func(name string, adapt func(nodes.ControlStructure)) {
		original, _ := set.Get(name)
		replace(name, func(p, args *parser.Parser) (nodes.ControlStructure, error) {
			cs, err := original(p, args)
			if err == nil {
				adapt(cs)
			}
			return cs, err
		})
	}
	count("macro", func(cs nodes.ControlStructure) {
		if m, ok := cs.(*controls.MacroControlStructure); ok {
			b.counted(m.Location, m.Wrapper)
		}
	})
	replace("include", j.parseInclude)
	replace("for", j.parseFor)
	replace("call", parseCall)
	replace("set", j.parseSet)
	replace("import", j.parseImport)
	replace("from", j.parseFrom)
	replace("extends", func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		original, _ := builtins.ControlStructures.Get("extends")
		cs, err := original(p, args)
		if err == nil {
			b.guard(p.Template.Parent, strings.TrimPrefix(p.Template.Parent.Identifier, "/"))
		}
		return cs, err
	})
	placeTags(set)
	return set
}

// checkNesting refuses brackets nested so deeply, and tags so long, that the parser's recursion would hurt.
func checkNesting(source string, c *config.Config) error {
	depth, length, open := 0, 0, 0
	tag, assigned := "", false
	for s := tokens.LexAll(source, c); ; s.Next() {
		t := s.Current()
		if t == nil || t.Type == tokens.EOF || t.Type == tokens.Error {
			return nil // the parser reports what the lexer could not read
		}
		length++
		switch t.Type {
		case tokens.VariableBegin, tokens.BlockBegin:
			depth, length = 0, 0
			tag, assigned = "", false
		case tokens.Name:
			if tag == "" && length == 1 {
				tag = t.Val
			}
		case tokens.Assign:
			assigned = true
		case tokens.BlockEnd:
			switch tag {
			case "if", "for", "macro", "call", "filter", "block", "with", "autoescape":
				open++
			case "set":
				if !assigned {
					open++
				}
			default:
				if strings.HasPrefix(tag, "end") {
					open--
				}
			}
		case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
			depth++
		case tokens.RightParenthesis, tokens.RightBracket, tokens.RightBrace:
			depth--
		}
		if open > MaxDepth {
			return &parser.SyntaxError{Line: t.Line, Column: t.Col, Raw: t.Val, Message: fmt.Sprintf("tags within each other deeper than %d levels", MaxDepth)}
		}
		if depth > MaxDepth || length > 10_000 {
			return &parser.SyntaxError{Line: t.Line, Column: t.Col, Raw: t.Val,
				Message: fmt.Sprintf("nested deeper than %d levels, or longer than 10000 words", MaxDepth)}
		}
	}
}
