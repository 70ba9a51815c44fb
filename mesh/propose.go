package mesh

import (
	"slices"
	"strings"
	"time"

	"shoal/membership"
	"shoal/store"
)

// Times of a proposal.
const (
	roundLow   = 300 * time.Millisecond // until a round without a majority is given up
	roundHigh  = 3 * time.Second        // the same, of the later ones: the acceptors may be slow, or far
	backoff    = 20 * time.Millisecond  // at most, after the first round that was lost; doubled up to maxBackoff
	maxBackoff = 2 * time.Second
)

// proposal drives a store.Proposal: it sends, gathers votes, and begins again.
type proposal struct {
	store.Proposal
	votes  ballotVotes
	run    uint64    // of its ballots
	rounds int       // begun
	lost   int       // of them: to another proposer
	climbs int       // of them: to a ballot that is further up than a round may go
	timer  *timer    // begins the next
	began  time.Time // this round
	closed bool
	// chosen is called once with the certificate; declined, when the transition had nothing to write.
	chosen   func(store.Certificate)
	declined func(current []byte)
	// until is when its transition is proposed at the latest; zero: whenever it can be. What it rests on may be over then.
	until time.Time
	// told helps an acceptor that knows nothing: what to send it; nil: nothing.
	told func() Message
	// toldNow are those that were helped in this round; nobody is helped twice.
	toldNow []membership.NodeID
	lifts   map[membership.NodeID]store.Ballot // what those were asked last who could not follow; see lift
	// elsewhere is called when an acceptor is bound to other members, or when too few are left that mean the same ones (nil).
	// It returns false when the round is to go on without that acceptor.
	elsewhere func(from membership.NodeID, members []membership.NodeID, order []byte) bool
	order     []byte              // of a directory: by whose word Members decide; see store.OpenOrder
	differ    []membership.NodeID // acceptors that meant other members in this round
}

// propose runs p until it is chosen, declined or cancelled. There is one proposal of a register at a time.
func (c *Core) propose(p *proposal) {
	if old := c.registers.proposals[p.Register]; old != nil {
		c.cancelProposal(old)
	}
	c.registers.proposals[p.Register] = p
	c.run++
	p.run = c.run
	p.lifts = map[membership.NodeID]store.Ballot{}
	c.beginRound(p)
}

func (c *Core) cancelProposal(p *proposal) {
	if p == nil || p.closed {
		return
	}
	p.closed = true
	c.timers.stop(p.timer)
	if c.registers.proposals[p.Register] == p {
		delete(c.registers.proposals, p.Register)
	}
}

func (c *Core) beginRound(p *proposal) {
	if p.closed {
		return
	}
	if p.rounds++; p.Climbs() {
		p.climbs++
	}
	c.timers.stop(p.timer)
	p.began = c.now
	p.toldNow, p.differ = nil, nil
	if p.rounds > 1 || !c.resumeRound(p) {
		m := p.Begin(c.self, p.run)
		p.votes = ballotVotes{ballot: p.Ballot()}
		for _, to := range p.Members {
			c.sendPrepare(p, to, m)
		}
	}
	p.timer = c.after(min(max(roundLow, 4*c.registers.usual)<<min((p.rounds-p.lost-p.climbs)/3, 10), roundHigh), func() {
		c.beginRound(p) // who does not answer is not in anybody's way
	})
}

// resumeRound leaves out the first half of a round when it was promised along with the value that is there.
func (c *Core) resumeRound(p *proposal) bool {
	l, ok := c.registers.leases[p.Register]
	delete(c.registers.leases, p.Register)
	env, isHead := strings.CutPrefix(p.Register, store.HeadRegister(""))
	if !ok || !isHead || !l.Holds(c.heads.current[env].record.Certificate.Value) {
		return false
	}
	if _, ok = p.Resume(l); !ok {
		return false
	}
	p.votes = ballotVotes{ballot: p.Ballot()}
	c.sendAccepts(p)
	return true
}

// sendAccepts begins the second half of a round. Who knows of it is asked to promise the next ballot too.
func (c *Core) sendAccepts(p *proposal) {
	c.run++
	p.Then = store.Ballot{Number: p.Ballot().Number + 1, Proposer: c.self, Run: c.run}
	a := p.Accept()
	for _, to := range p.Members {
		m := &Accept{Register: a.Register, Epoch: a.Epoch, Ballot: a.Ballot, Value: a.Value, Next: a.Next}
		if isHead(p.Register) && len(a.Next) == 0 && (to == c.self || len(c.fence.known[to]) > 0) {
			m.Then = &a.Then
		}
		c.question(to, m)
	}
}

// sendPrepare asks one acceptor. Those of a directory are told who the electorate is.
func (c *Core) sendPrepare(p *proposal, to membership.NodeID, m store.Prepare) {
	out := &Prepare{Register: m.Register, Epoch: m.Epoch, Ballot: m.Ballot}
	if p.elsewhere != nil {
		out.Members, out.Order = p.Members, p.order
	}
	c.question(to, out)
}

// backOff waits for a random time, so that one of several proposers gets through; not for longer each time when it is no rival
// that is in the way.
func (c *Core) backOff(p *proposal) {
	c.timers.stop(p.timer)
	if !p.Climbs() {
		p.lost++
	}
	most := min(backoff<<min(max(p.lost-1, 0), 10), maxBackoff)
	p.timer = c.after(c.dice.between(most/4, most), func() { c.beginRound(p) })
}

func (c *Core) onPromise(from membership.NodeID, m *Promise) {
	if m.Refused == store.RefusedVolatile {
		c.registers.volatile[from] = true
	}
	p := c.registers.proposals[m.Register]
	if p == nil {
		return
	}
	c.lift(p, from, m)
	if m.Ballot != p.Ballot() {
		return
	}
	switch {
	case (m.Refused == store.RefusedUnknown || m.Refused == store.RefusedEpoch) && p.told != nil && !slices.Contains(p.toldNow, from):
		p.toldNow = append(p.toldNow, from)
		c.send(from, p.told())
		c.sendPrepare(p, from, p.Prepare())
		return
	case m.Refused == store.RefusedMembers && p.elsewhere != nil:
		c.meansOthers(p, from, m)
		return
	}
	c.hearOrder(p, m.Order)
	c.hearWord(p, from, m)
	if !p.Promised(from, store.Promise{
		Ballot: m.Ballot, Refused: m.Refused, Promised: m.Promised, Accepted: m.Accepted, Value: m.Value,
		Next: m.Next, Starts: m.Starts,
	}) {
		return
	}
	switch p.Step() {
	case store.Accepting:
		if !p.until.IsZero() && c.now.After(p.until) {
			c.cancelProposal(p)
			c.nextProposal(strings.TrimPrefix(p.Register, store.HeadRegister("")))
			return
		}
		c.sendAccepts(p)
	case store.Declined:
		c.cancelProposal(p)
		p.declined(p.Current())
	case store.Lost:
		c.backOff(p)
	}
}

// lift brings along an acceptor that has promised too little to follow, a step with each answer. The rounds go on meanwhile:
// the first that finds it near enough has its promise. A liar that never comes nearer is asked once a round.
func (c *Core) lift(p *proposal, from membership.NodeID, m *Promise) {
	promised := m.Promised.Number
	switch {
	case m.Ballot == p.Ballot() && m.Refused == store.RefusedBallot:
	case m.Ballot == p.lifts[from] && m.Refused == "":
		promised = m.Ballot.Number
	default:
		return
	}
	delete(p.lifts, from)
	if next, far := p.Lift(promised); far && slices.Contains(p.Members, from) {
		p.lifts[from] = next.Ballot
		c.sendPrepare(p, from, next)
	}
}

// meansOthers hears that an acceptor means other members. One of them is no reason to begin anew, or a single node with a
// wrong clock, or with bad intent, could keep every environment from being created.
func (c *Core) meansOthers(p *proposal, from membership.NodeID, m *Promise) {
	if !slices.Contains(p.Members, from) || slices.Contains(p.differ, from) {
		return
	}
	p.differ = append(p.differ, from)
	if len(m.Members) > 0 && p.elsewhere(from, m.Members, m.Order) {
		return
	}
	if len(p.Members)-len(p.differ) < store.Majority(len(p.Members)) {
		p.elsewhere("", nil, nil)
	}
}

func (c *Core) onAccepted(from membership.NodeID, m *Accepted) {
	p := c.registers.proposals[m.Register]
	if p == nil || m.Ballot != p.Ballot() || !slices.Contains(p.Members, from) || p.Step() != store.Accepting {
		return
	}
	if m.Refused == "" && !p.votes.add(from, p.Accept(), m.Vote, from == c.self) {
		return
	}
	if !p.Accepted(from, store.Accepted{
		Ballot: m.Ballot, Refused: m.Refused, Promised: m.Promised, Starts: m.Starts,
	}) {
		return
	}
	if p.Step() == store.Lost {
		c.backOff(p)
		return
	}
	c.cancelProposal(p)
	c.registers.usual += (c.now.Sub(p.began) - c.registers.usual) / 8
	if l, ok := p.Lease(); ok {
		c.registers.leases[p.Register] = l
	}
	p.votes.record.Signatures = slices.DeleteFunc(p.votes.record.Signatures, func(s membership.Signature) bool {
		return !p.Voted(membership.IDOf(s.Key))
	})
	p.chosen(store.Certificate{Value: p.Value(), Votes: p.votes.record})
}
