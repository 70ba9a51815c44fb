package node

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// KeyKeeper is an Enforcer whose machine has keys of secrets. Its methods may be called from several goroutines.
type KeyKeeper interface {
	// Lacking are the keys that this machine may have, by what it was last asked to enforce, and does not have.
	Lacking() []LackingKey
	// TakeKey keeps a key that a peer wrapped for this machine, once it has proved to be that of the secret.
	TakeKey(env string, secret store.Hash, wrapped []byte) error
	// WrapKey wraps a key for a member, if it is here and the member's grant is such that it may have it.
	WrapKey(to membership.Member, env string, secret store.Hash) ([]byte, error)
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

// look begins a round, or has the one that goes on be followed by another.
func (s *seeking) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *seeking) run(ctx context.Context) {
	keeper := s.n.ports.Enforcer.(KeyKeeper)
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
		if s.round(ctx, keeper) {
			select {
			case s.n.enforce.keys <- struct{}{}:
			default:
			}
		}
		if len(keeper.Lacking()) == 0 {
			wait = 0
		} else {
			wait = min(max(2*wait, seekAgain), seekMost)
		}
	}
}

// round asks some peers, in no order, for what they may have of what is lacking; came: something did.
func (s *seeking) round(ctx context.Context, keeper KeyKeeper) (came bool) {
	asked := map[membership.NodeID]bool{}
	for range maxSeekPeers {
		peer, env, wanted := s.next(keeper.Lacking(), asked)
		if peer == "" || ctx.Err() != nil {
			return came
		}
		asked[peer] = true
		v, err := s.n.call(ctx, func(id uint64) mesh.Event { return mesh.AskKeys{ID: id, Peer: peer, Env: env, Secrets: wanted} })
		if err != nil {
			continue // it is not here, or does not answer
		}
		for i, wrapped := range v.([][]byte) {
			if len(wrapped) == 0 || i >= len(wanted) {
				continue
			}
			if err := keeper.TakeKey(env, wanted[i], wrapped); err != nil {
				s.n.log.Warn("refused the key of a secret", "node", peer, "error", err)
				continue
			}
			came = true
		}
	}
	return came
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
		if slices.Contains(l.From, peer) && len(wanted) < mesh.MaxKeys {
			env, wanted = l.Env, append(wanted, l.Secret)
		}
	}
	return peer, env, wanted
}

// sendKeys answers a peer with the keys that it may have.
func (n *Node) sendKeys(a mesh.SendKeys) {
	keeper, ok := n.ports.Enforcer.(KeyKeeper)
	answer := &mesh.KeyTell{ID: a.ID, Keys: make([][]byte, len(a.Secrets))}
	for i, secret := range a.Secrets {
		answer.Keys[i] = []byte{}
		if !ok {
			continue
		}
		wrapped, err := keeper.WrapKey(a.To, a.Env, secret)
		if err != nil {
			n.log.Debug("handed on no key", "to", a.To.Name, "error", err)
			continue
		}
		answer.Keys[i] = wrapped
	}
	n.send(a.To.ID, answer)
}
