// Package node runs a mesh.Core: one goroutine owns it, gives it what happens, and does what it says with the disk, the
// transport, the gossip and the executor. Everybody else sends it work or reads a snapshot.
package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"shoal/executor"
	"shoal/membership"
	"shoal/mesh"
	"shoal/ring"
	"shoal/store"
)

// Defaults of Config.
const (
	DefaultFullCheck     = 5 * time.Minute
	DefaultConfirmWithin = time.Minute
	leaveTime            = 4 * time.Second
)

// ErrStopped is returned to whoever asks a node that does not run, or has stopped because its disk refused a write.
var ErrStopped = errors.New("the node has stopped")

// Config is what a node is made with.
type Config struct {
	Key  ed25519.PrivateKey
	Seed uint64 // random at each start
	// Roster is what the node begins with: membership.Solo for a node without a mesh; with a ticket, the chain and the own
	// redemption; nil: what an earlier start saved.
	Roster *membership.Roster
	// GossipKey is that of the node's ticket; nil: it has none, and gets the keys from whom it joins.
	GossipKey []byte
	Addr      string   // of this node, for display; Attach may set it
	Join      []string // addresses to begin with; more are remembered
	Place     func([]ring.Node) ring.Ring
	// Replicas, Grace: as mesh.Config has them.
	Replicas int
	Grace    time.Duration
	Scrub    time.Duration // as mesh.Config has it
	// Keep, Forget: as mesh.Config has them.
	Keep   int
	Forget time.Duration
	// Volatile: as mesh.Config has it; it goes with a KV that is Volatile and will be empty at the next start.
	Volatile bool
	// FullCheck is about how often everything is enforced again without a reason; 0: DefaultFullCheck.
	FullCheck time.Duration
	// ConfirmWithin is how long after a run the node may take to reach its mesh again, if it was in touch with it before; else
	// the run is rolled back. 0: DefaultConfirmWithin.
	ConfirmWithin time.Duration
	Logger        *slog.Logger
}

// Gossip is what the node needs of membership/gossip.
type Gossip interface {
	Join(ctx context.Context, addrs []string) (int, error)
	Events() <-chan membership.Event
	Hint(payload []byte) error
	UseKeys(keys [][]byte) error
	Leave(ctx context.Context) error
}

// Enforcer makes this machine match a revision. It is called by one goroutine at a time.
type Enforcer interface {
	Enforce(ctx context.Context, w Wanted) executor.Report
}

// FleetReader is an Enforcer that says whether what it enforces depends on who else is in the mesh. One that does is called
// again when the roster has changed; for any other that costs nothing.
type FleetReader interface {
	ReadsFleet() bool
}

// Wanted is what a machine is to be.
type Wanted struct {
	Env      string
	Version  uint64
	Revision store.Hash
	Tree     fs.FS // its files are on this node's disk
	Member   membership.Member
	// Fleet are all members as their grants have them, sorted by name.
	Fleet []mesh.MemberInfo
	// Contact is to be asked before the machine is changed. What it gives is to be asked afterwards and before the change is
	// final: an error says that it cut the machine off from its mesh. It is nil where the node reached nobody to begin with.
	Contact func(ctx context.Context) (confirm func(context.Context) error)
	// Touched, unless empty, are all that somebody touched since the last run, which matched: what is not about them need not be
	// looked at. Empty: the machine is to be looked at as a whole.
	Touched []string
}

// Ports are what a node acts through. Transport and Gossip are nil for a node without a mesh; Drift may be nil.
type Ports struct {
	KV        store.KV
	Transport mesh.Transport
	Gossip    Gossip
	Enforcer  Enforcer
	// Drift names what is managed and has changed on the machine, all that did since it was read last.
	Drift <-chan []string
	// Executive takes the place of Enforcer and Drift where another process enforces.
	Executive Executive
}

// Node is one running agent. Its methods may be called from many goroutines, also before Run: they wait for it.
type Node struct {
	cfg     Config
	ports   Ports
	log     *slog.Logger
	core    *mesh.Core
	self    membership.NodeID
	objects *store.Objects
	recent  recent

	asks    chan ask
	done    chan any // of work that actions began: a mesh.Event or a mesh.Answer
	replies map[uint64]chan mesh.Answer
	asked   uint64
	shown   atomic.Pointer[snapshot]
	changed chan struct{} // the snapshot changed; holds one
	leaving chan struct{}
	leave   sync.Once
	stopped chan struct{}
	turns   turns
	halted  error // the disk failed a Save: the Core is not stepped any more
	held    *held // the disk is full: the Core is not stepped until it has room
	// scrubbed is the last record that the scrub read; its turns alone use it.
	scrubbed string
	serving  atomic.Int32
	reading  chan struct{} // a place for each that reads objects for others
	work     sync.WaitGroup
	enforce  Executive
	seek     *seeking
	touch    touch
}

// ask is an event that is to be answered: by the Core under its id, or, when told is set, as soon as the Core knows.
type ask struct {
	event func(id uint64) mesh.Event
	reply chan mesh.Answer
	told  bool
}

// New reads what an earlier start saved. The node does nothing before Run.
func New(cfg Config, ports Ports) (*Node, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.FullCheck = cmp.Or(cfg.FullCheck, DefaultFullCheck)
	cfg.ConfirmWithin = cmp.Or(cfg.ConfirmWithin, DefaultConfirmWithin)
	n := &Node{
		cfg: cfg, ports: ports, log: cfg.Logger,
		asks: make(chan ask), done: make(chan any, 256), replies: map[uint64]chan mesh.Answer{},
		changed: make(chan struct{}, 1), leaving: make(chan struct{}), stopped: make(chan struct{}),
		reading: make(chan struct{}, maxReading),
	}
	n.seek = newSeeking(n)
	n.enforce = ports.Executive
	if n.enforce == nil {
		n.enforce = NewEnforcement(Duty{
			Site: site{n}, Enforcer: ports.Enforcer, Drift: ports.Drift, FullCheck: cfg.FullCheck, Logger: cfg.Logger, Ran: n.Seek,
		})
	}
	if err := n.load(context.Background()); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	n.publish()
	return n, nil
}

// Attach sets the ports that need the node before they can be made themselves, and the address that the transport got. It
// must be called before Run, and before anybody else can ask.
func (n *Node) Attach(transport mesh.Transport, gossip Gossip, addr string) {
	n.ports.Transport, n.ports.Gossip, n.cfg.Addr = transport, gossip, addr
	n.show(n.lookAfter(n.shown.Load())) // the gossip asks already: there is always one
}

func (n *Node) load(ctx context.Context) error {
	var err error
	if n.objects, err = store.OpenObjects(ctx, n.ports.KV); err != nil {
		return err
	}
	kept, err := mesh.KeptObjects(ctx, n.ports.KV)
	if err != nil {
		return err
	}
	saved, err := mesh.SavedRecords(ctx, n.ports.KV)
	if err != nil {
		return err
	}
	roster := n.cfg.Roster
	if roster == nil {
		remembered, ok, err := mesh.SavedRoster(saved)
		if err != nil {
			return err
		}
		if !ok {
			return errors.New("no roster is saved: a node starts with a ticket, or without a mesh")
		}
		roster = remembered
	}
	n.core, err = mesh.New(mesh.Config{
		Key: n.cfg.Key, Seed: n.cfg.Seed, Replicas: n.cfg.Replicas, Grace: n.cfg.Grace, Scrub: n.cfg.Scrub, Keep: n.cfg.Keep, Forget: n.cfg.Forget, Place: n.cfg.Place,
		GossipKey: n.cfg.GossipKey, Volatile: n.cfg.Volatile, Lineage: n.ports.KV.Lineage(), Joins: len(n.cfg.Join) > 0,
	}, roster, time.Now(), saved, kept)
	if err != nil {
		return err
	}
	n.self = n.core.Self()
	return nil
}

// Run runs the node until ctx ends or Leave is called; then it tells the others that it leaves. It returns an error when
// the node could not go on.
func (n *Node) Run(ctx context.Context) error {
	defer close(n.stopped)
	ctx, cancel := context.WithCancel(ctx)
	defer n.work.Wait()
	defer cancel()
	n.work.Go(func() { n.enforce.Run(ctx) })
	n.work.Go(func() { n.seek.run(ctx, n.enforce) })
	calling, hangUp := context.WithCancel(ctx)
	defer hangUp()
	if n.ports.Gossip != nil {
		n.work.Go(func() { n.rejoin(calling) })
	}
	n.loop(ctx)
	hangUp()
	n.farewell()
	return n.halted
}

// Leave begins the planned end of the node.
func (n *Node) Leave() { n.leave.Do(func() { close(n.leaving) }) }

func (n *Node) loop(ctx context.Context) {
	timer := newAlarm()
	defer timer.Stop()
	frames, events := n.incoming()
	defer n.settleTurns()
	n.step(mesh.Start{}, nil)
	n.turn(ctx)
	for {
		n.setTimer(timer)
		if len(n.turns.said) >= maxSaid && n.turns.written != nil { // the disk first
			select {
			case err := <-n.turns.written:
				n.afterWrite(ctx, err)
				n.turn(ctx)
			case <-ctx.Done():
				return
			}
			continue
		}
		select {
		case err := <-n.turns.written:
			n.afterWrite(ctx, err)
		case <-ctx.Done():
			return
		case <-n.leaving:
			return
		case a := <-n.asks:
			n.ask(a)
		case what := <-n.done:
			n.finished(what)
		case f, ok := <-frames:
			if !ok {
				frames = nil
				continue
			}
			n.frame(f)
		case ev, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			n.step(mesh.Gossiped{Event: ev}, nil)
		case <-timer.C:
			timer.rang()
			if n.held != nil {
				n.resume(ctx)
			}
			n.step(mesh.Tick{}, nil)
		}
		n.more(frames)
		n.turn(ctx)
	}
}

// more takes what has come meanwhile: one write serves all.
func (n *Node) more(frames <-chan mesh.Frame) {
	for range maxTurn - 1 {
		select {
		case a := <-n.asks:
			n.ask(a)
		case what := <-n.done:
			n.finished(what)
		case f, ok := <-frames:
			if !ok {
				return // the loop finds out
			}
			n.frame(f)
		default:
			return
		}
	}
}

func (n *Node) incoming() (<-chan mesh.Frame, <-chan membership.Event) {
	var frames <-chan mesh.Frame
	var events <-chan membership.Event
	if n.ports.Transport != nil {
		frames = n.ports.Transport.Frames()
	}
	if n.ports.Gossip != nil {
		events = n.ports.Gossip.Events()
	}
	return frames, events
}

func (n *Node) setTimer(timer *alarm) {
	next := n.core.Next()
	if n.held != nil {
		timer.set(n.held.again)
		return
	}
	waits := len(n.turns.late) > 0 && n.turns.written == nil
	if n.halted != nil {
		next, waits = time.Time{}, false
	}
	if late := n.turns.since.Add(lateTime); waits && (next.IsZero() || late.Before(next)) {
		next = late
	}
	timer.set(next)
}

// frame hands a message to the Core. What does not decode is dropped: a newer version may have sent it.
func (n *Node) frame(f mesh.Frame) {
	m, err := mesh.Decode(f.Data)
	if err != nil {
		n.log.Debug("dropped a frame", "from", f.From, "error", err)
		return
	}
	n.touch.heard(time.Now())
	if get, ok := m.(*mesh.Get); ok && n.held != nil && n.Known(f.From) {
		n.held.read(mesh.SendObjects{To: f.From, Hashes: get.Hashes})
	}
	n.step(mesh.Received{From: f.From, Message: m}, nil)
}

// farewell tells the others, and keeps reading meanwhile: a channel that is full would stop the gossip that is to say it.
func (n *Node) farewell() {
	if n.ports.Gossip == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	n.sayGoodbye()
	left := make(chan struct{})
	n.work.Go(func() {
		defer close(left)
		if err := n.ports.Gossip.Leave(ctx); err != nil {
			n.log.Warn("could not say goodbye", "error", err)
		}
	})
	frames, events := n.incoming()
	again := time.After(leaveTime / 8) // the first may have gone to a connection of one who restarted a moment ago
	for {
		select {
		case <-left:
			return
		case <-again:
			n.sayGoodbye()
		case _, ok := <-frames:
			if !ok {
				frames = nil
			}
		case _, ok := <-events:
			if !ok {
				events = nil
			}
		}
	}
}

// ask gives an event to the Core and remembers who waits for its answer.
func (n *Node) ask(a ask) {
	if n.halted != nil {
		a.reply <- mesh.Answer{Err: fmt.Errorf("%w: %w", ErrStopped, n.halted)}
		return
	}
	if n.held != nil && !a.told {
		a.reply <- mesh.Answer{Err: n.held.reason}
		return
	}
	n.asked++
	if !a.told {
		n.replies[n.asked] = a.reply
	}
	var told chan mesh.Answer
	if a.told {
		told = a.reply
	}
	n.step(a.event(n.asked), told)
}

// finished takes what some work has come to.
func (n *Node) finished(what any) {
	switch what := what.(type) {
	case mesh.Answer:
		n.answer(what)
	case mesh.Event:
		n.step(what, nil)
	}
}

// call sends an event to the loop and waits for its answer.
func (n *Node) call(ctx context.Context, event func(id uint64) mesh.Event) (any, error) {
	return n.deliver(ctx, ask{event: event})
}

// tell sends an event that has no answer, and waits until the Core knows: what is asked next is asked after it.
func (n *Node) tell(ctx context.Context, ev mesh.Event) error {
	_, err := n.deliver(ctx, ask{event: func(uint64) mesh.Event { return ev }, told: true})
	return err
}

func (n *Node) deliver(ctx context.Context, a ask) (any, error) {
	reply := make(chan mesh.Answer, 1)
	a.reply = reply
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case n.asks <- a:
	case <-n.stopped:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-reply:
		return a.Value, a.Err
	case <-n.stopped:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
