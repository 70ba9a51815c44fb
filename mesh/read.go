package mesh

import (
	"fmt"
	"time"

	"shoal/store"
)

// Limits of reads of a head.
const (
	readTime = 2 * time.Second // until a majority that does not answer is given up
	maxReads = 1024            // that wait
)

// reads are the questions what a head is now. What a node knows of a head may be old; a round of its register that begins
// after the question shows what is chosen: it writes back what it reads, so no later read sees less (Rystsov, section 2.2).
// All that wait share a round.
type reads struct {
	waiting map[string][]uint64 // env -> who asked since the last round began
	serving map[string]*reading
	last    map[string]bool // the round before was a read: a push has its turn
}

type reading struct {
	asks     []uint64
	proposal *proposal
}

func newReads() reads {
	return reads{waiting: map[string][]uint64{}, serving: map[string]*reading{}, last: map[string]bool{}}
}

// askHead reads a head from a majority of its acceptors.
func (c *Core) askHead(ev AskHead) {
	if _, known := c.heads.creations[ev.Env]; !known {
		c.emit(Answer{ID: ev.ID, Err: fmt.Errorf("head of %s: %w", ev.Env, store.ErrNotFound)})
		return
	}
	if len(c.reads.waiting[ev.Env]) >= maxReads {
		c.emit(Answer{ID: ev.ID, Err: ErrTooMany})
		return
	}
	c.reads.waiting[ev.Env] = append(c.reads.waiting[ev.Env], ev.ID)
	c.after(readTime, func() { c.giveUpRead(ev.Env, ev.ID) })
	c.readHead(ev.Env)
}

// readHead begins a round for all that wait, when the register is free. It returns whether it has.
func (c *Core) readHead(env string) bool {
	if r := c.reads.serving[env]; r != nil && r.proposal.closed { // the acceptors changed under it
		c.askAgainFor(env, r)
	}
	if len(c.reads.waiting[env]) == 0 || c.registers.proposals[store.HeadRegister(env)] != nil {
		return false
	}
	r := &reading{asks: c.reads.waiting[env]}
	delete(c.reads.waiting, env)
	r.proposal = c.headProposal(env, func(current []byte) []byte { return current })
	r.proposal.chosen = func(cert store.Certificate) {
		if c.sealChosen(env, cert) { // what the next acceptors say is what counts
			c.askAgainFor(env, r)
			c.nextProposal(env)
			return
		}
		c.headRead(env, r, cert)
	}
	r.proposal.declined = func([]byte) { c.answerRead(env, r, store.Head{Env: env}, nil) }
	c.reads.serving[env], c.reads.last[env] = r, true
	c.propose(r.proposal)
	return true
}

func (c *Core) askAgainFor(env string, r *reading) {
	delete(c.reads.serving, env)
	c.reads.waiting[env] = append(r.asks, c.reads.waiting[env]...)
}

func (c *Core) headRead(env string, r *reading, cert store.Certificate) {
	delete(c.reads.serving, env)
	own, err := c.ownHead(env, cert)
	if err == nil {
		err = c.takeHead(own)
	}
	c.answerRead(env, r, own.value.Head(env), err)
}

func (c *Core) answerRead(env string, r *reading, h store.Head, err error) {
	delete(c.reads.serving, env)
	for _, id := range r.asks {
		c.emit(Answer{ID: id, Value: h, Err: err})
	}
	c.nextProposal(env)
}

// giveUpRead answers one that has waited for readTime, and ends the round when nobody is left who waits for it.
func (c *Core) giveUpRead(env string, id uint64) {
	drop := func(ids []uint64) []uint64 {
		for i := range ids {
			if ids[i] == id {
				c.emit(Answer{ID: id, Err: fmt.Errorf("head of %s: %w", env, ErrNoMajority)})
				return append(ids[:i:i], ids[i+1:]...)
			}
		}
		return ids
	}
	c.reads.waiting[env] = drop(c.reads.waiting[env])
	if r := c.reads.serving[env]; r != nil {
		if r.asks = drop(r.asks); len(r.asks) == 0 {
			delete(c.reads.serving, env)
			c.cancelProposal(r.proposal)
			c.nextProposal(env)
		}
	}
}
