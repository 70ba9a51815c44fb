package mesh

import (
	"errors"
	"slices"
	"time"

	"shoal/membership"
	"shoal/store"
)

// Limits of questions to many.
const (
	gatherTime    = 2 * time.Second
	maxGatherings = 64
	maxForks      = 16      // in one answer
	maxStale      = 1 << 32 // seconds
)

// ErrNoReport is returned when no node that can be reached has a report.
var ErrNoReport = errors.New("no report")

// gathering is a question to many; whoever answers is taken off waiting.
type gathering struct {
	ask      uint64 // whose answer it is
	waiting  map[membership.NodeID]bool
	newest   map[membership.NodeID]logged
	forks    map[membership.NodeID]bool
	holdings map[membership.NodeID]Holding
	kind     gatherKind
	node     membership.NodeID // of a report or a history
	report   []byte
	found    bool
	want     store.Hash // of the report; zero: the newest
	log      nodeLog
}

type gatherKind int

const (
	gatherStatus gatherKind = iota
	gatherReport
	gatherLog
)

// newestReports are the newest runs of the nodes whose logs are kept here; of this node also one that is not signed yet.
func (c *Core) newestReports() map[membership.NodeID]logged {
	out := map[membership.NodeID]logged{}
	for node, n := range c.logs.kept {
		if l, ok := n.report(); ok {
			out[node] = l
		}
	}
	if d, ok := c.unsigned(); ok {
		l := d.logged
		l.entry.LogEntry = store.LogEntry{Node: c.self, Seq: out[c.self].entry.Seq + 1, Time: d.at.UnixNano(), Kind: kindReport}
		out[c.self] = l
	}
	return out
}

// unsigned is the newest run of this node that waits to be written into its log.
func (c *Core) unsigned() (d draft, ok bool) {
	for _, d := range slices.Backward(c.logs.pending) {
		if d.kind == kindReport {
			return d, true
		}
	}
	return draft{}, false
}

// askStatus asks members that are alive, and answers when all of them did or gatherTime is over.
func (c *Core) askStatus(ev AskStatus) {
	g := &gathering{
		ask: ev.ID, waiting: map[membership.NodeID]bool{}, newest: c.newestReports(), forks: map[membership.NodeID]bool{},
		holdings: map[membership.NodeID]Holding{c.self: c.holding()},
	}
	for node, n := range c.logs.kept {
		g.forks[node] = n.fork != nil
	}
	peers := c.alivePeers()
	if ev.Some > 0 && len(peers) > ev.Some {
		for i := range ev.Some {
			j := i + c.dice.below(len(peers)-i)
			peers[i], peers[j] = peers[j], peers[i]
		}
		peers = peers[:ev.Some]
	}
	c.gather(g, peers, func(id uint64) Message { return &StatusAsk{ID: id} })
}

// gather sends a question to some nodes.
func (c *Core) gather(g *gathering, to []membership.NodeID, question func(id uint64) Message) {
	if len(c.logs.gathering) >= maxGatherings {
		c.emit(Answer{ID: g.ask, Err: ErrTooMany})
		return
	}
	c.logs.next++
	id := c.logs.next
	c.logs.gathering[id] = g
	for _, peer := range to {
		g.waiting[peer] = true
		c.send(peer, question(id))
	}
	c.after(gatherTime, func() { c.gathered(id, g) })
	if len(to) == 0 {
		c.gathered(id, g)
	}
}

func (c *Core) gathered(id uint64, g *gathering) {
	if c.logs.gathering[id] != g {
		return
	}
	delete(c.logs.gathering, id)
	switch g.kind {
	case gatherReport:
		if !g.found {
			c.emit(Answer{ID: g.ask, Err: ErrNoReport})
			return
		}
		c.emit(Answer{ID: g.ask, Value: g.report})
	case gatherLog:
		c.emit(Answer{ID: g.ask, Value: g.log.history(g.node)})
	default:
		c.emit(Answer{ID: g.ask, Value: c.statusOf(g)})
	}
}

func (c *Core) statusOf(g *gathering) (out Gathered) {
	for _, node := range sorted(g.newest) {
		if c.isMember(node) {
			out.Logs = append(out.Logs, g.newest[node].log())
		}
	}
	for _, node := range sorted(g.forks) {
		if g.forks[node] && c.isMember(node) {
			out.Forked = append(out.Forked, node)
		}
	}
	for _, node := range sorted(g.holdings) {
		out.Holdings = append(out.Holdings, g.holdings[node])
	}
	return out
}

func (c *Core) onStatusAsk(from membership.NodeID, m *StatusAsk) {
	own := c.holding()
	answer := &StatusTell{ID: m.ID, Objects: own.Objects, Bytes: own.Bytes, Behind: own.Behind, Moving: own.Moving, Placed: wordOf(c.placementVersion()), Stale: uint64(own.Stale / time.Second)}
	size := 0
	for _, node := range sorted(c.logs.kept) {
		n := c.logs.kept[node]
		if n.fork != nil && len(answer.Forks) < maxForks {
			answer.Forks = append(answer.Forks, *n.fork)
		}
		l, ok := n.report()
		if !ok {
			continue
		}
		raw := l.entry.Raw
		if size += len(raw) + 16; len(answer.Records) == maxRecords || size > MaxFrame/2 {
			break
		}
		answer.Records = append(answer.Records, raw)
	}
	c.send(from, answer)
}

func (c *Core) onStatusTell(from membership.NodeID, m *StatusTell) {
	g := c.logs.gathering[m.ID]
	if g == nil || !g.waiting[from] || g.kind != gatherStatus {
		return
	}
	for _, raw := range m.Records {
		l, err := openLog(raw)
		if err == nil && l.entry.Kind == kindReport && l.entry.Seq > g.newest[l.entry.Node].entry.Seq {
			g.newest[l.entry.Node] = l
		}
	}
	for _, proof := range m.Forks {
		if a, err := store.OpenLogEntry(proof.A); err == nil {
			if _, ok := proof.check(a.Node); ok {
				g.forks[a.Node] = true
			}
		}
	}
	g.holdings[from] = Holding{Node: from, Objects: m.Objects, Bytes: m.Bytes, Behind: m.Behind, Moving: m.Moving, Placement: versionOf(m.Placed), Stale: time.Duration(min(m.Stale, maxStale)) * time.Second}
	c.answered(m.ID, g, from, false)
}

// answered takes one off those that are waited for.
func (c *Core) answered(id uint64, g *gathering, from membership.NodeID, enough bool) {
	delete(g.waiting, from)
	if len(g.waiting) == 0 || enough {
		c.gathered(id, g)
	}
}

// mayKeep are those that are here and may have the log of a node: its keepers, and the owners before the last change.
func (c *Core) mayKeep(node membership.NodeID) (out []membership.NodeID) {
	ids := c.keepers(node)
	if old := c.placement.old; old != nil {
		ids = append(ids, old.Owners(old.PartitionOf([]byte(node)), c.cfg.Replicas)...)
	}
	for _, id := range ids {
		if id != c.self && c.alive(id) {
			out = appendNew(out, id)
		}
	}
	return out
}

// askReport asks the node itself and the keepers of its log at once; the newest answer counts.
func (c *Core) askReport(ev AskReport) {
	n := c.logs.kept[ev.Node]
	if !ev.Report.IsZero() {
		c.askRun(ev, n)
		return
	}
	last, here := n.report()
	if ev.Node == c.self {
		if d, ok := c.unsigned(); ok {
			c.emit(Answer{ID: ev.ID, Value: d.report})
			return
		}
	}
	if here = here && last.held != 0; here && (ev.Node == c.self || !c.alive(ev.Node)) {
		c.emit(AnswerReport{ID: ev.ID, Node: ev.Node, Report: last.summary.Report})
		return
	}
	g := &gathering{kind: gatherReport, ask: ev.ID, node: ev.Node, waiting: map[membership.NodeID]bool{}, newest: map[membership.NodeID]logged{}}
	c.gather(g, c.mayKeep(ev.Node), func(id uint64) Message { return &ReportAsk{ID: id, Node: ev.Node} })
}

func (c *Core) askRun(ev AskReport, n *nodeLog) {
	if n != nil && n.holds(ev.Report) {
		c.emit(AnswerReport(ev))
		return
	}
	g := &gathering{kind: gatherReport, ask: ev.ID, node: ev.Node, want: ev.Report, waiting: map[membership.NodeID]bool{}}
	c.gather(g, c.mayKeep(ev.Node), func(id uint64) Message { return &RunAsk{ID: id, Node: ev.Node, Report: ev.Report} })
}

func (c *Core) gatherRun(from membership.NodeID, m *RunTell) {
	g := c.logs.gathering[m.ID]
	if g == nil || !g.waiting[from] || g.kind != gatherReport || g.want.IsZero() {
		return
	}
	if store.HashOf(m.Report) == g.want {
		g.found, g.report = true, m.Report
	}
	c.answered(m.ID, g, from, g.found)
}

func (c *Core) onReportAsk(from membership.NodeID, m *ReportAsk) {
	l, ok := c.logs.kept[m.Node].report()
	if !ok || l.held == 0 {
		c.send(from, &ReportTell{ID: m.ID})
		return
	}
	c.emit(SendReport{To: from, Node: m.Node, Report: l.summary.Report, Message: &ReportTell{ID: m.ID, Record: l.entry.Raw}})
}

func (c *Core) onReportTell(from membership.NodeID, m *ReportTell) {
	g := c.logs.gathering[m.ID]
	if g == nil || !g.waiting[from] || g.kind != gatherReport || !g.want.IsZero() {
		return
	}
	l, err := openLog(m.Record)
	good := err == nil && l.entry.Node == g.node && l.entry.Kind == kindReport && l.summary.Report == store.HashOf(m.Report)
	if good && (!g.found || l.entry.Seq > g.newest[g.node].entry.Seq) {
		g.found, g.report, g.newest[g.node] = true, m.Report, l
	}
	c.answered(m.ID, g, from, g.found && from == g.node)
}

// askHistory asks all that may have a node's log for a part of it, and joins what they have.
func (c *Core) askHistory(ev AskHistory) {
	g := &gathering{kind: gatherLog, ask: ev.ID, node: ev.Node, waiting: map[membership.NodeID]bool{}}
	to := ev.To
	if to == 0 {
		to = 1<<63 - 1
	}
	if n := c.logs.kept[ev.Node]; n != nil {
		g.log.join(n.between(ev.From, to), n.fork, ev.Node)
	}
	c.gather(g, c.mayKeep(ev.Node), func(id uint64) Message { return &LogAsk{ID: id, Node: ev.Node, From: ev.From, To: to} })
}

func (c *Core) gatherHistory(from membership.NodeID, m *LogRange) {
	g := c.logs.gathering[m.ID]
	if g == nil || !g.waiting[from] || g.kind != gatherLog || m.Node != g.node {
		return
	}
	g.log.join(m.Entries, m.Fork, g.node)
	c.answered(m.ID, g, from, false)
}

// join takes in what somebody has of a log.
func (n *nodeLog) join(entries [][]byte, fork *ForkProof, node membership.NodeID) {
	for _, raw := range entries {
		if l, err := openLog(raw); err == nil && l.entry.Node == node {
			n.insert(l)
		}
	}
	if fork != nil && n.fork == nil {
		if at, ok := fork.check(node); ok {
			n.fork, n.forkAt = fork, at
		}
	}
}

// history shows what was joined: the newest maxLogRange entries.
func (n *nodeLog) history(node membership.NodeID) History {
	h := History{Node: node, Low: n.mark.Low, Reports: n.mark.Reports}
	if n.fork != nil {
		h.ForkAt, h.Fork = n.forkAt, n.fork
	}
	for _, l := range n.entries[max(0, len(n.entries)-maxLogRange):] {
		h.Entries = append(h.Entries, l.log())
	}
	return h
}
