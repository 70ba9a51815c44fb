package mesh

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// Times and limits of the fence (store/register_fence.go says what it is for).
const (
	fenceAgain = time.Second // between two rounds of asking
	maxDisks   = 8           // of one node that are remembered
)

// fence is what this node knows of its own starts and of those of others.
type fence struct {
	own    store.Incarnation
	signed membership.Signed
	// first: nothing was ever promised on this disk before this start.
	first bool
	known map[membership.NodeID]map[uint64]incarnation // by disk
	disks map[membership.NodeID]uint64                 // that a node last said it has
	heard map[membership.NodeID]time.Time              // when it said so
	// unsure are the registers of which something may be forgotten, with the acceptors that have told what they know.
	unsure map[string]map[membership.NodeID]bool
	asking bool // askAgain is set
	asked  map[string]asked
	// lineage is the disk's in the start that was saved.
	lineage uint64
}

// asked says that enough acceptors were heard of a register, or that nothing of it could be forgotten. It counts for the starts that
// follow as long as it is known that the disk did not go back.
type asked struct {
	Disk    uint64 `cbor:"1,keyasint"`
	Lineage uint64 `cbor:"2,keyasint"` // of the disk, then
	Epoch   uint64 `cbor:"3,keyasint"`
}

// incarnation is what another node said of itself; it is kept as it was signed, for that node to see it.
type incarnation struct {
	store.Incarnation
	signed membership.Signed
}

func newFence() fence {
	return fence{
		known: map[membership.NodeID]map[uint64]incarnation{}, disks: map[membership.NodeID]uint64{},
		heard:  map[membership.NodeID]time.Time{},
		unsure: map[string]map[membership.NodeID]bool{}, asked: map[string]asked{},
	}
}

// loadFence counts this start, unless it goes on where the last one ended. A node that has acceptors and no count comes from a version that did not count.
func (c *Core) loadFence() {
	f := &c.fence
	if c.forgets() {
		f.own, f.first, f.own.Nonce = c.newDisk(), true, c.run
		c.signIncarnation()
		return
	}
	f.first = f.own.Disk == 0 && len(c.registers.acceptors) == 0
	if f.own.Disk != 0 && c.cfg.Lineage != 0 && c.cfg.Lineage == f.lineage {
		// Nothing was forgotten: this is the start that the others know. As another one it could vote before they know of it, and if the
		// disk went back then, a third would have its number.
		c.signIncarnation()
		return
	}
	if f.own.Disk == 0 {
		f.own = c.newDisk()
		if !f.first {
			f.own.Start++
		}
		for register, a := range c.registers.acceptors {
			if isHead(register) {
				a.Disk = f.own.Disk
				c.registers.acceptors[register] = a
			}
		}
	} else {
		f.own.Start++
	}
	f.own.Nonce = c.run
	c.signIncarnation()
}

func (c *Core) newDisk() store.Incarnation {
	drawn := dice(c.run) // the Core's own dice are for what is repeated
	return store.Incarnation{Node: c.self, Disk: drawn.next() | 1, Start: 1, Nonce: c.run}
}

func (c *Core) signIncarnation() {
	signed, err := membership.Sign(membership.DomainIncarnation, c.fence.own, c.cfg.Key)
	if err != nil {
		c.note("cannot sign an incarnation", "", "", err) // a bug: it has a form
	}
	c.fence.signed = signed
}

func isHead(register string) bool { return strings.HasPrefix(register, store.HeadRegister("")) }

func (c *Core) startFence() {
	c.save(keyDisk+"own", c.fence.own)
	c.save(keyLineage+"own", c.cfg.Lineage) // after that: it must not be taken for the lineage of the start before
	c.save(keyVersion+"core", uint64(savedVersion))
	for _, register := range sortedKeys(c.registers.acceptors) {
		if a := c.registers.acceptors[register]; isHead(register) && a.Disk == c.fence.own.Disk {
			c.save(keyAcceptor+register, a)
			c.doubt(register)
		}
	}
}

// doubt begins to ask the others how far a register is, unless nothing can be forgotten.
func (c *Core) doubt(register string) {
	if now := c.asking(register); c.fence.first || now.Lineage != 0 && c.fence.asked[register] == now {
		c.sure(register)
		return
	}
	c.fence.unsure[register] = map[membership.NodeID]bool{}
	c.recall(register)
	c.settleDoubt(register)
	if !c.fence.asking {
		c.fence.asking = true
		c.after(fenceAgain, c.askAgain)
	}
}

func (c *Core) asking(register string) asked {
	return asked{Disk: c.fence.own.Disk, Lineage: c.cfg.Lineage, Epoch: c.registers.acceptors[register].Epoch}
}

// sure lets the acceptor of a register vote.
func (c *Core) sure(register string) {
	delete(c.fence.unsure, register)
	if now := c.asking(register); now.Lineage != 0 && c.fence.asked[register] != now {
		c.fence.asked[register] = now
		c.save(keyRecalled+register, now)
	}
}

func (c *Core) askAgain() {
	for _, register := range sortedKeys(c.fence.unsure) {
		c.recall(register)
		c.settleDoubt(register)
	}
	if c.fence.asking = len(c.fence.unsure) > 0; c.fence.asking {
		c.after(fenceAgain, c.askAgain)
	}
}

func (c *Core) recall(register string) {
	a := c.registers.acceptors[register]
	for _, id := range a.Members {
		if id != c.self && !c.fence.unsure[register][id] {
			c.send(id, &FenceAsk{Incarnation: c.fence.signed, Register: register, Epoch: a.Epoch})
		}
	}
}

// settleDoubt lets the acceptor vote when enough have told. Who is lost for good will not tell, and a majority must do: else nobody
// could vote any more. Who is merely not there is waited for, however few are: it may be the only one that knows what this
// disk forgot.
func (c *Core) settleDoubt(register string) {
	heard, doubted := c.fence.unsure[register]
	if !doubted {
		return
	}
	members := c.registers.acceptors[register].Members
	if len(heard) >= store.Recovered(len(members)) || len(heard)+1 >= store.Majority(len(members)) && len(c.awaited(register)) == 0 {
		c.sure(register)
	}
}

// awaited are the acceptors that may still say what this node's acceptor forgot.
func (c *Core) awaited(register string) (nodes []membership.NodeID) {
	heard, doubted := c.fence.unsure[register]
	for _, s := range c.seatsAt(register) {
		other := c.diskOf(s.Node) != 0 && c.diskOf(s.Node) != s.Disk // that disk is gone
		lost := other || !c.isMember(s.Node) || c.isOut(s.Node)
		if doubted && s.Node != c.self && !heard[s.Node] && !lost {
			nodes = append(nodes, s.Node)
		}
	}
	return nodes
}

// fencedAcceptors says, for people, which acceptors wait for which others before they vote.
func (c *Core) fencedAcceptors(p *proposal) string {
	fenced := p.Fenced()
	if len(fenced) == 0 {
		return ""
	}
	var absent []membership.NodeID
	for _, id := range p.Members {
		if id != c.self && !c.alive(id) {
			absent = append(absent, id)
		}
	}
	if len(absent) == 0 {
		return fmt.Sprintf("; %s started again, and first asks the others what it promised", c.names(fenced))
	}
	return fmt.Sprintf("; %s started again and cannot show that no write was lost, so what it promised is asked of %s, who cannot be reached: "+
		"it goes on when they are back or have been gone for %s; when they are lost for good, shoal evict them",
		c.names(fenced), c.names(absent), c.cfg.Grace)
}

func (c *Core) names(nodes []membership.NodeID) string {
	var names []string
	for _, id := range nodes {
		names = append(names, cmp.Or(c.people.members[id].Name, id.Short()))
	}
	return strings.Join(names, ", ")
}

// fenced tells whether this node's acceptor must not vote.
func (c *Core) fenced(register string) bool {
	if !isHead(register) {
		return false
	}
	a, installed := c.registers.acceptors[register]
	_, unsure := c.fence.unsure[register]
	return installed && (unsure || a.Disk != c.fence.own.Disk)
}

// greet tells a peer which disk this node has, and asks for its.
func (c *Core) greet(peer membership.NodeID) { c.send(peer, &FenceAsk{Incarnation: c.fence.signed}) }

func (c *Core) onFenceAsk(from membership.NodeID, m *FenceAsk) {
	inc, newer, err := c.meet(from, m.Incarnation)
	if err != nil {
		c.note("refused an incarnation", from, "", err)
		return
	}
	tell := &FenceTell{Incarnation: c.fence.signed, Nonce: inc.Nonce, Register: m.Register, Newer: newer}
	a, installed := c.registers.acceptors[m.Register]
	if installed && isHead(m.Register) && a.Disk == c.fence.own.Disk && newer == nil {
		tell.Acceptor = &a
		if env := strings.TrimPrefix(m.Register, store.HeadRegister("")); a.Epoch > m.Epoch || a.Phase == store.Moved {
			c.tellConfiguration(from, env, m.Epoch)
		}
	}
	c.send(from, tell)
}

// meet takes a node's word for its incarnation. newer is an earlier word of the same node which shows that its disk went back.
func (c *Core) meet(from membership.NodeID, signed membership.Signed) (inc store.Incarnation, newer *membership.Signed, err error) {
	if known, ok := c.fence.known[from][c.fence.disks[from]]; ok && sameRecord(known.signed, signed) {
		c.fence.heard[from] = c.now
		return known.Incarnation, nil, nil // as it said before, with every greeting
	}
	if inc, err = openIncarnation(signed); err != nil {
		return inc, nil, err
	}
	if inc.Node != from {
		return inc, nil, fmt.Errorf("incarnation of %s", inc.Node.Short())
	}
	known, ok := c.fence.known[from][inc.Disk]
	switch {
	case ok && known.Outdates(inc):
		return inc, &known.signed, nil
	case !ok && len(c.fence.known[from]) >= maxDisks:
		return inc, nil, fmt.Errorf("more than %d disks", maxDisks)
	case !ok || inc.Start > known.Start:
		c.remember(incarnation{inc, signed})
		c.save(keyPeerDisk+peerDisk(inc), signed)
	}
	c.fence.heard[from] = c.now
	if c.fence.disks[from] != inc.Disk {
		c.fence.disks[from] = inc.Disk
		c.goOn() // one may wait to know whom it can name
	}
	return inc, nil, nil
}

func sameRecord(a, b membership.Signed) bool {
	return a.Domain == b.Domain && bytes.Equal(a.Body, b.Body) && len(a.Signatures) == 1 && len(b.Signatures) == 1 &&
		bytes.Equal(a.Signatures[0].Key, b.Signatures[0].Key) && bytes.Equal(a.Signatures[0].Sig, b.Signatures[0].Sig)
}

func (c *Core) remember(i incarnation) {
	if c.fence.known[i.Node] == nil {
		c.fence.known[i.Node] = map[uint64]incarnation{}
	}
	c.fence.known[i.Node][i.Disk] = i
}

func peerDisk(i store.Incarnation) string { return fmt.Sprintf("%s-%016x", i.Node, i.Disk) }

func openIncarnation(signed membership.Signed) (inc store.Incarnation, err error) {
	keys, err := signed.Open(membership.DomainIncarnation, &inc)
	if err == nil && (len(keys) != 1 || membership.IDOf(keys[0]) != inc.Node || inc.Disk == 0) {
		err = membership.ErrSignature
	}
	return inc, err
}

func (c *Core) onFenceTell(from membership.NodeID, m *FenceTell) {
	told, _, err := c.meet(from, m.Incarnation)
	if err != nil {
		return
	}
	if m.Newer != nil {
		if newer, err := openIncarnation(*m.Newer); err == nil && newer.Outdates(c.fence.own) {
			c.quarantine(from)
		}
		return
	}
	heard, unsure := c.fence.unsure[m.Register]
	if !unsure || m.Nonce != c.fence.own.Nonce || !c.seated(m.Register, store.Seat{Node: from, Disk: told.Disk}, m.Acceptor != nil) {
		return
	}
	if m.Acceptor != nil {
		a := c.registers.acceptors[m.Register]
		recalled, counts := a.Recall(*m.Acceptor)
		if !counts {
			return // the seal comes, or is asked for with the heads
		}
		if recalled.Promised != a.Promised || recalled.Accepted != a.Accepted {
			c.registers.acceptors[m.Register] = recalled
			c.save(keyAcceptor+m.Register, recalled)
		}
	}
	heard[from] = true
	c.settleDoubt(m.Register)
}

// seated tells whether a node has a place in the register's present configuration, with the disk that it says it has. In
// a configuration that names no disks a record of it must do.
func (c *Core) seated(register string, s store.Seat, installed bool) bool {
	seats := c.seatsAt(register)
	named := slices.ContainsFunc(seats, func(s store.Seat) bool { return s.Disk != 0 })
	for _, seat := range seats {
		if seat.Node == s.Node { // in a seat without a disk nobody has ever voted
			return seat.Disk == s.Disk || seat.Disk == 0 && (named || installed)
		}
	}
	return false
}

// seatsAt are those of the configuration that this node's acceptor is in.
func (c *Core) seatsAt(register string) []store.Seat {
	created, ok := c.heads.creations[strings.TrimPrefix(register, store.HeadRegister(""))]
	if !ok {
		return nil
	}
	return created.at(c.registers.acceptors[register].Epoch)
}

// quarantine: the disk went back in time, so nothing on it says what was promised. From now on it counts as a new one: this
// node keeps none of its places, and is given new ones like any other.
func (c *Core) quarantine(by membership.NodeID) {
	c.note("this disk went back in time: what it promised does not count any more", by, "", store.ErrAmnesia)
	fresh := dice(c.fence.own.Nonce ^ c.fence.own.Disk)
	c.fence.own = store.Incarnation{Node: c.self, Disk: fresh.next() | 1, Start: 1, Nonce: c.fence.own.Nonce}
	c.fence.first, c.fence.unsure = true, map[string]map[membership.NodeID]bool{}
	c.signIncarnation()
	c.save(keyDisk+"own", c.fence.own)
	for _, peer := range c.alivePeers() {
		c.greet(peer)
	}
}

// starts are those of a register's acceptors, as far as they are known here. A node of version 0.1, which does not say what disk
// it has, would not understand a message that has them.
func (c *Core) starts(to membership.NodeID, register string, epoch uint64) []uint64 {
	created, ok := c.heads.creations[strings.TrimPrefix(register, store.HeadRegister(""))]
	if !ok || !isHead(register) || to != c.self && len(c.fence.known[to]) == 0 {
		return nil
	}
	var out []uint64
	for _, s := range created.at(epoch) {
		start := c.fence.known[s.Node][s.Disk].Start
		if s.Node == c.self {
			start = c.fence.own.Start
		}
		out = append(out, start)
	}
	return out
}

// diskOf is the disk of a node, 0 when it is not known.
func (c *Core) diskOf(id membership.NodeID) uint64 {
	if id == c.self {
		return c.fence.own.Disk
	}
	return c.fence.disks[id]
}

// seatsOf gives nodes their disks.
func (c *Core) seatsOf(nodes []membership.NodeID) []store.Seat {
	out := make([]store.Seat, len(nodes))
	for i, id := range nodes {
		out[i] = store.Seat{Node: id, Disk: c.diskOf(id)}
	}
	return out
}

func (c *Core) loadPeerDisk(value []byte) error {
	var signed membership.Signed
	if err := codec.Unmarshal(value, &signed); err != nil {
		return err
	}
	inc, err := openIncarnation(signed)
	if err == nil {
		c.remember(incarnation{inc, signed})
	}
	return err
}
