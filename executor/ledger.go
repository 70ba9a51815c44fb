package executor

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"shoal/internal/codec"
	"shoal/states"
)

// ledgerFormat is the version of the ledger on disk. 2 added the outputs, 3 the secrets; 1 and 2 are read.
const ledgerFormat = 3

// ledger says what shoal owns: for each thing, what was there before shoal first changed it.
type ledger struct {
	Format   int       `cbor:"1,keyasint"`
	Sequence uint64    `cbor:"2,keyasint"` // of the last committed run
	Entries  []entry   `cbor:"3,keyasint"` // in the order in which they were made
	Pending  []trigger `cbor:"4,keyasint"`
	// Folders are those that were made on the way to something, longest first. They belong to no state.
	Folders []string `cbor:"5,keyasint,omitempty"`
	// Outputs are what the last run of a state that did something made and no look at the machine tells, such as what a
	// command printed.
	Outputs []remembered `cbor:"6,keyasint,omitempty"`
	// Secrets are texts that something in here may hold, and that no report may show. The newest come last.
	Secrets []string `cbor:"7,keyasint,omitempty"`

	index map[string]int // by key, made when it is first asked for: a run that changes nothing does not ask
	lent  bool           // the index is that of the ledger that this is a clone of, too
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
	// Secret: it holds or held a secret, so that no diff of it is shown.
	Secret bool `cbor:"7,keyasint,omitempty"`
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
	if l.Format < 1 || l.Format > ledgerFormat {
		return nil, fmt.Errorf("ledger: format %d is not known to this version", l.Format)
	}
	l.Format = ledgerFormat
	return l, nil
}

func (l *ledger) clone() *ledger {
	c := *l
	c.Entries, c.Pending = slices.Clone(l.Entries), slices.Clone(l.Pending)
	c.Folders, c.Outputs = slices.Clone(l.Folders), slices.Clone(l.Outputs)
	c.lent = c.index != nil
	return &c
}

// same: it says what the other one says.
func (l *ledger) same(o *ledger) bool {
	return slices.EqualFunc(l.Entries, o.Entries, func(a, b entry) bool {
		return a.Key == b.Key && a.ID == b.ID && a.Number == b.Number && a.Keep == b.Keep && a.Secret == b.Secret &&
			bytes.Equal(a.Saved, b.Saved) && slices.Equal(a.Blobs, b.Blobs)
	}) && slices.Equal(l.Pending, o.Pending) && slices.Equal(l.Folders, o.Folders) && slices.Equal(l.Secrets, o.Secrets) &&
		slices.EqualFunc(l.Outputs, o.Outputs, func(a, b remembered) bool {
			return a.ID == b.ID && a.Number == b.Number && bytes.Equal(a.Data, b.Data) && slices.Equal(a.Secret, b.Secret)
		})
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
		old.ID, old.Number, old.Keep, old.Secret = e.ID, e.Number, e.Keep, old.Secret || e.Secret
		return nil
	}
	data, err := codec.Marshal(s)
	if err != nil {
		return err
	}
	e.Saved, e.Blobs = data, s.blobs()
	if l.lent {
		l.index, l.lent = maps.Clone(l.index), false
	}
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
	if len(keys) == 0 {
		return
	}
	l.Entries = slices.DeleteFunc(l.Entries, func(e entry) bool { return keys[e.Key] })
	l.index, l.lent = nil, false
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

// maxRemembered is how many bytes of outputs are kept of one invocation.
const maxRemembered = 64 << 10

// remembered are outputs of one invocation. They are encoded, because most runs open none.
type remembered struct {
	ID     string `cbor:"1,keyasint"`
	Number int    `cbor:"2,keyasint"`
	Data   []byte `cbor:"3,keyasint"`
	// Secret names those of them that hold a secret.
	Secret []string `cbor:"4,keyasint,omitempty"`
}

// keepSecrets notes the secrets of a run as long as something in the ledger may hold one.
func (l *ledger) keepSecrets(s *secrecy) {
	if !slices.ContainsFunc(l.Entries, func(e entry) bool { return e.Secret }) &&
		!slices.ContainsFunc(l.Outputs, func(m remembered) bool { return len(m.Secret) > 0 }) {
		l.Secrets = nil
		return
	}
	known := make(map[string]bool, len(l.Secrets))
	for _, text := range l.Secrets {
		known[text] = true
	}
	all := slices.Clone(l.Secrets)
	for _, text := range s.list() {
		if !known[text] {
			all = append(all, text)
		}
	}
	l.Secrets = all[max(0, len(all)-maxLedgerSecrets):]
}

// remembered returns what is kept of an invocation's outputs, and which of them hold a secret. What cannot be read is as good as
// not kept.
func (l *ledger) remembered(name invocation) (outputs map[string]any, secret []string) {
	for _, m := range l.Outputs {
		if m.ID != name.id || m.Number != name.number {
			continue
		}
		var v value
		if codec.Unmarshal(m.Data, &v) == nil {
			out, _ := decodeMembers(v.Members)
			return out, m.Secret
		}
	}
	return nil, nil
}

// remember keeps outputs over what was kept before; secret names those of them that hold a secret.
func (l *ledger) remember(name invocation, outputs map[string]any, secret []string) error {
	all, before := l.remembered(name)
	if all == nil {
		all = map[string]any{}
	}
	for _, output := range before {
		if _, again := outputs[output]; !again {
			secret = append(secret, output)
		}
	}
	maps.Copy(all, outputs)
	l.Outputs = slices.DeleteFunc(l.Outputs, func(m remembered) bool { return m.ID == name.id && m.Number == name.number })
	if len(all) == 0 {
		return nil
	}
	v, err := encodeMembers(all)
	if err != nil {
		return fmt.Errorf("outputs of %s: %w", name.id, err)
	}
	data, err := codec.Marshal(v)
	if err != nil || len(data) > maxRemembered {
		return err
	}
	l.Outputs = append(l.Outputs, remembered{ID: name.id, Number: name.number, Data: data, Secret: secret})
	return nil
}
