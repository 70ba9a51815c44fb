package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// KeyEnforcer is an Enforcer whose machine has keys of secrets. Its methods may be called from several goroutines.
type KeyEnforcer interface {
	// Lacking are the keys that this machine may have, by what it was last asked to enforce, and does not have.
	Lacking() []LackingKey
	// TakeKey keeps a key that a peer wrapped for this machine, once it has proved to be that of the secret.
	TakeKey(env string, secret store.Hash, wrapped []byte) error
	// WrapKey wraps a key for a member, if it is here and the member's grant is such that it may have it.
	WrapKey(to membership.Member, env string, secret store.Hash) ([]byte, error)
}

// KeyKeeper is what the side of the mesh asks the side of the machine about keys: it names peers, and it is the machine's side that
// knows what they were granted.
type KeyKeeper interface {
	LackingKeys(ctx context.Context) []LackingKey
	TakeKey(ctx context.Context, env string, secret store.Hash, wrapped []byte) error
	WrapKey(ctx context.Context, to membership.NodeID, env string, secret store.Hash) ([]byte, error)
}

// errNoKeys is returned by a machine that keeps none, and for somebody who is no member.
var errNoKeys = errors.New("no keys for it here")

// LackingKeys implements KeyKeeper.
func (e *Enforcement) LackingKeys(context.Context) []LackingKey {
	if keys, ok := e.duty.Enforcer.(KeyEnforcer); ok {
		return keys.Lacking()
	}
	return nil
}

// TakeKey implements KeyKeeper. What was waiting for the key is tried again.
func (e *Enforcement) TakeKey(_ context.Context, env string, secret store.Hash, wrapped []byte) error {
	keys, ok := e.duty.Enforcer.(KeyEnforcer)
	if !ok {
		return errNoKeys
	}
	if err := keys.TakeKey(env, secret, wrapped); err != nil {
		return err
	}
	select {
	case e.keys <- struct{}{}:
	default:
	}
	return nil
}

// WrapKey implements KeyKeeper.
func (e *Enforcement) WrapKey(_ context.Context, to membership.NodeID, env string, secret store.Hash) ([]byte, error) {
	keys, ok := e.duty.Enforcer.(KeyEnforcer)
	if !ok {
		return nil, errNoKeys
	}
	for _, m := range e.duty.Site.Fleet() {
		if m.ID == to {
			return keys.WrapKey(membership.Member{ID: m.ID, Name: m.Name, Zone: m.Zone, Tags: m.Tags}, env, secret)
		}
	}
	return nil, errNoKeys
}

// LackingKey is a key that is not here, and who may have it.
type LackingKey struct {
	Env    string
	Secret store.Hash // of its statement
	From   []membership.NodeID
}

// How long after a round in which keys were missing the next begins: doubled each time.
const (
	seekAgain = time.Second
	seekMost  = time.Minute
)

// maxSeekPeers is how many peers are asked in one round.
const maxSeekPeers = 8

// seeking asks for keys that are lacking, never in the way of a run.
type seeking struct {
	n    *Node
	wake chan struct{} // holds one
}

func newSeeking(n *Node) *seeking { return &seeking{n: n, wake: make(chan struct{}, 1)} }

// Seek asks for the keys that are lacking, soon.
func (n *Node) Seek() { n.seek.look() }

// look begins a round, or has the one that goes on be followed by another.
func (s *seeking) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *seeking) run(ctx context.Context, keeper KeyKeeper) {
	wait := time.Duration(0) // until the next round; 0: none is due
	for {
		var again <-chan time.Time
		if wait > 0 {
			again = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			wait = 0
		case <-again:
		}
		s.round(ctx, keeper)
		if len(keeper.LackingKeys(ctx)) == 0 {
			wait = 0
		} else {
			wait = min(max(2*wait, seekAgain), seekMost)
		}
	}
}

// round asks some peers, in no order, for what they may have of what is lacking.
func (s *seeking) round(ctx context.Context, keeper KeyKeeper) {
	asked := map[membership.NodeID]bool{}
	for range maxSeekPeers {
		peer, env, wanted := s.next(keeper.LackingKeys(ctx), asked)
		if peer == "" || ctx.Err() != nil {
			return
		}
		asked[peer] = true
		v, err := s.n.call(ctx, func(id uint64) mesh.Event { return mesh.AskSecretKeys{ID: id, Peer: peer, Env: env, Secrets: wanted} })
		if err != nil {
			continue // it is not here, or does not answer
		}
		for i, wrapped := range v.([][]byte) {
			if len(wrapped) == 0 || i >= len(wanted) {
				continue
			}
			if err := keeper.TakeKey(ctx, env, wanted[i], wrapped); err != nil {
				s.n.log.Warn("refused the key of a secret", "node", peer, "error", err)
			}
		}
	}
}

// next chooses a peer that is here and was not asked in this round, and what to ask it for.
func (s *seeking) next(lacking []LackingKey, asked map[membership.NodeID]bool) (peer membership.NodeID, env string, wanted []store.Hash) {
	here := map[membership.NodeID]bool{}
	for _, m := range s.n.Members() {
		here[m.ID] = m.ID != s.n.self && (m.Status == membership.Alive || m.Status == membership.Suspect)
	}
	var peers []membership.NodeID
	for _, l := range lacking {
		for _, id := range l.From {
			if here[id] && !asked[id] {
				peers = append(peers, id)
			}
		}
	}
	if len(peers) == 0 {
		return "", "", nil
	}
	peer = peers[rand.IntN(len(peers))]
	for _, l := range lacking {
		if slices.Contains(l.From, peer) && len(wanted) < mesh.MaxSecretKeys {
			env, wanted = l.Env, append(wanted, l.Secret)
		}
	}
	return peer, env, wanted
}

// sendKeys answers a peer with the keys that it may have.
func (n *Node) sendKeys(ctx context.Context, a mesh.SendSecretKeys) {
	var keeper KeyKeeper = n.enforce
	answer := &mesh.SecretTell{ID: a.ID, Keys: make([][]byte, len(a.Secrets))}
	for i, secret := range a.Secrets {
		answer.Keys[i] = []byte{}
		wrapped, err := keeper.WrapKey(ctx, a.To, a.Env, secret)
		if err != nil {
			n.log.Debug("handed on no key", "to", a.To, "error", err)
			continue
		}
		answer.Keys[i] = wrapped
	}
	n.send(a.To, answer)
}
