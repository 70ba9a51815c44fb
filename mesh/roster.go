package mesh

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// recordIDSize is how much of a record's hash names it in an exchange of rosters.
const recordIDSize = 8

// dismissTime is how long a connection to an evicted node stays open, so that it is told.
const dismissTime = time.Second

// maxTellBytes bounds the records of one RosterTell.
const maxTellBytes = MaxFrame / 2

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
	placed  map[membership.NodeID]string // by which algorithm a member places, as far as it said
	saved   map[string]bool              // ids of the records that are on disk
	tip     [32]byte                     // of the line of a trust chain that forks, as it is on disk
	// followed are the statements of that line, as they were loaded.
	followed []membership.Signed
	changes  uint64 // counts what a snapshot would show
}

func newPeople(roster *membership.Roster) people {
	return people{
		roster: roster, members: map[membership.NodeID]membership.Member{}, status: map[membership.NodeID]membership.Status{},
		since: map[membership.NodeID]time.Time{}, addrs: map[membership.NodeID]string{}, placed: map[membership.NodeID]string{}, saved: map[string]bool{},
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
			c.place()
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
	c.contact(id)
	c.accuseAll(id)
	delete(c.placement.swept, id)
	c.after(c.dice.between(time.Second, 3*time.Second), func() {
		c.compareWith(id)
		c.handBack(id)
	})
	c.retryStagedSoon()
	c.pumpFetches()
}

func (c *Core) askRoster(peer membership.NodeID) {
	c.send(peer, &RosterAsk{Digest: c.people.roster.Digest(), Joins: c.people.joins})
}

func (c *Core) onRosterAsk(from membership.NodeID, m *RosterAsk) {
	switch {
	case m.Digest != c.people.roster.Digest():
		c.send(from, &RosterHave{IDs: recordIDs(c.people.roster.Records())})
	case m.Joins && !c.people.joins:
		c.askRoster(from) // it learns that it knows all
	case c.people.joins && !m.Joins:
		c.joined()
	}
}

// askUntilJoined asks more often than those who belong: people wait for a node that was just told to join.
func (c *Core) askUntilJoined() {
	if !c.people.joins {
		return
	}
	if peers := c.alivePeers(); len(peers) > 0 {
		c.askRoster(peers[c.dice.below(len(peers))])
	}
	c.after(c.dice.between(200*time.Millisecond, 400*time.Millisecond), c.askUntilJoined)
}

// joined: somebody who belongs to the mesh has the same roster.
func (c *Core) joined() {
	c.people.joins = false
	c.emit(Save{Key: keyJoins + "roster"})
	c.goOn()
}

func (c *Core) onRosterHave(from membership.NodeID, m *RosterHave) {
	theirs := make(map[string]bool, len(m.IDs))
	for _, id := range m.IDs {
		theirs[string(id)] = true
	}
	records := c.people.roster.Records()
	ids := recordIDs(records)
	tell, size := &RosterTell{}, 0
	for i, r := range records {
		if theirs[string(ids[i])] {
			delete(theirs, string(ids[i]))
			continue
		}
		n := recordSize(r)
		if size+n > maxTellBytes || len(tell.Records) == maxRecords {
			c.send(from, tell)
			tell, size = &RosterTell{}, 0
		}
		tell.Records, size = append(tell.Records, r), size+n
	}
	if len(tell.Records) > 0 {
		c.send(from, tell)
	}
	if len(theirs) > 0 && !m.Answer {
		c.send(from, &RosterHave{IDs: ids, Answer: true})
	}
}

func (c *Core) onRosterTell(from membership.NodeID, m *RosterTell) {
	if err := c.addRecords(m.Records); err != nil {
		c.note("refused roster records", from, "", err)
	}
	if c.people.joins {
		c.askRoster(from)
	}
}

// addRecords keeps what is good of records and saves what is new.
func (c *Core) addRecords(records []membership.Signed) error {
	forks := forksOf(c.people.roster)
	added, err := c.people.roster.Add(c.now, records...)
	if added > 0 {
		c.saveRoster()
		c.refreshMembers()
		c.noteForks(forks)
	}
	return err
}

func forksOf(r *membership.Roster) int {
	if r.Chain() == nil {
		return 0
	}
	return len(r.Chain().Forks())
}

// noteForks tells of forks of the trust chain that are new: a key is in wrong hands, or operators did not talk.
func (c *Core) noteForks(before int) {
	if n := forksOf(c.people.roster); n > before {
		c.event(fmt.Sprintf("the trust chain forks, in %d places; see shoal trust show", n), membership.ErrFork)
	}
}

// saveRoster saves the records that are not on disk yet. Where the trust chain forks, it saves which side this node follows: that
// depends on what it saw first when each side has removed the other's operators, and a restart must not choose anew.
func (c *Core) saveRoster() {
	if chain := c.people.roster.Chain(); chain != nil && len(chain.Forks()) > 0 && c.people.tip != chain.Tip() {
		c.people.tip = chain.Tip()
		c.save(keyChain+"line", chain.Statements())
	}
	records := c.people.roster.Records()
	for i, id := range recordIDs(records) {
		if !c.people.saved[string(id)] {
			c.people.saved[string(id)] = true
			c.save(keyRoster+hex.EncodeToString(id), records[i])
		}
	}
}

func (c *Core) admit(ev Admit) {
	digest, forks := c.people.roster.Digest(), forksOf(c.people.roster)
	m, err := c.letIn(ev)
	if err == nil && m.ID != ev.Peer {
		err = errors.New("admit: the credential is that of another node")
	}
	if digest != c.people.roster.Digest() {
		c.saveRoster()
		c.refreshMembers()
		c.noteForks(forks)
	}
	c.emit(Answer{ID: ev.ID, Value: m, Err: err})
}

func (c *Core) letIn(ev Admit) (membership.Member, error) {
	if !ev.Vouch {
		return c.people.roster.Admit(c.now, ev.Credential)
	}
	_, err := c.people.roster.Add(c.now, ev.Credential...)
	m, ok := c.people.roster.Lookup(ev.Peer, c.now)
	if !ok {
		return m, errors.Join(membership.ErrNoGrant, err)
	}
	return m, nil
}

// submit adds an operator's records and tells all who can be reached at once: a revocation is urgent. The others learn of
// it from them.
func (c *Core) submit(ev Submit) {
	err := atMost("records", len(ev.Records), maxRecords)
	if err == nil {
		err = c.addRecords(ev.Records)
	}
	if err == nil {
		for _, peer := range c.alivePeers() {
			c.send(peer, &RosterTell{Records: ev.Records})
		}
	}
	c.emit(Answer{ID: ev.ID, Err: err})
}

// adoptChain gives a node without a mesh its trust: the first chain it is shown, and later only what extends it.
func (c *Core) adoptChain(ev AdoptChain) {
	chain, err := c.Chain(), error(nil)
	switch {
	case c.people.roster.Chain() != nil:
		if err = c.addRecords(ev.Statements); err != nil {
			break
		}
	case chain == nil:
		chain, err = membership.OpenChain(ev.Statements)
	default:
		chain, err = chain.Extended(ev.Statements)
	}
	if err == nil && c.people.roster.Chain() == nil && chain != c.people.adopted {
		c.people.adopted = chain
		c.people.changes++
		c.save(keyChain+"solo", chain.Statements())
	}
	c.emit(Answer{ID: ev.ID, Err: err})
}

// recordIDs names records as they stand, signatures included: two nodes that hold different signatures of one statement
// exchange them.
func recordIDs(records []membership.Signed) [][]byte {
	ids := make([][]byte, len(records))
	for i, r := range records {
		h := sha256.New()
		h.Write([]byte(r.Domain))
		h.Write([]byte{0})
		h.Write(r.Body)
		sigs := slices.Clone(r.Signatures)
		slices.SortFunc(sigs, func(a, b membership.Signature) int { return slices.Compare(a.Key, b.Key) })
		for _, s := range sigs {
			h.Write(s.Key)
			h.Write(s.Sig)
		}
		ids[i] = h.Sum(nil)[:recordIDSize]
	}
	return ids
}

func recordSize(r membership.Signed) int {
	data, err := codec.Marshal(r)
	if err != nil {
		return maxTellBytes
	}
	return len(data)
}

// nobody may publish: a node that has no trust chain believes no one.
type nobody struct{}

func (nobody) Publishes(ed25519.PublicKey, string) bool { return false }
