package secrets

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/states"
	"shoal/store"
)

// Limits of what a publisher, and so whoever holds a publisher's key, can make the nodes of an environment read.
const (
	MaxSecrets  = 1000 // of one environment
	MaxName     = 128
	MaxSelector = 1024
	MaxValue    = 64 << 10 // bytes
	// MaxRecipients is for how many nodes a Key is wrapped when it is set: those that come after them ask one of these.
	MaxRecipients = 1024
	MaxSealed     = 768 << 10 // bytes of a Sealed, encoded
	MaxWrapped    = 2 << 10   // bytes of a Key that is wrapped for one node
	maxGone       = membership.MaxRoster
	maxPublic     = 128
	maxValueFile  = MaxValue + MaxValue/1024 + 1024 // what age adds to a value
)

// Errors that callers branch on.
var (
	ErrSecret = errors.New("bad sealed secret")
	ErrKey    = errors.New("not the key of this secret")
	ErrDenied = errors.New("this node may not have the secret")
	ErrLocked = errors.New("no key to this secret is here")
)

// Statement is what a publisher says of a secret.
type Statement struct {
	Env     string `cbor:"1,keyasint"`
	Name    string `cbor:"2,keyasint"`
	Version uint64 `cbor:"3,keyasint"` // of this secret: one more at each set
	On      string `cbor:"4,keyasint"` // the selector of the nodes that may have it
	Public  string `cbor:"5,keyasint"` // half of its key pair, as age writes it
	Value   []byte `cbor:"6,keyasint"` // encrypted to Public
	Time    int64  `cbor:"7,keyasint"` // Unix seconds on the publisher's clock; for people only
	// Gone are the Marks of those that were granted once, that On would have selected, and that may not have this value. Whoever
	// is such a one and is not here had a chance to read it.
	Gone [][]byte `cbor:"8,keyasint,omitempty"`
}

// sealedRecord is a Sealed, encoded.
type sealedRecord struct {
	Statement []byte `cbor:"1,keyasint"`
	Keys      []byte `cbor:"2,keyasint"`
}

// Sealed is a secret as it lies in a tree.
type Sealed struct {
	Statement
	Hash store.Hash // of the statement: what a Key is bound to
	Keys []byte     // the Key, wrapped for the nodes that were granted when it was set
	on   *states.Selector
}

// Key opens a secret: it is what is wrapped for nodes.
type Key struct {
	Statement store.Hash `cbor:"1,keyasint"`
	Private   string     `cbor:"2,keyasint"` // half of the key pair, as age writes it
}

// Encode checks a statement and puts it and its keys into one file of the tree. seal is given the statement's hash, and returns the
// Key wrapped for the nodes that may have it.
func Encode(s Statement, seal func(store.Hash) ([]byte, error)) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	body, err := codec.Marshal(s)
	if err != nil {
		return nil, err
	}
	keys, err := seal(store.HashOf(body))
	if err != nil {
		return nil, err
	}
	data, err := codec.Marshal(sealedRecord{body, keys})
	if err == nil && len(data) > MaxSealed {
		err = fmt.Errorf("%w: %d bytes, more than %d", ErrSecret, len(data), MaxSealed)
	}
	return data, err
}

// Decode reads a Sealed and refuses what Encode would not have written.
func Decode(data []byte) (s Sealed, err error) {
	var r sealedRecord
	if len(data) > MaxSealed {
		return s, fmt.Errorf("%w: %d bytes, more than %d", ErrSecret, len(data), MaxSealed)
	}
	if err := codec.Unmarshal(data, &r); err != nil {
		return s, fmt.Errorf("%w: %w", ErrSecret, err)
	}
	if err := codec.Unmarshal(r.Statement, &s.Statement); err != nil {
		return s, fmt.Errorf("%w: %w", ErrSecret, err)
	}
	if !canonical(r, data) || !canonical(s.Statement, r.Statement) {
		return s, fmt.Errorf("%w: not in its canonical form", ErrSecret)
	}
	if err := s.Statement.check(); err != nil {
		return s, err
	}
	s.Hash, s.Keys = store.HashOf(r.Statement), r.Keys
	s.on, err = states.ParseSelector(s.On)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrSecret, err)
	}
	return s, err
}

// canonical tells whether data is what v is encoded as.
func canonical(v any, data []byte) bool {
	again, err := codec.Marshal(v)
	return err == nil && bytes.Equal(again, data)
}

func (s Statement) check() error {
	if err := errors.Join(store.CheckEnv(s.Env), CheckName(s.Name)); err != nil {
		return fmt.Errorf("%w: %w", ErrSecret, err)
	}
	switch {
	case s.Version == 0:
		return fmt.Errorf("%w: version 0", ErrSecret)
	case s.On == "" || len(s.On) > MaxSelector:
		return fmt.Errorf("%w: a selector of %d bytes, 1 to %d", ErrSecret, len(s.On), MaxSelector)
	case len(s.Public) == 0 || len(s.Public) > maxPublic || len(s.Value) == 0 || len(s.Value) > maxValueFile:
		return fmt.Errorf("%w: a key of %d bytes, a value of %d", ErrSecret, len(s.Public), len(s.Value))
	case len(s.Gone) > maxGone:
		return fmt.Errorf("%w: %d nodes that are gone", ErrSecret, len(s.Gone))
	}
	for i, mark := range s.Gone {
		if len(mark) != markSize || i > 0 && bytes.Compare(s.Gone[i-1], mark) >= 0 {
			return fmt.Errorf("%w: the marks of those that are gone", ErrSecret)
		}
	}
	return nil
}

// CheckName refuses what cannot be the name of a secret: words of letters, digits, hyphens, dots and underscores, with slashes
// between them.
func CheckName(name string) error {
	bad := name == "" || len(name) > MaxName
	for word := range strings.SplitSeq(name, "/") {
		bad = bad || word == "" || word[0] == '.' || word[0] == '-' || strings.HasSuffix(word, suffix)
		for i := range len(word) {
			c := word[i]
			if c != '-' && c != '.' && c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
				bad = true
			}
		}
	}
	if bad {
		return fmt.Errorf("%.*q cannot be the name of a secret: words of letters, digits, -, . and _, with / between them, %d bytes at most", MaxName, name, MaxName)
	}
	return nil
}

const markSize = 16

// Mark stands for a node among those that are gone.
func Mark(id membership.NodeID) []byte {
	sum := sha256.Sum256([]byte("shoal secret mark\n" + string(id)))
	return sum[:markSize]
}

// EnvOf is the environment that a node with these tags follows.
func EnvOf(tags map[string]string) string {
	if env := tags["env"]; env != "" {
		return env
	}
	return "production"
}

// Grants tells whether a member may have the secret, by what the operators granted it and nothing that the machine says of itself.
func (s Sealed) Grants(m membership.Member) bool {
	if s.on == nil || EnvOf(m.Tags) != s.Env {
		return false
	}
	ok, err := s.on.Selects(states.Node{Name: m.Name, Zone: m.Zone, Tags: m.Tags})
	return ok && err == nil
}

// Granted are those of members that may have the secret.
func (s Sealed) Granted(members []membership.Member) (out []membership.Member) {
	for _, m := range members {
		if s.Grants(m) {
			out = append(out, m)
		}
	}
	return out
}

// Exposed are those of former, what was granted once and holds no more, that had a chance to read this value: it was for them,
// and whoever set it did not know that they were gone. now are the members, who may read it rightly.
func (s Sealed) Exposed(former, now []membership.Member) (out []membership.Member) {
	rightly := map[membership.NodeID]bool{}
	for _, m := range now {
		rightly[m.ID] = rightly[m.ID] || s.Grants(m)
	}
	for _, m := range former {
		_, known := slices.BinarySearchFunc(s.Gone, Mark(m.ID), bytes.Compare)
		if !known && !rightly[m.ID] && s.Grants(m) {
			rightly[m.ID] = true // once
			out = append(out, m)
		}
	}
	return out
}

// Gone are the marks of those of former that the selector would have selected and that may not have the value now, for the
// statement that is being made.
func Gone(s Statement, former, now []membership.Member) ([][]byte, error) {
	s.Gone = nil
	draft, err := Draft(s)
	if err != nil {
		return nil, err
	}
	var marks [][]byte
	for _, m := range draft.Exposed(former, now) {
		marks = append(marks, Mark(m.ID))
	}
	slices.SortFunc(marks, bytes.Compare)
	return marks, nil
}

// EncodeKey and DecodeKey are a Key as it is wrapped.
func EncodeKey(k Key) ([]byte, error) { return codec.Marshal(k) }

// DecodeKey reads a Key and checks that it is for the given statement.
func DecodeKey(data []byte, statement store.Hash) (k Key, err error) {
	if len(data) > MaxWrapped {
		return k, fmt.Errorf("%w: %d bytes", ErrKey, len(data))
	}
	if err := codec.Unmarshal(data, &k); err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if k.Statement != statement {
		return Key{}, fmt.Errorf("%w: it is for another", ErrKey)
	}
	return k, nil
}

// Draft is a Sealed that has no value yet, to ask for whom it would be.
func Draft(s Statement) (Sealed, error) {
	on, err := states.ParseSelector(s.On)
	return Sealed{Statement: s, on: on}, err
}
