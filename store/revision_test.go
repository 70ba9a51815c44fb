package store_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// publishers lets each key publish one environment.
type publishers map[string]string

func (p publishers) Publishes(key ed25519.PublicKey, env string) bool { return p[string(key)] == env }

func oneTestPublisher(key ed25519.PrivateKey, env string) publishers {
	return publishers{string(key.Public().(ed25519.PublicKey)): env}
}

func TestRevisionOpensForItsPublisherAlone(t *testing.T) {
	key := testKey(1)
	first := store.Revision{Env: "production", Version: 1, Manifest: store.HashOf(nil), Author: "a", Message: "m",
		Kind: store.KindPush, Time: 7}
	object, err := store.SealRevision(first, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.OpenRevision(object, oneTestPublisher(key, "production"))
	if err != nil || got != first {
		t.Errorf("comes back as %+v (%v)", got, err)
	}
	for why, who := range map[string]publishers{
		"nobody":              nil,
		"another key":         oneTestPublisher(testKey(2), "production"),
		"another environment": oneTestPublisher(key, "staging"),
	} {
		if _, err := store.OpenRevision(object, who); !errors.Is(err, store.ErrUnpublished) {
			t.Errorf("%s: %v", why, err)
		}
	}
	other, _ := membership.Sign(membership.DomainNodeLog, first, key)
	raw, _ := codec.Marshal(other)
	if _, err := store.OpenRevision(raw, oneTestPublisher(key, "production")); !errors.Is(err, membership.ErrSignature) {
		t.Errorf("signed as something else: %v", err)
	}
}

func TestRevisionRefuses(t *testing.T) {
	key := testKey(1)
	for why, change := range map[string]func(*store.Revision){
		"no environment":        func(r *store.Revision) { r.Env = "" },
		"long environment":      func(r *store.Revision) { r.Env = strings.Repeat("e", 65) },
		"environment as path":   func(r *store.Revision) { r.Env = "../x" },
		"escaping environment":  func(r *store.Revision) { r.Env = "a\x1b[2J" },
		"unknown kind":          func(r *store.Revision) { r.Kind = "recovery" },
		"no kind":               func(r *store.Revision) { r.Kind = "" },
		"version 0":             func(r *store.Revision) { r.Version = 0 },
		"first with a parent":   func(r *store.Revision) { r.Parent[0] = 1 },
		"second without parent": func(r *store.Revision) { r.Version = 2 },
		"long message":          func(r *store.Revision) { r.Message = strings.Repeat("m", store.MaxMessage+1) },
		"long author":           func(r *store.Revision) { r.Author = strings.Repeat("m", 257) },
	} {
		r := store.Revision{Env: "production", Version: 1, Kind: store.KindPush}
		change(&r)
		object, err := store.SealRevision(r, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.OpenRevision(object, oneTestPublisher(key, r.Env)); err == nil {
			t.Errorf("%s was opened", why)
		}
	}
}

func FuzzRevision(f *testing.F) {
	key := testKey(1)
	object, err := store.SealRevision(store.Revision{Env: "production", Version: 1, Kind: store.KindPush}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(object)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := store.OpenRevision(raw, oneTestPublisher(key, "production"))
		if err == nil && (r.Env != "production" || r.Version == 0 || len(r.Message) > store.MaxMessage) {
			t.Fatalf("a revision that nobody may have signed: %+v", r)
		}
	})
}
