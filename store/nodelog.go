package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"shoal/internal/codec"
	"shoal/membership"
)

// Limits of an entry of a node's log.
const (
	MaxLogBody = 128 << 10 // bytes
	MaxLogKind = 64        // bytes
	MaxMerge   = 512       // entries of one Merge
)

// Errors of a node's log that callers branch on.
var (
	// ErrFork: two different entries with one number, or a chain that does not fit. The node signed both: its key is in
	// two places, or its disk was set back.
	ErrFork = errors.New("fork in a node's log")
	// ErrLogEntry: not an entry that its node signed.
	ErrLogEntry = errors.New("bad log entry")
)

// LogEntry is one event or report of one node: only that node writes it, so nothing conflicts.
type LogEntry struct {
	Node membership.NodeID `cbor:"1,keyasint"`
	Seq  uint64            `cbor:"2,keyasint"` // from 1, without gaps
	Prev Hash              `cbor:"3,keyasint"` // LogHash of the entry before; zero for the first
	Time int64             `cbor:"4,keyasint"` // Unix nanoseconds on the node's clock; for people only
	Kind string            `cbor:"5,keyasint"`
	Body []byte            `cbor:"6,keyasint"`
}

// SealedEntry is a log entry as it is stored and sent, checked.
type SealedEntry struct {
	LogEntry
	Raw []byte
	// Hash is of what was signed, without the signatures: of those a key can make many for one entry.
	Hash Hash
}

// SealLogEntry signs an entry with its node's key.
func SealLogEntry(e LogEntry, key ed25519.PrivateKey) (SealedEntry, error) {
	signed, err := membership.Sign(membership.DomainNodeLog, e, key)
	if err != nil {
		return SealedEntry{}, err
	}
	raw, err := codec.Marshal(signed)
	if err != nil {
		return SealedEntry{}, err
	}
	return OpenLogEntry(raw)
}

// OpenLogEntry decodes an entry and checks its form and that its node signed it.
func OpenLogEntry(raw []byte) (SealedEntry, error) {
	var signed membership.Signed
	if len(raw) > MaxLogBody+4096 {
		return SealedEntry{}, fmt.Errorf("%w: %d bytes", ErrLogEntry, len(raw))
	}
	if err := codec.Unmarshal(raw, &signed); err != nil {
		return SealedEntry{}, fmt.Errorf("%w: %w", ErrLogEntry, err)
	}
	e := SealedEntry{Raw: raw, Hash: HashOf(signed.Body)}
	keys, err := signed.Open(membership.DomainNodeLog, &e.LogEntry)
	if err != nil {
		return SealedEntry{}, fmt.Errorf("%w: %w", ErrLogEntry, err)
	}
	if len(keys) != 1 || membership.IDOf(keys[0]) != e.Node {
		return SealedEntry{}, fmt.Errorf("%w: not signed by its node %.64q", ErrLogEntry, e.Node)
	}
	switch {
	case e.Seq == 0 || (e.Seq == 1) != e.Prev.IsZero():
		return SealedEntry{}, fmt.Errorf("%w: entry %d, and only the first has none before it", ErrLogEntry, e.Seq)
	case e.Kind == "" || len(e.Kind) > MaxLogKind || len(e.Body) > MaxLogBody:
		return SealedEntry{}, fmt.Errorf("%w: entry %d: kind of %d and body of %d bytes", ErrLogEntry, e.Seq, len(e.Kind), len(e.Body))
	}
	return e, nil
}

// Logs are the logs of all nodes, as far as this node has them. They are sets of entries named by node and number, and
// merging is their union: associative, commutative and idempotent. The one thing refused is a fork, of which the entry
// that came first stays. Gaps are allowed: a node may ask for the newest first.
type Logs struct{ kv KV }

// NewLogs keeps the logs in kv.
func NewLogs(kv KV) Logs { return Logs{kv: kv} }

// Merge takes entries that a peer sent, of any nodes. It checks all before it keeps any.
func (l Logs) Merge(ctx context.Context, raw [][]byte) error {
	if len(raw) > MaxMerge {
		return fmt.Errorf("merge: %d log entries, more than %d", len(raw), MaxMerge)
	}
	fresh := map[string]SealedEntry{}
	for _, r := range raw {
		e, err := OpenLogEntry(r)
		if err == nil {
			err = l.fits(ctx, e, fresh)
		}
		if err != nil {
			return fmt.Errorf("merge: %w", err)
		}
	}
	var changes []Change
	size := 0
	for key, e := range fresh { // each entry is whole by itself, so the order and the batches do not matter
		if size += len(key) + len(e.Raw); size > MaxBatch && len(changes) > 0 {
			if err := l.kv.Write(ctx, changes); err != nil {
				return fmt.Errorf("merge: %w", err)
			}
			changes, size = nil, len(key)+len(e.Raw)
		}
		changes = append(changes, Change{Key: []byte(key), Value: e.Raw})
	}
	if err := l.kv.Write(ctx, changes); err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	return nil
}

// fits adds e to fresh unless it is here, and refuses one that is not in line with its neighbours.
func (l Logs) fits(ctx context.Context, e SealedEntry, fresh map[string]SealedEntry) error {
	same, here, err := l.find(ctx, e.Node, e.Seq, fresh)
	if err != nil {
		return err
	}
	if here {
		if same.Hash != e.Hash {
			return fmt.Errorf("%w: two entries %d of %s", ErrFork, e.Seq, e.Node.Short())
		}
		return nil
	}
	before, known, err := l.find(ctx, e.Node, e.Seq-1, fresh)
	if err != nil {
		return err
	}
	if known && before.Hash != e.Prev {
		return fmt.Errorf("%w: entry %d of %s follows another %d", ErrFork, e.Seq, e.Node.Short(), before.Seq)
	}
	next, known, err := l.find(ctx, e.Node, e.Seq+1, fresh)
	if err != nil {
		return err
	}
	if known && next.Prev != e.Hash {
		return fmt.Errorf("%w: entry %d of %s precedes another %d", ErrFork, e.Seq, e.Node.Short(), next.Seq)
	}
	fresh[string(LogKey(e.Node, e.Seq))] = e
	return nil
}

func (l Logs) find(ctx context.Context, node membership.NodeID, seq uint64, fresh map[string]SealedEntry) (SealedEntry, bool, error) {
	key := LogKey(node, seq)
	if e, ok := fresh[string(key)]; ok || seq == 0 {
		return e, ok, nil
	}
	raw, err := l.kv.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return SealedEntry{}, false, nil
	}
	if err != nil {
		return SealedEntry{}, false, err
	}
	e, err := OpenLogEntry(raw)
	return e, err == nil, err
}

// After returns at most limit entries of a node with numbers greater than seq, in order.
func (l Logs) After(ctx context.Context, node membership.NodeID, seq uint64, limit int) ([]SealedEntry, error) {
	pairs, err := l.kv.Scan(ctx, LogPrefix(node), LogKey(node, seq), limit, false)
	if err != nil {
		return nil, err
	}
	out := make([]SealedEntry, 0, len(pairs))
	for _, pair := range pairs {
		e, err := OpenLogEntry(pair.Value)
		if err == nil && !bytes.Equal(pair.Key, LogKey(node, e.Seq)) {
			err = fmt.Errorf("%w: entry %d under the key of another", ErrLogEntry, e.Seq)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// LogWriter appends to this node's own log. It belongs to one goroutine.
type LogWriter struct {
	logs Logs
	key  ed25519.PrivateKey
	node membership.NodeID
	last SealedEntry
}

// OpenLogWriter finds the end of the log of the node with that key.
func OpenLogWriter(ctx context.Context, logs Logs, key ed25519.PrivateKey) (*LogWriter, error) {
	w := &LogWriter{logs: logs, key: key, node: membership.IDOf(key.Public().(ed25519.PublicKey))}
	var seq uint64
	for {
		page, err := logs.kv.Scan(ctx, LogPrefix(w.node), LogKey(w.node, seq), MaxScan, true)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		seq = logSeq(page[len(page)-1].Key)
	}
	var err error
	if seq > 0 {
		w.last, _, err = logs.find(ctx, w.node, seq, nil)
	}
	return w, err
}

// Append writes the next entry; when it returns nil, the entry is durable here. time is in Unix nanoseconds.
func (w *LogWriter) Append(ctx context.Context, time int64, kind string, body []byte) (SealedEntry, error) {
	e, err := SealLogEntry(LogEntry{
		Node: w.node, Seq: w.last.Seq + 1, Prev: w.last.Hash, Time: time, Kind: kind, Body: body,
	}, w.key)
	if err != nil {
		return e, fmt.Errorf("append: %w", err)
	}
	if err := w.logs.kv.Write(ctx, []Change{{Key: LogKey(w.node, e.Seq), Value: e.Raw}}); err != nil {
		return e, fmt.Errorf("append: %w", err)
	}
	w.last = e
	return e, nil
}

// Last is the newest entry; its Seq is 0 when there is none.
func (w *LogWriter) Last() SealedEntry { return w.last }
