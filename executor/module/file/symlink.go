package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Symlink is file.symlink.
type Symlink struct{}

// Function describes it.
func (Symlink) Function() states.Function {
	return states.Function{
		Module: "file", Name: "symlink",
		Doc: "A symlink to target, which need not be there. It replaces a file or another symlink in one step; a folder is an error. Folders above it are made with mode 0755.",
		Params: []states.Param{
			hostfile.PathParam("where the symlink is"),
			{Name: "target", Type: states.String, Required: true, Doc: "what it holds: an absolute path, or one from the symlink's folder"},
		},
		Isolated: true,
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "where the symlink is"},
			{Name: "target", Type: states.String, Doc: "what it holds"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		Example: `current:
  file.symlink: {path: /srv/app/current, target: releases/42}`,
		CheckDoc: "One lstat and one readlink.",
		UndoDoc:  "What was there before is restored; a symlink and folders that it made are removed.",
	}
}

func linkParams(p executor.Params) (name, target string, err error) {
	if name, err = hostfile.PathOf(p); err != nil {
		return "", "", err
	}
	if target, _ = p["target"].(string); target == "" {
		return "", "", errors.New("target: is empty")
	}
	return name, target, nil
}

// Check compares type and target.
func (Symlink) Check(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	name, target, err := linkParams(p)
	if err != nil {
		return executor.Change{}, err
	}
	st, err := hostfile.Look(h, name)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Outputs: map[string]any{"path": name, "target": target, "changed": false}}
	switch {
	case st == nil:
		change.Diff = fmt.Sprintf("new symlink to %s\n", target)
	case st.Mode.IsDir():
		return executor.Change{}, fmt.Errorf("%s is a folder", name)
	case st.Mode&fs.ModeSymlink == 0:
		change.Diff = fmt.Sprintf("it is %s\nnew symlink to %s\n", hostfile.KindName(st.Mode), target)
	default:
		now, err := h.Readlink(name)
		if err != nil {
			return executor.Change{}, err
		}
		if now == target {
			return change, nil
		}
		change.Diff = fmt.Sprintf("target: %s -> %s\n", now, target)
	}
	change.Needed, change.Outputs["changed"] = true, true
	return change, hostfile.Writable(h, name)
}

// Capture keeps what is there.
func (Symlink) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(h, p, false, false)
}

// Apply puts the symlink there.
func (Symlink) Apply(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	name, target, err := linkParams(p)
	if err != nil {
		return nil, err
	}
	if err := hostfile.MakeParents(h, name); err != nil {
		return nil, err
	}
	return map[string]any{"path": name, "target": target, "changed": true}, h.Symlink(target, name)
}

// Revert puts back what Capture saw.
func (Symlink) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p, u)
}

// RevertDiff says what Revert would change.
func (Symlink) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	return revertDiff(h, p, u)
}
