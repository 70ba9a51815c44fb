package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"shoal/executor"
	"shoal/states"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Directory is file.directory.
type Directory struct{}

// Function describes it.
func (Directory) Function() states.Function {
	return states.Function{
		Module: "file", Name: "directory",
		Doc:    "A folder with the given owner and mode; folders above it are made with mode 0755.",
		Params: append([]states.Param{pathParam("where the folder is")}, metaParams("0755 for a new folder, else left as it is")...),
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "where the folder is"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		CheckDoc: "One lstat; type, owner and mode are compared.",
		UndoDoc:  "Owner and mode are restored; a folder that it made is removed when nothing else is in it.",
	}
}

// Check compares type, mode and owner.
func (Directory) Check(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	a, err := aimOf(h, p)
	if err != nil {
		return executor.Change{}, err
	}
	st, err := look(h, a.path)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Outputs: map[string]any{"path": a.path, "changed": false}}
	switch {
	case st == nil:
		change.Diff = a.created("folder", folderMode)
	case !st.Mode.IsDir():
		return executor.Change{}, fmt.Errorf("%s is %s", a.path, kindName(st.Mode))
	default:
		change.Diff = a.diff(*st)
	}
	if change.Diff != "" {
		change.Needed, change.Outputs["changed"] = true, true
		if err := writable(h, a.path); err != nil {
			return executor.Change{}, err
		}
	}
	return change, a.missing
}

// Capture keeps owner and mode.
func (Directory) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	name, err := pathOf(p)
	if err != nil {
		return executor.Undo{}, err
	}
	return capture(h, name, false, false)
}

// Apply makes or changes the folder.
func (Directory) Apply(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	a, err := aimOf(h, p)
	if err != nil {
		return nil, err
	}
	if a.missing != nil {
		return nil, a.missing
	}
	st, err := look(h, a.path)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"path": a.path, "changed": true}
	if st != nil {
		return out, h.SetMeta(a.path, a.over(st, folderMode, ids{}))
	}
	if err := makeParents(h, a.path); err != nil {
		return nil, err
	}
	err = h.Mkdir(a.path, a.over(nil, folderMode, self(h)))
	if !errors.Is(err, fs.ErrExist) {
		return out, err
	}
	// A file below it, beside which this runs, has just made it on its way.
	if st, err = look(h, a.path); err != nil || st == nil || !st.Mode.IsDir() {
		return nil, errors.Join(fmt.Errorf("make %s: something else is there by now", a.path), err)
	}
	return out, h.SetMeta(a.path, a.over(st, folderMode, ids{}))
}

// Revert puts back what Capture saw.
func (Directory) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p, u)
}

// RevertDiff says what Revert would change.
func (Directory) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	return revertDiff(h, p, u)
}
