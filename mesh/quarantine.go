package mesh

import (
	"fmt"
	"slices"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// Quarantine of acceptors that contradict themselves (store/register_evidence.go). Each node keeps what the acceptors said to it
// when it proposed last, and holds the votes that it is shown against that. What it finds proves itself, and goes to all: whoever
// is convicted gets no seat any more, and loses those that it has as soon as somebody else can take them.

const maxEvidence = 64 // told at once

// witnesses is what acceptors have said to this node, and who is convicted.
type witnesses struct {
	words     map[string]map[membership.NodeID]membership.Signed // by register, the newest of each
	convicted map[membership.NodeID]store.Evidence
	suspected map[membership.NodeID]bool // by this node alone
}

func newWitnesses() witnesses {
	return witnesses{
		words: map[string]map[membership.NodeID]membership.Signed{}, convicted: map[membership.NodeID]store.Evidence{},
		suspected: map[membership.NodeID]bool{},
	}
}

// convicted tells whether a node has contradicted itself as an acceptor.
func (c *Core) convicted(id membership.NodeID) bool {
	_, ok := c.witnesses.convicted[id]
	return ok || c.witnesses.suspected[id]
}

// word signs a promise. A node of version 0.1 would not understand it.
func (c *Core) word(to membership.NodeID, m *Prepare, accepted store.Ballot) *membership.Signature {
	if !isHead(m.Register) || to != c.self && c.diskOf(to) == 0 {
		return nil
	}
	sig, err := store.Word{Register: m.Register, Epoch: m.Epoch, Ballot: m.Ballot, Accepted: accepted}.Sign(c.cfg.Key)
	if err != nil {
		return nil // a word always encodes
	}
	return &sig
}

// hearWord keeps what an acceptor has promised. Its signature is looked at when it matters: that costs more than all the rest of a
// promise.
func (c *Core) hearWord(p *proposal, from membership.NodeID, m *Promise) {
	if m.Refused != "" || !isHead(p.Register) || !slices.Contains(p.Members, from) {
		return
	}
	said, err := store.Word{Register: p.Register, Epoch: p.Epoch, Ballot: m.Ballot, Accepted: m.Accepted}.Said(m.Word)
	if err != nil {
		return
	}
	if c.witnesses.words[p.Register] == nil {
		c.witnesses.words[p.Register] = map[membership.NodeID]membership.Signed{}
	}
	if before, ok := c.witnesses.words[p.Register][from]; ok {
		c.confront(from, before, said)
	}
	c.witnesses.words[p.Register][from] = said
}

// examine holds the votes of a verified certificate against all that this node was told, or shown, of the same register.
func (c *Core) examine(env string, votes membership.Signed) {
	if votes.Domain != membership.DomainAccepted {
		return
	}
	register := store.HeadRegister(env)
	for _, sig := range votes.Signatures {
		id := membership.IDOf(sig.Key)
		if word, ok := c.witnesses.words[register][id]; ok {
			c.confront(id, votes, word)
		}
		if known, ok := c.heads.current[env]; ok {
			if other := store.Only(known.record.Certificate.Votes, id); len(other.Signatures) > 0 {
				c.confront(id, votes, other)
			}
		}
	}
}

// confront looks at two statements of a node. What it said to this node alone, and did not sign rightly, convinces this node alone.
func (c *Core) confront(id membership.NodeID, a, b membership.Signed) {
	e := store.Evidence{A: a, B: b}
	if !e.Contradicts() {
		return
	}
	e = store.Evidence{A: store.Only(a, id), B: store.Only(b, id)}
	if c.convict(e) || c.convicted(id) {
		return
	}
	c.witnesses.suspected[id] = true
	c.note("an acceptor has contradicted itself, and does not stand by its word", id, "", store.ErrAmnesia)
}

// convict keeps evidence that is good, and tells all.
func (c *Core) convict(e store.Evidence) bool {
	id, err := e.Open()
	if err != nil || !c.granted(id) {
		return false
	}
	if _, ok := c.witnesses.convicted[id]; ok {
		return true
	}
	c.witnesses.convicted[id] = e
	c.people.changes++
	c.save(keyEvidence+string(id), e)
	c.note("an acceptor has contradicted itself: it gets no seat any more", id, "", store.ErrAmnesia)
	if id != c.self {
		c.event(fmt.Sprintf("%s has contradicted itself as an acceptor, by two statements that it signed: it gets no seat any more", id), store.ErrAmnesia)
	}
	for _, peer := range c.alivePeers() {
		c.accuse(peer, e)
	}
	return true
}

func (c *Core) accuse(peer membership.NodeID, e store.Evidence) {
	if c.diskOf(peer) != 0 { // not of version 0.1
		c.send(peer, &Accuse{Evidence: e})
	}
}

func (c *Core) onAccuse(m *Accuse) { c.convict(m.Evidence) }

// accuseAll tells a peer that was not there of all who are convicted.
func (c *Core) accuseAll(peer membership.NodeID) {
	for i, id := range sorted(c.witnesses.convicted) {
		if i == maxEvidence {
			return
		}
		c.accuse(peer, c.witnesses.convicted[id])
	}
}

func (c *Core) loadEvidence(name string, value []byte) error {
	var e store.Evidence
	if err := codec.Unmarshal(value, &e); err != nil {
		return err
	}
	id, err := e.Open()
	if err == nil && string(id) != name {
		err = store.ErrCorrupt
	}
	if err == nil {
		c.witnesses.convicted[id] = e
	}
	return err
}

// Convicted are the members that have contradicted themselves as acceptors, sorted.
func (c *Core) Convicted() []membership.NodeID {
	return slices.DeleteFunc(sorted(c.witnesses.convicted), func(id membership.NodeID) bool { return !c.isMember(id) })
}
