package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"shoal/membership"
	"shoal/store"
)

// How the acceptors of a head change: store/register_config.go says what happens, this when, and who tells whom.

const (
	tendLow   = 2 * time.Second // between two looks at the acceptors
	tendHigh  = 6 * time.Second
	seatTime  = 500 * time.Millisecond // to hear from those who are to be acceptors
	sealTime  = 2 * time.Second        // from then on, to propose them: they may lose their disks
	MaxSeals  = 1024                   // changes of the acceptors of one environment, in one era
	sealsTold = 64                     // in one message; whoever lacks more asks again
)

// creation is how an environment's head began: by a verified creation or, later, a recovery; and all that its acceptors came
// to since.
type creation struct {
	record   store.Creation // none where this node knows of the recovery alone
	recovery *membership.Signed
	began    store.Recovery // what recovery says
	era      uint64
	epochs   [][]store.Seat      // of this era
	seals    []membership.Signed // seal i ended epoch i
}

func (r creation) first() uint64       { return store.FirstEpoch(r.era) }
func (r creation) epoch() uint64       { return r.first() + uint64(len(r.epochs)-1) }
func (r creation) seats() []store.Seat { return r.epochs[len(r.epochs)-1] }

func (r creation) at(epoch uint64) []store.Seat {
	if epoch < r.first() || epoch > r.epoch() {
		return nil
	}
	return r.epochs[epoch-r.first()]
}

func (r creation) members(epoch uint64) []membership.NodeID { return store.NodesOf(r.at(epoch)) }

// tell is what a node must know that is at an epoch; known: it knows how the environment began.
func (r creation) tell(epoch uint64, known bool) *HeadTell {
	tell := &HeadTell{}
	if store.EraOf(epoch) < r.era {
		epoch, known = r.first(), false
	}
	if from, n := epoch-r.first(), uint64(len(r.seals)); epoch >= r.first() && from < n {
		tell.Seals = r.seals[from:min(n, from+sealsTold)]
	}
	if !known || len(tell.Seals) > 0 { // seals do not say whose they are
		tell.Creation, tell.Recovery = r.beginning()
	}
	return tell
}

// beginning is what shows that the environment exists, and who began with it.
func (r creation) beginning() (*store.Creation, *membership.Signed) {
	if r.recovery != nil {
		return nil, r.recovery
	}
	return &r.record, nil
}

// learnSeals takes what extends the chain of configurations, and returns whether something did. One that is known already
// is skipped: each epoch has one seal, however many votes were gathered for it.
func (c *Core) learnSeals(env string, seals []membership.Signed) (bool, error) {
	created, ok := c.heads.creations[env]
	if !ok || len(seals) == 0 {
		return false, nil
	}
	before := created.epoch()
	var problem error
	for _, votes := range seals {
		vote, err := store.Certificate{Votes: votes}.Vote()
		if err == nil && vote.Epoch != created.epoch() {
			continue
		}
		if err == nil {
			vote, err = store.OpenSeal(votes, store.HeadRegister(env), created.epoch(), created.members(created.epoch()))
		}
		if err == nil && len(created.seals) >= MaxSeals {
			err = fmt.Errorf("more than %d changes of acceptors", MaxSeals)
		}
		if err != nil {
			problem = err
			break
		}
		c.examine(env, votes)
		c.save(sealKey(env, created.epoch()), votes)
		created.seals, created.epochs = append(created.seals, votes), append(created.epochs, vote.Next)
	}
	if created.epoch() == before {
		return false, problem
	}
	c.heads.creations[env] = created
	c.people.changes++
	if p := c.registers.proposals[store.HeadRegister(env)]; p != nil && p.Epoch < created.epoch() {
		c.cancelProposal(p)
	}
	return true, problem
}

func sealKey(env string, epoch uint64) string { return fmt.Sprintf("%s%s-%016x", keySeal, env, epoch) }

// install makes this node an acceptor of the newest configuration, when it has a seat there and knows the value that the epoch
// begins with; or no acceptor any more.
func (c *Core) install(env string) {
	created, ok := c.heads.creations[env]
	register, self := store.HeadRegister(env), store.Seat{Node: c.self, Disk: c.fence.own.Disk}
	a, installed := c.registers.acceptors[register]
	if !ok || !c.mayVote() || !installed && (!slices.Contains(created.seats(), self) || len(c.registers.acceptors) >= maxRegisters) {
		return
	}
	if a.Disk != self.Disk {
		a = store.Acceptor{}
	}
	epoch := created.epoch()
	if a.Phase != 0 && (a.Epoch == epoch || a.Phase == store.Moved && !slices.Contains(created.seats(), self)) {
		return
	}
	if epoch == created.first() && created.recovery != nil {
		if begun, ok := created.began.Begin(a, self); ok {
			c.installed(register, begun)
		}
		return
	}
	if epoch == 0 {
		if !slices.Contains(created.seats(), self) {
			return
		}
		first, err := store.Install(register, 0, created.members(0))
		first.Disk = self.Disk
		if err == nil {
			c.installed(register, first)
		}
		return
	}
	vote, err := store.Certificate{Votes: created.seals[epoch-1-created.first()]}.Vote()
	value, known := c.heads.current[env]
	certified, errHead := value.record.Certificate.Vote()
	begins := value.record.Certificate.Value
	switch {
	case err != nil:
		return
	case vote.Value == store.HashOf(nil):
		begins = nil
	case known && store.HashOf(begins) == vote.Value:
	case known && errHead == nil && certified.Epoch >= epoch:
	case slices.Contains(created.seats(), self):
		return // it learns the head first: what it does not know it must not begin with
	}
	if moved, ok := a.Move(register, epoch-1, created.seats(), begins, self); ok {
		if moved.Epoch == epoch {
			moved = moved.Learn(value.record.Certificate)
		}
		c.installed(register, moved)
	}
}

func (c *Core) installed(register string, a store.Acceptor) {
	c.registers.acceptors[register] = a
	c.save(keyAcceptor+register, a)
	delete(c.fence.unsure, register)
	if a.Phase != store.Moved {
		c.doubt(register)
	}
}

// tellConfiguration shows what an asker at an older epoch lacks.
func (c *Core) tellConfiguration(to membership.NodeID, env string, epoch uint64) {
	created, ok := c.heads.creations[env]
	if !ok || epoch >= created.epoch() {
		return
	}
	tell := created.tell(epoch, false)
	if h, ok := c.heads.current[env]; ok {
		tell.Head = &h.record
	}
	c.send(to, tell)
}

// sealChosen takes a certificate that may be a seal, and spreads it: those of the next epoch wait for it.
func (c *Core) sealChosen(env string, cert store.Certificate) bool {
	vote, err := cert.Vote()
	if err != nil || len(vote.Next) == 0 {
		return false
	}
	created := c.heads.creations[env]
	told := append(created.members(vote.Epoch), store.NodesOf(vote.Next)...)
	if _, err := c.learnSeals(env, []membership.Signed{cert.Votes}); err != nil {
		c.note("own seal", "", env, err)
	}
	if len(cert.Value) > 0 {
		if err := c.learnHead(store.HeadRecord{Env: env, Certificate: cert}); err != nil {
			c.note("own seal", "", env, err)
		}
	}
	c.install(env)
	slices.Sort(told)
	for _, id := range slices.Compact(told) {
		if id != c.self && c.isMember(id) {
			c.tellConfiguration(id, env, vote.Epoch)
		}
	}
	c.note("acceptors changed", "", env, nil)
	return true
}

func (c *Core) startConfigurations() {
	c.every(tendLow, tendHigh, func() {
		for _, env := range slices.Sorted(maps.Keys(c.heads.creations)) {
			c.tend(env)
			c.confirm(env)
		}
	})
}

// tend replaces acceptors that are gone, and adds some while there are fewer than five. Each acceptor looks at another time, so
// that they seldom try at once; if they do, one seal wins and the others find it.
func (c *Core) tend(env string) {
	if !c.maySeal(env) {
		return
	}
	if a := c.registers.acceptors[store.HeadRegister(env)]; len(a.Next) > 0 {
		c.proposeSeal(env, a.Next, time.Time{}) // one that somebody began is finished
		return
	}
	asked, next := c.now, c.reseat(env)
	for _, s := range next {
		if s.Node != c.self {
			c.greet(s.Node)
		}
	}
	if next != nil {
		c.after(seatTime, func() {
			if next := c.reseat(env); next != nil && c.maySeal(env) && c.attested(next, asked) {
				c.proposeSeal(env, next, c.now.Add(sealTime))
			}
		})
	}
}

// maySeal tells whether this node is an acceptor that may propose a change of acceptors now.
func (c *Core) maySeal(env string) bool {
	created, register := c.heads.creations[env], store.HeadRegister(env)
	a, installed := c.registers.acceptors[register]
	return c.registers.proposals[register] == nil && installed && !c.fenced(register) && c.mayVote() && a.Phase != store.Moved &&
		a.Epoch == created.epoch() && !c.people.evicted
}

// reseat is who should be the acceptors of the next epoch; nil: nothing is to change, or they could not decide.
func (c *Core) reseat(env string) []store.Seat {
	created := c.heads.creations[env]
	good := func(s store.Seat) bool { return c.goodSeat(created, s) }
	next := store.Reseat(env, created.seats(), good, c.goneSeat, c.candidates(created))
	if slices.Equal(next, created.seats()) || !c.canDecide(next) {
		return nil
	}
	return next
}

// attested tells whether a majority of seats have said since then which disk they have. What this node heard earlier may be over:
// once a seal names disks that are gone, and no majority is left, nothing but a recovery goes on from there.
func (c *Core) attested(seats []store.Seat, since time.Time) bool {
	said := 0
	for _, s := range seats {
		if at, ok := c.fence.heard[s.Node]; s.Disk == c.diskOf(s.Node) && (s.Node == c.self || ok && at.After(since)) {
			said++
		}
	}
	return said >= store.Majority(len(seats))
}

// goodSeat: its holder may be down, but is expected back with the disk that the seat was given to. When this node heard last of a disk
// whose place the seat has taken, the seat is the news that it missed.
func (c *Core) goodSeat(created creation, s store.Seat) bool {
	if s.Node == c.self {
		return s.Disk == c.fence.own.Disk
	}
	disk := c.diskOf(s.Node)
	if created.replaced(store.Seat{Node: s.Node, Disk: disk}) {
		disk = 0
	}
	return c.isMember(s.Node) && !c.convicted(s.Node) && !c.registers.volatile[s.Node] && !c.isOut(s.Node) && (disk == 0 || disk == s.Disk)
}

// goneSeat: its holder left, or was evicted.
func (c *Core) goneSeat(s store.Seat) bool {
	return !c.isMember(s.Node) || c.people.status[s.Node] == membership.Left
}

// candidates are the live members that may vote, with the disks that they have now.
func (c *Core) candidates(created creation) []store.Seat {
	live := slices.DeleteFunc(append(c.alivePeers(), c.self), func(id membership.NodeID) bool {
		return c.registers.volatile[id] || c.convicted(id) || c.diskOf(id) == 0 || id == c.self && !c.mayVote()
	})
	return slices.DeleteFunc(c.seatsOf(live), func(s store.Seat) bool { return s.Node != c.self && created.replaced(s) })
}

// replaced tells whether a disk had a seat, and another of the same node has one now.
func (r creation) replaced(s store.Seat) bool {
	had := func(seats []store.Seat) bool { return slices.Contains(seats, s) }
	return slices.ContainsFunc(r.epochs, had) && !had(r.seats()) && slices.Contains(store.NodesOf(r.seats()), s.Node)
}

// canDecide tells whether a majority of seats is there to go on.
func (c *Core) canDecide(seats []store.Seat) bool {
	live := 0
	for _, s := range seats {
		if c.alive(s.Node) {
			live++
		}
	}
	return live >= store.Majority(len(seats))
}

func (c *Core) proposeSeal(env string, next []store.Seat, until time.Time) {
	created := c.heads.creations[env]
	p := &proposal{Proposal: store.Proposal{
		Register: store.HeadRegister(env), Epoch: created.epoch(), Members: created.members(created.epoch()), Seal: next,
	}, until: until}
	p.told = func() Message { return c.headTold(env) }
	p.chosen = func(cert store.Certificate) {
		c.sealChosen(env, cert)
		c.nextProposal(env)
	}
	c.propose(p)
	c.after(pushTime, func() {
		if !p.closed {
			c.cancelProposal(p)
			c.nextProposal(env)
		}
	})
}

// headTold is all that an acceptor needs to know of an environment.
func (c *Core) headTold(env string) Message {
	created := c.heads.creations[env]
	tell := created.tell(created.epoch()-min(uint64(len(created.seals)), sealsTold), false)
	if h, ok := c.heads.current[env]; ok {
		tell.Head = &h.record
	}
	return tell
}

// mayReseat tells whether a seal names acceptors that an environment may have. Who it is that went is for the proposer to
// say: what one acceptor took must be for any other to finish, whatever it thinks of them by now. But a majority of them must be
// there to go on: whoever could seal an environment with disks that nobody has would end it.
func (c *Core) mayReseat(env string, next []store.Seat) bool {
	there := 0
	for _, s := range next {
		if !c.granted(s.Node) {
			return false
		}
		if c.isSeat(env, s) {
			there++
		} else if s.Node != c.self {
			c.greet(s.Node)
		}
	}
	return len(next) >= min(3, len(c.people.ids)) && there >= store.Majority(len(next))
}

// isSeat tells whether a node is not given up, and has said that it has this disk, or has the seat already.
func (c *Core) isSeat(env string, s store.Seat) bool {
	if s.Node == c.self {
		return s.Disk == c.fence.own.Disk
	}
	_, said := c.fence.known[s.Node][s.Disk]
	created, ok := c.heads.creations[env]
	return (said || ok && slices.Contains(created.seats(), s)) && !c.isOut(s.Node)
}

func (c *Core) loadSeal(name string, votes membership.Signed) error {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return store.ErrCorrupt
	}
	c.heads.unsealed[name[:i]] = append(c.heads.unsealed[name[:i]], votes)
	return nil
}

// Configuration is who the acceptors of an environment's head are, and how often they changed; none when it is not known.
func (c *Core) Configuration(env string) (epoch uint64, seats []store.Seat) {
	created, ok := c.heads.creations[env]
	if !ok {
		return 0, nil
	}
	return created.epoch(), slices.Clone(created.seats())
}

// Proposed is who this node has begun to make the acceptors of an environment's head; none: nobody.
func (c *Core) Proposed(env string) []store.Seat {
	if p := c.registers.proposals[store.HeadRegister(env)]; p != nil {
		return slices.Clone(p.Seal)
	}
	return nil
}
