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
	StateRun
	// ReadsFleet: it may differ when nodes join or leave, or their grants change.
	ReadsFleet bool
	// Rendered holds the bytes of templates and inline contents, by their hash ("sha256:…").
	Rendered map[string][]byte
	// Scopes hold what a Deferred was written under (variables, tags), encoded, by their hash.
	Scopes map[string][]byte
	// Extensions are the extension modules that its parts are functions of, by name.
	Extensions []Extension
	// Secrets are the values that no output may show, longest first.
	Secrets []string
}

// StateRun is the graph of one run: a StateFile holds States and a State holds StateParts; running them, a StateRun holds
// StateInvocations and a StateInvocation holds StatePartInvocations.
type StateRun struct {
	// Invocations in the order in which they are to run: a topological order of the edges.
	Invocations []StateInvocation
	Edges       []Edge
}

// StateInvocation is one run of one State: a State that is named twice in a sequence has two.
type StateInvocation struct {
	ID     string // component/id, or component/id[key]
	Number int    // 1 for the first invocation of this state
	Parts  []StatePartInvocation
	// Skip is why it does not run ("when: … is false"); empty: it runs.
	Skip string
	// When decides it once what it reads is known; nil: it runs.
	When     *Deferred
	Lazy     bool
	OnRemove string // restore | keep, policy applied
	Undo     string // id of the state to run on rollback; empty: none
	Retry    Retry
	Timeout  time.Duration // per part; 0: none
	Place    Place
	// Block, of a meta.block, lists what it runs; it comes after all of them, has no parts, and failed when they did.
	Block *Block
	// Sequence, of a meta.sequence, lists what it runs, in this order; it comes after all of them and has no parts.
	Sequence []int
	// SupersededBy is the index of the invocation that runs the same State later in the same sequence; 0: none. What is
	// superseded is needed only for what stands between the two: where nothing there has anything to do, it does not run.
	SupersededBy int
}

// Block is a meta.block: invocations by their indices. When one of Run fails and Rescue is not empty, what Run changed is
// rolled back (where the policy is to), Rescue runs, and the failure counts no more. Always runs in either case.
type Block struct {
	Run, Rescue, Always []int
}

// Retry of a part.
type Retry struct {
	Attempts int // 0 and 1: once
	Delay    time.Duration
}

// StatePartInvocation is one StatePart with its parameters evaluated and checked against the function's types. Values are
// string, bool, int64, []any, map[string]any and Content, and, at any depth, Deferred; a Mode stays a string, a Duration is a
// string that parses. Defaults are filled in; an absent optional parameter is absent.
type StatePartInvocation struct {
	Module   string
	Function string
	Params   map[string]any
	// Secret names the parameters that a secret went into, sorted.
	Secret []string
	Place  Place
}

// FullName is module.function.
func (p StatePartInvocation) FullName() string { return p.Module + "." + p.Function }

// Content is the value of a Contents parameter: what a file is to hold.
type Content struct {
	Hash string // "sha256:…" of the bytes
	Size int64
	// Source is the slash path in the tree of a file that is copied as it is; empty: the bytes are in Plan.Rendered.
	Source string
	// From is how it was written, for messages: "template templates/nginx.conf.j2", "source files/x", "content".
	From string
	// Secret: a secret went into it, so that no diff may show it.
	Secret bool
}

// Deferred stands in the place of a value that is known only after other states have run, since it reads their outputs. A
// Resolver evaluates it.
type Deferred struct {
	// Text is the string with its ${ … } as written. Of a template that reads outputs it is the template's path in the tree.
	Text     string
	Template bool
	// Type of the value; Contents stands for a Content.
	Type Type
	// OneOf are the allowed values of a String; nil: any.
	OneOf []string
	// Scope is the hash in Plan.Scopes of what else it may read; Each is its own each.key and each.value.
	Scope string
	Each  map[string]any
	// Reads lists all outputs that it may read.
	Reads  []OutputRef
	Secret bool
	// StandIns: secret() gives it stand-ins. A Twin has it.
	StandIns bool
	// Twin is the same with stand-ins in the place of the secrets that it reads: where its value differs, it holds one. nil:
	// Secret says whether all of it is one.
	Twin  *Deferred
	Place Place
	// And, of a when, is that of the block or sequence around it: it is asked first, and both must hold.
	And *Deferred
}

// OutputRef names one output of one invocation.
type OutputRef struct {
	As     string // the state as the text names it
	ID     string // of the invocation
	Number int
	Output string
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
