package mesh

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/membership"
	"shoal/store"
)

// dismissTime is how long a connection to an evicted node stays open, so that it is told.
const dismissTime = time.Second

// people is the roster and who of it is here.
type people struct {
	roster  *membership.Roster
	adopted *membership.Chain // of a node without a mesh
	// publishers are those of the chain as it was at a height.
	publishers, ever *store.Remembering
	publishersAt     uint64
	own              membership.Member // what this node was granted last, also when it was evicted since
	evicted          bool              // this node knows of its own eviction
	// joins: this node was told to join others, and knows not yet of all members. It has no say in what has no beginning yet: it
	// and others like it would begin a second time what they have not heard of.
	joins bool
	// members are those of the roster whose grants hold, by id; derived at each change and each minute.
	members map[membership.NodeID]membership.Member
	ids     []membership.NodeID // of members, sorted
	status  map[membership.NodeID]membership.Status
	since   map[membership.NodeID]time.Time // of status; of a member that was never seen: when it became known
	addrs   map[membership.NodeID]string
	// ungreeted have returned, and wait for their turn.
	ungreeted []membership.NodeID
	leaving   map[membership.NodeID]bool   // said so themselves
	warned    string                       // what was said last of this node's own end
	placed    map[membership.NodeID]string // by which algorithm a member places, as far as it said
	saved     map[string]bool              // ids of the records that are on disk
	tip       [32]byte                     // of the line of a trust chain that forks, as it is on disk
	// followed are the statements of that line, as they were loaded.
	followed []membership.Signed
	changes  uint64 // counts what a snapshot would show
}

func newPeople(roster *membership.Roster) people {
	return people{
		roster: roster, members: map[membership.NodeID]membership.Member{}, status: map[membership.NodeID]membership.Status{},
		since: map[membership.NodeID]time.Time{}, addrs: map[membership.NodeID]string{}, placed: map[membership.NodeID]string{}, leaving: map[membership.NodeID]bool{}, saved: map[string]bool{},
	}
}

// Roster is the roster as it is now. The caller must not change it, and must Clone it to keep it.
func (c *Core) Roster() *membership.Roster { return c.people.roster }

// Chain is the trust chain; nil when the node has none yet.
func (c *Core) Chain() *membership.Chain {
	if chain := c.people.roster.Chain(); chain != nil {
		return chain
	}
	return c.people.adopted
}

// publishers is the trust chain, or nobody: who may begin something new.
func (c *Core) publishers() store.Publishers {
	if !c.rememberPublishers() {
		return nobody{}
	}
	return c.people.publishers
}

// everPublishers are those who could publish at some time: the question of who looks at a head that a majority has certified, or at
// what this node has accepted itself. The acceptors asked then whether the publisher might; if they had to be able to still, revoking
// one would take their last revision from all who come later, and leave the environment without a head.
func (c *Core) everPublishers() store.Publishers {
	if !c.rememberPublishers() {
		return nobody{}
	}
	return c.people.ever
}

func (c *Core) rememberPublishers() bool {
	chain := c.Chain()
	if chain == nil {
		return false
	}
	if p := &c.people; p.publishers == nil || p.publishersAt != chain.Height() || p.publishers.Publishers != store.Publishers(chain) {
		p.publishers, p.ever, p.publishersAt = store.Remember(chain), store.Remember(formerly{chain}), chain.Height()
	}
	return true
}

// formerly counts those who were publishers once.
type formerly struct{ *membership.Chain }

// Publishes implements store.Publishers.
func (f formerly) Publishes(key ed25519.PublicKey, env string) bool { return f.EverPublished(key, env) }

// Changes counts what has changed of that which a Core shows: roster, members, heads, ring. Equal counts, nothing changed.
func (c *Core) Changes() uint64 { return c.people.changes }

// Members are all members with what the gossip says of them, sorted by name. One that was not seen since the start counts
// as failed.
func (c *Core) Members() []MemberInfo {
	var out []MemberInfo
	for _, id := range c.people.ids {
		m := c.people.members[id]
		info := MemberInfo{Name: m.Name, ID: id, Addr: c.people.addrs[id], Status: c.people.status[id], Tags: m.Tags, Zone: m.Zone}
		if end := m.Expires; !end.IsZero() {
			info.Expires = &end
		}
		if info.Tags == nil {
			info.Tags = map[string]string{}
		}
		if id == c.self {
			info.Status = membership.Alive
		} else if info.Status == "" {
			info.Status = membership.Failed
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b MemberInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (c *Core) isMember(id membership.NodeID) bool {
	_, ok := c.people.members[id]
	return ok
}

func (c *Core) granted(id membership.NodeID) bool { return id == c.self || c.people.roster.Granted(id) }

// alive tells whether the gossip takes a member for alive, or only suspects it yet.
func (c *Core) alive(id membership.NodeID) bool {
	if id == c.self {
		return true
	}
	s := c.people.status[id]
	return c.isMember(id) && (s == membership.Alive || s == membership.Suspect)
}

// alivePeers are the members other than this node that are alive, sorted.
func (c *Core) alivePeers() []membership.NodeID {
	var out []membership.NodeID
	for _, id := range c.people.ids {
		if id != c.self && c.alive(id) {
			out = append(out, id)
		}
	}
	return out
}

// refreshMembers derives what depends on the roster, drops peers that are not members any more, and places anew.
func (c *Core) refreshMembers() {
	before := c.people.members
	c.people.members = map[membership.NodeID]membership.Member{}
	for _, m := range c.people.roster.Members(c.now) {
		c.people.members[m.ID] = m
		if _, known := c.people.since[m.ID]; !known {
			c.people.since[m.ID] = c.now
		}
	}
	c.refreshSelf()
	c.people.ids = sorted(c.people.members)
	for _, id := range sorted(before) {
		if !c.isMember(id) {
			c.note("peer is not a member any more", id, "", nil)
			c.dismiss(id)
		}
	}
	c.people.changes++
	c.place()
	c.follow()
	c.keysRoster()
}

// refreshSelf keeps the node what it was when its grant is gone: it goes on enforcing what it has. Without its tags it would
// undo all that they select.
func (c *Core) refreshSelf() {
	if m, ok := c.people.members[c.self]; ok {
		c.people.own = m
	} else {
		c.people.members[c.self] = c.people.own
	}
	_, evicted := c.people.roster.Revocation(c.self)
	if evicted && !c.people.evicted {
		c.note("evicted: what is here is enforced as it is, and nothing new will come", "", "", membership.ErrRevoked)
	}
	c.people.evicted = evicted
	c.warnOfEnd()
}

// warnBefore is how long before its end a node begins to tell of its grant's end.
const warnBefore = 14 * 24 * time.Hour

// warnOfEnd tells once of each end that comes near, and once that it has come.
func (c *Core) warnOfEnd() {
	end := c.people.own.Expires
	left := end.Sub(c.now)
	if end.IsZero() || left > warnBefore {
		return
	}
	what := "this node's grant ends soon; renew it with shoal trust propose grants"
	if left <= 0 {
		what = "this node's grant has ended: what is here is enforced as it is, until a member knows of a new one"
	}
	if said := what + end.String(); said != c.people.warned {
		c.people.warned = said
		c.note(what, "", "", fmt.Errorf("its end: %s", end.Format(time.RFC3339)))
	}
}

// dismiss ends the connections to a peer that is not a member any more. One that was evicted hears of it first, and
// nothing that it says is heard any more.
func (c *Core) dismiss(id membership.NodeID) {
	revocation, evicted := c.people.roster.Revocation(id)
	if !evicted {
		c.emit(Drop{Peer: id})
		return
	}
	c.send(id, &RosterTell{Records: []membership.Signed{revocation}})
	c.after(dismissTime, func() {
		if !c.isMember(id) {
			c.emit(Drop{Peer: id})
		}
	})
}

func (c *Core) startRoster() {
	c.saveRoster()
	for _, id := range sorted(c.people.addrs) {
		c.emit(Learn{Peer: id, Addr: c.people.addrs[id]})
	}
	c.askUntilJoined()
	c.every(50*time.Second, 70*time.Second, c.refreshMembers) // grants end
	c.after(c.cfg.Grace+time.Second, c.place)                 // for those that are not seen until then
	c.every(2*time.Second, 5*time.Second, func() {
		if peers := c.alivePeers(); len(peers) > 0 {
			c.contact(peers[c.dice.below(len(peers))])
		}
	})
}

// contact asks a peer for what it knows and we do not: roster, creations and heads; and which disk it has.
func (c *Core) contact(peer membership.NodeID) {
	c.askRoster(peer)
	c.askHeads(peer)
	c.greet(peer)
	c.tellPlaced(peer)
	c.askKeyOf(peer)
}

// gossiped takes what the gossip told. Of a stranger it learns nothing: its grant comes through the transport.
func (c *Core) gossiped(ev membership.Event) {
	if ev.Hint != nil {
		c.hinted(ev)
		return
	}
	if ev.Node == c.self {
		return
	}
	if ev.Addr != "" && c.people.addrs[ev.Node] != ev.Addr && (c.isMember(ev.Node) || len(c.people.addrs) < membership.MaxRoster) {
		c.people.addrs[ev.Node] = ev.Addr
		c.save(keyAddr+string(ev.Node), ev.Addr)
		c.emit(Learn{Peer: ev.Node, Addr: ev.Addr})
	}
	if ev.Status == membership.Failed && c.people.leaving[ev.Node] {
		ev.Status = membership.Left // it said so itself, and only the gossip did not hear it
	}
	before := c.people.status[ev.Node]
	if before == ev.Status || (before == "" && len(c.people.status) >= membership.MaxRoster) {
		return
	}
	c.people.status[ev.Node], c.people.since[ev.Node] = ev.Status, c.now
	c.people.changes++
	c.changed(ev.Node, before, ev.Status)
}

func (c *Core) changed(id membership.NodeID, before, status membership.Status) {
	switch status {
	case membership.Alive:
		if before != membership.Suspect {
			delete(c.people.leaving, id)
			if !c.placement.has(id) {
				c.place()
			}
			c.returned(id)
		}
	case membership.Left:
		c.place()
	case membership.Failed:
		c.after(c.cfg.Grace+time.Second, c.place)
	}
	if status == membership.Left || status == membership.Failed {
		c.gone(id)
	}
}

// returned greets a peer that was not there: by now it may know what we missed, and the other way round.
func (c *Core) returned(id membership.NodeID) {
	c.greetInTurn(id)
	c.accuseAll(id)
	delete(c.placement.swept, id)
	c.after(c.dice.between(time.Second, 3*time.Second), func() {
		c.compareWith(id)
		c.handBack(id)
	})
	c.retryStagedSoon()
	delete(c.objects.fetches.silent, id)
	c.pumpFetches()
}

// onGoodbye believes of a node itself that it leaves.
func (c *Core) onGoodbye(from membership.NodeID) {
	if !c.people.leaving[from] {
		c.people.leaving[from] = true
		c.people.changes++
	}
}

// Leaving are the members that have said that they leave.
func (c *Core) Leaving() []membership.NodeID { return sorted(c.people.leaving) }

// Former are the addresses of nodes whose grants have ended, as far as this node knows: those may have been renewed.
func (c *Core) Former() (addrs []string) {
	for _, id := range sorted(c.people.addrs) {
		if !c.isMember(id) && c.people.roster.Lapsed(id, c.now) {
			addrs = append(addrs, c.people.addrs[id])
		}
	}
	return addrs
}

// nobody may publish: a node that has no trust chain believes no one.
type nobody struct{}

func (nobody) Publishes(ed25519.PublicKey, string) bool { return false }
