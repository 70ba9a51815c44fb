package store

import "context"

// Head is what an environment is at: its newest committed revision.
type Head struct {
	Env      string
	Version  uint64
	Revision Hash
}

// Outcome of an attempt to advance a head.
type Outcome string

// The outcomes, as `shoal push` prints them.
const (
	Committed Outcome = "committed" // on a majority's disks; will not be lost
	Staged    Outcome = "staged"    // kept here; the majority could not be reached
	Diverged  Outcome = "diverged"  // another revision was committed on this parent
	// What a push comes to that no node took; nothing changed.
	Unavailable Outcome = "unavailable" // no node answers, or the one that does can keep nothing
	Refused     Outcome = "refused"     // by the rules of trust
)

// Store is the state machine that a publisher and a puller see. Its three forms are memory (this process), disk (this
// node alone) and replicated (the ring); all pass store/storetest.
//
// Put is idempotent and commutative. Advance is a compare-and-swap on the parent: of two revisions with one parent at
// most one is ever Committed, and repeating a committed one answers Committed again.
type Store interface {
	// Put keeps objects of at most MaxObject bytes; when it returns nil they are durable on the store's quorum.
	Put(ctx context.Context, objects [][]byte) error
	// Get returns an object that has been verified against its hash, or ErrNotFound.
	Get(ctx context.Context, hash Hash) ([]byte, error)
	// Head returns the newest committed head; ErrNotFound when the environment has none.
	Head(ctx context.Context, env string) (Head, error)
	// Advance makes revision (the hash of a signed revision's object, put before) the head of its environment. The
	// Head returned with Diverged is the winner's. One whose parent nobody has heard of may be Staged, in an environment that
	// has no head yet: those who were asked may be new.
	Advance(ctx context.Context, revision Hash) (Outcome, Head, error)
}
