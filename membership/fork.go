package membership

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"slices"
)

// Fork is a place where operators signed two statements after the same one: the proof of it, and which of them holds.
type Fork struct {
	Height uint64
	Holds  Signed
	Lost   Signed
	// Both are the operators who signed the two. No program of shoal's does that unasked: the key is in wrong hands, or was used
	// on two machines.
	Both []ed25519.PublicKey
	// Open: each side takes the operators away on whose word the other rests, so no rule can tell which is the thief. A node
	// stays with what it has; others may have decided for the other side.
	Open bool
}

// Forks are the places where the chain forks, the lowest first.
func (c *Chain) Forks() []Fork { return slices.Clone(c.forks) }

// tree is the chain's statements by what they follow.
type tree struct {
	next      map[[32]byte][]*link
	held      map[[32]byte]bool // the line as it was before
	threshold int
	forks     []Fork
}

func (c *Chain) tree(held map[[32]byte]bool) *tree {
	t := &tree{next: map[[32]byte][]*link{}, held: held, threshold: c.threshold}
	for _, l := range c.sorted() {
		t.next[l.st.Prev] = append(t.next[l.st.Prev], l)
	}
	return t
}

// follow is the line that holds from l on: at each fork the branch that wins.
func (t *tree) follow(l *link) []*link {
	var branches [][]*link
	for _, next := range t.next[l.hash] {
		branches = append(branches, t.follow(next))
	}
	if len(branches) == 0 {
		return []*link{l}
	}
	winner, open := t.winner(l.after.operators, branches)
	for _, lost := range branches {
		if lost[0] != winner[0] {
			t.forks = append(t.forks, forkOf(winner[0], lost[0], open))
		}
	}
	return append([]*link{l}, winner...)
}

// winner is the branch that holds of several that follow the same statement.
//
// Time cannot decide, since nobody can prove when something was signed: a rule by length or by hash alone would let whoever
// still has the key of an operator who was removed write history anew from before the removal. So removals go first: a branch
// in which something rests on the word of operators whom another branch has removed loses against that one. Among branches
// that say nothing against each other's operators the one wins in which the operators from before the fork, less those whom a branch removed, signed most, so that
// what one of them signed on an old copy of the chain does not undo what the others have done since, and of those the lowest
// hash. Statements of operators who came after the fork do not count: on a branch that lost, that may be anybody. Each of these is a
// function of what is kept.
// Only where two branches remove each other's operators is there none; then the one that this node followed goes on: the
// weak subjectivity of Buterin (2014), which no chain of signatures without it escapes.
func (t *tree) winner(operators []ed25519.PublicKey, branches [][]*link) (winner []*link, open bool) {
	var left [][]*link
	for _, b := range branches {
		if !slices.ContainsFunc(branches, func(other []*link) bool { return t.disowns(other, b) && !t.disowns(b, other) }) {
			left = append(left, b)
		}
	}
	own := slices.IndexFunc(branches, func(b []*link) bool { return t.held[b[0].hash] })
	if len(left) == 0 { // each is beaten by another, in a circle
		if own >= 0 {
			return branches[own], true
		}
		return t.weightiest(operators, branches), true
	}
	open = slices.ContainsFunc(left, func(a []*link) bool {
		return slices.ContainsFunc(left, func(b []*link) bool { return t.disowns(a, b) })
	})
	if own >= 0 && slices.ContainsFunc(left, func(b []*link) bool { return b[0] == branches[own][0] }) {
		left = slices.DeleteFunc(left, func(b []*link) bool { return b[0] != branches[own][0] && t.disowns(branches[own], b) })
	}
	return t.weightiest(operators, left), open
}

func (t *tree) weightiest(operators []ed25519.PublicKey, branches [][]*link) []*link {
	for _, b := range branches {
		for _, key := range removedIn(b) {
			operators = without(operators, key)
		}
	}
	weight := func(b []*link) (n int) {
		for _, l := range b {
			if enough(operators, l.signers, t.threshold) {
				n++
			}
		}
		return n
	}
	return slices.MinFunc(branches, func(a, b []*link) int {
		return cmp.Or(cmp.Compare(weight(b), weight(a)), bytes.Compare(a[0].hash[:], b[0].hash[:]))
	})
}

// disowns tells whether something in branch b was signed by too few, when those whom branch a has removed do not count.
func (t *tree) disowns(a, b []*link) bool {
	removed := removedIn(a)
	return len(removed) > 0 && slices.ContainsFunc(b, func(l *link) bool {
		return len(l.signers)-shared(l.signers, removed) < t.threshold
	})
}

func removedIn(b []*link) (removed []ed25519.PublicKey) {
	for _, l := range b {
		if l.st.Kind == RemoveOperator && !containsKey(b[len(b)-1].after.operators, l.st.Key) {
			removed = append(removed, l.st.Key)
		}
	}
	return removed
}

func forkOf(holds, lost *link, open bool) Fork {
	f := Fork{Height: holds.st.Height, Holds: holds.signed, Lost: lost.signed, Open: open}
	for _, key := range holds.signers {
		if containsKey(lost.signers, key) {
			f.Both = append(f.Both, key)
		}
	}
	return f
}

// shared counts the keys that are in both.
func shared(keys, among []ed25519.PublicKey) int {
	n := 0
	for _, key := range keys {
		if containsKey(among, key) {
			n++
		}
	}
	return n
}
