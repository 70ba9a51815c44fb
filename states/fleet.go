package states

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/nikolalohinski/gonja/v2/exec"
	"go.starlark.net/starlark"
)

// fleetFunction is the function that gives the nodes of the fleet that a selector selects: sorted by name, each a map of its
// name, its zone and its tags as they were granted, without facts.
const fleetFunction = "nodes"

// Limits of what one plan may ask of the fleet.
const (
	maxFleetWork      = 10_000_000 // nodes that are looked at
	maxSelectionsKept = 1000       // answers that are kept for the next plan
)

// fleet is all nodes that there are. It stays from compilation to compilation as long as these are the same.
type fleet struct {
	nodes    []Node // sorted by name; nil: nobody said which there are
	digest   []byte
	selected map[string][]any // answers, by their selector
	// Of one compilation:
	given []Node
	asked bool // given was compared with nodes
	work  int  // nodes looked at
}

// newFleet begins a compilation, for which nothing is looked at until something asks.
func (l *Catalogue) newFleet(given []Node) {
	l.fleet.given, l.fleet.asked, l.fleet.work = given, false, 0
}

func (l *Catalogue) theFleet() *fleet {
	f := &l.fleet
	if f.asked {
		return f
	}
	f.asked = true
	given := f.given
	if given == nil {
		given = l.inventory()
	}
	if f.digest != nil && (given == nil) == (f.nodes == nil) && slices.EqualFunc(given, f.inOrder(given), sameNode) {
		return f
	}
	f.nodes, f.selected = nil, map[string][]any{}
	var e encoder
	e.bool(given != nil)
	if given != nil {
		f.nodes = make([]Node, len(given))
		for i, n := range given {
			f.nodes[i] = Node{Name: n.Name, Zone: n.Zone, Tags: maps.Clone(n.Tags)}
		}
		slices.SortStableFunc(f.nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, n := range f.nodes {
		e.node(n)
	}
	sum := sha256.Sum256(e.out)
	f.digest = sum[:]
	return f
}

// inOrder is what is kept, where the nodes given are sorted already; nil where they must be looked at anew.
func (f *fleet) inOrder(given []Node) []Node {
	if !slices.IsSortedFunc(given, func(a, b Node) int { return strings.Compare(a.Name, b.Name) }) {
		return nil
	}
	return f.nodes
}

func sameNode(a, b Node) bool {
	return a.Name == b.Name && a.Zone == b.Zone && maps.Equal(a.Tags, b.Tags)
}

// fleetDigest stands for all nodes that there are.
func (c *compilation) fleetDigest() []byte { return c.lib.theFleet().digest }

// nodesOf answers nodes(selector). Nobody may change the answer.
func (l *Catalogue) nodesOf(selector string) ([]any, error) {
	f := l.theFleet()
	if f.nodes == nil {
		return nil, fmt.Errorf("nodes() asks who is in the fleet, and there is neither a mesh nor an inventory (--inventory FILE, or inventory.yaml beside site.yaml)")
	}
	if l.site.selectors == nil {
		return nil, fmt.Errorf("nodes(%q): the groups of the site are wrong", selector)
	}
	if e := l.site.selectors.check(selector); e != nil {
		return nil, fmt.Errorf("nodes(%q): %s", selector, withHint(e))
	}
	l.noting.asked += len(f.nodes)
	if f.work += len(f.nodes); f.work > maxFleetWork {
		return nil, fmt.Errorf("nodes() looks at more than %d nodes in one plan", maxFleetWork)
	}
	if list, ok := f.selected[selector]; ok {
		return list, nil
	}
	list := []any{}
	for _, n := range f.nodes {
		ok, e := l.site.selectors.selects(selector, n)
		if e != nil {
			return nil, fmt.Errorf("nodes(%q): %s", selector, withHint(e))
		}
		if ok {
			list = append(list, map[string]any{"name": n.Name, "zone": n.Zone, "tags": tagsOf(n)})
		}
	}
	if len(f.selected) < maxSelectionsKept {
		f.selected[selector] = list
	}
	return list, nil
}

func withHint(e *expressionError) string {
	if e.hint == "" {
		return e.message
	}
	return e.message + " (" + e.hint + ")"
}

// fleetInCEL is nodes() in expressions.
func fleetInCEL(nodes func(string) ([]any, error)) cel.EnvOption {
	return cel.Function(fleetFunction, cel.Overload("nodes_string", []*cel.Type{cel.StringType}, cel.ListType(cel.DynType),
		cel.UnaryBinding(func(v ref.Val) ref.Val {
			list, err := nodes(string(v.(types.String)))
			if err != nil {
				return types.NewErrFromString(err.Error())
			}
			return types.DefaultTypeAdapter.NativeToValue(list)
		})))
}

// fleetInJinja is nodes() in Jinja2. The answer is a copy, since a template may change it.
func (j *jinja) fleetInJinja(_ *exec.Evaluator, params *exec.VarArgs) *exec.Value {
	if len(params.Args) != 1 || len(params.KwArgs) > 0 || !params.Args[0].IsString() {
		return exec.AsValue(fmt.Errorf("nodes takes one selector, such as nodes(\"role=web\")"))
	}
	list, err := j.lib.nodesOf(params.Args[0].String())
	if err == nil {
		err = j.budget.spend(1 + len(list))
	}
	if err != nil {
		return exec.AsValue(err)
	}
	return exec.AsValue(deepCopy(list))
}

// fleetInGo is nodes in Go templates.
func (g *goTemplates) fleetInGo(selector string) ([]any, error) {
	list, err := g.lib.nodesOf(selector)
	if err == nil {
		err = g.budget.spend(1 + len(list))
	}
	return list, err
}

// starFleetKey is where a Starlark thread has its nodes(); that of a file's top level, which runs once for all nodes, has none.
const starFleetKey = "fleet"

func starFleet(t *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var selector string
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 1, &selector); err != nil {
		return nil, err
	}
	l, ok := t.Local(starFleetKey).(*Catalogue)
	if !ok {
		return nil, fmt.Errorf("nodes() can be called from states() only: a file itself is run once for all nodes")
	}
	l.noting.reads.fleet = true
	list, err := l.nodesOf(selector)
	if err != nil {
		return nil, err
	}
	v := starValue(list)
	v.Freeze()
	return v, budgetOf(t).spendDeep(v)
}
