package mesh

// How two nodes come to the same roster: they compare digests, list what they have, and bring what the other lacks.

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
)

// recordIDSize is how much of a record's hash names it in an exchange of rosters.
const recordIDSize = 8

// maxTellBytes bounds the records of one RosterTell.
const maxTellBytes = MaxFrame / 2

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
	before := c.alarms()
	added, err := c.people.roster.Add(c.now, records...)
	if added > 0 {
		c.rosterChanged(before)
	}
	return err
}

// alarms are what the roster shows of things that an operator must look at, and who was a member then.
type alarms struct {
	forks     int
	overdrawn []membership.Overdrawn
	members   map[membership.NodeID]membership.Member
}

func (c *Core) alarms() alarms {
	return alarms{forksOf(c.people.roster), c.people.roster.Overdrawn(c.now), c.people.members}
}

func (c *Core) rosterChanged(before alarms) {
	c.saveRoster()
	c.refreshMembers()
	c.noteForks(before.forks)
	c.noteOverdrawn(before)
}

// noteOverdrawn tells of tickets with which more nodes came than they have uses: who came last, as far as this node knows, and who is out.
func (c *Core) noteOverdrawn(before alarms) {
	known := map[string]membership.NodeID{}
	for _, o := range before.overdrawn {
		known[o.Ticket] = o.Out.ID
	}
	for _, o := range c.people.roster.Overdrawn(c.now) {
		if known[o.Ticket] == o.Out.ID {
			continue
		}
		came := o.Out
		for _, m := range o.In {
			if _, was := before.members[m.ID]; !was {
				came = m
			}
		}
		c.event(fmt.Sprintf("the ticket %s of %d uses was redeemed too often: node %s (%s) is no member by it; the last to come was %s (%s)",
			o.Ticket, o.Uses, o.Out.Name, o.Out.ID.Short(), came.Name, came.ID.Short()), membership.ErrTicketUsed)
	}
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
	digest, before := c.people.roster.Digest(), c.alarms()
	m, err := c.letIn(ev)
	if err == nil && m.ID != ev.Peer {
		err = errors.New("admit: the credential is that of another node")
	}
	if digest != c.people.roster.Digest() {
		c.rosterChanged(before)
	}
	c.emit(Answer{ID: ev.ID, Value: m, Err: err})
}

func (c *Core) letIn(ev Admit) (membership.Member, error) {
	if !ev.Vouch {
		return c.people.roster.Admit(c.now, ev.Credential)
	}
	_, err := c.people.roster.Add(c.now, ev.Credential...)
	m, ok := c.people.roster.Lookup(ev.Peer, c.now)
	if !ok && c.people.roster.Lapsed(ev.Peer, c.now) {
		return membership.Member{ID: ev.Peer}, nil // it is asked what has become of its grant, and is nothing else before
	}
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
