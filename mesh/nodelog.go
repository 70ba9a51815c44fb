package mesh

import (
	"cmp"
	"slices"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// Limits of one node's log, whoever keeps it.
const (
	maxLogRecord = 8 << 10 // bytes of an entry
	maxLogError  = 1 << 10
	// logEntries and logBytes are how much a node keeps of its own log: with more it signs a higher low-water mark.
	logEntries = 1024
	logBytes   = 4 << 20 // of entries and reports
	// A keeper takes twice that of a node that signs no marks, and never lets a mark take the newest logFloor entries: who
	// breaks into a node gets its key, and shall not wipe its traces with it at once.
	logFloor = 64
)

// The kinds of entries. Others are kept and shown by their names: a newer version may have written them.
const (
	kindReport = "report" // Summary
	kindEvent  = "event"  // Occurrence
	kindMark   = "mark"   // logMark
	kindFork   = "fork"   // Occurrence
)

// Summary is what a node says of its last run: the body of a report's entry.
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

// Occurrence is the body of an event's entry.
type Occurrence struct {
	What  string `cbor:"1,keyasint"`
	Error string `cbor:"2,keyasint,omitempty"`
}

// logMark is the low-water mark: nobody needs to keep entries before Low, nor reports of entries before Reports.
type logMark struct {
	Low     uint64 `cbor:"1,keyasint"`
	Reports uint64 `cbor:"2,keyasint"`
}

// NodeLog is an entry of a node's log.
type NodeLog struct {
	Node membership.NodeID
	Seq  uint64
	Time time.Time // on the node's clock
	Kind string
	Summary
	Event Occurrence
}

// logged is an entry, opened.
type logged struct {
	entry   store.SealedEntry
	summary Summary
	event   Occurrence
	mark    logMark
	held    int // bytes of its report that are kept here; 0: none; heldBefore: under the key of version 2
}

const heldBefore = -1

func (l logged) log() NodeLog {
	return NodeLog{
		Node: l.entry.Node, Seq: l.entry.Seq, Time: time.Unix(0, l.entry.Time).UTC(), Kind: l.entry.Kind,
		Summary: l.summary, Event: l.event,
	}
}

func (l logged) size() int { return len(l.entry.Raw) + max(l.held, 0) }

func openLog(raw []byte) (logged, error) {
	entry, err := store.OpenLogEntry(raw)
	if err != nil {
		return logged{}, err
	}
	return readLog(entry)
}

func readLog(entry store.SealedEntry) (l logged, err error) {
	l.entry = entry
	switch entry.Kind {
	case kindReport:
		err = codec.Unmarshal(entry.Body, &l.summary)
	case kindEvent, kindFork:
		err = codec.Unmarshal(entry.Body, &l.event)
	case kindMark:
		err = codec.Unmarshal(entry.Body, &l.mark)
	}
	return l, err
}

// ForkProof is two entries that one key signed and that cannot be in one log: of one number, or neighbours of which the later
// does not name the earlier.
type ForkProof struct {
	_    struct{} `cbor:",toarray"`
	A, B []byte
}

// check returns the number of the entry of which there are two.
func (p ForkProof) check(node membership.NodeID) (at uint64, ok bool) {
	a, errA := store.OpenLogEntry(p.A)
	b, errB := store.OpenLogEntry(p.B)
	if errA != nil || errB != nil || a.Node != node || b.Node != node {
		return 0, false
	}
	same := a.Seq == b.Seq && a.Hash != b.Hash
	apart := a.Seq+1 == b.Seq && b.Prev != a.Hash
	return a.Seq, same || apart
}

// nodeLog is what is kept of one node's log: entries in the order of their numbers, of which neighbours are always linked by
// hash. There may be gaps, which are filled from above, so that what the newest entry leads to is what stays.
type nodeLog struct {
	entries []logged
	mark    logMark // the highest that was signed
	fork    *ForkProof
	forkAt  uint64
	bytes   int
}

func (n *nodeLog) newest() (l logged, ok bool) {
	if n == nil || len(n.entries) == 0 {
		return logged{}, false
	}
	return n.entries[len(n.entries)-1], true
}

// report is the newest entry of a run.
func (n *nodeLog) report() (l logged, ok bool) {
	if n == nil {
		return logged{}, false
	}
	for i := len(n.entries) - 1; i >= 0; i-- {
		if n.entries[i].entry.Kind == kindReport {
			return n.entries[i], true
		}
	}
	return logged{}, false
}

func (n *nodeLog) find(seq uint64) (at int, here bool) {
	return slices.BinarySearchFunc(n.entries, seq, func(l logged, seq uint64) int { return cmp.Compare(l.entry.Seq, seq) })
}

// insert takes an entry in, unless it is on a branch that the entries after it do not lead to. What it takes the place of is
// returned.
func (n *nodeLog) insert(l logged) (taken bool, removed []logged) {
	at, here := n.find(l.entry.Seq)
	if here {
		old := n.entries[at]
		if old.entry.Hash == l.entry.Hash {
			return false, nil
		}
		n.prove(old, l)
		// The one that the next entry names stays; of two newest the lower hash, so that all keepers choose the same.
		if at+1 < len(n.entries) && n.entries[at+1].entry.Seq == l.entry.Seq+1 || compareHashes(old.entry.Hash, l.entry.Hash) < 0 {
			return false, nil
		}
		removed = append(removed, n.cut(at))
	}
	if at < len(n.entries) && n.entries[at].entry.Seq == l.entry.Seq+1 && n.entries[at].entry.Prev != l.entry.Hash {
		n.prove(l, n.entries[at])
		return false, removed
	}
	if at > 0 && n.entries[at-1].entry.Seq == l.entry.Seq-1 && n.entries[at-1].entry.Hash != l.entry.Prev {
		n.prove(n.entries[at-1], l)
		removed = append(removed, n.cut(at-1))
		at--
	}
	n.entries = slices.Insert(n.entries, at, l)
	n.bytes += l.size()
	if l.entry.Kind == kindMark && l.mark.Low <= l.entry.Seq && l.mark.Reports <= l.entry.Seq {
		n.mark.Low, n.mark.Reports = max(n.mark.Low, l.mark.Low), max(n.mark.Reports, l.mark.Reports)
	}
	return true, removed
}

func (n *nodeLog) cut(at int) logged {
	l := n.entries[at]
	n.entries = slices.Delete(n.entries, at, at+1)
	n.bytes -= l.size()
	return l
}

// prove keeps the first proof of a fork.
func (n *nodeLog) prove(a, b logged) {
	if n.fork == nil {
		n.fork, n.forkAt = &ForkProof{A: a.entry.Raw, B: b.entry.Raw}, a.entry.Seq
	}
}

// low is the number before which nothing is kept.
func (n *nodeLog) low(most int) uint64 {
	newest, ok := n.newest()
	if !ok {
		return 1
	}
	low := n.mark.Low
	if floor := newest.entry.Seq - min(newest.entry.Seq, logFloor-1); low > floor {
		low = floor
	}
	return max(1, low, newest.entry.Seq-min(newest.entry.Seq, uint64(most)-1))
}

// first begins the run of entries without a gap that ends with the newest; 0: there is none.
func (n *nodeLog) first() uint64 {
	if n == nil || len(n.entries) == 0 {
		return 0
	}
	i := len(n.entries) - 1
	for i > 0 && n.entries[i-1].entry.Seq+1 == n.entries[i].entry.Seq {
		i--
	}
	return n.entries[i].entry.Seq
}

// gap is the highest range of entries that should be here and are not.
func (n *nodeLog) gap(most int) (from, to uint64, ok bool) {
	first, low := n.first(), n.low(most)
	if first <= low {
		return 0, 0, false
	}
	at, _ := n.find(first)
	from = low
	if at > 0 {
		from = max(low, n.entries[at-1].entry.Seq+1)
	}
	return from, first - 1, true
}

// lacking are the newest entries whose reports are wanted and not here.
func (n *nodeLog) lacking(most int) (out []store.Hash) {
	for i := len(n.entries) - 1; i >= 0 && len(out) < most; i-- {
		l := n.entries[i]
		if l.entry.Seq < n.mark.Reports && i < len(n.entries)-logFloor {
			break
		}
		if l.entry.Kind == kindReport && l.held == 0 {
			out = append(out, l.summary.Report)
		}
	}
	return out
}
