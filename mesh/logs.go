package mesh

import (
	"errors"
	"maps"
	"slices"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// Limits and times of the nodes' logs.
const (
	maxLogRecord  = 8 << 10
	maxLogError   = 1 << 10
	gatherTime    = 2 * time.Second
	maxGatherings = 64
	kindReport    = "report"
)

// ErrNoReport is returned when no node that can be reached has a report.
var ErrNoReport = errors.New("no report")

// Summary is what a node says of its last run: the body of its newest log entry.
type Summary struct {
	Env      string     `cbor:"1,keyasint"`
	Version  uint64     `cbor:"2,keyasint"`
	Revision store.Hash `cbor:"3,keyasint"`
	Result   string     `cbor:"4,keyasint"` // executor.Result
	Changed  int        `cbor:"5,keyasint"`
	Drift    int        `cbor:"6,keyasint"`
	Error    string     `cbor:"7,keyasint,omitempty"`
	Report   store.Hash `cbor:"8,keyasint"` // of the report's bytes
}

// NodeLog is the newest entry of a node's log.
type NodeLog struct {
	Node membership.NodeID
	Seq  uint64
	Time time.Time // on the node's clock
	Summary
}

// logs are the newest entries of the nodes whose logs this node keeps, its own among them.
type logs struct {
	newest    map[membership.NodeID]logged
	acked     map[membership.NodeID]uint64 // owner of our log -> the number of ours that it has
	gathering map[uint64]*gathering
	next      uint64
}

type logged struct {
	entry   store.SealedEntry
	summary Summary
}

func (l logged) log() NodeLog {
	return NodeLog{Node: l.entry.Node, Seq: l.entry.Seq, Time: time.Unix(0, l.entry.Time).UTC(), Summary: l.summary}
}

// gathering is a question to many; whoever answers is taken off waiting.
type gathering struct {
	ask      uint64 // whose answer it is
	waiting  map[membership.NodeID]bool
	newest   map[membership.NodeID]logged
	holdings map[membership.NodeID]Holding
	node     membership.NodeID // of a report
	report   []byte
	found    bool
}

func newLogs() logs {
	return logs{
		newest: map[membership.NodeID]logged{}, acked: map[membership.NodeID]uint64{}, gathering: map[uint64]*gathering{},
	}
}

func openLog(raw []byte) (logged, error) {
	entry, err := store.OpenLogEntry(raw)
	if err != nil {
		return logged{}, err
	}
	l := logged{entry: entry}
	if entry.Kind != kindReport {
		return l, errors.New("not a report's entry")
	}
	return l, codec.Unmarshal(entry.Body, &l.summary)
}

func (c *Core) loadLog(raw []byte) error {
	l, err := openLog(raw)
	if err == nil {
		c.logs.newest[l.entry.Node] = l
	}
	return err
}

func (c *Core) startLogs() {
	c.every(8*time.Second, 12*time.Second, c.tellLog)
}

// reported writes the node's own log and brings it to its owners.
func (c *Core) reported(ev Reported) {
	s := ev.Summary
	s.Report = store.HashOf(ev.Report)
	s.Error = s.Error[:min(len(s.Error), maxLogError)]
	last := c.logs.newest[c.self].entry
	body, err := codec.Marshal(s)
	if err == nil {
		var entry store.SealedEntry
		entry, err = store.SealLogEntry(store.LogEntry{
			Node: c.self, Seq: last.Seq + 1, Prev: last.Hash, Time: c.now.UnixNano(), Kind: kindReport, Body: body,
		}, c.cfg.Key)
		if err == nil {
			c.keepLog(logged{entry: entry, summary: s}, ev.Report)
			c.tellLog()
			return
		}
	}
	c.note("cannot write the node's log", "", s.Env, err)
}

func (c *Core) keepLog(l logged, report []byte) {
	node := l.entry.Node
	c.logs.newest[node] = l
	c.emit(Save{Key: keyLog + string(node), Value: l.entry.Raw})
	c.emit(Save{Key: ReportKey(node), Value: report})
	c.people.changes++
}

// tellLog brings the newest entry to those of its owners that have not said yet that they keep it.
func (c *Core) tellLog() {
	mine, ok := c.logs.newest[c.self]
	if !ok {
		return
	}
	for _, to := range c.logOwners(c.self) {
		if to != c.self && c.alive(to) && c.logs.acked[to] != mine.entry.Seq {
			c.emit(SendReport{To: to, Node: c.self, Message: &LogTell{Record: mine.entry.Raw}})
		}
	}
}

// onLogTell keeps the newest entry of a node whose log this one owns.
func (c *Core) onLogTell(from membership.NodeID, m *LogTell) {
	l, err := openLog(m.Record)
	if err == nil && (l.summary.Report != store.HashOf(m.Report) || !c.isMember(l.entry.Node)) {
		err = errors.New("not the report it names, or not of a member")
	}
	if err != nil {
		c.note("refused a log entry", from, "", err)
		return
	}
	if l.entry.Node == c.self {
		c.resumeLog(l)
		return
	}
	if !slices.Contains(c.logOwners(l.entry.Node), c.self) {
		return
	}
	if newest := c.logs.newest[l.entry.Node].entry; from == l.entry.Node && l.entry.Seq < newest.Seq {
		c.emit(SendReport{To: from, Node: from, Message: &LogTell{Record: newest.Raw}})
		return
	}
	if l.entry.Seq > c.logs.newest[l.entry.Node].entry.Seq {
		c.keepLog(l, m.Report)
	}
	c.send(from, &LogAck{Node: l.entry.Node, Seq: c.logs.newest[l.entry.Node].entry.Seq})
}

// resumeLog goes on after an entry of this node's own that it has forgotten: it lost its disk, or has none. Numbered anew from
// 1, what it reports would count as old everywhere. Only this node can have signed that entry, so nobody else can set its log.
func (c *Core) resumeLog(last logged) {
	mine, ok := c.logs.newest[c.self]
	if !ok || last.entry.Seq <= mine.entry.Seq {
		return
	}
	body, err := codec.Marshal(mine.summary)
	if err == nil {
		mine.entry, err = store.SealLogEntry(store.LogEntry{
			Node: c.self, Seq: last.entry.Seq + 1, Prev: last.entry.Hash, Time: c.now.UnixNano(), Kind: kindReport, Body: body,
		}, c.cfg.Key)
	}
	if err != nil {
		c.note("cannot write the node's log", "", mine.summary.Env, err)
		return
	}
	c.logs.newest[c.self] = mine
	c.emit(Save{Key: keyLog + string(c.self), Value: mine.entry.Raw})
	c.tellLog()
}

func (c *Core) onLogAck(from membership.NodeID, m *LogAck) {
	if m.Node == c.self {
		c.logs.acked[from] = m.Seq
	}
}

// askStatus asks members that are alive, and answers when all of them did or gatherTime is over.
func (c *Core) askStatus(ev AskStatus) {
	g := &gathering{
		ask: ev.ID, waiting: map[membership.NodeID]bool{}, newest: maps.Clone(c.logs.newest),
		holdings: map[membership.NodeID]Holding{
			c.self: c.holding(),
		},
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
	if g.node != "" {
		if !g.found {
			c.emit(Answer{ID: g.ask, Err: ErrNoReport})
			return
		}
		c.emit(Answer{ID: g.ask, Value: g.report})
		return
	}
	var out Gathered
	for _, node := range sorted(g.newest) {
		if c.isMember(node) {
			out.Logs = append(out.Logs, g.newest[node].log())
		}
	}
	for _, node := range sorted(g.holdings) {
		out.Holdings = append(out.Holdings, g.holdings[node])
	}
	c.emit(Answer{ID: g.ask, Value: out})
}

func (c *Core) onStatusAsk(from membership.NodeID, m *StatusAsk) {
	own := c.holding()
	answer := &StatusTell{ID: m.ID, Objects: own.Objects, Bytes: own.Bytes, Behind: own.Behind, Moving: own.Moving}
	size := 0
	for _, node := range sorted(c.logs.newest) {
		raw := c.logs.newest[node].entry.Raw
		if size += len(raw) + 16; len(answer.Records) == maxRecords || size > MaxFrame/2 {
			break
		}
		answer.Records = append(answer.Records, raw)
	}
	c.send(from, answer)
}

func (c *Core) onStatusTell(from membership.NodeID, m *StatusTell) {
	g := c.logs.gathering[m.ID]
	if g == nil || !g.waiting[from] || g.node != "" {
		return
	}
	for _, raw := range m.Records {
		l, err := openLog(raw)
		if err == nil && l.entry.Seq > g.newest[l.entry.Node].entry.Seq {
			g.newest[l.entry.Node] = l
		}
	}
	g.holdings[from] = Holding{Node: from, Objects: m.Objects, Bytes: m.Bytes, Behind: m.Behind, Moving: m.Moving}
	delete(g.waiting, from)
	if len(g.waiting) == 0 {
		c.gathered(m.ID, g)
	}
}

// askReport asks the node itself and the owners of its log at once; the newest answer counts.
func (c *Core) askReport(ev AskReport) {
	if ev.Node == c.self {
		c.emit(AnswerReport{ID: ev.ID, Node: c.self})
		return
	}
	var to []membership.NodeID
	for _, id := range append(c.logOwners(ev.Node), ev.Node) {
		if id != c.self && c.alive(id) {
			to = appendNew(to, id)
		}
	}
	if _, here := c.logs.newest[ev.Node]; here && !c.alive(ev.Node) {
		c.emit(AnswerReport(ev))
		return
	}
	g := &gathering{ask: ev.ID, node: ev.Node, waiting: map[membership.NodeID]bool{}, newest: map[membership.NodeID]logged{}}
	c.gather(g, to, func(id uint64) Message { return &ReportAsk{ID: id, Node: ev.Node} })
}

func (c *Core) onReportAsk(from membership.NodeID, m *ReportAsk) {
	l, ok := c.logs.newest[m.Node]
	if !ok {
		c.send(from, &ReportTell{ID: m.ID})
		return
	}
	c.emit(SendReport{To: from, Node: m.Node, Message: &ReportTell{ID: m.ID, Record: l.entry.Raw}})
}

func (c *Core) onReportTell(from membership.NodeID, m *ReportTell) {
	g := c.logs.gathering[m.ID]
	if g == nil || !g.waiting[from] || g.node == "" {
		return
	}
	delete(g.waiting, from)
	l, err := openLog(m.Record)
	good := err == nil && l.entry.Node == g.node && l.summary.Report == store.HashOf(m.Report)
	if good && (!g.found || l.entry.Seq > g.newest[g.node].entry.Seq) {
		g.found, g.report, g.newest[g.node] = true, m.Report, l
	}
	if len(g.waiting) == 0 || (g.found && from == g.node) {
		c.gathered(m.ID, g)
	}
}
