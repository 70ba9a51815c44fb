package executor

// Result of a run or of one part of it, as LANGUAGE.md section 2 prints them.
type Result string

// Results of a run.
const (
	Converged          Result = "converged"
	RunFailed          Result = "failed"
	RolledBackRun      Result = "rolled_back"
	RollbackIncomplete Result = "rollback_incomplete"
)

// Results of one part.
const (
	Unchanged   Result = "unchanged"
	Changed     Result = "changed"
	Failed      Result = "failed"
	Skipped     Result = "skipped"
	RolledBack  Result = "rolled_back"
	WouldChange Result = "would_change"
	Unknown     Result = "unknown"
)

// Report is what one run did, or what it would do. States are in the order in which they ran.
type Report struct {
	Node     string        `json:"node" cbor:"1,keyasint"`
	Env      string        `json:"env" cbor:"2,keyasint"`
	Version  uint64        `json:"version" cbor:"3,keyasint"`
	Revision string        `json:"revision" cbor:"4,keyasint"`
	Order    string        `json:"order" cbor:"5,keyasint"`
	Result   Result        `json:"result" cbor:"6,keyasint"`
	Changed  int           `json:"changed" cbor:"7,keyasint"`
	TookMS   float64       `json:"took_ms" cbor:"8,keyasint"`
	States   []StateReport `json:"states" cbor:"9,keyasint"`
	// Left says, one line each, what a rollback could not undo.
	Left []string `json:"left,omitempty" cbor:"10,keyasint,omitempty"`
	// Error is why the run as a whole failed, in a sentence; empty when it converged.
	Error string `json:"error,omitempty" cbor:"11,keyasint,omitempty"`
	// Drift is what was seen to be touched before the run, and why it was made; States say what of it had to be put back, or,
	// where the policy is to report alone, what would.
	Drift []Drift `json:"drift,omitempty" cbor:"12,keyasint,omitempty"`
	// NotLookedAt is how many states were as wanted at the last full check, and nobody touched them, so that States says nothing
	// of them.
	NotLookedAt int `json:"not_looked_at,omitempty" cbor:"13,keyasint,omitempty"`
}

// Drift is something managed that was touched by somebody: a path, or a service.
type Drift struct {
	Name string `json:"name" cbor:"1,keyasint"`
	Seen string `json:"seen" cbor:"2,keyasint"` // when it was noticed first, RFC 3339
}

// StateReport is one StatePartInvocation.
type StateReport struct {
	ID         string         `json:"id" cbor:"1,keyasint"`
	Part       string         `json:"part" cbor:"2,keyasint"`
	Invocation int            `json:"invocation" cbor:"3,keyasint"`
	Result     Result         `json:"result" cbor:"4,keyasint"`
	Reversible bool           `json:"reversible" cbor:"5,keyasint"`
	Diff       string         `json:"diff" cbor:"6,keyasint"`
	Outputs    map[string]any `json:"outputs" cbor:"7,keyasint"`
	TookMS     float64        `json:"took_ms" cbor:"8,keyasint"`
	Error      string         `json:"error" cbor:"9,keyasint"`
	// Why it was skipped, why it ran again (a notifier), or why a removed state was undone.
	Note string `json:"note,omitempty" cbor:"10,keyasint,omitempty"`
}
