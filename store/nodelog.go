package store

import (
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
)

// ErrLogEntry is returned for what is not an entry that its node signed.
var ErrLogEntry = errors.New("bad log entry")

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
	signed, err := decodeLogEntry(raw)
	if err != nil {
		return SealedEntry{}, err
	}
	e := SealedEntry{Raw: raw, Hash: HashOf(signed.Body)}
	keys, err := signed.Open(membership.DomainNodeLog, &e.LogEntry)
	if err != nil {
		return SealedEntry{}, fmt.Errorf("%w: %w", ErrLogEntry, err)
	}
	if len(keys) != 1 || membership.IDOf(keys[0]) != e.Node {
		return SealedEntry{}, fmt.Errorf("%w: not signed by its node %.64q", ErrLogEntry, e.Node)
	}
	return e.check()
}

// ReadLogEntry is OpenLogEntry for what this node has opened before and kept on its own disk: it does not look at the signature,
// which takes most of the time.
func ReadLogEntry(raw []byte) (SealedEntry, error) {
	signed, err := decodeLogEntry(raw)
	if err != nil {
		return SealedEntry{}, err
	}
	e := SealedEntry{Raw: raw, Hash: HashOf(signed.Body)}
	if err := codec.Unmarshal(signed.Body, &e.LogEntry); err != nil {
		return SealedEntry{}, fmt.Errorf("%w: %w", ErrLogEntry, err)
	}
	return e.check()
}

func decodeLogEntry(raw []byte) (signed membership.Signed, err error) {
	if len(raw) > MaxLogBody+4096 {
		return signed, fmt.Errorf("%w: %d bytes", ErrLogEntry, len(raw))
	}
	if err := codec.Unmarshal(raw, &signed); err != nil {
		return signed, fmt.Errorf("%w: %w", ErrLogEntry, err)
	}
	return signed, nil
}

func (e SealedEntry) check() (SealedEntry, error) {
	switch {
	case e.Seq == 0 || (e.Seq == 1) != e.Prev.IsZero():
		return SealedEntry{}, fmt.Errorf("%w: entry %d, and only the first has none before it", ErrLogEntry, e.Seq)
	case e.Kind == "" || len(e.Kind) > MaxLogKind || len(e.Body) > MaxLogBody:
		return SealedEntry{}, fmt.Errorf("%w: entry %d: kind of %d and body of %d bytes", ErrLogEntry, e.Seq, len(e.Kind), len(e.Body))
	}
	return e, nil
}
