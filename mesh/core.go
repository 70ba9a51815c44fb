package mesh

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"shoal/membership"
	"shoal/ring"
	"shoal/store"
)

// Config is what a Core is made with.
type Config struct {
	Key      ed25519.PrivateKey
	Seed     uint64        // of jitter, the choice of peers and ballots; to differ at each start
	Replicas int           // copies of each object; 0: DefaultReplicas
	Grace    time.Duration // how long a node is dead before it is out of the ring; 0: DefaultGrace
	Scrub    time.Duration // how long one reading of everything takes; 0: DefaultScrub
	// Keep is how many revisions of each environment stay, and Forget how long an object stays that nothing refers to; 0:
	// DefaultKeep, DefaultForget. Collect is how often it is looked for; 0: an hour.
	Keep    int
	Forget  time.Duration
	Collect time.Duration
	// PushMost is how long one attempt at a push lasts, however much it moves; 0: DefaultPushMost. Forget is at least twice that.
	PushMost time.Duration
	// Fresh is the period of the challenge that shows a freeze; 0: DefaultFresh.
	Fresh time.Duration
	// LogEntries and LogBytes are how much of its own log a node keeps; 0: 1024 entries, 4 MiB.
	LogEntries, LogBytes int
	// Volatile says that what Save keeps is gone at a restart. In a mesh such a node is no acceptor: it would vote again with
	// its promises forgotten.
	Volatile bool
	// Lineage is store.KV's: as long as it stays, the saved records are all that Saves of this node made durable.
	Lineage uint64
	// GossipKey is the key of the node's ticket; nil: it has none yet, or keeps what it was given since.
	GossipKey []byte
	// Joins says that the node was told to join others: before it knows of them it has no say in the beginning of an environment.
	Joins bool
	// Place makes the ring of some nodes. It is called by one goroutine.
	Place func([]ring.Node) ring.Ring
}

// Defaults of Config.
const (
	DefaultReplicas = 3
	DefaultGrace    = 30 * time.Minute
)

// DefaultEnv is the environment of a node whose grant names none.
const DefaultEnv = "production"

// Core is one node's protocol: a function of what has happened, with memory. It is deterministic: equal events at equal
// times give equal actions. It belongs to one goroutine.
type Core struct {
	cfg  Config
	self membership.NodeID
	dice dice
	run  uint64 // tells a proposal's ballots from those of others and of earlier starts

	now    time.Time
	timers timers
	out    []Action
	local  []Message // to itself, delivered within the Step

	people     people
	placement  placement
	objects    objects
	registers  registers
	fence      fence
	witnesses  witnesses
	heads      heads
	reads      reads
	pushes     pushes
	logs       logs
	damage     damage
	secretKeys secretKeys
	fresh      freshness
	sealing    gossipKeys
}

// New makes a Core from a roster and all records that Save actions of earlier Cores of this node left, and the objects that
// the node keeps. Roster records among the saved are added to the roster.
func New(cfg Config, roster *membership.Roster, now time.Time, saved []store.Pair, kept []Kept) (*Core, error) {
	if cfg.Replicas == 0 {
		cfg.Replicas = DefaultReplicas
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Scrub == 0 {
		cfg.Scrub = DefaultScrub
	}
	if cfg.Keep <= 0 {
		cfg.Keep = DefaultKeep
	}
	if cfg.Forget == 0 {
		cfg.Forget = DefaultForget
	}
	if cfg.PushMost == 0 {
		cfg.PushMost = DefaultPushMost
	}
	cfg.Forget = max(cfg.Forget, 2*cfg.PushMost) // a push under way is kept longer than its objects can be collected
	if cfg.Fresh <= 0 {
		cfg.Fresh = DefaultFresh
	}
	if cfg.Collect == 0 {
		cfg.Collect = collectEvery
	}
	if cfg.Place == nil || len(cfg.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("mesh: a core needs a key and a placement")
	}
	c := &Core{
		cfg: cfg, self: membership.IDOf(cfg.Key.Public().(ed25519.PublicKey)), dice: dice(cfg.Seed), now: now,
		people: newPeople(roster), objects: newObjects(), registers: newRegisters(), fence: newFence(), witnesses: newWitnesses(),
		heads: newHeads(), reads: newReads(), pushes: newPushes(), logs: newLogs(), secretKeys: newSecretKeys(),
	}
	c.run = c.dice.next()
	c.people.own = membership.Member{ID: c.self}
	if m, ok := roster.Lookup(c.self, time.Unix(0, 0)); ok { // its end is not looked at
		c.people.own = m
	}
	for _, k := range kept {
		c.objects.held.add(k)
	}
	if err := c.load(saved); err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	c.loadFence()
	c.openKeys()
	c.people.joins = c.people.joins || cfg.Joins && c.fence.first
	c.refreshMembers()
	return c, nil
}

// Self is the node's id.
func (c *Core) Self() membership.NodeID { return c.self }

// Own is what this node was granted; what it was granted last, when that has ended since.
func (c *Core) Own() membership.Member { return c.people.own }

// Evicted tells whether the operators have taken this node out for good, as far as it knows.
func (c *Core) Evicted() bool { return c.people.evicted }

// Next is when Step should be called with a Tick at the latest; zero: nothing is due.
func (c *Core) Next() time.Time {
	if len(c.timers.heap) == 0 {
		return time.Time{}
	}
	return c.timers.heap[0].at
}

// Step takes one event and returns what is to be done, in order. now must not go back; a clock that does is held still.
func (c *Core) Step(now time.Time, ev Event) []Action {
	if now.After(c.now) {
		c.now = now
	}
	c.runTimers()
	c.take(ev)
	c.settle()
	out := c.out
	c.out = nil
	return out
}

// maxTurns bounds the work of one Step; what is left over is done in the next.
const maxTurns = 10000

func (c *Core) runTimers() {
	for range maxTurns {
		run, ok := c.timers.due(c.now)
		if !ok {
			return
		}
		run()
		c.settle()
	}
}

// settle delivers what the node says to itself.
func (c *Core) settle() {
	for range maxTurns {
		if len(c.local) == 0 {
			return
		}
		m := c.local[0]
		c.local = c.local[1:]
		c.receive(c.self, m)
	}
}

func (c *Core) take(ev Event) {
	switch ev := ev.(type) {
	case Start:
		c.start()
	case Gossiped:
		c.gossiped(ev.Event)
	case Received:
		c.received(ev.From, ev.Message)
	case Stored:
		c.stored(ev)
	case Lost:
		c.lost(ev.Hash)
	case Reached:
		c.reached(ev)
	case Dropped:
		c.dropped(ev)
	case Verified:
		c.verified(ev)
	case TreeChecked:
		c.treeChecked(ev)
	case Push:
		c.push(ev)
	case Replicate:
		c.replicateFor(ev)
	case Want:
		c.wantFor(ev)
	case Reported:
		c.reported(ev)
	case AskHead:
		c.askHead(ev)
	case AskStatus:
		c.askStatus(ev)
	case AskReport:
		c.askReport(ev)
	case AskHistory:
		c.askHistory(ev)
	case ReportLost:
		c.reportLost(ev)
	case RecordsLost:
		c.recordsLost(ev)
	case Occurred:
		c.event(ev.What, ev.Err)
	case Admit:
		c.admit(ev)
	case AdoptChain:
		c.adoptChain(ev)
	case Submit:
		c.submit(ev)
	case AskSecretKeys:
		c.askSecretKeys(ev)
	case AskRecovery:
		c.askRecovery(ev)
	case Recover:
		c.recover(ev)
	case Meet:
		c.call(ev)
	}
}

// received drops what does not come from a member: the transport has checked a grant, but it may have been revoked since.
func (c *Core) received(from membership.NodeID, m Message) {
	if w, ok := m.(*Welcome); ok {
		c.onWelcome(from, w)
		return
	}
	if from == c.self || !c.isMember(from) {
		return
	}
	c.receive(from, m)
}

func (c *Core) receive(from membership.NodeID, m Message) {
	switch m := m.(type) {
	case *RosterAsk:
		c.onRosterAsk(from, m)
	case *RosterHave:
		c.onRosterHave(from, m)
	case *RosterTell:
		c.onRosterTell(from, m)
	case *HeadAsk:
		c.onHeadAsk(from, m)
	case *HeadTell:
		c.onHeadTell(from, m)
	case *Prepare:
		c.onPrepare(from, m)
	case *Promise:
		c.onPromise(from, m)
	case *Accept:
		c.onAccept(from, m)
	case *Accepted:
		c.onAccepted(from, m)
	case *Accuse:
		c.onAccuse(m)
	case *StandingAsk:
		c.onStandingAsk(from, m)
	case *StandingTell:
		c.onStandingTell(from, m)
	case *FenceAsk:
		c.onFenceAsk(from, m)
	case *FenceTell:
		c.onFenceTell(from, m)
	case *Offer:
		c.onOffer(from, m)
	case *Have:
		c.onHave(from, m)
	case *Put:
		c.onPut(from, m)
	case *Get:
		c.onGet(from, m)
	case *Lacks:
		c.onLacks(from, m)
	case *Compare:
		c.onCompare(from, m)
	case *Digests:
		c.onDigests(from, m)
	case *Hashes:
		c.onHashes(from, m)
	case *LogTell:
		c.onLogTell(from, m)
	case *LogAck:
		c.onLogAck(from, m)
	case *StatusAsk:
		c.onStatusAsk(from, m)
	case *StatusTell:
		c.onStatusTell(from, m)
	case *ReportAsk:
		c.onReportAsk(from, m)
	case *ReportTell:
		c.onReportTell(from, m)
	case *LogHave:
		c.onLogHave(from, m)
	case *LogAsk:
		c.onLogAsk(from, m)
	case *LogRange:
		c.onLogRange(from, m)
	case *RunAsk:
		c.onRunAsk(from, m)
	case *RunTell:
		c.onRunTell(from, m)
	case *Placed:
		c.onPlaced(from, m)
	case *Groups:
		c.onGroups(from, m)
	case *CollectAsk:
		c.onCollectAsk(from, m)
	case *CollectTell:
		c.onCollectTell(from, m)
	case *KeepAsk:
		c.onKeepAsk(from, m)
	case *SecretAsk:
		c.onSecretAsk(from, m)
	case *SecretTell:
		c.onSecretTell(from, m)
	case *KeepTell:
		c.onKeepTell(from, m)
	case *KeysAsk:
		c.onKeysAsk(from, m)
	case *KeysTell:
		c.onKeysTell(from, m)
	case *WelcomeAsk:
		c.onWelcomeAsk(from)
	case *Goodbye:
		c.onGoodbye(from)
	case *FreshAsk:
		c.onFreshAsk(from, m)
	case *FreshTell:
		c.onFreshTell(from, m)
	}
}

func (c *Core) start() {
	if c.people.joins {
		c.save(keyJoins+"roster", true) // before the start is counted
	}
	c.startFence()
	c.startDamaged() // after the fence has saved the disk's new number
	c.startRoster()
	c.startKeys()
	c.startRepair()
	c.startScrub()
	c.startCollection()
	c.startLogs()
	c.startHeads()
	c.startPushes()
	c.storeSoon()
	c.startConfigurations()
	c.startFreshness()
}

func (c *Core) emit(a Action) { c.out = append(c.out, a) }

func (c *Core) send(to membership.NodeID, m Message) {
	if to == c.self {
		c.local = append(c.local, m)
		return
	}
	c.emit(Send{To: to, Message: m})
}

// question sends what does not say anything that a Save of this Step is about: own and others' disks may work at the same time.
func (c *Core) question(to membership.NodeID, m Message) {
	if to == c.self {
		c.local = append(c.local, m)
		return
	}
	c.emit(Send{To: to, Message: m, Early: true})
}

func (c *Core) after(d time.Duration, run func()) *timer { return c.timers.add(c.now.Add(d), run) }

// every runs again and again, with jitter so that nodes do not act in step.
func (c *Core) every(low, high time.Duration, run func()) {
	c.after(c.dice.between(low, high), func() {
		run()
		c.every(low, high, run)
	})
}

func (c *Core) note(what string, node membership.NodeID, env string, err error) {
	c.emit(Note{What: what, Node: node, Env: env, Err: err})
}

// sortedKeys is sorted for names.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sorted returns a map's keys in order: what a Core does must not depend on the order of a map.
func sorted[V any](m map[membership.NodeID]V) []membership.NodeID {
	return slices.Sorted(maps.Keys(m))
}
