package file

import (
	"context"
	"fmt"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Edit is file.edit.
type Edit struct{}

// Function describes it.
func (Edit) Function() states.Function {
	return states.Function{
		Module: "file", Name: "edit",
		Doc: `Parts of a file: lines and blocks that are there or not there, keys that are set, text that is replaced. The new file is computed as a whole, and moved into place as file.managed does. The order is remove, replace, keys, line, block. All edits of one file belong in one state: two states that claim one path are an error. Patterns are in Go's syntax (RE2).`,
		Params: append([]states.Param{
			hostfile.PathParam("the file to edit"),
			{Name: "line", Type: states.Any, Doc: "a line that is to be there, or a list of lines and of maps {line, match, after, before, at}"},
			{Name: "match", Type: states.String, Doc: "of a single line: the last line that this pattern matches is replaced by it"},
			{Name: "after", Type: states.String, Doc: "of a single line: a new one goes after the last line that this pattern matches"},
			{Name: "before", Type: states.String, Doc: "of a single line: a new one goes before the first line that this pattern matches"},
			{Name: "at", Type: states.String, OneOf: []string{"start", "end"}, Doc: "of a single line: where a new one goes when neither after nor before finds a place; the end when not given"},
			{Name: "remove", Type: states.Any, Doc: "a pattern or a list of them: lines that one matches are removed"},
			{Name: "replace", Type: states.Any, Doc: "a map {match, with} or a list of them: all that match finds in the whole text becomes with, where ${1} is its first group; ^ and $ match at lines"},
			{Name: "keys", Type: states.Map, Doc: "keys and their values, or sections of an INI file with keys and values in each; nothing (null) as a value removes the key. A line with the key is changed in its place, further ones are removed; a new one goes beside a comment that names the key, else to the end of its section"},
			{Name: "separator", Type: states.String, Default: " = ", Doc: "what stands between key and value"},
			{Name: "section", Type: states.String, Doc: "the section of the INI file that keys is about"},
			{Name: "block", Type: states.Any, Doc: "a map {name, content, state, comment, after, before, at} or a list of them: lines between two marker lines that hold the name; state is present or absent, comment begins the marker lines and is # when not given"},
			{Name: "create", Type: states.Bool, Default: false, Doc: "make the file when it is not there"},
			hostfile.ValidateParam(),
		}, hostfile.MetaParams("0644 for a new file, else left as it is")...),
		Isolated: true,
		Outputs:  hostfile.Outputs(),
		Example: `sshd:
  file.edit:
    path: /etc/ssh/sshd_config
    keys: {PermitRootLogin: "no", X11Forwarding: "no"}
    separator: " "
    validate: sshd -t -f {path}`,
		CheckDoc: "The file is read, the new one computed, and the two compared; edits that a second run would change again are an error.",
		UndoDoc:  "The whole file is restored as it was before: contents, owner, mode, times and extended attributes.",
		Validate: func(p map[string]any) error {
			_, err := parseEdits(p)
			return err
		},
	}
}

// editOf computes the file as it is to be; nil when there is nothing to do for want of a file.
func editOf(h executor.Host, p executor.Params) (*hostfile.Target, error) {
	t, err := plainTarget(h, p)
	if err != nil {
		return nil, err
	}
	e, err := parseEdits(p)
	if err != nil {
		return nil, err
	}
	st, err := hostfile.Look(h, t.Path)
	if err != nil {
		return nil, err
	}
	create, _ := p.Bool("create")
	var old []byte
	switch {
	case st == nil && !create && !e.creates():
		return nil, nil
	case st == nil && !create:
		return nil, &executor.Missing{Kind: states.ResourcePath, Name: t.Path}
	case st == nil:
	case !st.Mode.IsRegular():
		return nil, fmt.Errorf("%s is %s", t.Path, hostfile.KindName(st.Mode))
	case st.Size > maxEdited:
		return nil, fmt.Errorf("%s has more than %d MiB, too much to edit", t.Path, maxEdited>>20)
	default:
		if old, err = h.ReadFile(t.Path); err != nil {
			return nil, err
		}
	}
	data, err := e.apply(old)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Path, err)
	}
	t.Holding(data)
	return t, nil
}

// Check computes the new file and compares.
func (Edit) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	t, err := editOf(h, p)
	if err != nil {
		return executor.Change{Needed: true, Diff: "edit " + p.String("path") + "\n"}, err
	}
	if t == nil {
		return executor.Change{Outputs: map[string]any{"path": p.String("path"), "changed": false}}, nil
	}
	return t.Check(ctx, h)
}

// Capture keeps the whole file.
func (Edit) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(h, p, false, false)
}

// Prepare stages the new file.
func (Edit) Prepare(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (string, error) {
	t, err := editOf(h, p)
	if err != nil || t == nil {
		return "", err
	}
	return t.Prepare(ctx, h)
}

// Apply writes the new file.
func (Edit) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	t, err := editOf(h, p)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return map[string]any{"path": p.String("path"), "changed": false}, nil
	}
	return t.Apply(ctx, h)
}

// ApplyStaged moves the staged file into place, unless an earlier state has changed the file since.
func (Edit) ApplyStaged(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params, staged string) (map[string]any, error) {
	t, err := editOf(h, p)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return map[string]any{"path": p.String("path"), "changed": false}, h.Remove(staged)
	}
	return t.PlaceComputed(ctx, h, staged)
}

// Revert puts back what Capture saw.
func (Edit) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p, u)
}

// RevertDiff says what Revert would change.
func (Edit) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	return revertDiff(h, p, u)
}
