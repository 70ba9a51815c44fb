package mesh

import (
	"bytes"
	"errors"
	"fmt"

	"shoal/membership"
	"shoal/store"
)

// Proof is all that shows that a revision was committed, for one who believes nothing but the operators: how the environment
// began, each change of its acceptors since, and what a majority of them voted for.
type Proof struct {
	Creation *store.Creation     `cbor:"1,keyasint,omitempty"` // how it began, or:
	Recovery *membership.Signed  `cbor:"2,keyasint,omitempty"` // the last era that the operators began
	Seals    []membership.Signed `cbor:"3,keyasint,omitempty"` // of this era, in their order
	Head     store.HeadRecord    `cbor:"4,keyasint"`
}

// Proven is what a Proof shows.
type Proven struct {
	Head     store.Head
	Manifest store.Hash
	Parent   store.Hash
	Era      uint64
}

// ErrForeignEnv is returned for a proof that is of another environment than the one that was asked for.
var ErrForeignEnv = errors.New("of another environment")

// Witness is who believes, and what it knows by itself.
type Witness struct {
	Roster *membership.Roster
	Chain  *membership.Chain // Roster's, or that of a node without a mesh
	Self   membership.NodeID
	// Began is the beginning of the environment that was believed before, and is believed for ever; nil: the first one is.
	Began *store.Creation
}

// Open verifies a proof that a revision is the head of env.
func (p Proof) Open(env string, w Witness) (Proven, error) {
	if p.Head.Env != env {
		return Proven{}, fmt.Errorf("head of %.64q: %w; this node follows %s", p.Head.Env, ErrForeignEnv, env)
	}
	if w.Chain == nil {
		return Proven{}, fmt.Errorf("head of %s: %w: no trust chain is known", env, membership.ErrUnauthorised)
	}
	created, err := p.beginning(env, w)
	if err != nil {
		return Proven{}, err
	}
	h, err := p.head(created, w)
	if err != nil {
		return Proven{}, err
	}
	return Proven{Head: h.head(), Manifest: h.revision.Manifest, Parent: h.revision.Parent, Era: h.era}, nil
}

// beginning opens how the environment began and how its acceptors changed.
func (p Proof) beginning(env string, w Witness) (created creation, err error) {
	switch {
	case p.Recovery != nil:
		r, err := store.OpenRecovery(*p.Recovery, w.Chain.Mesh(), former{w.Chain})
		if err != nil {
			return created, err
		}
		if r.Env != env {
			return created, fmt.Errorf("recovery of %s: %w", r.Env, ErrForeignEnv)
		}
		created = creation{}.begin(r, *p.Recovery)
	case p.Creation == nil:
		return created, fmt.Errorf("head of %s: its creation is not shown", env)
	default:
		if created, err = p.creation(env, w); err != nil {
			return created, err
		}
	}
	if len(p.Seals) > MaxSeals {
		return created, fmt.Errorf("head of %s: more than %d changes of acceptors", env, MaxSeals)
	}
	for _, votes := range p.Seals {
		vote, err := store.OpenSeal(votes, store.HeadRegister(env), created.epoch(), created.members(created.epoch()))
		if err != nil {
			return created, fmt.Errorf("head of %s: %w", env, err)
		}
		created.seals, created.epochs = append(created.seals, votes), append(created.epochs, vote.Next)
	}
	return created, nil
}

func (p Proof) creation(env string, w Witness) (creation, error) {
	record := *p.Creation
	if record.Env != env {
		return creation{}, fmt.Errorf("creation of %.64q: %w", record.Env, ErrForeignEnv)
	}
	if w.Began != nil && !bytes.Equal(w.Began.Certificate.Value, record.Certificate.Value) {
		return creation{}, fmt.Errorf("a second creation of %s, with other acceptors", env)
	}
	seats, err := record.Open(func(id membership.NodeID) bool { return id == w.Self || w.Roster.Granted(id) })
	if err == nil {
		_, err = store.OpenOrder(env, record.Order, record.Electorate, w.Chain.EverPublished)
	}
	return creation{record: record, epochs: [][]store.Seat{seats}}, err
}

// head opens the head itself. Of a majority of acceptors each has asked whether the publisher may, when it voted; where this
// machine is the only one, nobody has asked but whoever shows the proof.
func (p Proof) head(created creation, w Witness) (head, error) {
	if p.Head.Certificate.Votes.Domain == membership.DomainRecovery {
		return created.recoveredHead(p.Head, formerly{w.Chain})
	}
	var who store.Publishers = formerly{w.Chain}
	if seats := created.seats(); len(seats) == 1 && seats[0].Node == w.Self {
		who = w.Chain
	}
	value, revision, err := p.Head.Open(created.members, who)
	return head{p.Head, created.era, value, revision}, err
}

// Follows tells whether what is proven is to be applied after what was: never a lower version, nor another of the same one but
// where the operators began a new era; and a next version only where it is on the one before.
func (p Proven) Follows(before Proven) error {
	switch {
	case p.Era < before.Era:
		return fmt.Errorf("version %d of %s is of era %d, which is over", p.Head.Version, p.Head.Env, p.Era)
	case p.Head.Version < before.Head.Version:
		return fmt.Errorf("version %d of %s is older than version %d", p.Head.Version, p.Head.Env, before.Head.Version)
	case p.Era == before.Era && p.Head.Version == before.Head.Version && p.Head.Revision != before.Head.Revision:
		return fmt.Errorf("two certified revisions of version %d of %s", p.Head.Version, p.Head.Env)
	case p.Era == before.Era && before.Head.Version > 0 && p.Head.Version == before.Head.Version+1 && p.Parent != before.Head.Revision:
		return fmt.Errorf("version %d of %s is not on version %d", p.Head.Version, p.Head.Env, before.Head.Version)
	}
	return nil
}

// EnvOf is the environment that a node with such a grant follows.
func EnvOf(m membership.Member) string {
	if env := m.Tags["env"]; env != "" {
		return env
	}
	return DefaultEnv
}

// proofOf is what shows that a head was committed.
func (c *Core) proofOf(h head) *Proof {
	created, ok := c.heads.creations[h.record.Env]
	if !ok {
		return nil
	}
	p := &Proof{Seals: created.seals, Head: h.record}
	p.Creation, p.Recovery = created.beginning()
	return p
}
