package mesh

import (
	"context"
	"slices"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// What every shell of a Core does in the same way.

// maxPutBytes bounds the objects of one Put, so that it fits into a frame with one more of the largest size.
const maxPutBytes = MaxFrame - store.MaxObject - 4096

// PackObjects divides objects among as few Puts as fit into frames.
func PackObjects(objects []Object) []*Put {
	var out []*Put
	size := 0
	for _, o := range objects {
		if len(out) == 0 || size > maxPutBytes || len(out[len(out)-1].Objects) == maxHashes {
			out, size = append(out, &Put{}), 0
		}
		last := out[len(out)-1]
		last.Objects = append(last.Objects, o)
		size += len(o.Data) + 48
	}
	return out
}

// WithReport puts a report's bytes into the message of a SendReport.
func WithReport(m Message, report []byte) Message {
	switch m := m.(type) {
	case *LogTell:
		return &LogTell{Record: m.Record, Report: report}
	case *ReportTell:
		return &ReportTell{ID: m.ID, Record: m.Record, Report: report}
	}
	return m
}

// DoCheckTree does the action CheckTree with what is here.
func DoCheckTree(ctx context.Context, manifest store.Hash, get store.Getter,
	has func(context.Context, []store.Hash) ([]bool, error)) TreeChecked {
	out := TreeChecked{Manifest: manifest}
	if out.Missing, out.Err = store.Missing(ctx, manifest, get, has); out.Err != nil || len(out.Missing) > 0 {
		return out
	}
	root, err := get(ctx, manifest)
	if err != nil {
		out.Err = err
		return out
	}
	pieces, err := store.Pieces(root)
	if err != nil {
		out.Err = err
		return out
	}
	m, err := store.OpenManifest(ctx, manifest, get)
	if err != nil {
		out.Err = err
		return out
	}
	out.Objects = append([]store.Hash{manifest}, m.Needed()...)
	for _, p := range pieces {
		out.Objects = append(out.Objects, p.Hash)
	}
	return out
}

// SavedRoster makes the roster of a node that was a member before it restarted, from the records that it saved; ok is
// false when there are none.
func SavedRoster(saved []store.Pair) (roster *membership.Roster, ok bool, err error) {
	type numbered struct {
		height uint64
		signed membership.Signed
	}
	var statements []numbered
	for _, p := range saved {
		var s membership.Signed
		if key := string(p.Key); len(key) < len(keyRoster) || key[:len(keyRoster)] != keyRoster {
			continue
		}
		if err := codec.Unmarshal(p.Value, &s); err != nil {
			return nil, false, err
		}
		if s.Domain != membership.DomainStatement {
			continue
		}
		var st membership.Statement
		if err := codec.Unmarshal(s.Body, &st); err != nil {
			return nil, false, err
		}
		statements = append(statements, numbered{st.Height, s})
	}
	if len(statements) == 0 {
		return nil, false, nil
	}
	slices.SortStableFunc(statements, func(a, b numbered) int { return int(a.height) - int(b.height) })
	chain, err := membership.OpenChain([]membership.Signed{statements[0].signed})
	if err != nil {
		return nil, false, err
	}
	roster = membership.NewRoster(chain)
	return roster, true, nil
}
