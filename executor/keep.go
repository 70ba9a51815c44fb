package executor

import (
	"context"
	"time"
)

// Journal is the list of what a run is about to change, so that a crash in the middle can be undone.
type Journal interface {
	// Append adds records, and returns when they are on disk.
	Append(records ...[]byte) error
	// Note adds a record that may be lost with the power, though not with the process.
	Note(record []byte) error
	// Records returns what was appended since the last Clear; a record that a crash cut short ends the list.
	Records() ([][]byte, error)
	// Clear empties the journal. Losing the Clear with the power is harmless: the ledger tells that the run was committed.
	Clear() error
}

// Ledger is one file that says what shoal owns on the machine.
type Ledger interface {
	// Load returns nil when there is none yet.
	Load() ([]byte, error)
	// Store replaces it in one step, and returns when that is on disk. It is the commit of a run.
	Store(data []byte) error
}

// Stamped is a Ledger that can tell, without being read, whether anybody was at work since.
type Stamped interface {
	// Stamp differs after each run that changed something, whoever made it.
	Stamp() (string, error)
}

// Vault keeps old contents by their hash, for as long as journal or ledger name them.
type Vault interface {
	Put(hash string, data []byte) error
	Get(hash string) ([]byte, error)
	// Sync makes all that was put durable.
	Sync() error
	// Collect removes all that keep does not want.
	Collect(keep func(hash string) bool) error
}

// Lock lets one run at a time work on a machine. It dies with its holder.
type Lock interface {
	// Lock waits until ctx ends, and then says who holds it.
	Lock(ctx context.Context) (unlock func(), err error)
}

// Clock is time, as the machine or a simulation has it.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
	// Timeout ends the context after d.
	Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
}
