package simulation

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"shoal/store"
)

// linear asks porcupine (Athalye, after Lowe, "Testing for linearizability", 2017) whether there is an order of all pushes and reads of
// an environment in which each has the answer that it was given, and none takes effect outside the time between question and answer.
func (j *judge) linear(env string) {
	var history []porcupine.Operation
	for i, o := range j.w.crowd.ops {
		if o.env != env {
			continue
		}
		call := porcupine.Operation{ClientId: i, Input: o, Call: int64(o.began), Return: int64(o.ended)}
		if !o.revision.IsZero() && (o.ended == 0 || o.outcome == store.Staged) {
			if j.heads[place{env, j.made[o.revision].Version}] != o.revision {
				continue // it never took effect, and nobody was told that it did
			}
			call.Return = math.MaxInt64
		}
		history = append(history, call)
	}
	if porcupine.CheckOperationsTimeout(j.model(), history, 20*time.Second) == porcupine.Illegal {
		for _, call := range history {
			o := call.Input.(*op)
			if o.revision.IsZero() {
				j.w.note(nil, "history of %s: client %d reads at %s: %s to %s, %s", env, o.client+1, o.node, o.began, o.ended, o.head.Revision.Short())
				continue
			}
			j.w.note(nil, "history of %s: client %d at %s, %s version %d on %s: %s to %s, %s", env, o.client+1, o.node, o.revision.Short(),
				j.made[o.revision].Version, j.made[o.revision].Parent.Short(), o.began, o.ended, o.outcome)
		}
		j.fail(nil, "invariant 2: the history of %s is not linearizable", env)
	}
}

// model of a head: its state is the newest revision, whose ancestors are the history.
func (j *judge) model() porcupine.Model {
	return porcupine.Model{
		Init:  func() any { return store.Hash{} },
		Equal: func(a, b any) bool { return a == b },
		Step: func(state, input, _ any) (bool, any) {
			return j.push(state.(store.Hash), input.(*op))
		},
	}
}

// remembered is how many revisions back a push that is repeated must be known again: see store.HeadValue.
const remembered = 16

func (j *judge) push(head store.Hash, o *op) (legal bool, next store.Hash) {
	if o.revision.IsZero() {
		return o.head.Revision == head, head
	}
	m := j.made[o.revision]
	back, included := j.distance(head, o.revision)
	follows := m.Parent == head
	switch {
	case o.ended == 0 || o.outcome == store.Staged:
		if follows {
			return true, o.revision
		}
		return true, head
	case o.outcome == store.Committed:
		if follows {
			return true, o.revision
		}
		return included, head
	case o.outcome == store.Diverged:
		return !follows && (!included || back >= remembered), head
	}
	return false, head
}

// distance is how far an ancestor is behind a head.
func (j *judge) distance(head, ancestor store.Hash) (back int, found bool) {
	for h := head; !h.IsZero(); h = j.made[h].Parent {
		if h == ancestor {
			return back, true
		}
		back++
	}
	return 0, false
}
