// Package linear drives real nodes with pushes and reads of heads while they are killed, paused and cut off, and checks what
// the clients saw: that each environment's head is one register with compare-and-set of parent to revision, that what was
// acknowledged is there, and that nothing staged is lost.
package linear

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"shoal/store"
)

// kind of an operation on a head.
type kind string

const (
	push kind = "push" // compare-and-set of parent to revision
	read kind = "read" // confirmed by a majority
)

// op is what one client asked of one environment's head, and what it was told. A push that was sent again, to whichever node,
// is one op: it may take effect once, between the first call and the last answer.
type op struct {
	Kind     kind
	Client   int
	Nodes    []string // asked, in turn
	Env      string
	Version  uint64
	Parent   store.Hash
	Revision store.Hash // pushed, or read; zero: there was none
	Outcome  store.Outcome
	Told     string // the last error, or why
	Call     time.Duration
	Return   time.Duration
}

// unknown tells whether the op may still take effect after its answer, if it ever does: nobody answered, or it was staged.
func (o op) unknown() bool {
	return o.Kind == push && o.Outcome != store.Committed && o.Outcome != store.Diverged
}

func (o op) String() string {
	what := fmt.Sprintf("%s %s on %s", o.Revision.Short(), o.Kind, o.Parent.Short())
	if o.Kind == read {
		what = fmt.Sprintf("%s read", o.Revision.Short())
	}
	return fmt.Sprintf("%9.3fs %9.3fs  client %d at %s: %s version %d %s %s %s", o.Call.Seconds(), o.Return.Seconds(),
		o.Client, strings.Join(o.Nodes, ","), o.Env, o.Version, what, cmp.Or(string(o.Outcome), "?"), o.Told)
}

// history is what all clients saw. They share one clock.
type history struct {
	began time.Time
	mu    sync.Mutex
	ops   []op
}

func (h *history) now() time.Duration { return time.Since(h.began) }

func (h *history) add(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// of is one environment's part, in the order of the calls.
func (h *history) of(env string) []op {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []op
	for _, o := range h.ops {
		if o.Env == env {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b op) int { return cmp.Compare(a.Call, b.Call) })
	return out
}

// model is a register that holds the hash of a revision; its operations are ops.
var model = porcupine.Model{
	Init: func() any { return store.Hash{} },
	Step: func(state, input, _ any) (bool, any) {
		head, o := state.(store.Hash), input.(op)
		switch {
		case o.Kind == read:
			return head == o.Revision, head
		case o.Outcome == store.Diverged: // and it never was nor will be the head
			return head != o.Parent, head
		case o.Outcome == store.Committed:
			return head == o.Parent, o.Revision
		case head == o.Parent: // unknown, and taking effect now
			return true, o.Revision
		}
		return true, head // unknown, and without effect
	},
}

// linearizable checks one environment. What stayed unknown is open to the end; kept are the revisions that the log holds, and
// an unknown push that is not among them is left out: whoever had seen it would have seen what is not there. That keeps the
// search short, and can only find more.
func linearizable(ops []op, kept map[store.Hash]bool, limit time.Duration) error {
	var all []porcupine.Operation
	for _, o := range ops {
		end := int64(o.Return)
		if o.unknown() {
			if !kept[o.Revision] {
				continue
			}
			end = math.MaxInt64
		}
		all = append(all, porcupine.Operation{ClientId: o.Client, Input: o, Call: int64(o.Call), Return: end})
	}
	switch porcupine.CheckOperationsTimeout(model, all, limit) {
	case porcupine.Ok:
		return nil
	case porcupine.Illegal:
		return fmt.Errorf("a history of %d operations is not linearizable", len(all))
	}
	return fmt.Errorf("a history of %d operations could not be checked within %s", len(all), limit)
}

// print is a history for people.
func print(ops []op) string {
	var b strings.Builder
	for _, o := range ops {
		b.WriteString(o.String() + "\n")
	}
	return b.String()
}
