package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shoal/executor"
)

// packagesOf maps the folder of every module of the binary to its functions.
func packagesOf(all []executor.Module) map[string][]string {
	found := map[string][]string{}
	for _, m := range all {
		f := m.Function()
		dir := filepath.Join("../../executor/module", strings.ReplaceAll(f.Module, "_", ""))
		found[dir] = append(found[dir], f.FullName())
	}
	return found
}

// conforms says whether the tests of a package are run by moduletest.Main with all of its modules: then they fail when one of
// its functions has no conformance suite, or one that injects no faults.
func conforms(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(name string) bool {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(file.Decls, runsMain)
	})
}

// runsMain: func TestMain(m *testing.M) { moduletest.Main(m, PACKAGE.Modules() …) }.
func runsMain(d ast.Decl) bool {
	f, ok := d.(*ast.FuncDecl)
	if !ok || f.Name.Name != "TestMain" || f.Body == nil || len(f.Body.List) != 1 {
		return false
	}
	statement, ok := f.Body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := statement.X.(*ast.CallExpr)
	if !ok || !selects(call.Fun, "moduletest", "Main") || len(call.Args) < 2 {
		return false
	}
	list, ok := call.Args[1].(*ast.CallExpr)
	return ok && selects(list.Fun, "", "Modules")
}

func selects(e ast.Expr, from, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && (from == "" || x.Name == from)
}

// TestEveryFunctionConforms: there is no function in the binary whose package does not try the laws of executor.Module on all
// that it has.
func TestEveryFunctionConforms(t *testing.T) {
	looked := 0
	for dir, names := range packagesOf(modules()) {
		if _, err := os.Stat(dir); err != nil {
			t.Fatal(err)
		}
		if !conforms(t, dir) {
			t.Errorf("the tests of %s do not run moduletest.Main: no one knows whether %s conform", dir, strings.Join(names, ", "))
		}
		looked += len(names)
	}
	if looked != len(functions()) || looked < 40 {
		t.Errorf("%d functions were looked at", looked)
	}
}
