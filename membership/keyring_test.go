package membership

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func evictionsNamed(names ...string) Evictions {
	revoked := map[NodeID]*record{}
	for _, name := range names {
		revoked[NodeID(name)] = nil
	}
	return evictionsOf(revoked)
}

func madeFor(t testing.TB, who string, e Evictions) GossipKey {
	t.Helper()
	seed := sha256.Sum256([]byte(who))
	key, err := MakeGossipKey(ed25519.NewKeyFromSeed(seed[:]), MeshID{1}, e)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var keyDay = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A new key is read with at once, sent with after KeySpread, and alone after KeyOverlap more.
func TestKeysFollowEachOther(t *testing.T) {
	first := bytes.Repeat([]byte{7}, GossipKeySize)
	k := NewKeyring(nil, first)
	if use := k.Use(keyDay); len(use) != 1 || !bytes.Equal(use[0], first) {
		t.Fatalf("it begins with %x", use)
	}
	e := evictionsNamed("x")
	key := madeFor(t, "a", e)
	if k.Add(key, keyDay, keyDay, false) {
		t.Error("a key is taken for evictions that are not known")
	}
	k.Know(e)
	if !k.Add(key, keyDay, keyDay, false) || k.Add(key, keyDay, keyDay, false) {
		t.Error("a key is not new once")
	}
	for _, c := range []struct {
		after time.Duration
		want  [][]byte
	}{
		{0, [][]byte{first, key.Key}},
		{KeySpread - time.Millisecond, [][]byte{first, key.Key}},
		{KeySpread, [][]byte{key.Key, first}},
		{KeySpread + KeyOverlap - time.Millisecond, [][]byte{key.Key, first}},
		{KeySpread + KeyOverlap, [][]byte{key.Key}},
	} {
		if got := k.Use(keyDay.Add(c.after)); fmt.Sprintf("%x", got) != fmt.Sprintf("%x", c.want) {
			t.Errorf("after %v: %x, want %x", c.after, got, c.want)
		}
	}
	if at := k.Next(keyDay); !at.Equal(keyDay.Add(KeySpread)) {
		t.Errorf("it changes next at %v", at)
	}
	again := NewKeyring(k.Held(keyDay.Add(time.Hour)), first)
	again.Know(e)
	if use := again.Use(keyDay.Add(time.Hour)); len(use) != 1 || !bytes.Equal(use[0], key.Key) {
		t.Errorf("after a restart it uses %x, with the key of the ticket among them", use)
	}
}

// Who comes back has the keys before the roster. A key for evictions that never happened, which a member that lies has told, is worth
// nothing after a while, and what fits is there again.
func TestAKeyAhead(t *testing.T) {
	first := bytes.Repeat([]byte{7}, GossipKeySize)
	now := keyDay
	k := NewKeyring(nil, first)
	real := evictionsNamed("x")
	key := madeFor(t, "a", real)
	k.Add(key, now.Add(-time.Hour), now, true)
	if use := k.Use(now); !bytes.Equal(use[0], key.Key) {
		t.Fatal("who comes back does not use the key that it was given")
	}
	k.Know(real)
	if use := k.Use(now); len(use) != 1 || !bytes.Equal(use[0], key.Key) {
		t.Errorf("with the roster it uses %x", use)
	}

	liar := NewKeyring(nil, first)
	bomb := madeFor(t, "m", Evictions{Era: MaxEra, Set: [32]byte{1}})
	liar.Add(bomb, now.Add(-time.Hour), now, true)
	liar.Know(real)
	liar.Add(key, now, now, false)
	for _, at := range []time.Duration{0, KeySpread, KeySpread + KeyOverlap} {
		liar.Prune(now.Add(at))
	}
	if _, ok := liar.Fits(); !ok {
		t.Error("what fits was forgotten for what is ahead")
	}
	if use := liar.Use(now.Add(keyAhead)); len(use) != 1 || !bytes.Equal(use[0], key.Key) {
		t.Errorf("after %v it still uses a key of nobody's: %x", keyAhead, use)
	}
	if err := (GossipKey{Era: MaxEra + 1, Key: first}).Check(); err == nil {
		t.Error("an era past all rosters is taken")
	}
}

// Of several keys for the same evictions all use the same one, whatever the order in which they hear of them, and a member that makes
// one after the other fills no memory.
func TestKeysConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := evictionsNamed("x", "y")
		n := rapid.IntRange(1, MaxKeys-1).Draw(t, "keys")
		var keys []GossipKey
		for i := range n {
			seed := sha256.Sum256([]byte{byte(i), byte(rapid.IntRange(0, 255).Draw(t, "seed"))})
			key, _ := MakeGossipKey(ed25519.NewKeyFromSeed(seed[:]), MeshID{}, e)
			keys = append(keys, key)
		}
		var ended [][]byte
		for range 3 {
			k := NewKeyring(nil, make([]byte, GossipKeySize))
			k.Know(e)
			for _, i := range rapid.Permutation(keys).Draw(t, "order") {
				k.Add(i, keyDay, keyDay, false)
			}
			use := k.Use(keyDay.Add(time.Hour))
			if len(use) != 1 {
				t.Fatalf("%d keys stay", len(use))
			}
			ended = append(ended, use[0])
		}
		if !bytes.Equal(ended[0], ended[1]) || !bytes.Equal(ended[1], ended[2]) {
			t.Error("nodes that know the same keys use different ones")
		}
	})
	k := NewKeyring(nil, make([]byte, GossipKeySize))
	e := evictionsNamed("x")
	k.Know(e)
	for i := range 10 * MaxKeys {
		k.Add(madeFor(t, fmt.Sprint("m", i), e), keyDay, keyDay, false)
	}
	if n := len(k.Held(keyDay)); n > MaxKeys {
		t.Errorf("%d keys are held", n)
	}
}

// A clock that was set back does not keep a node from the key that all others use.
func TestKeyOfTheFuture(t *testing.T) {
	k := NewKeyring(nil, make([]byte, GossipKeySize))
	e := evictionsNamed("x")
	k.Know(e)
	key := madeFor(t, "a", e)
	k.Add(key, keyDay, keyDay, false)
	if use := k.Use(keyDay.AddDate(0, -1, 0)); !bytes.Equal(use[0], key.Key) {
		t.Error("it waits for a month")
	}
}
