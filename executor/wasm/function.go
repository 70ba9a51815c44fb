package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/internal/hostfile"
	"shoal/states"
)

// maxCaptured is how many paths one capture may name.
const maxCaptured = 1000

// function is one function of an extension module. It is an executor.Module.
type function struct {
	loader    *Loader
	extension states.Extension
	binary    []byte
	about     states.Function
}

var _ interface {
	executor.Module
	executor.Joiner
	executor.RevertDiffer
} = (*function)(nil)

// Function is what the manifest declares.
func (f *function) Function() states.Function { return f.about }

func (f *function) guard(h executor.Host, may *region) *guard {
	return &guard{host: h, module: f.extension.Name, allow: f.extension.Allow, may: may, staged: map[string]bool{}}
}

// ask asks one phase of the module, and returns its reply.
func (f *function) ask(ctx context.Context, phase string, g *guard, c executor.Contents, p executor.Params, data json.RawMessage) (reply, error) {
	s := &session{guard: g, contents: c, named: map[string]states.Content{}}
	params, _ := written(map[string]any(p), s.named).(map[string]any)
	err := f.call(ctx, s, request{ABI: states.ExtensionABI, Phase: phase, Function: f.about.Name, Params: params, Data: data})
	if err != nil {
		return reply{}, err
	}
	r, err := decodeReply(s.reply)
	var missing *executor.Missing
	if err != nil && !errors.Is(err, errUnsupported) && !errors.As(err, &missing) {
		err = f.wrap(phase, err)
	}
	return r, err
}

// written is a parameter as JSON has it: contents are named by their hash.
func written(v any, named map[string]states.Content) any {
	switch v := v.(type) {
	case states.Content:
		named[v.Hash] = v
		return map[string]any{"$content": v.Hash, "size": v.Size}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = written(v[i], named)
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for k := range v {
			m[k] = written(v[k], named)
		}
		return m
	}
	return v
}

// Check asks the module to compare. It sees a host that it can only read; and where it wants a change, it has to say
// already now what it would touch, so that a plan tells what will be refused.
func (f *function) Check(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (executor.Change, error) {
	r, err := f.ask(ctx, "check", f.guard(h, nil), c, p, nil)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Needed: r.Needed, Always: r.Always, Unknown: r.Unknown, Diff: r.Diff, Guarded: len(f.extension.Allow.Queries) > 0}
	if change.Outputs, err = f.outputs(r.Outputs); err != nil {
		return executor.Change{}, f.wrap("check", err)
	}
	if !r.Needed {
		change.Diff = ""
		return change, nil
	}
	if r.Diff == "" {
		return executor.Change{}, f.wrap("check", errors.New("it wants a change, and shows no diff"))
	}
	_, err = f.captured(ctx, h, p)
	return change, err
}

// captured is what the module says it will touch: the paths that its parameters provide, where it has no capture of its own.
func (f *function) captured(ctx context.Context, h executor.Host, p executor.Params) (captured, error) {
	g := f.guard(h, nil)
	r, err := f.ask(ctx, "capture", g, nil, p, nil)
	var c captured
	switch {
	case errors.Is(err, errUnsupported):
		c.reversible = !f.about.Irreversible
		if f.about.Irreversible {
			c.why = f.about.UndoDoc
		}
		for _, param := range f.about.Params {
			if name, ok := p[param.Name].(string); ok && param.Provides == states.ResourcePath {
				r.Paths = append(r.Paths, capturedPath{Path: param.Resource(name)})
			}
		}
	case err != nil:
		return c, err
	default:
		c.reversible, c.why, c.data = r.Reversible == nil || *r.Reversible, r.Why, r.Data
	}
	if !c.reversible && c.why == "" {
		return c, f.wrap("capture", errors.New("it cannot be undone, and does not say why"))
	}
	if string(c.data) == "null" {
		c.data = nil
	}
	if len(r.Paths) > maxCaptured {
		return c, f.wrap("capture", fmt.Errorf("it names more than %d paths", maxCaptured))
	}
	for _, item := range r.Paths {
		if err := g.mayName("change", item.Path); err != nil {
			return c, fmt.Errorf("%s: %w", f.about.FullName(), err)
		}
		c.items = append(c.items, hostfile.Item{Path: item.Path, Deep: item.Deep, Whole: item.Deep, Exact: item.Deep})
	}
	return c, nil
}

// captured is what a capture says.
type captured struct {
	items      []hostfile.Item
	reversible bool
	why        string
	data       json.RawMessage // what the module needs to undo what is no file; nil: nothing
}

func (c captured) region() *region {
	return &region{items: c.items, commands: c.data != nil, anything: !c.reversible}
}

// undo is what the journal keeps.
type undo struct {
	Files []byte `cbor:"1,keyasint"`
	Data  []byte `cbor:"2,keyasint,omitempty"`
}

// Capture reads what is at the paths that the module will touch.
func (f *function) Capture(ctx context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	c, err := f.captured(ctx, h, p)
	if err != nil {
		return executor.Undo{}, err
	}
	if !c.reversible {
		return executor.Undo{Why: c.why}, nil
	}
	u, err := hostfile.CaptureAll(f.guard(h, nil), c.items)
	if err != nil || !u.Reversible {
		return u, err
	}
	for _, item := range c.items {
		u.Stages = append(u.Stages, item.Path)
	}
	u.Data, err = codec.Marshal(undo{Files: u.Data, Data: c.data})
	return u, err
}

// Apply lets the module change what its capture names, and nothing else.
func (f *function) Apply(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (map[string]any, error) {
	named, err := f.captured(ctx, h, p)
	if err != nil {
		return nil, err
	}
	r, err := f.ask(ctx, "apply", f.guard(h, named.region()), c, p, nil)
	if err != nil {
		return nil, err
	}
	out, err := f.outputs(r.Outputs)
	if err != nil {
		return nil, f.wrap("apply", err)
	}
	return out, nil
}

func decodeUndo(u executor.Undo) (undo, executor.Undo, error) {
	var both undo
	err := codec.Unmarshal(u.Data, &both)
	files := u
	files.Data = both.Files
	return both, files, err
}

// Revert puts the files back, and then lets the module take back the rest, where it gave data for that.
func (f *function) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	both, files, err := decodeUndo(u)
	if err != nil {
		return err
	}
	if err := hostfile.RevertAll(h, files); err != nil || both.Data == nil {
		return err
	}
	_, err = f.ask(ctx, "revert", f.guard(h, &region{anything: true}), nil, p, both.Data)
	return err
}

// RevertDiff says what Revert would do to files.
func (f *function) RevertDiff(_ context.Context, h executor.Host, _ executor.Params, u executor.Undo) string {
	both, files, err := decodeUndo(u)
	if err != nil {
		return ""
	}
	diff := hostfile.RevertAllDiff(h, files)
	if both.Data != nil {
		diff += "and what extension module " + f.extension.Name + " takes back by itself\n"
	}
	return diff
}

// Join keeps the module's own data of the first time.
func (f *function) Join(first, later []byte) ([]byte, error) {
	var a, b undo
	err := errors.Join(codec.Unmarshal(first, &a), codec.Unmarshal(later, &b))
	if err == nil {
		a.Files, err = hostfile.JoinAll(a.Files, b.Files)
	}
	if err != nil {
		return nil, err
	}
	if a.Data == nil {
		a.Data = b.Data
	}
	return codec.Marshal(a)
}
