// Package gossip tells who is alive, and spreads hints, with memberlist (the SWIM protocol, Das et al. 2002, with
// Lifeguard) and serf over a network that is given to it.
//
// Nothing it says grants anything. Whoever holds the gossip key can lie about others: what counts is proved elsewhere.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"shoal/membership"
)

const (
	streamTime     = 10 * time.Second
	reconnectEvery = 15 * time.Second
	reclaimTime    = time.Second // a dead node may come back from another address after it
	forgetTime     = 24 * time.Hour
	leaveBroadcast = 600 * time.Millisecond // twice, and once leaveSpread, bound a leave to below 2 s
	leaveSpread    = 300 * time.Millisecond
)

const (
	protocol = "/shoal/gossip/1"
	// hintEvent and the sender make the name of a serf event: serf does not say whose an event is, and whoever hears
	// one wants to know whom to ask.
	hintEvent = "h/"
)

// Timing is how fast news travel, and what that costs. What was tried is in docs/simulation.md.
type Timing struct {
	// ProbeInterval is between two of a node's probes, of one other in turn; one that has not answered after ProbeTimeout is
	// asked through so many Helpers, and over a stream, until the interval ends.
	ProbeInterval, ProbeTimeout time.Duration
	Helpers                     int
	// A suspect is dead after Suspicion times log10(nodes) intervals when enough others suspect it too, and else after
	// SuspicionMost times that.
	Suspicion, SuspicionMost int
	// Each GossipInterval a node tells GossipNodes others what it has not yet told Retransmit times log10(nodes) of them.
	GossipInterval          time.Duration
	GossipNodes, Retransmit int
	// PushPullInterval is between two exchanges of all that is known with one other, on up to 32 nodes; a few times that on more.
	PushPullInterval time.Duration
}

// DefaultTiming is what nodes run with. News are told more often than by default in memberlist: to a node that has missed what a
// suspect answered the suspect is dead.
func DefaultTiming() Timing {
	return Timing{
		ProbeInterval: 600 * time.Millisecond, ProbeTimeout: 200 * time.Millisecond, Helpers: 8, Suspicion: 3, SuspicionMost: 3,
		GossipInterval: 150 * time.Millisecond, GossipNodes: 3, Retransmit: 8, PushPullInterval: 30 * time.Second,
	}
}

// Network carries the packets and streams. Streams exist between members only; packets are sealed with the gossip key.
type Network interface {
	Addr() string // where PacketConn listens, IP:port
	PacketConn() net.PacketConn
	Listen(protocol string) (net.Listener, error)
	DialStream(ctx context.Context, peer membership.NodeID, protocol string) (net.Conn, error)
	Learn(peer membership.NodeID, addr string)
	Whoami(ctx context.Context, addr string) (membership.NodeID, error)
}

// Options are what a Gossip needs. All but Advertise, Timing and Logger must be set.
type Options struct {
	Self    membership.NodeID
	Network Network
	// Keys are the gossip's, of membership.GossipKeySize bytes each, the first to seal with; none: UseKeys brings them.
	Keys      [][]byte
	Advertise string  // IP:port for the others; derived from Network.Addr when empty
	Timing    *Timing // nil: DefaultTiming
	Logger    *slog.Logger

	// Allowed tells whom the roster knows; nobody else shows up. It is asked under memberlist's lock, so it must not wait
	// for anybody who may be calling this Gossip: read a snapshot.
	Allowed func(membership.NodeID) bool
	// Leaving tells who has said itself, over a connection of its own, that it leaves; what the gossip says of that is not heard of
	// anybody else. It is asked like Allowed.
	Leaving func(membership.NodeID) bool
	// Meet, unless nil, asks a peer for the keys of now before there is gossip with it.
	Meet func(ctx context.Context, peer membership.NodeID) error
}

// Gossip is a node's part in it.
type Gossip struct {
	self    membership.NodeID
	net     Network
	log     *slog.Logger
	serf    *serf.Serf
	doorman *doorman
	seals   *seals
	guard   *guard
	meet    func(context.Context, membership.NodeID) error
	pump    *pump
	relay   *relay
	joining chan struct{} // serf's own lock around a join would stop virtual time in a simulation
	done    chan struct{}
	work    sync.WaitGroup
	once    sync.Once
}

// Start begins to gossip, alone until Join.
func Start(o Options) (*Gossip, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Allowed == nil {
		return nil, errors.New("start gossip: Allowed must be set")
	}
	sealed := &seals{}
	if err := sealed.use(o.Keys); err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	at, err := advertised(o.Advertise, o.Network.Addr())
	if err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	guard := newGuard(o)
	t, err := newTransport(o.Network, at, sealed, guard)
	if err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	g := &Gossip{
		self: o.Self, net: o.Network, log: o.Logger, pump: newPump(), seals: sealed, guard: guard, meet: o.Meet,
		joining: make(chan struct{}, 1), done: make(chan struct{}),
	}
	g.doorman = &doorman{self: o.Self, allowed: o.Allowed, refused: map[membership.NodeID]refusal{}}
	config := g.config(o, t, at)
	g.relay = newRelay(config.MemberlistConfig)
	g.pump.heard = g.relay.pass
	g.work.Go(func() { g.pump.run(g.done) })
	if g.serf, err = serf.Create(config); err != nil {
		close(g.done)
		g.work.Wait()
		return nil, fmt.Errorf("start gossip: %w", errors.Join(err, t.Shutdown()))
	}
	g.work.Go(g.welcome)
	g.work.Go(func() {
		g.relay.run(g.done, g.some, func(packet []byte, to membership.Event) {
			_, _ = t.WriteToAddress(packet, memberlist.Address{Addr: to.Addr, Name: string(to.Node)}) // lost: told again
		})
	})
	return g, nil
}

func (g *Gossip) config(o Options, t *transport, at netip.AddrPort) *serf.Config {
	logger := log.New(levels{o.Logger}, "", 0)
	ml := memberlist.DefaultLANConfig()
	ml.Name, ml.Transport, ml.Logger = string(o.Self), t, logger // without keys: what it sends is sealed below it
	ml.UDPBufferSize -= sealOverhead
	ml.AdvertiseAddr, ml.AdvertisePort = at.Addr().String(), int(at.Port())
	ml.Alive = g.doorman // serf leaves it alone as long as it has no merge delegate of its own
	ml.EnableCompression = false
	o.Timing.set(ml)
	ml.TCPTimeout = streamTime
	ml.DeadNodeReclaimTime = reclaimTime
	ml.DNSConfigPath = "" // addresses are never names

	c := serf.DefaultConfig()
	c.NodeName, c.MemberlistConfig, c.Logger = string(o.Self), ml, logger
	c.EventCh = g.pump.in
	c.EnableNameConflictResolution = false // it can shut a node down; names are keys here
	c.DisableCoordinates = true            // nobody asks for them, and every probe would carry them
	c.ReconnectInterval, c.ReconnectTimeout, c.TombstoneTimeout = reconnectEvery, forgetTime, forgetTime
	c.BroadcastTimeout, c.LeavePropagateDelay = leaveBroadcast, leaveSpread
	return c
}

// UseKeys takes the place of the keys before: the first to seal with, all to open with.
func (g *Gossip) UseKeys(keys [][]byte) error { return g.seals.use(keys) }

// Unsealed counts the packets that came and that no key opened.
func (g *Gossip) Unsealed() uint64 { return g.seals.refused.Load() }

func (t *Timing) set(ml *memberlist.Config) {
	if t == nil {
		usual := DefaultTiming()
		t = &usual
	}
	ml.ProbeInterval, ml.ProbeTimeout, ml.IndirectChecks = t.ProbeInterval, t.ProbeTimeout, t.Helpers
	ml.SuspicionMult, ml.SuspicionMaxTimeoutMult = t.Suspicion, t.SuspicionMost
	ml.GossipInterval, ml.GossipNodes, ml.RetransmitMult = t.GossipInterval, t.GossipNodes, t.Retransmit
	ml.PushPullInterval = t.PushPullInterval
}

// Events are what happens: newest status of each node, and hints. A slow reader finds the statuses merged to one for each
// node, and only the newest hints. The channel is closed by Close.
func (g *Gossip) Events() <-chan membership.Event { return g.pump.out }

// Hint tells all members; the sender gets it too. It is lost on those that are cut off, and may be seen more than once.
func (g *Gossip) Hint(payload []byte) error {
	if len(payload) > membership.MaxHint {
		return fmt.Errorf("hint of %d bytes: at most %d", len(payload), membership.MaxHint)
	}
	if err := g.serf.UserEvent(hintEvent+string(g.self), payload, false); err != nil {
		return fmt.Errorf("hint: %w", err)
	}
	return nil
}

// Members are all that the gossip has not forgotten, this node too.
func (g *Gossip) Members() []membership.Event {
	var members []membership.Event
	for _, m := range g.serf.Members() {
		members = append(members, memberEvent(m, statusOf(m.Status)))
	}
	return members
}

// some draws up to k of those who live, without this node, and says how large the mesh is.
func (g *Gossip) some(k int) (drawn []membership.Event, size int) {
	all := g.serf.Members()
	for _, i := range rand.Perm(len(all)) {
		if len(drawn) == k {
			break
		}
		if m := all[i]; m.Name != string(g.self) && m.Status == serf.StatusAlive {
			drawn = append(drawn, memberEvent(m, membership.Alive))
		}
	}
	return drawn, len(all)
}

// Leave tells the others that this node goes on purpose; it takes less than 2 s. Close comes after it.
func (g *Gossip) Leave(ctx context.Context) error {
	left := make(chan error, 1)
	g.work.Go(func() { left <- g.serf.Leave() })
	select {
	case err := <-left:
		if err != nil {
			return fmt.Errorf("leave: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave: %w", ctx.Err())
	}
}

// Close stops without a word to the others.
func (g *Gossip) Close() error {
	var err error
	g.once.Do(func() {
		err = g.serf.Shutdown() // before the pump stops: it may be about to tell of something
		close(g.done)
		g.work.Wait()
	})
	return err
}
