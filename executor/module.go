package executor

import (
	"context"

	"shoal/states"
)

// Params are the evaluated parameters of a part, as states.Part documents their types.
type Params map[string]any

// Change is what Check found. A plan prints it and Apply receives it: there is no second opinion.
type Change struct {
	// Needed is false when the machine matches already.
	Needed bool
	// Diff is for people: unified for file contents, "field: old -> new" lines for the rest. Empty when not needed.
	Diff string
	// Unknown: what would change cannot be known before an earlier state has run, and Diff says why.
	Unknown bool
	// Outputs as far as they are known without applying.
	Outputs map[string]any
}

// Undo is what a module writes down before it changes anything, and all that it needs to put it back, in this process
// or in one started after a power cut. Data is the module's own encoding (internal/codec).
type Undo struct {
	// Reversible is false when nothing but a state's undo: can take it back; Why then says what is left.
	Reversible bool
	Why        string
	Data       []byte
}

// Contents opens what a states.Content names: rendered bytes of the plan, or a source of the tree or the ring. Bytes are
// verified against the hash.
type Contents interface {
	Bytes(ctx context.Context, c states.Content) ([]byte, error)
}

// Module is one function, such as file.managed. It keeps no state between calls; all it may touch is the Host.
//
// Laws, tested for every module by executor/moduletest: Check changes nothing; after Apply, Check says not needed;
// Revert after Apply restores what Capture saw, and is idempotent; Revert when Apply never ran or ran half changes nothing
// else.
type Module interface {
	Function() states.Function
	// Check compares the machine with the parameters.
	Check(ctx context.Context, h Host, c Contents, p Params) (Change, error)
	// Capture reads what Revert will need. It is called after Check said needed, and its result is on disk before Apply.
	Capture(ctx context.Context, h Host, p Params) (Undo, error)
	// Apply makes the machine match and returns all outputs.
	Apply(ctx context.Context, h Host, c Contents, p Params) (map[string]any, error)
	// Revert puts back what Capture saw.
	Revert(ctx context.Context, h Host, p Params, u Undo) error
}
