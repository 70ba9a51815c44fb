package linear

import (
	"testing"
	"time"

	"shoal/store"
)

// The checker tells right histories from wrong ones.
func TestCheckerFindsWhatIsWrong(t *testing.T) {
	var none store.Hash
	a, b, c := store.HashOf([]byte("a")), store.HashOf([]byte("b")), store.HashOf([]byte("c"))
	at := func(call, end int, o op) op {
		o.Env, o.Call, o.Return = "e", time.Duration(call)*time.Second, time.Duration(end)*time.Second
		return o
	}
	pushed := func(parent, revision store.Hash, outcome store.Outcome) op {
		return op{Kind: push, Parent: parent, Revision: revision, Outcome: outcome}
	}
	sees := func(revision store.Hash) op { return op{Kind: read, Revision: revision} }
	for name, c := range map[string]struct {
		ops  []op
		kept []store.Hash
		good bool
	}{
		"one after another": {[]op{at(0, 1, pushed(none, a, store.Committed)), at(2, 3, pushed(a, b, store.Committed)), at(4, 5, sees(b))}, nil, true},
		"a stale read":      {[]op{at(0, 1, pushed(none, a, store.Committed)), at(2, 3, pushed(a, b, store.Committed)), at(4, 5, sees(a))}, nil, false},
		"two on one parent": {[]op{at(0, 1, pushed(none, a, store.Committed)), at(0, 1, pushed(none, b, store.Committed))}, nil, false},
		"one of two":        {[]op{at(0, 1, pushed(none, a, store.Committed)), at(0, 1, pushed(none, b, store.Diverged)), at(2, 3, sees(a))}, nil, true},
		"lost":              {[]op{at(0, 1, pushed(none, a, store.Committed)), at(2, 3, sees(none))}, nil, false},
		"staged, then there": {[]op{at(0, 1, pushed(none, a, store.Staged)), at(2, 3, sees(none)), at(4, 5, sees(a))},
			[]store.Hash{a}, true},
		"seen, then gone":  {[]op{at(0, 1, pushed(none, a, "")), at(2, 3, sees(a)), at(4, 5, sees(none))}, []store.Hash{a}, false},
		"nobody kept it":   {[]op{at(0, 1, pushed(none, a, "")), at(2, 3, sees(a)), at(4, 5, pushed(none, c, store.Committed))}, []store.Hash{c}, false},
		"diverged, but in": {[]op{at(0, 1, pushed(none, a, store.Diverged)), at(2, 3, sees(a))}, []store.Hash{a}, false},
	} {
		kept := map[store.Hash]bool{}
		for _, h := range c.kept {
			kept[h] = true
		}
		if err := linearizable(c.ops, kept, time.Minute); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
