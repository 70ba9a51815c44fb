package wasm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"shoal/executor"
	"shoal/states"
)

// reply is what a module answers.
type reply struct {
	Error *failure `json:"error"`
	// check
	Needed  bool   `json:"needed"`
	Always  bool   `json:"always"`
	Unknown bool   `json:"unknown"`
	Diff    string `json:"diff"`
	// check and apply
	Outputs map[string]any `json:"outputs"`
	// capture
	Paths      []capturedPath  `json:"paths"`
	Reversible *bool           `json:"reversible"`
	Why        string          `json:"why"`
	Data       json.RawMessage `json:"data"`
}

type capturedPath struct {
	Path string `json:"path"`
	Deep bool   `json:"deep"`
}

// failure is what a module, or an operation, could not do.
type failure struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Missing *missing `json:"missing,omitempty"`
}

type missing struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// The codes of failures.
const (
	codeNotFound    = "not_found"
	codeDenied      = "denied"
	codeInvalid     = "invalid"
	codeLimit       = "limit"
	codeFailed      = "failed"
	codeUnsupported = "unsupported" // of a module: it has no such phase
)

var errUnsupported = errors.New("unsupported")

func (e *failure) err() error {
	switch {
	case e.Code == codeUnsupported:
		return errUnsupported
	case e.Missing != nil:
		return &executor.Missing{Kind: states.ResourceKind(e.Missing.Kind), Name: e.Missing.Name}
	case e.Message == "":
		return errors.New("it failed, and does not say why")
	}
	return errors.New(e.Message)
}

func decodeReply(data []byte) (reply, error) {
	var r reply
	if err := decodeStrict(data, &r); err != nil {
		return reply{}, fmt.Errorf("it replies what cannot be understood: %w", err)
	}
	if r.Error != nil {
		return r, r.Error.err()
	}
	return r, nil
}

func decodeStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the JSON document")
	}
	return nil
}

// outputs are those that the function declares, by name and type: later states were compiled against them.
func (f *function) outputs(given map[string]any) (map[string]any, error) {
	declared := map[string]states.Type{"changed": states.Bool} // every state has it
	for _, o := range f.about.Outputs {
		declared[o.Name] = o.Type
	}
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		kind, ok := declared[name]
		if !ok {
			return nil, fmt.Errorf("it gives an output %q, which its manifest does not declare", name)
		}
		v, err := plain(given[name])
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", name, err)
		}
		if !executor.OutputFits(kind, v) {
			return nil, fmt.Errorf("it gives the output %q as %s, which is no %s", name, states.Shown(v), kind)
		}
		out[name] = v
	}
	return out, nil
}

// plain brings what JSON decoded to the types of the language.
func plain(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			var err error
			if v[i], err = plain(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			var err error
			if v[k], err = plain(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}
