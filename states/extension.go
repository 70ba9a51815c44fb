package states

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ExtensionABI is the version of the interface between shoal and an extension module, docs/modules.md.
const ExtensionABI = 1

// Extension is an extension module as a site names it: WebAssembly in the tree, known by its hash, with its functions as its
// manifest declares them and what it may do.
type Extension struct {
	Name      string
	Binary    Content
	Functions []Function
	Allow     Grants
	Limits    ExtensionLimits
}

// Grants are all that an extension module may touch. What is not here it may not.
type Grants struct {
	Read     []string          `json:",omitempty"` // paths, and all below them
	Write    []string          `json:",omitempty"` // the same; may be read too
	Queries  []string          `json:",omitempty"` // first words of commands that only look, which a check may run
	Commands []string          `json:",omitempty"` // first words of commands that an apply may run
	Hosts    []string          `json:",omitempty"` // that it may fetch from; *.domain for all below one
	Env      map[string]string `json:",omitempty"` // what it sees as its environment
	Clock    bool              `json:",omitempty"` // else its clock is a made-up one, always the same
	Random   bool              `json:",omitempty"` // else its random numbers are always the same
}

// ExtensionLimits are those of one call of an extension module.
type ExtensionLimits struct {
	Time     time.Duration // with the commands that it runs
	MemoryMB int           // MiB of its memory
	OutputMB int           // MiB of each of its answers and requests, and of what it may ask for at a time
}

// DefaultExtensionLimits are those of a module that says nothing.
var DefaultExtensionLimits = ExtensionLimits{Time: time.Minute, MemoryMB: 256, OutputMB: 16}

// EncodeExtension is the form of an extension on disk: equal ones have equal bytes.
func EncodeExtension(x Extension) ([]byte, error) {
	data, err := json.Marshal(x)
	if err != nil {
		return nil, fmt.Errorf("encode extension %s: %w", x.Name, err)
	}
	return data, nil
}

// DecodeExtension reads what EncodeExtension made.
func DecodeExtension(data []byte) (Extension, error) {
	var x Extension
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(&x); err != nil {
		return Extension{}, fmt.Errorf("decode extension: %w", err)
	}
	if d.More() {
		return Extension{}, errors.New("decode extension: trailing bytes")
	}
	for i := range x.Functions {
		for j := range x.Functions[i].Params {
			p := &x.Functions[i].Params[j]
			p.Default = plainNumbers(p.Default)
		}
	}
	return x, nil
}

// plainNumbers brings what JSON decoded to the types of a parameter's value.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}

// Functions lists all that states of the tree may say: the built-in functions, and those of its extension modules, by name.
func (l *Catalogue) Functions() []Function {
	all := make([]Function, 0, len(l.functions))
	for _, name := range keysOf(l.functions) {
		all = append(all, *l.functions[name])
	}
	return all
}

// extensionsOf are the extension modules that a plan needs.
func (c *compilation) extensionsOf() []Extension {
	if len(c.lib.site.extensions) == 0 {
		return nil
	}
	used := map[string]bool{}
	for i := range c.plan.Invocations {
		for _, p := range c.plan.Invocations[i].Parts {
			used[p.Module] = true
		}
	}
	var all []Extension
	for _, name := range keysOf(c.lib.site.extensions) {
		if used[name] {
			all = append(all, c.lib.site.extensions[name])
		}
	}
	return all
}
