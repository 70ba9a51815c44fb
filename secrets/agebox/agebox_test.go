package agebox_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"filippo.io/age"

	"shoal/membership"
	"shoal/secrets"
	"shoal/secrets/agebox"
	"shoal/store"
)

const value = "correct-horse-battery"

// machine is a node with its key.
type machine struct {
	membership.Member
	agebox.NodeKey
}

func newMachine(t testing.TB, name string) machine {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := agebox.NewNodeKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return machine{membership.Member{ID: membership.IDOf(public), Name: name, Tags: map[string]string{"role": "db"}}, opener}
}

func sealFor(t testing.TB, name string, to ...membership.Member) secrets.Sealed {
	t.Helper()
	data, left, err := agebox.Seal(secrets.Statement{Env: "production", Name: name, Version: 1, On: "role=db"}, []byte(value), to)
	if err != nil || len(left) > 0 {
		t.Fatal(err, left)
	}
	if bytes.Contains(data, []byte(value)) {
		t.Error("the value is in clear")
	}
	s, err := secrets.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealAndHandOn(t *testing.T) {
	first, later, stranger := newMachine(t, "db-1"), newMachine(t, "db-2"), newMachine(t, "web-1")
	s := sealFor(t, "db/password", first.Member)
	key, err := agebox.OpenKey(s, s.Keys, first)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := agebox.Reveal(s, key); err != nil || string(got) != value {
		t.Errorf("%q %v", got, err)
	}
	if _, err := agebox.OpenKey(s, s.Keys, later); !errors.Is(err, secrets.ErrLocked) {
		t.Errorf("before it was handed on: %v", err)
	}
	wrapped, err := agebox.Wrap(key, later.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(wrapped) > secrets.MaxWrapped {
		t.Errorf("%d bytes", len(wrapped))
	}
	if _, err := agebox.OpenKey(s, wrapped, stranger); !errors.Is(err, secrets.ErrLocked) {
		t.Errorf("somebody else opens it: %v", err)
	}
	handed, err := agebox.OpenKey(s, wrapped, later)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := agebox.Reveal(s, handed); err != nil || string(got) != value {
		t.Errorf("%q %v", got, err)
	}
}

// TestLyingHolder: whatever a holder hands on, either it is the key that the publisher sealed with, or it is refused.
func TestLyingHolder(t *testing.T) {
	me := newMachine(t, "db-1")
	s, other := sealFor(t, "db/password", me.Member), sealFor(t, "db/other", me.Member)
	key, err := agebox.OpenKey(s, s.Keys, me)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := agebox.OpenKey(other, other.Keys, me)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	lies := map[string]secrets.Key{
		"the key of another secret":              foreign,
		"the same, said to be of this":           {Statement: s.Hash, Private: foreign.Private},
		"a key of its own":                       {Statement: s.Hash, Private: fresh.String()},
		"no key":                                 {Statement: s.Hash, Private: "x"},
		"the right key, said to be of another":   {Statement: other.Hash, Private: key.Private},
		"the right key with something behind it": {Statement: s.Hash, Private: key.Private + "\n"},
	}
	for what, lie := range lies {
		wrapped, err := agebox.Wrap(lie, me.ID)
		if err != nil {
			t.Fatal(err)
		}
		_, err = agebox.OpenKey(s, wrapped, me)
		if !errors.Is(err, secrets.ErrKey) {
			t.Errorf("%s: %v", what, err)
		} else if strings.Contains(err.Error(), key.Private) || strings.Contains(err.Error(), foreign.Private) {
			t.Errorf("%s: the error shows a key: %v", what, err)
		}
	}
	if _, err := agebox.Reveal(s, foreign); !errors.Is(err, secrets.ErrKey) {
		t.Errorf("revealed by another's key: %v", err)
	}
	if _, err := agebox.OpenKey(s, []byte("age-encryption.org/v1\nrubbish"), me); err == nil {
		t.Error("rubbish is opened")
	}
}

// TestSwappedValue: a value that another put in its place, encrypted to the same public key, is another statement, for which no key
// was wrapped.
func TestSwappedValue(t *testing.T) {
	me := newMachine(t, "db-1")
	s := sealFor(t, "db/password", me.Member)
	swapped := s
	swapped.Value = sealFor(t, "db/password", me.Member).Value
	data, err := secrets.Encode(swapped.Statement, func(store.Hash) ([]byte, error) { return s.Keys, nil })
	if err != nil {
		t.Fatal(err)
	}
	if swapped, err = secrets.Decode(data); err != nil {
		t.Fatal(err)
	}
	if _, err := agebox.OpenKey(swapped, swapped.Keys, me); !errors.Is(err, secrets.ErrKey) {
		t.Errorf("%v", err)
	}
}

// TestWeakKey: a member with a key of low order, to which nothing can be encrypted, does not keep the others from a secret.
func TestWeakKey(t *testing.T) {
	weak := make([]byte, ed25519.PublicKeySize)
	weak[0] = 1 // the neutral element
	bad, good := membership.Member{ID: membership.IDOf(weak), Name: "weak"}, newMachine(t, "db-1")
	data, left, err := agebox.Seal(secrets.Statement{Env: "production", Name: "x", Version: 1, On: "*"}, []byte(value), []membership.Member{bad, good.Member})
	if err != nil || len(left) != 1 || left[0].Name != "weak" {
		t.Fatalf("left %v: %v", left, err)
	}
	s, err := secrets.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	key, err := agebox.OpenKey(s, s.Keys, good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agebox.Wrap(key, bad.ID); err == nil {
		t.Error("a key is wrapped for one that anybody could open")
	}
}

func TestLimits(t *testing.T) {
	me := newMachine(t, "db-1")
	st := secrets.Statement{Env: "production", Name: "x", Version: 1, On: "*"}
	for _, size := range []int{0, secrets.MaxValue + 1} {
		if _, _, err := agebox.Seal(st, make([]byte, size), []membership.Member{me.Member}); err == nil {
			t.Errorf("a value of %d bytes is sealed", size)
		}
	}
	if _, _, err := agebox.Seal(st, []byte(value), nil); !errors.Is(err, agebox.ErrNobody) {
		t.Errorf("for nobody: %v", err)
	}
	data, _, err := agebox.Seal(st, bytes.Repeat([]byte("x"), secrets.MaxValue), []membership.Member{me.Member})
	if err != nil {
		t.Fatal(err)
	}
	s, err := secrets.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	key, err := agebox.OpenKey(s, s.Keys, me)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := agebox.Reveal(s, key); err != nil || len(got) != secrets.MaxValue {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if _, err := me.Open(s.Keys, 8); err == nil {
		t.Error("more was opened than was asked for")
	}
}

// TestManyRecipients: as many as there may be fit into one file.
func TestManyRecipients(t *testing.T) {
	me := newMachine(t, "db-0")
	members := []membership.Member{me.Member}
	for len(members) < secrets.MaxRecipients+3 {
		members = append(members, newMachine(t, "db").Member)
	}
	data, left, err := agebox.Seal(secrets.Statement{Env: "production", Name: "x", Version: 1, On: "*"}, bytes.Repeat([]byte("x"), secrets.MaxValue), members)
	if err != nil || len(left) != 3 {
		t.Fatalf("%d left: %v", len(left), err)
	}
	t.Logf("%d bytes for %d nodes", len(data), secrets.MaxRecipients)
	s, err := secrets.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agebox.OpenKey(s, s.Keys, me); err != nil {
		t.Error(err)
	}
}

// FuzzOpen: what a peer wrapped is opened or refused, within its limits.
func FuzzOpen(f *testing.F) {
	me := newMachine(f, "db-1")
	s := sealFor(f, "x", me.Member)
	key, err := agebox.OpenKey(s, s.Keys, me)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Keys)
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := agebox.OpenKey(s, data, me); err == nil && got != key {
			t.Errorf("another key: %+v", got)
		}
	})
}
