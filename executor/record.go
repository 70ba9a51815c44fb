package executor

import (
	"fmt"

	"shoal/internal/codec"
	"shoal/states"
)

// value is a parameter on disk. The language has few types, and a decoded one must be the very type that was encoded.
type value struct {
	Kind    valueKind        `cbor:"1,keyasint"`
	Text    string           `cbor:"2,keyasint,omitempty"`
	Int     int64            `cbor:"3,keyasint,omitempty"`
	Float   float64          `cbor:"4,keyasint,omitempty"`
	Items   []value          `cbor:"5,keyasint,omitempty"`
	Members map[string]value `cbor:"6,keyasint,omitempty"`
	Content *content         `cbor:"7,keyasint,omitempty"`
}

type valueKind uint8

const (
	kindNil valueKind = iota
	kindText
	kindBool
	kindInt
	kindFloat
	kindItems
	kindMembers
	kindContent
)

type content struct {
	Hash   string `cbor:"1,keyasint"`
	Size   int64  `cbor:"2,keyasint"`
	Source string `cbor:"3,keyasint"`
	From   string `cbor:"4,keyasint"`
}

func encodeValue(v any) (value, error) {
	switch v := v.(type) {
	case nil:
		return value{}, nil
	case string:
		return value{Kind: kindText, Text: v}, nil
	case bool:
		out := value{Kind: kindBool}
		if v {
			out.Int = 1
		}
		return out, nil
	case int64:
		return value{Kind: kindInt, Int: v}, nil
	case int:
		return value{Kind: kindInt, Int: int64(v)}, nil
	case float64:
		return value{Kind: kindFloat, Float: v}, nil
	case states.Content:
		return value{Kind: kindContent, Content: &content{v.Hash, v.Size, v.Source, v.From}}, nil
	case []any:
		return encodeItems(v)
	case map[string]any:
		return encodeMembers(v)
	}
	return value{}, fmt.Errorf("encode parameter: no form for %T", v)
}

func encodeItems(items []any) (value, error) {
	out := value{Kind: kindItems, Items: make([]value, len(items))}
	for i, item := range items {
		var err error
		if out.Items[i], err = encodeValue(item); err != nil {
			return value{}, err
		}
	}
	return out, nil
}

func encodeMembers(members map[string]any) (value, error) {
	out := value{Kind: kindMembers, Members: make(map[string]value, len(members))}
	for name, member := range members {
		v, err := encodeValue(member)
		if err != nil {
			return value{}, fmt.Errorf("%s: %w", name, err)
		}
		out.Members[name] = v
	}
	return out, nil
}

func (v value) decode() (any, error) {
	switch v.Kind {
	case kindNil:
		return nil, nil
	case kindText:
		return v.Text, nil
	case kindBool:
		return v.Int != 0, nil
	case kindInt:
		return v.Int, nil
	case kindFloat:
		return v.Float, nil
	case kindContent:
		if v.Content == nil {
			return nil, fmt.Errorf("decode parameter: empty content")
		}
		return states.Content{Hash: v.Content.Hash, Size: v.Content.Size, Source: v.Content.Source, From: v.Content.From}, nil
	case kindItems:
		items := make([]any, len(v.Items))
		for i, item := range v.Items {
			var err error
			if items[i], err = item.decode(); err != nil {
				return nil, err
			}
		}
		return items, nil
	case kindMembers:
		return decodeMembers(v.Members)
	}
	return nil, fmt.Errorf("decode parameter: kind %d", v.Kind)
}

func decodeMembers(members map[string]value) (map[string]any, error) {
	out := make(map[string]any, len(members))
	for name, member := range members {
		v, err := member.decode()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}

// call is a function and its parameters, on disk.
type call struct {
	Function string           `cbor:"1,keyasint"`
	Params   map[string]value `cbor:"2,keyasint"`
	// Extension and Binary are hashes in the vault: of the declaration of the extension module that the function is of, and of
	// its bytes. Empty: it is built in.
	Extension string `cbor:"3,keyasint,omitempty"`
	Binary    string `cbor:"4,keyasint,omitempty"`
}

func newCall(function string, p Params) (call, error) {
	v, err := encodeMembers(p)
	if err != nil {
		return call{}, fmt.Errorf("%s: %w", function, err)
	}
	return call{Function: function, Params: v.Members}, nil
}

func (c call) params() (Params, error) {
	return decodeMembers(c.Params)
}

// contents lists what the parameters name.
func (c call) contents() []string {
	var hashes []string
	for _, v := range c.Params {
		hashes = v.contents(hashes)
	}
	return hashes
}

func (v value) contents(hashes []string) []string {
	if v.Content != nil {
		hashes = append(hashes, v.Content.Hash)
	}
	for _, item := range v.Items {
		hashes = item.contents(hashes)
	}
	for _, member := range v.Members {
		hashes = member.contents(hashes)
	}
	return hashes
}

// saved is what takes one part back: the function that made it and its undo, or the parts of the state that undo: names.
type saved struct {
	Call       call     `cbor:"1,keyasint"`
	Reversible bool     `cbor:"2,keyasint"`
	Why        string   `cbor:"3,keyasint,omitempty"`
	Data       []byte   `cbor:"4,keyasint,omitempty"`
	Blobs      []string `cbor:"5,keyasint,omitempty"` // of the vault
	Undo       []call   `cbor:"6,keyasint,omitempty"`
	Folders    []string `cbor:"7,keyasint,omitempty"`
	Stages     []string `cbor:"8,keyasint,omitempty"`
}

func (s saved) blobs() []string {
	all := append(s.Call.extensions(), s.Blobs...)
	for _, c := range s.Undo {
		all = append(append(all, c.contents()...), c.extensions()...)
	}
	return all
}

// The records of the journal: a begin, then intents, each on disk before its change, and notes of what is done.
type record struct {
	Begin  *begin  `cbor:"1,keyasint,omitempty"`
	Intent *intent `cbor:"2,keyasint,omitempty"`
	Done   *done   `cbor:"3,keyasint,omitempty"`
	// Moved and Reverted are notes too.
	Moved    *moved    `cbor:"4,keyasint,omitempty"`
	Reverted *reverted `cbor:"5,keyasint,omitempty"`
	// Commit, where the ledger stays as it was: the run holds.
	Commit *committed `cbor:"6,keyasint,omitempty"`
}

type committed struct{}

type begin struct {
	// Sequence is that of the ledger when the run commits: a ledger that has it says that the run is over.
	Sequence uint64   `cbor:"1,keyasint"`
	Env      string   `cbor:"2,keyasint"`
	Version  uint64   `cbor:"3,keyasint"`
	Revision string   `cbor:"4,keyasint"`
	Stages   []string `cbor:"5,keyasint"` // paths that contents are staged for
	// Secrets are the texts that no report of a rollback may show.
	Secrets []string `cbor:"6,keyasint,omitempty"`
}

type intent struct {
	// Order is the place in the plan, and names the part. Turn is when the change happens among those that are written down
	// one by one, from 1; 0: in the first batch. A rollback goes from the highest turn, then order, down.
	Order  int    `cbor:"1,keyasint"`
	ID     string `cbor:"2,keyasint"`
	Number int    `cbor:"3,keyasint"`
	Saved  saved  `cbor:"4,keyasint"`
	Staged string `cbor:"5,keyasint,omitempty"`
	Note   string `cbor:"6,keyasint,omitempty"`
	Turn   int    `cbor:"7,keyasint,omitempty"`
	// Secrets are those that were found out when its parameters were known.
	Secrets []string `cbor:"8,keyasint,omitempty"`
}

type done struct {
	Order int `cbor:"1,keyasint"`
}

// moved: an intent of the first batch came to its turn after others had been written down.
type moved struct {
	Order int `cbor:"1,keyasint"`
	Turn  int `cbor:"2,keyasint"`
}

// reverted: these were taken back within the run, with their block.
type reverted struct {
	Orders []int `cbor:"1,keyasint"`
}

func decodeJournal(frames [][]byte) (*begin, logbook, error) {
	var first *begin
	log := newLogbook()
	for i, frame := range frames {
		var r record
		if err := codec.Unmarshal(frame, &r); err != nil {
			return nil, logbook{}, fmt.Errorf("journal record %d: %w", i, err)
		}
		switch {
		case r.Begin != nil:
			first, log = r.Begin, newLogbook()
		case first == nil:
			return nil, logbook{}, fmt.Errorf("journal record %d: nothing was begun", i)
		case r.Intent != nil:
			log.intents = append(log.intents, *r.Intent)
		case r.Commit != nil:
			log.committed = true
		case r.Done != nil:
			log.finished[r.Done.Order] = true
		case r.Moved != nil:
			log.moved[r.Moved.Order] = r.Moved.Turn
		case r.Reverted != nil:
			for _, order := range r.Reverted.Orders {
				log.reverted[order] = true
				delete(log.finished, order)
			}
		}
	}
	return first, log, nil
}
