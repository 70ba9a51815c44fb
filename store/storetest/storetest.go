// Package storetest is the suite that every store.Store passes: memory, disk and replicated.
package storetest

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"shoal/store"
)

// The environments that Subject.Publisher may publish, and no other.
const (
	Env      = "production"
	OtherEnv = "staging"
)

// Subject is an empty store to be tested, and what the suite must be able to do to it. The factory cleans it up.
type Subject struct {
	Store store.Store
	// Publisher is a key that may publish Env and OtherEnv.
	Publisher ed25519.PrivateKey
	// Corrupt changes the bytes that are kept for an object, on every disk that holds it.
	Corrupt func(t *testing.T, hash store.Hash)
	// Reopen ends the store as a power cut would, and opens it again; nil for a store that is volatile.
	Reopen func(t *testing.T) store.Store
}

// Run checks the laws of store.Store.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, law := range []struct {
		name  string
		check func(*trial)
	}{
		{"objects come back", objectsComeBack},
		{"put is idempotent", putTwice},
		{"objects have a limit", objectLimit},
		{"slices belong to their callers", noAliasing},
		{"corrupt objects are never served", corrupted},
		{"no head at first", noHead},
		{"history grows by one", growth},
		{"committed stays committed", repeated},
		{"one of two on a parent wins", diverged},
		{"the loser of an older race is told too", divergedLater},
		{"version is the parent's plus one", versions},
		{"parent is the head", parents},
		{"environments are apart", environments},
		{"unpublished revisions are refused", unpublished},
		{"what is no revision is refused", noRevision},
		{"concurrent writers make one history", writers},
		{"a race on one parent has one winner", race},
		{"context", contexts},
		{"survives a power cut", survives},
	} {
		t.Run(law.name, func(t *testing.T) {
			s := open(t)
			if s.Store == nil || s.Publisher == nil || s.Corrupt == nil {
				t.Fatal("the subject lacks a store, a publisher or a way to corrupt it")
			}
			law.check(&trial{T: t, Subject: s})
		})
	}
}

// trial is one law being tried on one store.
type trial struct {
	*testing.T
	Subject
}

// manifest puts a tree of one file and returns its name.
func (t *trial) manifest(text string) store.Hash {
	t.Helper()
	file := []byte(text)
	m := store.Manifest{Entries: []store.Entry{{
		Path: "site.yaml", Mode: store.ModeFile, Size: int64(len(file)),
		Chunks: []store.Chunk{{Hash: store.HashOf(file), Size: int64(len(file))}},
	}}}
	objects := [][]byte{file}
	name, err := m.Encode(func(object []byte) error { objects = append(objects, bytes.Clone(object)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.put(objects...)
	return name
}

func (t *trial) put(objects ...[]byte) {
	t.Helper()
	if err := t.Store.Put(t.Context(), objects); err != nil {
		t.Fatalf("put: %v", err)
	}
}

// on makes a revision that follows head, and differs from others by its message.
func (t *trial) on(head store.Head, message string) store.Revision {
	t.Helper()
	return store.Revision{
		Env: head.Env, Version: head.Version + 1, Parent: head.Revision, Manifest: t.manifest(message),
		Author: "storetest", Message: message, Kind: store.KindPush, Time: 1,
	}
}

// seal signs a revision and puts its object.
func (t *trial) seal(r store.Revision, key ed25519.PrivateKey) store.Hash {
	t.Helper()
	object, err := store.SealRevision(r, key)
	if err != nil {
		t.Fatal(err)
	}
	t.put(object)
	return store.HashOf(object)
}

// commit makes and advances a revision on head, which must succeed.
func (t *trial) commit(head store.Head, message string) store.Head {
	t.Helper()
	name := t.seal(t.on(head, message), t.Publisher)
	want := store.Head{Env: head.Env, Version: head.Version + 1, Revision: name}
	outcome, got, err := t.Store.Advance(t.Context(), name)
	if err != nil || outcome != store.Committed || got != want {
		t.Fatalf("advance to version %d: %s, %+v, %v", want.Version, outcome, got, err)
	}
	t.wantHead(want)
	return got
}

func (t *trial) wantHead(want store.Head) {
	t.Helper()
	got, err := t.Store.Head(t.Context(), want.Env)
	if want.Version == 0 {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("head: %+v, %v, not ErrNotFound", got, err)
		}
		return
	}
	if err != nil || got != want {
		t.Errorf("head: %+v, %v, not %+v", got, err, want)
	}
}

// refused says that advancing to name fails with an error like want (nil: any), and leaves the head where it was.
func (t *trial) refused(why string, name store.Hash, head store.Head, want error) {
	t.Helper()
	outcome, got, err := t.Store.Advance(t.Context(), name)
	if err == nil || outcome == store.Committed || (want != nil && !errors.Is(err, want)) {
		t.Errorf("%s: %s, %+v, %v", why, outcome, got, err)
	}
	t.wantHead(head)
}

var start = store.Head{Env: Env}

func objectsComeBack(t *trial) {
	big := make([]byte, store.MaxObject)
	big[7] = 7
	objects := [][]byte{[]byte("a"), {}, big}
	t.put(objects...)
	for _, want := range objects {
		if got, err := t.Store.Get(t.Context(), store.HashOf(want)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("get: %d bytes, %v, not %d", len(got), err, len(want))
		}
	}
	if got, err := t.Store.Get(t.Context(), store.HashOf([]byte("never put"))); !errors.Is(err, store.ErrNotFound) || got != nil {
		t.Errorf("what was never put: %q, %v", got, err)
	}
	t.put()
}

func putTwice(t *trial) {
	data := []byte("twice")
	t.put(data, data)
	t.put(data)
	if got, err := t.Store.Get(t.Context(), store.HashOf(data)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("get: %q, %v", got, err)
	}
}

func objectLimit(t *trial) {
	large := make([]byte, store.MaxObject+1)
	if err := t.Store.Put(t.Context(), [][]byte{large}); err == nil {
		t.Error("an object over the limit was put")
	}
	var many [][]byte // more than fits into any one write
	for i := range 12 {
		data := bytes.Clone(large[:store.MaxObject])
		data[0] = byte(i)
		many = append(many, data)
	}
	t.put(many...)
	for _, data := range many {
		if got, err := t.Store.Get(t.Context(), store.HashOf(data)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("get: %d bytes, %v", len(got), err)
		}
	}
}

func noAliasing(t *trial) {
	mine := []byte("as it was")
	name := store.HashOf(mine)
	t.put(mine)
	mine[0] = 'X'
	got, err := t.Store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	got[0] = 'Y'
	if again, err := t.Store.Get(t.Context(), name); err != nil || string(again) != "as it was" {
		t.Errorf("get: %q, %v", again, err)
	}
}

// corrupted: a store may find good bytes elsewhere, or fail; after another Put they are back.
func corrupted(t *trial) {
	data := []byte("as it was")
	name := store.HashOf(data)
	t.put(data)
	t.Corrupt(t.T, name)
	if got, err := t.Store.Get(t.Context(), name); err == nil && !bytes.Equal(got, data) {
		t.Fatalf("served %q", got)
	}
	t.put(data)
	if got, err := t.Store.Get(t.Context(), name); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after another put: %q, %v", got, err)
	}

	revision := t.seal(t.on(start, "x"), t.Publisher)
	t.Corrupt(t.T, revision)
	if outcome, _, err := t.Store.Advance(t.Context(), revision); err == nil && outcome != store.Committed {
		t.Errorf("a corrupt revision: %s without an error", outcome)
	} else if err == nil { // then it had a good one
		if _, err := t.Store.Get(t.Context(), revision); err != nil {
			t.Errorf("a committed revision cannot be read: %v", err)
		}
	}
}
