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

// Directory is file.directory.
type Directory struct{}

// Function describes it.
func (Directory) Function() states.Function {
	return states.Function{
		Module: "file", Name: "directory",
		Doc:      "A folder with the given owner and mode; folders above it are made with mode 0755.",
		Params:   append([]states.Param{hostfile.PathParam("where the folder is")}, hostfile.MetaParams("0755 for a new folder, else left as it is")...),
		Isolated: true,
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "where the folder is"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		Example: `uploads:
  file.directory: {path: /srv/app/uploads, owner: www-data, mode: "0750"}`,
		CheckDoc: "One lstat; type, owner and mode are compared.",
		UndoDoc:  "Owner and mode are restored; a folder that it made is removed when nothing else is in it.",
	}
}

// Check compares type, mode and owner.
func (Directory) Check(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	a, err := plainTarget(h, p)
	if err != nil {
		return executor.Change{}, err
	}
	st, err := hostfile.Look(h, a.Path)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Outputs: map[string]any{"path": a.Path, "changed": false}}
	switch {
	case st == nil:
		change.Diff = a.Created("folder", hostfile.DefaultFolderMode)
	case !st.Mode.IsDir():
		return executor.Change{}, fmt.Errorf("%s is %s", a.Path, hostfile.KindName(st.Mode))
	default:
		change.Diff = a.Diff(*st)
	}
	if change.Diff != "" {
		change.Needed, change.Outputs["changed"] = true, true
		if err := hostfile.Writable(h, a.Path); err != nil {
			return executor.Change{}, err
		}
	}
	return change, a.Missing
}

// Capture keeps owner and mode.
func (Directory) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(h, p, false, false)
}

// Apply makes or changes the folder.
func (Directory) Apply(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	a, err := plainTarget(h, p)
	if err != nil {
		return nil, err
	}
	if a.Missing != nil {
		return nil, a.Missing
	}
	st, err := hostfile.Look(h, a.Path)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"path": a.Path, "changed": true}
	if st != nil {
		return out, h.SetMeta(a.Path, a.Over(st, hostfile.DefaultFolderMode, hostfile.IDs{}))
	}
	if err := hostfile.MakeParents(h, a.Path); err != nil {
		return nil, err
	}
	err = h.Mkdir(a.Path, a.Over(nil, hostfile.DefaultFolderMode, hostfile.Self(h)))
	if !errors.Is(err, fs.ErrExist) {
		return out, err
	}
	// A file below it, beside which this runs, has just made it on its way.
	if st, err = hostfile.Look(h, a.Path); err != nil || st == nil || !st.Mode.IsDir() {
		return nil, errors.Join(fmt.Errorf("make %s: something else is there by now", a.Path), err)
	}
	return out, h.SetMeta(a.Path, a.Over(st, hostfile.DefaultFolderMode, hostfile.IDs{}))
}

// Revert puts back what Capture saw.
func (Directory) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p, u)
}

// RevertDiff says what Revert would change.
func (Directory) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	return revertDiff(h, p, u)
}
