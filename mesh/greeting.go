package mesh

// Who greets whom in a large mesh. When it starts, or a partition of it ends, all see all others return: a connection to each at once
// would be the square of the mesh. What some have been told all know soon, for each contacts another every few seconds. That leaves
// which disk each has, which it says itself: those who have not met yet greet each other one by one, and at once where one is to vote.

import (
	"slices"
	"time"

	"shoal/membership"
)

const (
	// greeted is how many of those who return a node greets at once, on average, where there are more members than that.
	greeted = 24
	// greetEvery is between two of the others.
	greetEvery = 500 * time.Millisecond
	// A creation waits askDisks times disksTime at most for those to say which disk they have who are to be acceptors.
	disksTime = 200 * time.Millisecond
	askDisks  = 5
)

// crowded tells whether there are too many members to greet all at once.
func (c *Core) crowded() bool { return len(c.people.ids) > greeted }

// greetInTurn contacts a peer that returned, now or when its turn comes.
func (c *Core) greetInTurn(id membership.NodeID) {
	if !c.crowded() || c.dice.below(len(c.people.ids)) < greeted {
		c.contact(id)
		return
	}
	if len(c.people.ungreeted) >= membership.MaxRoster {
		return // each contacts some peer now and then all the same
	}
	c.people.ungreeted = append(c.people.ungreeted, id)
	if len(c.people.ungreeted) == 1 {
		c.after(greetEvery, c.greetNext)
	}
}

// greetNext contacts the next of those who have not been met in the meantime.
func (c *Core) greetNext() {
	for len(c.people.ungreeted) > 0 {
		id := c.people.ungreeted[0]
		c.people.ungreeted = c.people.ungreeted[1:]
		if c.alive(id) && c.diskOf(id) == 0 {
			c.contact(id)
			break
		}
	}
	if len(c.people.ungreeted) > 0 {
		c.after(greetEvery, c.greetNext)
	}
}

// introduce greets those who are to vote and have not been met, before they are asked to.
func (c *Core) introduce(voters []membership.NodeID) {
	if !c.crowded() {
		return
	}
	for _, id := range voters {
		if c.alive(id) && c.diskOf(id) == 0 {
			c.greet(id)
		}
	}
}

// waitForDisks tells whether a creation is to wait a moment for those who decide on it, and may become acceptors, to say which disks
// they have.
func (c *Core) waitForDisks(p *push, electorate []membership.NodeID) bool {
	unknown := slices.ContainsFunc(electorate, func(id membership.NodeID) bool { return c.diskOf(id) == 0 && c.alive(id) })
	if !c.crowded() || !unknown || p.disksAsked >= askDisks {
		return false
	}
	p.disksAsked++
	c.introduce(electorate)
	attempt := p.attempt
	c.after(disksTime, func() {
		if p.attempt == attempt && (p.proposal == nil || p.proposal.closed) {
			c.nextProposal(p.revision.Env)
		}
	})
	return true
}
