// Package arch holds the rules of the house as a test: who may import what, and why.
package arch

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// families are the cores. Their root packages are pure; a folder below one is an adapter.
var families = []string{"states", "membership", "ring", "store", "secrets", "executor", "mesh"}

// impure are packages that reach a clock, a disk, a process or dice by being used at all. time is allowed for its types;
// clockCalls forbids those of its functions that read the clock.
var impure = map[string]string{
	"net":          "a core names peers, it does not reach them",
	"net/http":     "a core names peers, it does not reach them",
	"os":           "a core is a function of its input; disks belong to adapters",
	"os/exec":      "a core starts no process; that is a Host's work",
	"os/signal":    "signals belong to cmd",
	"syscall":      "a core is a function of its input",
	"math/rand":    "randomness is an argument (io.Reader or a seed)",
	"math/rand/v2": "randomness is an argument (io.Reader or a seed)",
	"crypto/rand":  "randomness is an argument (io.Reader)",
	"log":          "cores return events; the shell logs them",
	"log/slog":     "cores return events; the shell logs them",
}

// clockCalls are the functions of package time that a core may not call: the time is an argument.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// nobody may import these: they drag in what shoal does not use (9 MB and 38 modules).
var forbidden = map[string]string{
	"github.com/libp2p/go-libp2p":        "build the swarm by hand: the root package links every transport",
	"github.com/libp2p/go-libp2p/config": "build the swarm by hand: the config package links every transport",
}

type pkg struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func TestImports(t *testing.T) {
	for _, p := range listPackages(t) {
		for _, imported := range p.Imports {
			if why := broken(p.ImportPath, imported); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, why)
			}
		}
		for _, imported := range append(p.TestImports, p.XTestImports...) {
			if why, ok := forbidden[imported]; ok {
				t.Errorf("a test of %s imports %s: %s", p.ImportPath, imported, why)
			}
		}
	}
}

// broken says why from must not import to, or nothing.
func broken(from, to string) string {
	if why, ok := forbidden[to]; ok {
		return why
	}
	if isCore(from) {
		if why, ok := impure[to]; ok {
			return why
		}
		if strings.HasPrefix(to, "golang.org/x/sys") {
			return "a core is a function of its input"
		}
		if isAdapter(to) {
			return "a core never knows its adapters: put the seam into the core"
		}
	}
	if isAdapter(from) && isAdapter(to) && !isSuite(from) && !isSuite(to) {
		return "adapters meet only in cmd and in the simulation"
	}
	if strings.HasPrefix(to, "shoal/cmd") {
		return "nothing imports the command"
	}
	return ""
}

func isCore(path string) bool {
	for _, f := range families {
		if path == "shoal/"+f {
			return true
		}
	}
	return false
}

func isAdapter(path string) bool {
	for _, f := range families {
		if strings.HasPrefix(path, "shoal/"+f+"/") {
			return true
		}
	}
	return false
}

// isSuite is true for the conformance suites (kvtest, storetest, …), which only tests import.
func isSuite(path string) bool { return strings.HasSuffix(path, "test") }

func TestCoresReadNoClock(t *testing.T) {
	for _, p := range listPackages(t) {
		if !isCore(p.ImportPath) {
			continue
		}
		for _, name := range p.GoFiles {
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range clockUses(file) {
				t.Errorf("%s uses time.%s: a core is told the time", files.Position(call.Pos()), call.Sel.Name)
			}
		}
	}
}

// clockUses finds time.Now and the like.
func clockUses(file *ast.File) []*ast.SelectorExpr {
	var found []*ast.SelectorExpr
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clockCalls, sel.Sel.Name) {
			found = append(found, sel)
		}
		return true
	})
	return found
}

func TestClockUsesAreFound(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nimport \"time\"\nvar now = time.Now\nvar d time.Duration = time.Second", 0)
	if err != nil {
		t.Fatal(err)
	}
	if found := clockUses(file); len(found) != 1 || found[0].Sel.Name != "Now" {
		t.Errorf("found %v", found)
	}
}

func TestRulesHold(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"shoal/store", "os", false},
		{"shoal/store", "shoal/store/badger", false},
		{"shoal/store/badger", "shoal/store/memory", false},
		{"shoal/mesh/node", "shoal/store/badger", false},
		{"shoal/mesh/p2p", "github.com/libp2p/go-libp2p", false},
		{"shoal/executor/local", "os", true},
		{"shoal/cmd/shoal", "shoal/store/badger", true},
		{"shoal/mesh", "shoal/store", true},
		{"shoal/store/badger", "shoal/cmd/shoal", false},
	} {
		if why := broken(c.from, c.to); (why == "") != c.allowed {
			t.Errorf("%s -> %s: got %q", c.from, c.to, why)
		}
	}
}

func listPackages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", "shoal/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
