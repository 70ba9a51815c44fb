package mesh

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/membership"
	"shoal/store"
)

// proposeCreation decides, once for all, who the acceptors of the environment's head are.
func (c *Core) proposeCreation(p *push) {
	p.stage = "a majority of the roster, to create the environment"
	env := p.revision.Env
	electorate := store.Electorate(env, c.people.ids)
	if !c.named(p) {
		p.stage = "the members whom its publisher has named, to create the environment: push it again"
		return
	}
	if p.electorate != nil {
		electorate = p.electorate
	}
	if c.people.joins || len(electorate) == 1 && !c.mayDecideAlone() {
		p.stage = "its mesh, to create the environment: it does not know of all members yet"
		return // staged when its time is over, and tried again when somebody comes
	}
	c.proposeDirectory(p, electorate, p.order())
}

// order is what a push shows to create an environment; nil: it does not.
func (p *push) order() []byte {
	if p.revision.Version != 1 {
		return nil
	}
	return p.object
}

// named finds those whom a first revision names as its electorate. They are the members as the publisher saw them: false when
// this node sees others, and never saw those.
func (c *Core) named(p *push) bool {
	if len(p.revision.Electorate) == 0 || p.electorate != nil {
		return true
	}
	electorate := store.Electorate(p.revision.Env, c.people.ids)
	if p.revision.Electorate != store.ElectorateHash(p.revision.Env, electorate) {
		return false
	}
	p.electorate = electorate
	return true
}

// mayDecideAlone tells whether this node is a mesh by itself. One that was told to join others is not, before it has met
// them: its roster is its own ticket, and it would begin every environment a second time. Nor is one whose clock says that
// the grants of all others have ended.
func (c *Core) mayDecideAlone() bool {
	return c.people.roster.Chain() == nil || !c.cfg.Joins && c.people.roster.Single(c.self)
}

func (c *Core) proposeDirectory(p *push, electorate []membership.NodeID, order []byte) {
	env, this := p.revision.Env, p.attempt
	if old := c.registers.proposals[store.DirectoryRegister(env)]; old != nil && p.proposal != old {
		return // another push creates it; created tells all
	}
	c.cancelProposal(p.proposal)
	live := slices.DeleteFunc(append(c.alivePeers(), c.self), func(id membership.NodeID) bool {
		// one whose disk is not known yet would have a place that it cannot take, and only fills up
		return c.registers.volatile[id] || c.convicted(id) || c.diskOf(id) == 0
	})
	seats := c.seatsOf(store.ChooseAcceptors(env, within(live, electorate), electorate))
	if !c.canDecideFirst(seats) {
		p.stage = "enough members whose disks are known, to create the environment"
		return
	}
	proposal := &proposal{order: order, Proposal: store.Proposal{
		Register: store.DirectoryRegister(env), Members: electorate,
		Change: store.CreateHead(seats, p.revision.Version == 1),
	}}
	p.proposal = proposal
	p.proposal.chosen = func(cert store.Certificate) {
		created := store.Creation{Env: env, Electorate: electorate, Certificate: cert, Order: proposal.order}
		if err := c.learnCreation(created); err != nil {
			c.note("own creation", "", env, err)
		}
	}
	p.proposal.declined = func([]byte) {
		switch {
		case p.attempt != this:
		case len(electorate) == 1:
			c.endPush(p, Pushed{Outcome: store.Diverged, Head: store.Head{Env: env}, Why: fmt.Sprintf(
				"diverged: %s has no version %d yet", env, p.revision.Version-1)})
		default: // a publisher says that there is one; those who were asked may be new themselves, and have met nobody else
			p.stage = fmt.Sprintf("anybody who knows of %s, or its parent, version %d", env, p.revision.Version-1)
			c.stage(p)
		}
	}
	p.proposal.elsewhere = func(from membership.NodeID, installed []membership.NodeID, order []byte) bool {
		return c.electorateDiffers(p, from, installed, order)
	}
	c.propose(p.proposal)
}

// canDecideFirst tells whether a majority of the seats can be taken: nobody installs itself on a disk that the creation
// does not name.
func (c *Core) canDecideFirst(seats []store.Seat) bool {
	named := 0
	for _, s := range seats {
		if s.Disk != 0 {
			named++
		}
	}
	return named >= store.Majority(len(seats))
}

// electorateDiffers: an acceptor is bound to another electorate, or too few see our roster yet. An electorate that was begun
// with should be ended with, or two might decide. Where it does not show that a publisher named it, it is one acceptor's word:
// each is followed once in an attempt, and only to an electorate that is at least half of the mesh, for of a few members
// anybody could say that they decide.
func (c *Core) electorateDiffers(p *push, from membership.NodeID, installed []membership.NodeID, order []byte) (follows bool) {
	old, this, env := p.proposal, p.attempt, p.revision.Env
	if old == nil || old.closed {
		return true
	}
	next := func() []membership.NodeID {
		if p.electorate != nil {
			return p.electorate
		}
		return store.Electorate(env, c.people.ids)
	}
	if len(installed) == 0 {
		order = p.order()
	} else {
		named, err := store.OpenOrder(env, order, installed, c.Chain().EverPublished)
		members := store.Electorate(env, c.people.ids)
		half := 2*len(within(installed, members)) >= len(members) && len(within(installed, c.people.ids)) == len(installed)
		if slices.Contains(p.followed, from) || len(order) > 0 && err != nil || !named && !half {
			return false
		}
		p.followed = append(p.followed, from)
		next = func() []membership.NodeID { return installed }
	}
	c.cancelProposal(old)
	for _, id := range old.Members {
		if c.alive(id) && id != c.self {
			c.askRoster(id)
		}
	}
	c.after(c.dice.between(100*time.Millisecond, 400*time.Millisecond), func() {
		_, known := c.heads.creations[env]
		if p.attempt == this && !known && p.proposal == old {
			c.proposeDirectory(p, next(), order)
		}
	})
	return true
}

// hearOrder takes the order that an acceptor of a directory goes by, for a proposal that only reads.
func (c *Core) hearOrder(p *proposal, order []byte) {
	env, ok := strings.CutPrefix(p.Register, store.DirectoryRegister(""))
	if !ok || len(p.order) > 0 || len(order) == 0 {
		return
	}
	if _, err := store.OpenOrder(env, order, p.Members, c.Chain().EverPublished); err == nil {
		p.order = order
	}
}

func within(ids, set []membership.NodeID) []membership.NodeID {
	var out []membership.NodeID
	for _, id := range ids {
		if slices.Contains(set, id) {
			out = append(out, id)
		}
	}
	return out
}

// created goes on with all pushes that waited for an environment to exist.
func (c *Core) created(env string) {
	if p := c.registers.proposals[store.DirectoryRegister(env)]; p != nil {
		c.cancelProposal(p)
	}
	c.nextProposal(env)
}
