package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os/user"
	"strings"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

// publisher signs revisions with the operator's key and hands them to one node.
type publisher struct {
	client *api.Client
	chain  *membership.Chain
	key    ed25519.PrivateKey
}

func newPublisher(client *api.Client) (publisher, error) {
	h, err := openHome("")
	if err != nil {
		return publisher{}, err
	}
	chain, err := h.chain()
	if err != nil {
		return publisher{}, err
	}
	key, err := h.operatorKey()
	return publisher{client, chain, key}, err
}

// head returns what env is at; the zero Head when it has no revision yet.
func (p publisher) head(ctx context.Context, env string) (store.Head, error) {
	head, err := p.client.Head(ctx, env)
	var e *api.Error
	if errors.As(err, &e) && e.Kind == api.NotFound {
		return store.Head{Env: env}, nil
	}
	return head, err
}

// publish makes a revision on top of head, whose manifest the mesh holds already.
func (p publisher) publish(ctx context.Context, head store.Head, manifest store.Hash, kind store.Kind, message string) (mesh.PushResult, error) {
	object, err := store.SealRevision(store.Revision{
		Env: head.Env, Version: head.Version + 1, Parent: head.Revision, Manifest: manifest,
		Author: author(), Message: message, Kind: kind, Time: time.Now().Unix(),
	}, p.key)
	if err != nil {
		return mesh.PushResult{}, err
	}
	return p.client.Push(ctx, api.PushRequest{Revision: store.HashOf(object), Object: object, Chain: p.chain.Statements()})
}

// author is how the person at this terminal is called; the signature is what counts.
func author() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// printPush prints a push as JSON, also one that was staged or has diverged; err is what it comes to.
func (t *terminal) printPush(res mesh.PushResult, err error) error {
	if t.json && res.Status != "" {
		if jsonErr := t.printJSON(res); jsonErr != nil {
			return jsonErr
		}
	}
	return err
}

// outcome prints what became of a push and turns it into the exit status.
func (t *terminal) outcome(res mesh.PushResult) error {
	res.Why = strings.TrimPrefix(res.Why, string(res.Status)+": ")
	switch res.Status {
	case store.Committed:
		t.note("%s %s version %d (%s)", t.tint(green, "committed"), res.Env, res.Version, res.Revision.Short())
		return nil
	case store.Staged:
		t.note("%s %s version %d (%s): %s", t.tint(yellow, "staged"), res.Env, res.Version, res.Revision.Short(), res.Why)
		t.note("    it is kept and will be committed when enough of the mesh can be reached, unless another push is first")
		return &exitError{status: exitUnavailable}
	}
	t.note("%s %s version %d: %s", t.tint(red, "diverged"), res.Env, res.Version, res.Why)
	t.note("    somebody else pushed on the same parent; look at it with shoal log, then push again")
	return &exitError{status: exitUnavailable}
}
