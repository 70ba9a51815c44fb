package executor

import (
	"fmt"
	"slices"
	"strings"

	"shoal/internal/codec"
	"shoal/states"
)

// ledgerFormat is the version of the ledger on disk.
const ledgerFormat = 1

// ledger says what shoal owns: for each thing, what was there before shoal first changed it.
type ledger struct {
	Format   int       `cbor:"1,keyasint"`
	Sequence uint64    `cbor:"2,keyasint"` // of the last committed run
	Entries  []entry   `cbor:"3,keyasint"` // in the order in which they were made
	Pending  []trigger `cbor:"4,keyasint"`
	// Folders are those that were made on the way to something, longest first. They belong to no state.
	Folders []string `cbor:"5,keyasint,omitempty"`

	index map[string]int // by key, made when it is first asked for: a run that changes nothing does not ask
}

// entry is one thing: a path, a user, a package; or the part of a state where it provides no such thing.
type entry struct {
	Key    string `cbor:"1,keyasint"`
	ID     string `cbor:"2,keyasint"` // the state that has it now
	Number int    `cbor:"3,keyasint"`
	Keep   bool   `cbor:"4,keyasint"` // on_remove: keep
	// Saved is encoded, because a run that changes nothing reads a thousand entries and opens none of them.
	Saved []byte   `cbor:"5,keyasint"`
	Blobs []string `cbor:"6,keyasint,omitempty"`
}

// trigger is a reaction that was due and did not succeed.
type trigger struct {
	ID     string `cbor:"1,keyasint"`
	Number int    `cbor:"2,keyasint"`
	From   string `cbor:"3,keyasint"`
}

func decodeLedger(data []byte) (*ledger, error) {
	l := &ledger{Format: ledgerFormat}
	if data == nil {
		return l, nil
	}
	if err := codec.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if l.Format != ledgerFormat {
		return nil, fmt.Errorf("ledger: format %d is not known to this version", l.Format)
	}
	return l, nil
}

func (l *ledger) clone() *ledger {
	c := *l
	c.Entries, c.Pending = slices.Clone(l.Entries), slices.Clone(l.Pending)
	c.Folders = slices.Clone(l.Folders)
	c.index = nil
	return &c
}

// at returns the place of a key among the entries.
func (l *ledger) at(key string) (int, bool) {
	if l.index == nil {
		l.index = make(map[string]int, len(l.Entries))
		for i := range l.Entries {
			l.index[l.Entries[i].Key] = i
		}
	}
	i, ok := l.index[key]
	return i, ok
}

// own notes that a state has the thing now. The first undo stays: it is what was there before shoal.
func (l *ledger) own(e entry, s saved) error {
	if i, ok := l.at(e.Key); ok {
		old := &l.Entries[i]
		old.ID, old.Number, old.Keep = e.ID, e.Number, e.Keep
		return nil
	}
	data, err := codec.Marshal(s)
	if err != nil {
		return err
	}
	e.Saved, e.Blobs = data, s.blobs()
	l.index[e.Key] = len(l.Entries)
	l.Entries = append(l.Entries, e)
	return nil
}

// passBy notes folders that were made on the way.
func (l *ledger) passBy(folders []string) {
	for _, dir := range folders {
		if !slices.Contains(l.Folders, dir) {
			l.Folders = append(l.Folders, dir)
		}
	}
}

func (l *ledger) drop(keys map[string]bool) {
	l.Entries = slices.DeleteFunc(l.Entries, func(e entry) bool { return keys[e.Key] })
	l.index = nil
}

func (e entry) saved() (saved, error) {
	var s saved
	if err := codec.Unmarshal(e.Saved, &s); err != nil {
		return saved{}, fmt.Errorf("ledger entry %s: %w", e.Key, err)
	}
	return s, nil
}

// path is what the entry is about, when that is a path.
func (e entry) path() (string, bool) {
	return strings.CutPrefix(e.Key, string(states.ResourcePath)+":")
}

// resource is what a part provides.
func resource(f *states.Function, p Params) (kind states.ResourceKind, name string, ok bool) {
	for i := range f.Params {
		param := &f.Params[i]
		if param.Provides == "" {
			continue
		}
		if name, ok := p[param.Name].(string); ok {
			return param.Provides, param.Resource(name), true
		}
	}
	return "", "", false
}

// makes notes what a task makes, and its key in the ledger. Two states that follow each other at one path are one thing, so
// that the second takes over what was there before the first; so are two that look after one service.
func (t *task) makes() {
	var ok bool
	if t.kind, t.made, ok = resource(t.function, t.params); ok {
		t.key = string(t.kind) + ":" + t.made
	} else {
		t.key = fmt.Sprintf("%s#%d", t.inv.ID, t.part)
	}
}
