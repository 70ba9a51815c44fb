// Command shoal is the one binary: the agent on every machine and the tool in the operator's hand.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"shoal/mesh/api"
	"shoal/states"
	"shoal/store"
)

// shortLived is how much memory a command may fill before the collector runs: most end before, and their start is felt. From then
// on it works as in any program, so that what a run of many files fills grows with what it keeps and not with what it made.
const shortLived = 32 << 20

// How much an agent's heap may grow between two collections, in percent of what is alive: little while it idles, which it
// does nearly always and beside the work that the machine is there for; the runtime's own default while it compiles and applies.
const (
	idleGrowth = 25
	busyGrowth = 100
)

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "agent" || os.Args[1] == meshSideCommand) {
		debug.SetGCPercent(idleGrowth)
		growWhenBusy()
	} else {
		collectFrom(shortLived)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// leastHeap is what the collector lets a heap grow to before it first runs, at a growth of 100 percent.
const leastHeap = 4 << 20

// collectFrom lets the collector begin when so many bytes are filled, and then work at busyGrowth: the cleanup runs after its first
// round.
func collectFrom(size int) {
	debug.SetGCPercent(size * 100 / leastHeap)
	runtime.AddCleanup(new([64]byte), func(growth int) { debug.SetGCPercent(growth) }, busyGrowth)
}

// run executes one command and maps its error to a message and an exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(newTerminal(stdout, stderr))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var silent *exitError
	if !errors.As(err, &silent) || silent.err != nil {
		fmt.Fprintf(stderr, "shoal: %v\n", err)
	}
	return exitStatus(err)
}

// The exit statuses of LANGUAGE.md, section 2.
const (
	exitDone        = 0
	exitFailed      = 1
	exitBadInput    = 2
	exitUnavailable = 3
	exitIncomplete  = 4
	exitRefused     = 5
	exitChanges     = 10
)

// exitError carries an exit status; err nil means that all has been said already.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// badInput is an error that says that nothing was touched since the input was wrong.
func badInput(format string, args ...any) error {
	return &exitError{exitBadInput, fmt.Errorf(format, args...)}
}

// exitStatus finds the status that an error stands for.
func exitStatus(err error) int {
	var exit *exitError
	var problems states.Problems
	var node *api.Error
	switch {
	case errors.As(err, &exit):
		return exit.status
	case errors.As(err, &problems):
		return exitBadInput
	case errors.Is(err, store.ErrUnpublished):
		return exitRefused
	case errors.As(err, &node):
		return nodeStatus[node.Kind]
	}
	return exitFailed
}

var nodeStatus = map[api.Kind]int{
	api.BadInput:    exitBadInput,
	api.NotFound:    exitBadInput,
	api.Refused:     exitRefused,
	api.Unavailable: exitUnavailable,
	api.Outdated:    exitUnavailable,
	api.Internal:    exitFailed,
}
