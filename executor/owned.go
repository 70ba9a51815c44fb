package executor

import "strings"

// Owned is one thing of the ledger: what a state made or changed, and what happens to it when the state leaves the tree.
type Owned struct {
	Kind       string `json:"kind"` // path, user, package …; empty: the part makes nothing that has a name
	Name       string `json:"name"`
	State      string `json:"state"`
	Invocation int    `json:"invocation"`
	Function   string `json:"function"`
	OnRemove   string `json:"on_remove"` // restore or keep
	// Undo is what takes it back: the function's own undo, the parts of the state that undo: names, or nothing.
	Undo string `json:"undo"`
	// Kept is how many old contents are kept for it.
	Kept int `json:"kept"`
}

// Owned lists what this machine's ledger has, in the order in which it was made. It asks the ledger alone.
func (e *Engine) Owned() ([]Owned, error) {
	led, err := e.loadLedger()
	if err != nil {
		return nil, err
	}
	all := make([]Owned, 0, len(led.Entries))
	for _, en := range led.Entries {
		s, err := en.saved()
		if err != nil {
			return nil, err
		}
		o := Owned{State: en.ID, Invocation: en.Number, Function: s.Call.Function, OnRemove: "restore", Undo: "its own", Kept: len(en.Blobs)}
		if kind, name, ok := strings.Cut(en.Key, ":"); ok {
			o.Kind, o.Name = kind, name
		}
		if en.Keep {
			o.OnRemove = "keep"
		}
		switch {
		case s.Reversible:
		case len(s.Undo) > 0:
			o.Undo = "the state that undo: names"
		default:
			o.Undo = "none: " + s.Why
		}
		all = append(all, o)
	}
	return all, nil
}
