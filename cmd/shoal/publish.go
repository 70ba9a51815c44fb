package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
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
	key    crypto.Signer
}

func newPublisher(client *api.Client, named string) (publisher, error) {
	h, err := openHome("")
	if err != nil {
		return publisher{}, err
	}
	chain, err := h.chain()
	if err != nil {
		return publisher{}, err
	}
	key, err := h.operatorKey(named)
	return publisher{client, chain, key}, err
}

// head returns what env is at, as most of its acceptors have it: a node that was away would have the push diverge. Where they
// cannot be reached it is what the node knows: a push on that is staged. It is the zero Head when env has no revision yet.
func (p publisher) head(ctx context.Context, env string) (store.Head, error) {
	head, err := p.client.ConfirmedHead(ctx, env)
	if kindOf(err) == api.Unavailable {
		head, err = p.client.Head(ctx, env)
	}
	if kindOf(err) == api.NotFound {
		return store.Head{Env: env}, nil
	}
	return head, err
}

// signAgain bounds how often a first revision is signed anew while members come.
const signAgain = 5

// kindOf is what a node's error is; empty when it is none.
func kindOf(err error) api.Kind {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// publish makes a revision on top of head, whose manifest the mesh holds already.
func (p publisher) publish(ctx context.Context, head store.Head, manifest store.Hash, kind store.Kind, message string) (res mesh.PushResult, err error) {
	for range signAgain {
		res, err = p.publishOnce(ctx, head, manifest, kind, message)
		if kindOf(err) != api.Outdated {
			break
		}
	}
	return res, err
}

func (p publisher) publishOnce(ctx context.Context, head store.Head, manifest store.Hash, kind store.Kind, message string) (mesh.PushResult, error) {
	revision := store.Revision{
		Env: head.Env, Version: head.Version + 1, Parent: head.Revision, Manifest: manifest,
		Author: author(), Message: message, Kind: kind, Time: time.Now().Unix(),
	}
	if head.Version == 0 {
		electorate, err := p.electorate(ctx, head.Env)
		if err != nil {
			return mesh.PushResult{}, err
		}
		revision.Electorate = electorate
	}
	object, err := store.SealRevision(revision, p.key)
	if err != nil {
		return mesh.PushResult{Env: head.Env}, err
	}
	hash := store.HashOf(object)
	res, err := p.client.Push(ctx, api.PushRequest{Revision: hash, Object: object, Chain: p.chain.Statements()})
	if err != nil {
		res = mesh.PushResult{Env: head.Env, Version: head.Version + 1, Revision: hash}
	}
	return res, err
}

// electorate names those who may decide where a new environment is kept: the members of the mesh, each shown by what an
// operator has signed. A node that lied could leave some out, but not make any up. Empty for a node without a mesh.
func (p publisher) electorate(ctx context.Context, env string) (string, error) {
	self, err := p.client.Self(ctx)
	if err != nil || self.Mesh == "" || self.Mesh != p.chain.Mesh().String() {
		return "", err // of another mesh: it will refuse the push itself
	}
	records, err := p.client.Roster(ctx)
	if err != nil {
		return "", err
	}
	roster := membership.NewRoster(p.chain)
	if _, err := roster.Add(time.Now(), records...); err != nil {
		return "", fmt.Errorf("the members that the node shows: %w", err)
	}
	var ids []membership.NodeID
	for _, m := range roster.Members(time.Now()) {
		ids = append(ids, m.ID)
	}
	return store.ElectorateHash(env, store.Electorate(env, ids)), nil
}

// author is how the person at this terminal is called; the signature is what counts.
func author() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// printPush prints a push as JSON, also one that did not succeed; err is what it comes to.
func (t *terminal) printPush(res mesh.PushResult, env string, err error) error {
	res = withOutcome(res, env, err)
	if t.json && res.Status != "" {
		if jsonErr := t.printJSON(res); jsonErr != nil {
			return jsonErr
		}
	}
	return err
}

// withOutcome names what an error of a push comes to. A tree that is wrong was not pushed at all.
func withOutcome(res mesh.PushResult, env string, err error) mesh.PushResult {
	if res.Status != "" || err == nil {
		return res
	}
	switch {
	case kindOf(err) == api.Unavailable:
		res.Status = store.Unavailable
	case kindOf(err) == api.Refused, errors.Is(err, store.ErrUnpublished):
		res.Status = store.Refused
	default:
		return res
	}
	res.Env, res.Why = env, err.Error()
	return res
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
