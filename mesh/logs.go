package mesh

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// Each node writes a log of its runs and of what befell it: signed entries, chained by hash, kept by the owners of its id and
// by itself, down to a low-water mark that is an entry too. One writer, so nothing conflicts, unless its disk went back in
// time: then it would sign a number twice. So a node that starts asks the keepers for its newest entry before it writes. One
// that could not reach them and forked all the same is seen by the first keeper that has both branches: its proof is kept and
// shown. The branch of the higher number stays, and the writer puts what it had on the other at its end again.

// Times and limits of writing a node's own log.
const (
	logAgain   = 500 * time.Millisecond // between two rounds of asking for the newest entry
	logAlone   = 3 * time.Second        // until keepers that do not answer are not waited for
	logRebase  = 10 * time.Second       // between two merges of branches, at least
	maxPending = 16                     // entries that wait to be signed
	maxRebase  = 64                     // entries of a lost branch that are written again
)

// logs are the logs that this node keeps, its own among them.
type logs struct {
	kept  map[membership.NodeID]*nodeLog
	acked map[membership.NodeID]uint64 // keeper of our log -> the number of ours that it has
	// had are the keepers of a log that is not ours to keep any more that have it all.
	had       map[membership.NodeID]map[membership.NodeID]bool
	legacy    []membership.NodeID // whose entries are saved under the keys of version 2
	cursor    membership.NodeID   // of the last log that was compared
	gathering map[uint64]*gathering
	next      uint64

	ready   bool // the own log may be written
	began   time.Time
	heard   map[membership.NodeID]bool
	pending []draft
	lost    []logged // of a branch of our own that lost
	rebased time.Time
}

// draft is an entry before it is signed.
type draft struct {
	logged
	at     time.Time
	kind   string
	body   any
	report []byte
}

func newLogs() logs {
	return logs{
		kept: map[membership.NodeID]*nodeLog{}, acked: map[membership.NodeID]uint64{},
		had: map[membership.NodeID]map[membership.NodeID]bool{}, gathering: map[uint64]*gathering{},
		heard: map[membership.NodeID]bool{},
	}
}

// logMost is how much of a log a keeper takes. A node marks its own log when it is half of that.
func (c *Core) logMost() (entries, bytes int) {
	entries, bytes = cmp.Or(c.cfg.LogEntries, logEntries), cmp.Or(c.cfg.LogBytes, logBytes)
	entries = max(entries, logFloor+1)
	return 2 * entries, 2 * bytes
}

func (c *Core) startLogs() {
	c.logs.began = c.now
	for _, node := range c.logs.legacy {
		if l, ok := c.logs.kept[node].newest(); ok {
			c.saveEntry(l)
			c.emit(Save{Key: keyLog + string(node)})
		}
	}
	c.logs.legacy = nil
	c.every(8*time.Second, 12*time.Second, func() {
		c.tellLog()
		c.compareLogs()
	})
	c.event("started", nil)
	c.awaitLog()
}

// awaitLog asks the keepers how far our own log is, until enough have told.
func (c *Core) awaitLog() {
	if c.logs.ready {
		return
	}
	others := slices.DeleteFunc(c.keepers(c.self), func(id membership.NodeID) bool { return id == c.self })
	late := c.now.Sub(c.logs.began) >= logAlone
	alone := len(c.people.ids) <= 1 && !c.cfg.Joins
	open := slices.ContainsFunc(others, func(id membership.NodeID) bool { return !c.logs.heard[id] })
	switch {
	case alone, len(c.logs.heard) > 0 && !open:
		c.logs.ready = true
	case late && (!c.cfg.Volatile || len(c.logs.heard) > 0):
		c.logs.ready = true // what it forks is seen when it meets them
	}
	if c.logs.ready {
		c.flushLog()
		return
	}
	for _, to := range others {
		if !c.logs.heard[to] && c.alive(to) {
			c.send(to, &LogHave{Logs: []LogState{c.logState(c.self)}})
		}
	}
	c.after(logAgain, c.awaitLog)
}

// event writes that something befell this node.
func (c *Core) event(what string, err error) {
	o := Occurrence{What: what}
	if err != nil {
		o.Error = err.Error()
		o.Error = o.Error[:min(len(o.Error), maxLogError)]
	}
	c.write(draft{at: c.now, kind: kindEvent, body: o, logged: logged{event: o}})
}

// reported writes the result of a run.
func (c *Core) reported(ev Reported) {
	s := ev.Summary
	s.Report = store.HashOf(ev.Report)
	s.Error = s.Error[:min(len(s.Error), maxLogError)]
	c.write(draft{at: c.now, kind: kindReport, body: s, report: ev.Report, logged: logged{summary: s}})
}

func (c *Core) write(d draft) {
	if n := len(c.logs.pending); n >= maxPending {
		c.logs.pending = slices.Delete(c.logs.pending, 0, n-maxPending+1)
	}
	c.logs.pending = append(c.logs.pending, d)
	c.people.changes++
	c.flushLog()
}

// flushLog signs what waits, and brings it to the keepers.
func (c *Core) flushLog() {
	if !c.logs.ready || len(c.logs.pending) == 0 {
		return
	}
	for _, d := range c.logs.pending {
		c.seal(d)
	}
	c.logs.pending = nil
	c.markLog()
	c.tellLog()
}

// seal appends one entry to the own log.
func (c *Core) seal(d draft) {
	last, _ := c.logs.kept[c.self].newest()
	body, err := codec.Marshal(d.body)
	if err == nil {
		d.entry, err = store.SealLogEntry(store.LogEntry{
			Node: c.self, Seq: last.entry.Seq + 1, Prev: last.entry.Hash, Time: d.at.UnixNano(), Kind: d.kind, Body: body,
		}, c.cfg.Key)
	}
	if err != nil {
		c.note("cannot write the node's log", "", d.summary.Env, err)
		return
	}
	if len(d.report) > 0 {
		d.held = len(d.report)
		c.emit(Save{Key: RunKey(c.self, d.summary.Report), Value: d.report})
	}
	c.keepEntry(d.logged)
}

// markLog signs a higher low-water mark when the log has become too long, so that three quarters stay.
func (c *Core) markLog() {
	most, bytes := c.logMost()
	n := c.logs.kept[c.self]
	most, bytes = most/2, bytes/2
	if n == nil || len(n.entries) <= most && n.bytes <= bytes {
		return
	}
	mark := n.mark
	if len(n.entries) > most {
		mark.Low = n.entries[len(n.entries)-most*3/4].entry.Seq
	}
	if n.bytes > bytes {
		size := 0
		for i := len(n.entries) - 1; i >= 0; i-- {
			if size += n.entries[i].size(); size > bytes*3/4 {
				mark.Reports = max(mark.Reports, n.entries[i].entry.Seq+1)
				break
			}
		}
	}
	if mark != n.mark {
		c.seal(draft{at: c.now, kind: kindMark, body: mark, logged: logged{mark: mark}})
	}
}

// keepEntry takes an entry into the log that it belongs to, and saves what that changes.
func (c *Core) keepEntry(l logged) (taken bool) {
	node := l.entry.Node
	n := c.logs.kept[node]
	if n == nil {
		n = &nodeLog{}
		c.logs.kept[node] = n
	}
	forked := n.fork != nil
	taken, removed := n.insert(l)
	for _, r := range removed {
		c.dropEntry(n, r, node == c.self)
	}
	if n.fork != nil && !forked {
		c.forked(node, n)
	}
	if taken {
		c.saveEntry(l)
		c.pruneLog(node, n)
	}
	c.people.changes++
	return taken
}

func (c *Core) forked(node membership.NodeID, n *nodeLog) {
	c.note("a node has written its log twice", node, "", fmt.Errorf("there are two entries %d, each signed by it", n.forkAt))
	c.save(keyFork+string(node), *n.fork)
}

// dropEntry forgets an entry that is not in the log any more. What we wrote ourselves on a branch that lost is written again.
func (c *Core) dropEntry(n *nodeLog, l logged, again bool) {
	c.emit(Save{Key: entryKey(l.entry.Node, l.entry.Seq)})
	if again && l.entry.Kind != kindMark && len(c.logs.lost) < maxRebase {
		c.logs.lost = append(c.logs.lost, l)
		return
	}
	c.dropReport(n, l)
}

func (c *Core) dropReport(n *nodeLog, l logged) {
	switch {
	case l.held == heldBefore:
		c.emit(Save{Key: keyReport + string(l.entry.Node)})
	case l.held > 0 && !n.holds(l.summary.Report):
		c.emit(Save{Key: RunKey(l.entry.Node, l.summary.Report)})
	}
}

// pruneLog drops what is below the low-water mark, and what is more than a keeper takes of any node.
func (c *Core) pruneLog(node membership.NodeID, n *nodeLog) {
	most, bytes := c.logMost()
	low := n.low(most)
	for len(n.entries) > 0 && (n.entries[0].entry.Seq < low || len(n.entries) > most) {
		c.dropEntry(n, n.cut(0), false)
	}
	for i := 0; i < len(n.entries)-1; i++ {
		l := n.entries[i]
		marked := l.entry.Seq < n.mark.Reports && i < len(n.entries)-logFloor
		if n.bytes <= bytes && !marked {
			break
		}
		if l.held == 0 {
			continue
		}
		n.bytes -= max(l.held, 0)
		n.entries[i].held = 0
		c.saveEntry(n.entries[i])
		c.dropReport(n, l)
	}
	if n.fork != nil && len(n.entries) > 0 && n.forkAt+1 < low {
		n.fork = nil
		c.emit(Save{Key: keyFork + string(node)})
	}
}

// tellLog brings the newest report to those of its keepers that have not said yet that they have it, and tells them how far
// the log is.
func (c *Core) tellLog() {
	n := c.logs.kept[c.self]
	newest, ok := n.newest()
	if !ok {
		return
	}
	mine, reported := n.report()
	for _, to := range c.keepers(c.self) {
		if to == c.self || !c.alive(to) || c.logs.acked[to] >= newest.entry.Seq {
			continue
		}
		if reported && c.logs.acked[to] < mine.entry.Seq && mine.held != 0 {
			c.emit(SendReport{To: to, Node: c.self, Report: mine.summary.Report, Message: &LogTell{Record: mine.entry.Raw}})
		}
		if newest.entry.Seq != mine.entry.Seq {
			c.send(to, &LogHave{Logs: []LogState{c.logState(c.self)}})
		}
	}
}

// onLogTell keeps the newest report of a node whose log this one keeps.
func (c *Core) onLogTell(from membership.NodeID, m *LogTell) {
	l, err := openLog(m.Record)
	if err == nil && (l.entry.Kind != kindReport || l.summary.Report != store.HashOf(m.Report) || !c.isMember(l.entry.Node)) {
		err = errors.New("not the report it names, or not of a member")
	}
	if err != nil {
		c.note("refused a log entry", from, "", err)
		return
	}
	node := l.entry.Node
	if !slices.Contains(c.keepers(node), c.self) {
		return
	}
	before, _ := c.logs.kept[node].newest()
	c.keepReport(l, m.Report)
	if node == c.self {
		c.fillLog(from, node)
		c.heardOfOwn(from)
		return
	}
	newest, _ := c.logs.kept[node].newest()
	if from == node {
		if l.entry.Seq < before.entry.Seq {
			if last, ok := c.logs.kept[node].report(); ok && last.held != 0 {
				c.emit(SendReport{To: from, Node: node, Report: last.summary.Report, Message: &LogTell{Record: last.entry.Raw}})
			}
			c.send(from, &LogHave{Logs: []LogState{c.logState(node)}})
			return
		}
		c.send(from, &LogAck{Node: node, Seq: newest.entry.Seq})
	}
	c.fillLog(from, node)
}

// keepReport keeps an entry with its report.
func (c *Core) keepReport(l logged, report []byte) {
	l.held = len(report)
	if c.keepEntry(l) {
		c.emit(Save{Key: RunKey(l.entry.Node, l.summary.Report), Value: report})
		return
	}
	c.tookReport(l.entry.Node, report)
}

// mergeLog goes on after entries of this node's own that it has forgotten: it lost its disk, or that went back. Only this node
// can have signed them. What it wrote meanwhile on a branch of its own comes after them, with a word about it.
func (c *Core) mergeLog() {
	if len(c.logs.lost) == 0 || !c.logs.ready || c.now.Sub(c.logs.rebased) < logRebase {
		return // the next round of comparing comes here again
	}
	most, _ := c.logMost()
	if _, _, lacks := c.logs.kept[c.self].gap(most); lacks {
		return
	}
	c.logs.rebased = c.now
	lost := c.logs.lost
	c.logs.lost = nil
	slices.SortFunc(lost, func(a, b logged) int { return cmp.Compare(a.entry.Seq, b.entry.Seq) })
	o := Occurrence{What: fmt.Sprintf("entries from %d on were written twice: the disk went back in time, or two machines have this node's key", lost[0].entry.Seq)}
	c.seal(draft{at: c.now, kind: kindFork, body: o, logged: logged{event: o}})
	for _, l := range lost {
		d := draft{at: time.Unix(0, l.entry.Time), kind: l.entry.Kind, logged: l}
		if d.body = l.summary; l.entry.Kind != kindReport {
			d.body = l.event
		}
		c.seal(d)
	}
	c.markLog()
	c.tellLog()
}

func (c *Core) onLogAck(from membership.NodeID, m *LogAck) {
	if m.Node == c.self {
		c.logs.acked[from] = m.Seq
	}
}
