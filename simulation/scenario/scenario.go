// Package scenario is the language in which people say what is to happen to a mesh and what is to come of it: machines, trees,
// and a timeline of pushes, faults and expectations. It only reads; simulation/bubble runs it. See docs/simulation.md.
package scenario

import (
	"io/fs"
	"time"
)

// Scenario is one file.
type Scenario struct {
	File  string
	Text  string // of the file
	Title string
	Seed  uint64
	// OnDisk: the stores are Badger's, in a folder; else in memory.
	OnDisk bool
	// Acquainted nodes start with all that they would have learnt of each other, instead of one after the other.
	Acquainted bool
	// Grace and Check are how long a dead node keeps its place, and how often everything is looked at; 0: as shoal has it.
	Grace, Check time.Duration
	Nodes        []Node
	Trees        []Tree
	Steps        []Step
}

// Node is one machine.
type Node struct {
	Pos   Pos
	Name  string
	Zone  string
	Tags  map[string]string
	Later bool // it does not start with the others
}

// Tree is a state tree: files of the scenario, or a folder.
type Tree struct {
	Pos  Pos
	Name string
	From string // a folder, from where the scenario's file is; empty: Files
	// Files are those of the tree by path, as an fs.FS.
	Files fs.FS
}

// Step is one line of the timeline.
type Step struct {
	Pos  Pos
	Line string // as it is written
	// When is the time since the beginning, or since the step before: see Clock.
	When   time.Duration
	Clock  Clock
	Action *Action
	Check  *Check
}

// Clock says what a time counts from, or how long something is waited for.
type Clock string

// The clocks.
const (
	At         Clock = "at"         // since the beginning
	After      Clock = "after"      // since the step before was done
	Eventually Clock = "eventually" // the check may take so long to become true
	Never      Clock = "never"      // the check must be false from here to the end
)

// Verb is what is done.
type Verb string

// The verbs of an Action.
const (
	Start     Verb = "start"
	Crash     Verb = "crash"
	Stop      Verb = "stop"
	Pause     Verb = "pause"
	Resume    Verb = "resume"
	Leave     Verb = "leave"
	Evict     Verb = "evict"
	Wipe      Verb = "wipe"
	Save      Verb = "save"
	Restore   Verb = "restore"
	Partition Verb = "partition"
	Cut       Verb = "cut"
	Isolate   Verb = "isolate"
	Loss      Verb = "loss"
	Slow      Verb = "slow"
	Heal      Verb = "heal"
	Fill      Verb = "fill"
	Free      Verb = "free"
	Break     Verb = "break"
	Mend      Verb = "mend"
	Push      Verb = "push"
	Retry     Verb = "retry"
	Edit      Verb = "edit"
	Delete    Verb = "delete"
	Wait      Verb = "wait"
)

// Action is something that happens.
type Action struct {
	Verb Verb
	// Sets are the nodes that it is about: one set, but for partition (all sides) and cut (from, to).
	Sets [][]string
	Via  string // start: whom a new node joins
	// For is how long it lasts; 0: until something else ends it.
	For    time.Duration
	By     time.Duration // slow
	Part   float64       // loss: of all packets
	What   string        // break, mend: packages, services, commands, files or syncs; fill, free: the store
	Path   string        // edit, delete
	Text   string        // edit
	Pushes []PushTo
	Env    string
	Expect string // push: the outcome; "one committed" and the like: of how many of several
	Count  int    // how many of several pushes are to have the outcome; 0: all
}

// Any is the expectation of a push that may come to whatever it does.
const Any = "any"

// PushTo is one push of several that go at once.
type PushTo struct{ Tree, Node string }

// Fact is what a Check asks.
type Fact string

// The facts.
const (
	Applied    Fact = "applied"
	Failed     Fact = "failed"
	RolledBack Fact = "rolled back"
	Has        Fact = "has"
	Lacks      Fact = "lacks"
	Sees       Fact = "sees"
	Staged     Fact = "staged"
	Head       Fact = "head"
	Agree      Fact = "agree"
	Runs       Fact = "runs"
	Installed  Fact = "installed"
	IsUp       Fact = "up"
	IsDown     Fact = "down"
)

// Check is something that is true of nodes, or not.
type Check struct {
	Nodes  []string
	Not    bool
	Fact   Fact
	Tree   string   // applied, failed, rolled back, head; empty with Nothing
	None   bool     // applied nothing, staged nothing, head nothing
	Others []string // sees
	Status string   // sees: alive, failed, left, nothing
	Path   string   // has, lacks
	Text   string   // has
	Any    bool     // has: whatever is in it
	Name   string   // runs, installed
	Count  int      // staged
}

// Find returns a tree.
func (s *Scenario) Find(tree string) (Tree, bool) {
	for _, t := range s.Trees {
		if t.Name == tree {
			return t, true
		}
	}
	return Tree{}, false
}

// Names are those of all nodes.
func (s *Scenario) Names() []string {
	names := make([]string, len(s.Nodes))
	for i, n := range s.Nodes {
		names[i] = n.Name
	}
	return names
}
