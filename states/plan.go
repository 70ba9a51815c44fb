package states

import (
	"fmt"
	"time"
)

// Node is what the language may know of a machine. Tags include the facts (os.*, hw.*).
type Node struct {
	Name string
	Zone string
	Tags map[string]string
}

// Order names an ordering mode.
type Order string

// The ordering modes.
const (
	JustDoIt Order = "justdoit"
	Ansible  Order = "ansible"
	Genius   Order = "genius"
)

// Policy of a site, with defaults filled in.
type Policy struct {
	Order          Order  // default genius
	OnFailure      string // rollback | stop | continue
	OnRemove       string // restore | keep
	Drift          string // enforce | report
	CommandOutputs string // deny | allow
}

// Plan is what one node is to be: data that is built, shown, kept and executed. It holds no pointer into the tree, so
// that it can be encoded; large sources are named by path and hash.
type Plan struct {
	Node   Node
	Policy Policy
	// Invocations in the order in which they are to run: a topological order of the edges.
	Invocations []Invocation
	Edges       []Edge
	// Rendered holds the bytes of templates and inline contents, by their hash ("sha256:…").
	Rendered map[string][]byte
}

// Invocation is one run of one State: a State that is named twice in a sequence has two.
type Invocation struct {
	ID     string // component/id, or component/id[key]
	Number int    // 1 for the first invocation of this state
	Parts  []Part
	// Skip is why it does not run ("when: … is false"); empty: it runs.
	Skip     string
	Lazy     bool
	OnRemove string // restore | keep, policy applied
	Undo     string // id of the state to run on rollback; empty: none
	Retry    Retry
	Timeout  time.Duration // per part; 0: none
	Place    Place
}

// Retry of a part.
type Retry struct {
	Attempts int // 0 and 1: once
	Delay    time.Duration
}

// Part is one StatePart: a function and its parameters, evaluated and checked against the function's types. Values are
// string, bool, int64, []any, map[string]any and Content; a Mode stays a string, a Duration is a string that parses.
// Defaults are filled in; an absent optional parameter is absent.
type Part struct {
	Module   string
	Function string
	Params   map[string]any
	Place    Place
}

// FullName is module.function.
func (p Part) FullName() string { return p.Module + "." + p.Function }

// Content is the value of a Contents parameter: what a file is to hold.
type Content struct {
	Hash string // "sha256:…" of the bytes
	Size int64
	// Source is the slash path in the tree of a file that is copied as it is; empty: the bytes are in Plan.Rendered.
	Source string
	// From is how it was written, for messages: "template templates/nginx.conf.j2", "source files/x", "content".
	From string
}

// EdgeKind says what an edge means beyond order.
type EdgeKind string

// The edge kinds.
const (
	EdgeRequire EdgeKind = "require" // and only if it succeeded
	EdgeAfter   EdgeKind = "after"   // order only
	EdgeNotify  EdgeKind = "notify"  // To reacts when From changed
	EdgeFailure EdgeKind = "notify_failure"
)

// Edge joins two invocations by their index in Plan.Invocations: From runs before To.
type Edge struct {
	From, To int
	Kind     EdgeKind
	Reason   string // as written ("require in nginx-conf"), or why genius added it
}

// Place is where something is written. Column and Line count from 1; Line 0 means the file as a whole.
type Place struct {
	File   string // slash path in the tree
	Line   int
	Column int
}

// String is file:line:column.
func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}
