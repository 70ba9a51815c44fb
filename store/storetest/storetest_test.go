package storetest_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"testing"

	"shoal/store"
	"shoal/store/memory"
	"shoal/store/storetest"
)

// twin is the obviously right store: one lock, one map of committed revisions.
type twin struct {
	mu      sync.Mutex
	objects *store.Objects
	who     store.Publishers
	heads   map[string]store.Head
	// follows is the committed revision after each parent, by environment.
	follows map[string]map[store.Hash]store.Hash
}

func newTwin(ctx context.Context, kv store.KV, who store.Publishers) (*twin, error) {
	objects, err := store.OpenObjects(ctx, kv)
	return &twin{
		objects: objects, who: who,
		heads: map[string]store.Head{}, follows: map[string]map[store.Hash]store.Hash{},
	}, err
}

func (s *twin) Put(ctx context.Context, objects [][]byte) error {
	_, err := s.objects.Put(ctx, objects)
	return errors.Join(ctx.Err(), err)
}

func (s *twin) Get(ctx context.Context, hash store.Hash) ([]byte, error) {
	return s.objects.Get(ctx, hash)
}

func (s *twin) Head(ctx context.Context, env string) (store.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if head, ok := s.heads[env]; ok || ctx.Err() != nil {
		return head, ctx.Err()
	}
	return store.Head{}, store.ErrNotFound
}

func (s *twin) Advance(ctx context.Context, name store.Hash) (store.Outcome, store.Head, error) {
	object, err := s.objects.Get(ctx, name)
	if err != nil {
		return "", store.Head{}, err
	}
	r, err := store.OpenRevision(object, s.who)
	if err != nil {
		return "", store.Head{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	head := s.heads[r.Env]
	if s.follows[r.Env] == nil {
		s.follows[r.Env] = map[store.Hash]store.Hash{}
	}
	if winner, ok := s.follows[r.Env][r.Parent]; ok {
		if winner == name {
			return store.Committed, head, nil
		}
		return store.Diverged, head, nil
	}
	if r.Parent != head.Revision || r.Version != head.Version+1 {
		return "", head, fmt.Errorf("version %d does not follow the head, version %d", r.Version, head.Version)
	}
	s.heads[r.Env] = store.Head{Env: r.Env, Version: r.Version, Revision: name}
	s.follows[r.Env][r.Parent] = name
	return store.Committed, s.heads[r.Env], nil
}

// publisher may publish the two environments of the suite.
type publisher ed25519.PublicKey

func (p publisher) Publishes(key ed25519.PublicKey, env string) bool {
	return bytes.Equal(p, key) && (env == storetest.Env || env == storetest.OtherEnv)
}

func TestTwin(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
		kv := memory.New()
		who := publisher(key.Public().(ed25519.PublicKey))
		s, err := newTwin(t.Context(), kv, who)
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Subject{
			Store:     s,
			Publisher: key,
			Corrupt: func(t *testing.T, hash store.Hash) {
				if err := kv.Write(t.Context(), []store.Change{{Key: store.ObjectKey(hash), Value: []byte("rot")}}); err != nil {
					t.Fatal(err)
				}
			},
			// A power cut for the twin: the same heads and history over objects that are opened anew.
			Reopen: func(t *testing.T) store.Store {
				again, err := newTwin(t.Context(), kv, who)
				if err != nil {
					t.Fatal(err)
				}
				again.heads, again.follows = s.heads, s.follows
				return again
			},
		}
	})
}
