package gossip

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"shoal/membership"
)

// What others may say of a node.
const (
	// accusedBurst and accusedEvery bound how often word comes through that a node is suspect: each time it has to contradict.
	accusedBurst = 5
	accusedEvery = 10 * time.Second
	maxMeta      = 512 // bytes, memberlist's own limit
	maxNamed     = 2 * membership.MaxRoster
)

// Counters that only ever grow, and that whoever sends a packet may set: past their end nothing would be newer any more. Below softEnd
// any value passes; above it one is at most a step ahead of what was seen, so that the end is days of lying away.
const (
	incarnationEnd  = 1 << 20
	incarnationStep = 16
	clockEnd        = 1 << 40
	clockStep       = 1 << 16
)

// guard stands before memberlist and serf, and lets through only what a member may say. Packets are sealed with the key of all members,
// so none of them proves who sent it; what is said in them of others is a hint, and is treated so here:
//
//   - That a node is dead is heard as a suspicion, which the node itself can contradict before anything comes of it.
//   - That a node leaves is heard when it has said so itself, over a connection that proves who it is.
//   - Suspicions of one node come through now and then only.
//   - A counter does not jump to its end.
//   - Commands of serf (queries, its key manager, pruning) and compressed messages are not for this mesh.
type guard struct {
	self    membership.NodeID
	allowed func(membership.NodeID) bool
	leaving func(membership.NodeID) bool
	log     *slog.Logger

	mu     sync.Mutex
	about  map[string]*hearsay
	clock  uint64
	warned time.Time

	reading map[string]bool // whose exchanges are being read
}

// hearsay is what was said of a node.
type hearsay struct {
	incarnation uint32
	accused     uint32 // the incarnation of the last accusation that came through
	tokens      float64
	at          time.Time
}

func newGuard(o Options) *guard {
	g := &guard{self: o.Self, allowed: o.Allowed, leaving: o.Leaving, log: o.Logger, about: map[string]*hearsay{}, reading: map[string]bool{}}
	if g.leaving == nil {
		g.leaving = func(membership.NodeID) bool { return false }
	}
	return g
}

func (g *guard) member(name string) bool {
	id := membership.NodeID(name)
	return id == g.self || g.allowed(id)
}

// of finds or makes what is known of a node; nil: of too many.
func (g *guard) of(name string, now time.Time) *hearsay {
	h := g.about[name]
	if h == nil && len(g.about) < maxNamed {
		h = &hearsay{tokens: accusedBurst, at: now}
		g.about[name] = h
	}
	return h
}

// incarnate tells whether a node's incarnation may be that high.
func (g *guard) incarnate(name string, n uint32, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.of(name, now)
	if h == nil || !plausible(uint64(n), uint64(h.incarnation), incarnationEnd, incarnationStep) {
		return false
	}
	h.incarnation = max(h.incarnation, n)
	return true
}

func plausible(n, seen, end, step uint64) bool {
	if seen == 0 {
		return n <= 2*end // who starts anew has seen nothing
	}
	return n <= max(end, seen+step)
}

// ticks tells whether a Lamport time of serf may be that high.
func (g *guard) ticks(n uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !plausible(n, g.clock, clockEnd, clockStep) {
		return false
	}
	g.clock = max(g.clock, n)
	return true
}

// accuse tells whether a suspicion of a node comes through.
func (g *guard) accuse(name, from, source string, incarnation uint32, now time.Time) bool {
	if !g.member(name) || !g.member(from) || !g.incarnate(name, incarnation, now) {
		return false
	}
	if name == string(g.self) {
		return true // it contradicts, each time
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.of(name, now)
	if incarnation <= h.accused {
		return true // said before, and maybe contradicted since: nothing new comes of it
	}
	h.tokens = min(accusedBurst, h.tokens+now.Sub(h.at).Seconds()/accusedEvery.Seconds())
	h.at = now
	if h.tokens < 1 {
		if now.Sub(g.warned) > accusedEvery {
			g.warned = now
			g.log.Warn("suspected too often, and not heard", "node", name, "said by", from, "in a packet from", source)
		}
		return false
	}
	h.tokens--
	h.accused = incarnation
	return true
}

// forget drops what was said of nodes that are no members any more.
func (g *guard) forget() {
	g.mu.Lock()
	var names []string
	for name := range g.about {
		names = append(names, name)
	}
	g.mu.Unlock()
	for _, name := range names {
		if g.member(name) {
			continue
		}
		g.mu.Lock()
		delete(g.about, name)
		g.mu.Unlock()
	}
}

// hint tells whether a serf event is one of ours.
func (g *guard) hint(name string, payload []byte) bool {
	sender, ok := strings.CutPrefix(name, hintEvent)
	return ok && g.member(sender) && len(payload) <= membership.MaxHint
}

// begin takes a place to read an exchange from a peer: one at a time from each, and some in all, for they may be long.
func (g *guard) begin(source string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reading[source] || len(g.reading) >= maxExchanges {
		return false
	}
	g.reading[source] = true
	return true
}

func (g *guard) end(source string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.reading, source)
}
