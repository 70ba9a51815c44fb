package mesh

import (
	"bytes"
	"slices"

	"shoal/membership"
	"shoal/store"
)

// Keepers of a log compare how far they have it, and fetch what they lack by ranges, from the newest entry down: so what is
// fetched is linked by hash to what is here.
//
//	A ── LogHave ──▶ B      for each log that both are to keep: from, to, hash of the newest
//	A ◀── LogHave ── B      the same, once
//	A ── LogAsk ───▶ B      the highest gap
//	A ◀── LogRange ─ B      at most maxLogRange entries of it, the newest first; and a proof, if the log was forked
//	A ── RunAsk ───▶ B      reports that are lacking, a few at a time

// Limits of comparing.
const (
	maxLogStates = 64  // in one LogHave
	maxLogRange  = 128 // entries in one LogRange
	maxRunAsks   = 4   // reports that are asked for with one answer
)

// LogState is how far somebody has a log.
type LogState struct {
	_      struct{} `cbor:",toarray"`
	Node   membership.NodeID
	First  uint64 // of the entries without a gap up to the newest
	Seq    uint64 // the newest; 0: none
	Hash   store.Hash
	Forked bool
}

func (c *Core) logState(node membership.NodeID) LogState {
	n := c.logs.kept[node]
	newest, ok := n.newest()
	if !ok {
		return LogState{Node: node}
	}
	return LogState{Node: node, First: n.first(), Seq: newest.entry.Seq, Hash: newest.entry.Hash, Forked: n.fork != nil}
}

// keepers are to keep the log of a node: its owners, and the node itself.
func (c *Core) keepers(node membership.NodeID) []membership.NodeID {
	return appendNew(slices.Clone(c.logOwners(node)), node)
}

// compareLogs tells another keeper of each log how far it is here, for some of the logs at a time.
func (c *Core) compareLogs() {
	nodes := sorted(c.logs.kept)
	at, _ := slices.BinarySearch(nodes, c.logs.cursor+"\x00")
	byPeer := map[membership.NodeID][]LogState{}
	for i := range min(len(nodes), maxLogStates) {
		node := nodes[(at+i)%len(nodes)]
		c.logs.cursor = node
		to := slices.DeleteFunc(c.keepers(node), func(id membership.NodeID) bool { return id == c.self || !c.alive(id) })
		if len(to) == 0 {
			continue
		}
		peer := to[c.dice.below(len(to))]
		byPeer[peer] = append(byPeer[peer], c.logState(node))
	}
	for _, peer := range sorted(byPeer) {
		c.send(peer, &LogHave{Logs: byPeer[peer]})
	}
}

func (c *Core) onLogHave(from membership.NodeID, m *LogHave) {
	answer := &LogHave{Answer: true}
	for _, s := range m.Logs {
		c.hearLog(from, s)
		answer.Logs = append(answer.Logs, c.logState(s.Node))
	}
	if !m.Answer && len(answer.Logs) > 0 {
		c.send(from, answer)
	}
}

// hearLog fetches what another has more of a log that is this node's to keep, and forgets one that is not, and that its
// keepers have.
func (c *Core) hearLog(from membership.NodeID, s LogState) {
	mine := c.logState(s.Node)
	if s.Node == c.self {
		c.logs.acked[from] = min(s.Seq, mine.Seq)
	}
	if !slices.Contains(c.keepers(s.Node), c.self) {
		c.handedOver(from, s, mine)
		return
	}
	switch {
	case s.Seq > mine.Seq, s.Seq == mine.Seq && s.Hash != mine.Hash, s.Forked && !mine.Forked:
		c.send(from, &LogAsk{Node: s.Node, From: s.Seq, To: s.Seq})
	case s.Seq > 0:
		c.fillLog(from, s.Node)
	}
	if s.Node == c.self && (s.Seq < mine.Seq || s.Hash == mine.Hash) {
		c.heardOfOwn(from)
	}
}

func (c *Core) heardOfOwn(from membership.NodeID) {
	c.logs.heard[from] = true
	c.mergeLog()
}

// handedOver forgets a log when all that are to keep it said that they have what is here.
func (c *Core) handedOver(from membership.NodeID, theirs, mine LogState) {
	n := c.logs.kept[theirs.Node]
	keepers := c.logOwners(theirs.Node)
	if n == nil || !slices.Contains(keepers, from) {
		return
	}
	most, _ := c.logMost()
	had := c.logs.had[theirs.Node]
	if had == nil {
		had = map[membership.NodeID]bool{}
		c.logs.had[theirs.Node] = had
	}
	whole := theirs.Seq > mine.Seq || theirs.Seq == mine.Seq && theirs.Hash == mine.Hash
	had[from] = whole && theirs.First <= max(n.entries[0].entry.Seq, n.low(most)) && (theirs.Forked || !mine.Forked)
	if slices.ContainsFunc(keepers, func(id membership.NodeID) bool { return !had[id] }) {
		return
	}
	for len(n.entries) > 0 {
		c.dropEntry(n, n.cut(0), false)
	}
	if n.fork != nil {
		c.emit(Save{Key: keyFork + string(theirs.Node)})
	}
	delete(c.logs.kept, theirs.Node)
	delete(c.logs.had, theirs.Node)
}

// fillLog asks a peer for the highest gap, or else for reports.
func (c *Core) fillLog(peer, node membership.NodeID) {
	n := c.logs.kept[node]
	most, bytes := c.logMost()
	if n == nil || peer == c.self {
		return
	}
	if from, to, lacks := n.gap(most); lacks {
		c.send(peer, &LogAsk{Node: node, From: from, To: to})
		return
	}
	if n.bytes > bytes*3/4 {
		return // an honest log has no more than half
	}
	for _, report := range n.lacking(maxRunAsks) {
		c.send(peer, &RunAsk{Node: node, Report: report})
	}
}

func (c *Core) onLogAsk(from membership.NodeID, m *LogAsk) {
	answer := &LogRange{ID: m.ID, Node: m.Node}
	n := c.logs.kept[m.Node]
	if n != nil {
		answer.Fork = n.fork
		answer.Entries = n.between(m.From, m.To)
	}
	c.send(from, answer)
}

// between are entries of a range as they were signed, the newest first, as many as fit.
func (n *nodeLog) between(from, to uint64) (out [][]byte) {
	size := 0
	for i := len(n.entries) - 1; i >= 0; i-- {
		e := n.entries[i].entry
		if e.Seq > to {
			continue
		}
		size += len(e.Raw) + 16
		if e.Seq < from || len(out) == maxLogRange || size > MaxFrame/2 {
			break
		}
		out = append(out, e.Raw)
	}
	return out
}

func (c *Core) onLogRange(from membership.NodeID, m *LogRange) {
	if m.ID != 0 {
		c.gatherHistory(from, m)
		return
	}
	if !slices.Contains(c.keepers(m.Node), c.self) || !c.isMember(m.Node) && c.logs.kept[m.Node] == nil {
		return
	}
	taken := false
	for _, raw := range m.Entries {
		l, err := openLog(raw)
		if err != nil || l.entry.Node != m.Node {
			c.note("refused a log entry", from, "", err)
			return
		}
		taken = c.keepEntry(l) || taken
	}
	if n := c.logs.kept[m.Node]; n != nil && n.fork == nil && m.Fork != nil {
		if at, ok := m.Fork.check(m.Node); ok {
			n.fork, n.forkAt = m.Fork, at
			c.forked(m.Node, n)
		}
	}
	if m.Node == c.self && len(m.Entries) > 0 {
		c.heardOfOwn(from)
	}
	if taken {
		c.fillLog(from, m.Node)
	}
}

func (c *Core) onRunAsk(from membership.NodeID, m *RunAsk) {
	n := c.logs.kept[m.Node]
	if n != nil && n.holds(m.Report) {
		c.emit(SendReport{To: from, Node: m.Node, Report: m.Report, Message: &RunTell{ID: m.ID, Node: m.Node}})
		return
	}
	if m.ID != 0 {
		c.send(from, &RunTell{ID: m.ID, Node: m.Node})
	}
}

func (n *nodeLog) holds(report store.Hash) bool {
	return slices.ContainsFunc(n.entries, func(l logged) bool {
		return l.entry.Kind == kindReport && l.held != 0 && l.summary.Report == report
	})
}

func (c *Core) onRunTell(from membership.NodeID, m *RunTell) {
	if m.ID != 0 {
		c.gatherRun(from, m)
		return
	}
	if len(m.Report) > 0 && c.tookReport(m.Node, m.Report) {
		c.fillLog(from, m.Node)
	}
}

// tookReport keeps a report that an entry names and that is not here.
func (c *Core) tookReport(node membership.NodeID, report []byte) (taken bool) {
	n, h := c.logs.kept[node], store.HashOf(report)
	if n == nil {
		return false
	}
	for i := range n.entries {
		l := &n.entries[i]
		if l.entry.Kind != kindReport || l.held != 0 || !bytes.Equal(l.summary.Report[:], h[:]) {
			continue
		}
		l.held, taken = len(report), true
		n.bytes += l.held
		c.saveEntry(*l)
	}
	if taken {
		c.emit(Save{Key: RunKey(node, h), Value: report})
		c.pruneLog(node, n)
	}
	return taken
}

// reportLost hears that a report that should be here cannot be read: it is fetched again.
func (c *Core) reportLost(ev ReportLost) {
	n := c.logs.kept[ev.Node]
	if n == nil {
		return
	}
	for i := range n.entries {
		if l := &n.entries[i]; l.held != 0 && l.summary.Report == ev.Report {
			n.bytes -= max(l.held, 0)
			l.held = 0
			c.saveEntry(*l)
		}
	}
	for _, to := range c.keepers(ev.Node) {
		if to != c.self && c.alive(to) {
			c.fillLog(to, ev.Node)
		}
	}
}
