package storetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"

	"shoal/store"
)

func noHead(t *trial) {
	t.wantHead(start)
	t.manifest("only objects")
	t.seal(t.on(start, "put, not advanced"), t.Publisher)
	t.wantHead(start)
}

func growth(t *trial) {
	head := start
	for i := range 5 {
		head = t.commit(head, fmt.Sprint(i))
	}
	rollback := t.on(head, "back")
	rollback.Kind = store.KindRollback
	name := t.seal(rollback, t.Publisher)
	if outcome, got, err := t.Store.Advance(t.Context(), name); err != nil || outcome != store.Committed || got.Version != 6 {
		t.Errorf("rollback: %s, %+v, %v", outcome, got, err)
	}
}

func repeated(t *trial) {
	first := t.commit(start, "1")
	for range 3 {
		outcome, got, err := t.Store.Advance(t.Context(), first.Revision)
		if err != nil || outcome != store.Committed || got != first {
			t.Errorf("again: %s, %+v, %v", outcome, got, err)
		}
	}
	second := t.commit(first, "2")
	third := t.commit(second, "3")
	for _, old := range []store.Head{first, second} {
		outcome, got, err := t.Store.Advance(t.Context(), old.Revision)
		if err != nil || outcome != store.Committed || (got != third && got != old) {
			t.Errorf("version %d again, after 3: %s, %+v, %v", old.Version, outcome, got, err)
		}
		t.wantHead(third)
	}
}

func diverged(t *trial) {
	base := t.commit(start, "base")
	loser := t.seal(t.on(base, "loser"), t.Publisher)
	winner := t.commit(base, "winner")
	for range 2 {
		outcome, got, err := t.Store.Advance(t.Context(), loser)
		if err != nil || outcome != store.Diverged || got != winner {
			t.Errorf("the second on one parent: %s, %+v, %v", outcome, got, err)
		}
		t.wantHead(winner)
	}
	twin := t.seal(t.on(start, "another first"), t.Publisher)
	if outcome, _, err := t.Store.Advance(t.Context(), twin); err != nil || outcome != store.Diverged {
		t.Errorf("another first revision: %s, %v", outcome, err)
	}
	t.commit(winner, "after")
}

func divergedLater(t *trial) {
	first := t.commit(start, "1")
	loser := t.seal(t.on(first, "loser"), t.Publisher)
	second := t.commit(first, "2")
	third := t.commit(second, "3")
	outcome, got, err := t.Store.Advance(t.Context(), loser)
	if err != nil || outcome != store.Diverged || (got != second && got != third) {
		t.Errorf("a sibling of version 2, after 3: %s, %+v, %v", outcome, got, err)
	}
	onLoser := t.seal(t.on(store.Head{Env: Env, Version: 2, Revision: loser}, "on the loser"), t.Publisher)
	t.notCommitted("a child of the loser", onLoser, third)
}

// notCommitted is for what may be called diverged or be refused.
func (t *trial) notCommitted(why string, name store.Hash, head store.Head) {
	t.Helper()
	if outcome, got, err := t.Store.Advance(t.Context(), name); outcome == store.Committed || (err == nil && outcome != store.Diverged) {
		t.Errorf("%s: %s, %+v, %v", why, outcome, got, err)
	}
	t.wantHead(head)
}

func versions(t *trial) {
	first := t.commit(start, "1")
	second := t.commit(first, "2")
	for _, version := range []uint64{1, 2, 4, 1 << 63} {
		r := t.on(second, fmt.Sprint("version ", version))
		r.Version = version
		t.notCommitted(r.Message, t.seal(r, t.Publisher), second)
	}
	t.commit(second, "3")
}

// open is for what may also be staged: a publisher says that there is a parent, and those who were asked have never heard of the
// environment. They may be new.
func (t *trial) open(why string, name store.Hash) {
	t.Helper()
	if outcome, got, err := t.Store.Advance(t.Context(), name); outcome != store.Staged || err != nil {
		t.notCommitted(fmt.Sprintf("%s (%s, %+v, %v)", why, outcome, got, err), name, start)
	}
	t.wantHead(start)
}

func parents(t *trial) {
	never := t.seal(t.on(start, "never advanced"), t.Publisher)
	child := t.seal(t.on(store.Head{Env: Env, Version: 1, Revision: never}, "its child"), t.Publisher)
	t.open("the child of what was not committed, in an empty environment", child)
	nobody := t.seal(t.on(store.Head{Env: Env, Version: 1, Revision: store.HashOf([]byte("x"))}, "no parent"), t.Publisher)
	t.open("the child of nothing", nobody)
	first := t.commit(start, "1")
	t.notCommitted("the child of what was not committed", child, first)
	t.notCommitted("the child of nothing, again", nobody, first)
}

func environments(t *trial) {
	first := t.commit(start, "1")
	other := t.commit(store.Head{Env: OtherEnv}, "1")
	t.wantHead(first)
	r := t.on(first, "crossed")
	r.Env = OtherEnv
	t.notCommitted("a parent of another environment", t.seal(r, t.Publisher), other)
	t.wantHead(first)
	t.commit(other, "2")
	t.wantHead(first)
}

func unpublished(t *trial) {
	stranger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{42}, ed25519.SeedSize))
	t.refused("a stranger's first", t.seal(t.on(start, "s"), stranger), start, store.ErrUnpublished)
	first := t.commit(start, "1")
	t.refused("a stranger's second", t.seal(t.on(first, "s"), stranger), first, store.ErrUnpublished)
	elsewhere := store.Head{Env: "elsewhere"}
	t.refused("another environment", t.seal(t.on(elsewhere, "e"), t.Publisher), elsewhere, store.ErrUnpublished)
}

func noRevision(t *trial) {
	first := t.commit(start, "1")
	t.refused("what is not there", store.HashOf([]byte("not there")), first, store.ErrNotFound)
	t.refused("the zero hash", store.Hash{}, first, store.ErrNotFound)
	text := []byte("states: {}")
	t.put(text)
	t.refused("a text", store.HashOf(text), first, nil)
	t.refused("a manifest", t.manifest("m"), first, nil)
	object, err := store.SealRevision(t.on(first, "2"), t.Publisher)
	if err != nil {
		t.Fatal(err)
	}
	object[len(object)-1] ^= 1 // in the signature
	t.put(object)
	t.refused("a wrong signature", store.HashOf(object), first, nil)
}

// advance tries until the mesh could decide; a healthy store needs few tries.
func (t *trial) advance(name store.Hash) (store.Outcome, store.Head) {
	for range 50 {
		outcome, head, err := t.Store.Advance(t.Context(), name)
		if err != nil {
			t.Errorf("advance: %v", err)
			return "", head
		}
		if outcome != store.Staged {
			return outcome, head
		}
	}
	t.Error("still staged after 50 tries of a healthy store")
	return store.Staged, store.Head{}
}

// writers: each pushes on what it sees as the head until its pushes are committed. Afterwards what they were told is
// exactly the one history that the head leads back through.
func writers(t *trial) {
	const goroutines, each = 8, 3
	var mu sync.Mutex
	committed := map[store.Hash]uint64{}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			head := start
			for done, try := 0, 0; done < each && try < 1000 && !t.Failed(); try++ {
				revision := t.on(head, fmt.Sprintf("writer %d try %d", g, try))
				object, err := store.SealRevision(revision, t.Publisher)
				if err == nil {
					err = t.Store.Put(t.Context(), [][]byte{object})
				}
				if err != nil {
					t.Error(err)
					return
				}
				name := store.HashOf(object)
				var outcome store.Outcome
				if outcome, head = t.advance(name); outcome == store.Committed {
					mu.Lock()
					committed[name] = revision.Version
					mu.Unlock()
					done++
				}
			}
		})
	}
	wg.Wait()
	if len(committed) != goroutines*each {
		t.Errorf("%d of %d pushes were committed", len(committed), goroutines*each)
	}
	t.wantHistory(committed)
}

// wantHistory walks from the head to the first revision and finds exactly those that were reported committed.
func (t *trial) wantHistory(committed map[store.Hash]uint64) {
	t.Helper()
	head, err := t.Store.Head(t.Context(), Env)
	if err != nil {
		t.Fatal(err)
	}
	who := anyone{}
	at, version := head.Revision, head.Version
	for ; !at.IsZero(); version-- {
		object, err := t.Store.Get(t.Context(), at)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		r, err := store.OpenRevision(object, who)
		if err != nil || r.Version != version || committed[at] != version {
			t.Fatalf("version %d: its revision says %d, its pusher was told %d (%v)", version, r.Version, committed[at], err)
		}
		delete(committed, at)
		at = r.Parent
	}
	if version != 0 || len(committed) != 0 {
		t.Errorf("the history ends at version %d; %d pushes that were reported committed are not in it", version, len(committed))
	}
}

// anyone lets every key publish: whether the store did not is another law's question.
type anyone struct{}

func (anyone) Publishes(ed25519.PublicKey, string) bool { return true }

func race(t *trial) {
	head := start
	for round := range 5 {
		const racers = 8
		names := make([]store.Hash, racers)
		for i := range names {
			names[i] = t.seal(t.on(head, fmt.Sprintf("round %d racer %d", round, i)), t.Publisher)
		}
		outcomes, heads := make([]store.Outcome, racers), make([]store.Head, racers)
		var wg sync.WaitGroup
		together := make(chan struct{})
		for i, name := range names {
			wg.Go(func() {
				<-together
				outcomes[i], heads[i] = t.advance(name)
			})
		}
		close(together)
		wg.Wait()
		winner := slices.Index(outcomes, store.Committed)
		if winner < 0 {
			t.Fatalf("round %d: nobody won: %v", round, outcomes)
		}
		for i := range names {
			if (outcomes[i] == store.Committed) != (i == winner) || heads[i] != heads[winner] {
				t.Fatalf("round %d: %v with heads %v", round, outcomes, heads)
			}
		}
		head = store.Head{Env: Env, Version: head.Version + 1, Revision: names[winner]}
		t.wantHead(head)
	}
}

func contexts(t *trial) {
	first := t.commit(start, "1")
	next := t.seal(t.on(first, "2"), t.Publisher)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := t.Store.Put(ctx, [][]byte{[]byte("a")}); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if _, err := t.Store.Get(ctx, first.Revision); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if _, err := t.Store.Head(ctx, Env); !errors.Is(err, context.Canceled) {
		t.Errorf("head: %v", err)
	}
	if outcome, _, err := t.Store.Advance(ctx, next); !errors.Is(err, context.Canceled) || outcome == store.Committed {
		t.Errorf("advance: %s, %v", outcome, err)
	}
	if outcome, _, err := t.Store.Advance(t.Context(), next); err != nil || outcome != store.Committed {
		t.Errorf("advance afterwards: %s, %v", outcome, err)
	}
}

func survives(t *trial) {
	if t.Reopen == nil {
		return // volatile: there is nothing to survive
	}
	first := t.commit(start, "1")
	loser := t.seal(t.on(first, "loser"), t.Publisher)
	second := t.commit(first, "2")
	data := []byte("an object")
	t.put(data)
	t.Store = t.Reopen(t.T)
	t.wantHead(second)
	if got, err := t.Store.Get(t.Context(), store.HashOf(data)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("get: %q, %v", got, err)
	}
	if outcome, got, err := t.Store.Advance(t.Context(), loser); err != nil || outcome != store.Diverged || got != second {
		t.Errorf("the loser, after a power cut: %s, %+v, %v", outcome, got, err)
	}
	if outcome, _, err := t.Store.Advance(t.Context(), first.Revision); err != nil || outcome != store.Committed {
		t.Errorf("the first again, after a power cut: %s, %v", outcome, err)
	}
	t.commit(second, "3")
}
