package mesh

import (
	"errors"
	"time"

	"shoal/membership"
	"shoal/store"
)

// Keys of secrets (package secrets) are handed from a member that holds one to a member that was granted it later. The Core carries
// questions and answers and nothing else: who may have a key is decided by the holder's machine, and whether it is the right one
// by the asker's.

// Limits of what a peer can ask for.
const (
	MaxSecretKeys = 64      // in one question
	MaxWrappedKey = 2 << 10 // bytes of one, wrapped
	secretTime    = 5 * time.Second
	secretEvery   = time.Second // between two questions of one peer: wrapping takes about as long as a signature
	maxSecretAsks = 256         // of this node at a time
)

// ErrNoSecretKeys is returned when a peer did not answer a question for keys in time.
var ErrNoSecretKeys = errors.New("no answer about keys")

type secretKeys struct {
	asked map[uint64]secretAsked // by this node
	next  uint64
	heard map[membership.NodeID]time.Time // when each peer asked last
}

type secretAsked struct {
	ask  uint64
	peer membership.NodeID
	want int
}

func newSecretKeys() secretKeys {
	return secretKeys{asked: map[uint64]secretAsked{}, heard: map[membership.NodeID]time.Time{}}
}

// askSecretKeys asks one peer.
func (c *Core) askSecretKeys(ev AskSecretKeys) {
	if len(c.secretKeys.asked) >= maxSecretAsks || len(ev.Secrets) > MaxSecretKeys {
		c.emit(Answer{ID: ev.ID, Err: ErrTooMany})
		return
	}
	c.secretKeys.next++
	id := c.secretKeys.next
	c.secretKeys.asked[id] = secretAsked{ev.ID, ev.Peer, len(ev.Secrets)}
	c.question(ev.Peer, &SecretAsk{ID: id, Env: ev.Env, Secrets: ev.Secrets})
	c.after(secretTime, func() { c.secretKeysTold(id, nil, ErrNoSecretKeys) })
}

func (c *Core) secretKeysTold(id uint64, keys [][]byte, err error) {
	asked, open := c.secretKeys.asked[id]
	if !open {
		return
	}
	delete(c.secretKeys.asked, id)
	if err != nil {
		c.emit(Answer{ID: asked.ask, Err: err})
		return
	}
	c.emit(Answer{ID: asked.ask, Value: keys})
}

// onSecretAsk lets the machine decide. A peer that asks more often than it may is not answered.
func (c *Core) onSecretAsk(from membership.NodeID, m *SecretAsk) {
	if last, asked := c.secretKeys.heard[from]; asked && c.now.Sub(last) < secretEvery {
		return
	}
	for node, last := range c.secretKeys.heard { // of those that may ask, for as long as it counts
		if c.now.Sub(last) >= secretEvery {
			delete(c.secretKeys.heard, node)
		}
	}
	c.secretKeys.heard[from] = c.now
	c.emit(SendSecretKeys{To: from, ID: m.ID, Env: m.Env, Secrets: m.Secrets})
}

func (c *Core) onSecretTell(from membership.NodeID, m *SecretTell) {
	if asked, open := c.secretKeys.asked[m.ID]; open && asked.peer == from && len(m.Keys) == asked.want {
		c.secretKeysTold(m.ID, m.Keys, nil)
	}
}

type (
	// SecretAsk asks for the keys of secrets of an environment, by the hashes of their statements.
	SecretAsk struct {
		ID      uint64       `cbor:"1,keyasint"`
		Env     string       `cbor:"2,keyasint"`
		Secrets []store.Hash `cbor:"3,keyasint"`
	}
	// SecretTell answers it: one for each that was asked for, wrapped for the asker; empty: the sender has none for it.
	SecretTell struct {
		ID   uint64   `cbor:"1,keyasint"`
		Keys [][]byte `cbor:"2,keyasint"`
	}
)

func (*SecretAsk) kind() byte  { return 80 }
func (*SecretTell) kind() byte { return 81 }

func (m *SecretAsk) check() error {
	return errors.Join(store.CheckEnv(m.Env), atMost("keys", len(m.Secrets), MaxSecretKeys))
}

func (m *SecretTell) check() error {
	for _, key := range m.Keys {
		if err := atMost("bytes of a key", len(key), MaxWrappedKey); err != nil {
			return err
		}
	}
	return atMost("keys", len(m.Keys), MaxSecretKeys)
}
