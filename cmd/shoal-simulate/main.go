// Command shoal-simulate rehearses a push, or a failure, on a fleet that exists in memory alone: whole nodes in virtual time. It is
// a binary of its own, since Go's bubbles of virtual time come with package testing.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/simulation/bubble"
	"shoal/simulation/scenario"
	"shoal/states"
)

const usage = `Rehearse a push or a failure on a fleet that exists in memory alone.

  shoal-simulate TREE                          the nodes of TREE/inventory.yaml, one push
  shoal-simulate --nodes 200 --zones 3 TREE    so many nodes instead
  shoal-simulate --chaos 30 TREE               with 30 faults, drawn from --seed
  shoal-simulate TREE FILE.scenario            what the file says; it pushes TREE by the name "tree"
  shoal-simulate - FILE.scenario               a scenario that has its own trees

Machines are played: packages and services are there, commands succeed. Exit status: 0 all came as expected; 1 something did
not; 2 the input is wrong.

`

// The exit statuses.
const (
	exitBroken = 1
	exitInput  = 2
)

// options are the flags.
type options struct {
	nodes, zones, loss, chaos int
	seed                      uint64
	tags                      tags
	inventory, from, save     string
	page                      string
	shrink, exact             bool
	timeline, json, log       bool
}

// tags is a flag that may be given again.
type tags map[string]string

func (t tags) String() string { return "" }

// Set implements flag.Value.
func (t tags) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return errors.New("a tag is written key=value")
	}
	t[key] = value
	return nil
}

func main() {
	debug.SetGCPercent(400) // memory is cheaper than time
	var o options
	flags := flag.NewFlagSet("shoal-simulate", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	o.tags = tags{}
	flags.IntVar(&o.nodes, "nodes", 0, "how many nodes there are (default: those of the inventory, or 5)")
	flags.IntVar(&o.zones, "zones", 1, "in how many zones")
	flags.Var(o.tags, "tag", "a tag of all nodes of --nodes, `K=V` (repeatable)")
	flags.StringVar(&o.inventory, "inventory", "", "a `file` that says which nodes there are (default: inventory.yaml of the tree)")
	flags.StringVar(&o.from, "from", "", "the `tree` that they have before")
	flags.IntVar(&o.loss, "loss", 0, "how many of 100 packets are lost")
	flags.IntVar(&o.chaos, "chaos", 0, "how many faults there are")
	flags.Uint64Var(&o.seed, "seed", 1, "of the faults")
	flags.StringVar(&o.save, "save", "", "write the scenario to this `file`, and do not run it")
	flags.StringVar(&o.page, "page", "", "write what happened to this HTML `file`")
	flags.BoolVar(&o.shrink, "shrink", false, "leave out what is not needed for something to go wrong, run by run, and write the rest to a file")
	flags.BoolVar(&o.exact, "exact", false, "of a build that repeats itself (make sim-replay): print a hash of all that was sent; no garbage is collected")
	flags.BoolVar(&o.timeline, "timeline", false, "print all that happens")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON")
	flags.BoolVar(&o.log, "log", false, "print what the nodes log")
	if err := flags.Parse(os.Args[1:]); errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	} else if err != nil {
		os.Exit(exitInput)
	}
	s, err := o.scenario(flags.Args())
	if err == nil && o.save != "" {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitInput)
	}
	bubble.Alone(func(t *testing.T) int { return o.run(t, s, os.Stdout) })
}

// scenario reads the file, or makes one.
func (o options) scenario(args []string) (*scenario.Scenario, error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, errors.New("name a tree, or a tree and a scenario; see shoal-simulate --help")
	}
	var given []scenario.Tree
	if args[0] != "-" {
		tree, err := treeIn("tree", args[0])
		if err != nil {
			return nil, err
		}
		given = append(given, tree)
	}
	if len(args) == 2 {
		text, err := os.ReadFile(args[1])
		if err != nil {
			return nil, err
		}
		return scenario.Parse(args[1], text, given...)
	}
	if args[0] == "-" {
		return nil, errors.New("without a tree a scenario is needed: shoal-simulate - FILE.scenario")
	}
	return o.generate(args[0], given)
}

func treeIn(name, dir string) (scenario.Tree, error) {
	full, err := filepath.Abs(dir)
	if err == nil {
		_, err = os.Stat(filepath.Join(full, "site.yaml"))
	}
	if err != nil {
		return scenario.Tree{}, fmt.Errorf("%s is no state tree: %w", dir, err)
	}
	return scenario.Tree{Name: name, From: full}, nil
}

func (o options) generate(dir string, given []scenario.Tree) (*scenario.Scenario, error) {
	nodes, err := o.fleet(dir)
	if err != nil {
		return nil, err
	}
	f := scenario.Fleet{Nodes: nodes, Trees: []string{"tree"}, Loss: o.loss, Chaos: o.chaos, Seed: o.seed}
	switch {
	case o.from != "":
		before, err := treeIn("before", o.from)
		if err != nil {
			return nil, err
		}
		given, f.Trees = append(given, before), []string{"before", "tree"}
	case o.chaos > 0:
		nothing := fstest.MapFS{"site.yaml": {Data: []byte("targets: []\n"), Mode: 0o644}}
		given, f.Trees = append(given, scenario.Tree{Name: "nothing", Files: nothing}), []string{"nothing", "tree"}
	}
	text := f.Text()
	if o.save != "" {
		return nil, os.WriteFile(o.save, []byte(text), 0o644)
	}
	return scenario.Parse("generated.scenario", []byte(text), given...)
}

// defaultNodes are as many as show replication and a majority.
const defaultNodes = 5

// fleet is who there is.
func (o options) fleet(dir string) ([]scenario.Node, error) {
	if o.nodes > 0 {
		return scenario.Numbered(o.nodes, o.zones, o.tags), nil
	}
	file := cmp.Or(o.inventory, filepath.Join(dir, "inventory.yaml"))
	if _, err := os.Stat(file); err != nil {
		if o.inventory != "" {
			return nil, err
		}
		return scenario.Numbered(defaultNodes, o.zones, o.tags), nil
	}
	listed, err := states.ReadInventory(os.DirFS(filepath.Dir(file)), filepath.Base(file))
	if err != nil {
		return nil, err
	}
	var nodes []scenario.Node
	for _, n := range listed {
		nodes = append(nodes, scenario.Node{Name: n.Name, Zone: n.Zone, Tags: n.Tags})
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s lists no nodes", file)
	}
	return nodes, nil
}

func (o options) run(t *testing.T, s *scenario.Scenario, out io.Writer) int {
	given := slices.DeleteFunc(slices.Clone(s.Trees), func(t scenario.Tree) bool { return t.Pos.Line > 0 })
	play := bubble.Options{Unwatched: o.exact}
	if o.exact {
		runtime.GOMAXPROCS(1)
		debug.SetGCPercent(-1)
	}
	if s.OnDisk {
		dir, err := os.MkdirTemp("", "shoal-simulate-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return exitInput
		}
		defer os.RemoveAll(dir)
		play.Dir = dir
	}
	if o.log {
		play.Log = os.Stderr
	}
	r := bubble.Run(t, s, play)
	if r.Problem != nil && o.shrink {
		r = smaller(t, r, play, given)
	}
	if o.page != "" {
		if err := writePage(o.page, r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return exitInput
		}
	}
	if o.json {
		if err := printJSON(out, r); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	} else {
		o.print(out, r)
	}
	if r.Problem != nil {
		return exitBroken
	}
	return 0
}
