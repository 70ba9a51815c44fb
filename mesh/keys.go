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
	MaxKeys       = 64      // in one question
	MaxWrappedKey = 2 << 10 // bytes of one, wrapped
	keyTime       = 5 * time.Second
	keyEvery      = time.Second // between two questions of one peer: wrapping takes about as long as a signature
	maxKeyAsks    = 256         // of this node at a time
)

// ErrNoKeys is returned when a peer did not answer a question for keys in time.
var ErrNoKeys = errors.New("no answer about keys")

type keys struct {
	asked map[uint64]keyAsk // by this node
	next  uint64
	heard map[membership.NodeID]time.Time // when each peer asked last
}

type keyAsk struct {
	ask  uint64
	peer membership.NodeID
	want int
}

func newKeys() keys {
	return keys{asked: map[uint64]keyAsk{}, heard: map[membership.NodeID]time.Time{}}
}

// askKeys asks one peer.
func (c *Core) askKeys(ev AskKeys) {
	if len(c.keys.asked) >= maxKeyAsks || len(ev.Secrets) > MaxKeys {
		c.emit(Answer{ID: ev.ID, Err: ErrTooMany})
		return
	}
	c.keys.next++
	id := c.keys.next
	c.keys.asked[id] = keyAsk{ev.ID, ev.Peer, len(ev.Secrets)}
	c.question(ev.Peer, &KeyAsk{ID: id, Env: ev.Env, Secrets: ev.Secrets})
	c.after(keyTime, func() { c.keysTold(id, nil, ErrNoKeys) })
}

func (c *Core) keysTold(id uint64, keys [][]byte, err error) {
	asked, open := c.keys.asked[id]
	if !open {
		return
	}
	delete(c.keys.asked, id)
	if err != nil {
		c.emit(Answer{ID: asked.ask, Err: err})
		return
	}
	c.emit(Answer{ID: asked.ask, Value: keys})
}

// onKeyAsk lets the machine decide. A peer that asks more often than it may is not answered.
func (c *Core) onKeyAsk(from membership.NodeID, m *KeyAsk) {
	if last, asked := c.keys.heard[from]; asked && c.now.Sub(last) < keyEvery {
		return
	}
	for node, last := range c.keys.heard { // of those that may ask, for as long as it counts
		if c.now.Sub(last) >= keyEvery {
			delete(c.keys.heard, node)
		}
	}
	c.keys.heard[from] = c.now
	c.emit(SendKeys{To: from, ID: m.ID, Env: m.Env, Secrets: m.Secrets})
}

func (c *Core) onKeyTell(from membership.NodeID, m *KeyTell) {
	if asked, open := c.keys.asked[m.ID]; open && asked.peer == from && len(m.Keys) == asked.want {
		c.keysTold(m.ID, m.Keys, nil)
	}
}

type (
	// KeyAsk asks for the keys of secrets of an environment, by the hashes of their statements.
	KeyAsk struct {
		ID      uint64       `cbor:"1,keyasint"`
		Env     string       `cbor:"2,keyasint"`
		Secrets []store.Hash `cbor:"3,keyasint"`
	}
	// KeyTell answers it: one for each that was asked for, wrapped for the asker; empty: the sender has none for it.
	KeyTell struct {
		ID   uint64   `cbor:"1,keyasint"`
		Keys [][]byte `cbor:"2,keyasint"`
	}
)

func (*KeyAsk) kind() byte  { return 60 }
func (*KeyTell) kind() byte { return 61 }

func (m *KeyAsk) check() error {
	return errors.Join(store.CheckEnv(m.Env), atMost("keys", len(m.Secrets), MaxKeys))
}

func (m *KeyTell) check() error {
	for _, key := range m.Keys {
		if err := atMost("bytes of a key", len(key), MaxWrappedKey); err != nil {
			return err
		}
	}
	return atMost("keys", len(m.Keys), MaxKeys)
}
