package executor

import (
	"context"
	"fmt"

	"shoal/states"
)

// Params are the evaluated parameters of a part, as states.StatePartInvocation documents their types.
type Params map[string]any

// Change is what Check found. A plan prints it and Apply receives it: there is no second opinion.
type Change struct {
	// Needed is false when the machine matches already.
	Needed bool
	// Diff is for people: unified for file contents, "field: old -> new" lines for the rest. Empty when not needed.
	Diff string
	// Unknown: what would change cannot be known before an earlier state has run, and Diff says why.
	Unknown bool
	// Always marks an action rather than a state, such as a command with no guard or a restart: Check says needed
	// whenever it is asked, so there is nothing to verify and nothing for the ledger to take back later.
	Always bool
	// Guarded says that the answer came from something beside the part's own resource, such as the command of unless:,
	// and that an earlier change may turn it. A plan then says unknown where an earlier state would change.
	Guarded bool
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
	// Contents are bytes that Data names by their hash ("sha256:…") and that are too many for the journal, such as the old
	// contents of a file. The engine keeps them, and hands them to Revert through Old.
	Contents map[string][]byte
	// Folders are those that Apply makes on its way and that others may come to use. One that is left empty when its states
	// have left the tree is removed.
	Folders []string
	// Stages are paths, beside the one that the part provides, that Apply stages files for: what a crash leaves there is swept.
	Stages []string
	// Rollback is set by the engine for Revert: the run that made it is taken back, as if it had never been. Else a state has left
	// the tree, maybe years later, and what people have come to keep beside it (the data of a package) is not to be lost.
	Rollback bool
	// Old opens what Contents held. Set by the engine for Revert alone.
	Old func(hash string) ([]byte, error)
}

// Missing is the error of a Check that needs something that is not there (yet): the user that is to own a file, the unit of
// a service. Check returns it together with a Change that holds what it could tell. The plan goes on when an earlier state
// makes it: as would_change when one provides exactly that, as unknown when others would change; else the part fails.
type Missing struct {
	Kind states.ResourceKind
	Name string
}

func (e *Missing) Error() string { return fmt.Sprintf("no %s %s", e.Kind, e.Name) }

// Contents opens what a states.Content names: rendered bytes of the plan, or a source of the tree or the ring. Bytes are
// verified against the hash. Several files may be asked for at a time.
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
	// Check compares the machine with the parameters. That of a function that provides a path may run beside others.
	Check(ctx context.Context, h Host, c Contents, p Params) (Change, error)
	// Capture reads what Revert will need. It is called after Check said needed, and its result is on disk before Apply.
	Capture(ctx context.Context, h Host, p Params) (Undo, error)
	// Apply makes the machine match and returns all outputs.
	Apply(ctx context.Context, h Host, c Contents, p Params) (map[string]any, error)
	// Revert puts back what Capture saw.
	Revert(ctx context.Context, h Host, p Params, u Undo) error
}

// Preparer is a Module that can put its new contents beside the target before the run changes anything, so that one sync
// serves all parts. Prepare returns the staged name (empty: nothing to stage), and ApplyStaged is then called in place of
// Apply, with the machine as Capture saw it.
type Preparer interface {
	Prepare(ctx context.Context, h Host, c Contents, p Params) (staged string, err error)
	ApplyStaged(ctx context.Context, h Host, c Contents, p Params, staged string) (map[string]any, error)
}

// Reactor is a Module whose reaction to a notifier is itself with other parameters: cmd.run runs although what it creates
// is there. One that reacts with another function names it in Function.Reaction.
type Reactor interface {
	React(p Params) Params
}

// Batcher is a Module whose parts can be joined with others of the same module (pkg.installed with pkg.removed) into one
// transaction. It does what Apply of each would, and returns the outputs of each; an error has changed nothing that Apply of
// each, called after it, would not find and finish.
type Batcher interface {
	Batch(ctx context.Context, h Host, parts []BatchPart) (outputs []map[string]any, err error)
}

// BatchPart is one of the parts that are joined.
type BatchPart struct {
	Function string // without its module: "installed"
	Params   Params
}

// Settler is a Module that has to act once more when a rollback has put back everything else: a service that was restarted
// for a new file is restarted for the old one. It is called in plan order for each part of it that had changed something.
type Settler interface {
	Settle(ctx context.Context, h Host, p Params) error
}

// Refresher is a Module that makes a running thing take up what others changed. It is not applied where the run has started that
// thing, as the output "started" of a part tells, after all that notified it had changed.
type Refresher interface {
	Refreshes()
}

// Joiner is a Module whose Undo is about several things. A part that has changed once keeps the Undo of that first time, as it
// is what was there before shoal; Join adds what a later change was the first to touch.
type Joiner interface {
	Join(first, later []byte) ([]byte, error)
}

// Keeper is a Module that looks after more paths than the one that it provides. Those of a part are watched as that one is; one
// that ends in a slash is a folder in which nothing else is to appear.
type Keeper interface {
	Keeps(p Params) []string
}

// RevertDiffer is a Module that can say, for a plan, what a Revert would change.
type RevertDiffer interface {
	RevertDiff(ctx context.Context, h Host, p Params, u Undo) string
}
