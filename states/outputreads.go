package states

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// outputRead is one place in a text that reads an output: states["ID"].outputs.NAME, where each of [""] and . may stand for
// the other.
type outputRead struct {
	id     string // constant, or an expression of the text's own language
	isExpr bool
	output string
	// whole: the text is this read and nothing else, so that its value has the output's type.
	whole  bool
	offset int // in the text of an expression
	place  Place
}

var errReadForm = errors.New("the outputs of states can only be read one by one")

const readHint = `write states["ID"].outputs.NAME`

// outputReads finds all outputs that an expression may read, whichever way its conditions go.
func outputReads(checked *cel.Ast) ([]outputRead, *expressionError) {
	native := checked.NativeRep()
	var reads []outputRead
	root := ast.NavigateAST(native)
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.IdentKind)) {
		if e.AsIdent() != "states" {
			continue
		}
		offset := -1
		if r, ok := native.SourceInfo().GetOffsetRange(e.ID()); ok {
			offset = int(r.Start)
		}
		r, err := outputReadOf(e, native.SourceInfo())
		if err != nil {
			return nil, &expressionError{message: err.Error(), hint: readHint, offset: offset}
		}
		r.offset = offset
		reads = append(reads, r)
	}
	return reads, nil
}

// outputReadOf climbs from the name states to the output that is read of it.
func outputReadOf(e ast.NavigableExpr, info *ast.SourceInfo) (outputRead, error) {
	state, id, err := step1(e)
	if err != nil {
		return outputRead{}, err
	}
	outputs, key, err := step1(state)
	if err != nil || constant(key) != "outputs" {
		return outputRead{}, errReadForm
	}
	value, name, err := step1(outputs)
	if err != nil || constant(name) == "" {
		return outputRead{}, errReadForm
	}
	r := outputRead{id: constant(id), output: constant(name)}
	_, r.whole = value.Parent()
	r.whole = !r.whole
	if r.id == "" {
		r.isExpr = true
		if r.id, err = cel.ExprToString(id.(ast.Expr), info); err != nil {
			return outputRead{}, fmt.Errorf("the state's id: %w", err)
		}
	}
	return r, nil
}

// step1 is the select or index of which e is the operand, with its key: a string, or an expression.
func step1(e ast.NavigableExpr) (ast.NavigableExpr, any, error) {
	parent, ok := e.Parent()
	if !ok {
		return nil, nil, errReadForm
	}
	switch parent.Kind() {
	case ast.SelectKind:
		return parent, parent.AsSelect().FieldName(), nil
	case ast.CallKind:
		call := parent.AsCall()
		if args := call.Args(); call.FunctionName() == operators.Index && args[0].ID() == e.ID() {
			return parent, args[1], nil
		}
	}
	return nil, nil, errReadForm
}

// constant is a key that is known as it is written; empty: it is not.
func constant(key any) string {
	switch key := key.(type) {
	case string:
		return key
	case ast.Expr:
		if key.Kind() == ast.LiteralKind {
			if s, ok := key.AsLiteral().(types.String); ok {
				return string(s)
			}
		}
	}
	return ""
}

// component completes a name with the component that it is written in.
func completed(name, component string) string {
	before, _, _ := strings.Cut(name, "[") // a key may hold a slash
	if strings.Contains(before, "/") {
		return name
	}
	return component + "/" + name
}
