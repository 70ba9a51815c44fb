package file

import (
	"context"
	"fmt"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Absent is file.absent.
type Absent struct{}

// Function describes it.
func (Absent) Function() states.Function {
	return states.Function{
		Module: "file", Name: "absent",
		Doc:      "Nothing at path: a file, a symlink, or a folder with all that is in it is removed.",
		Params:   []states.Param{hostfile.PathParam("what is to be gone")},
		Isolated: true,
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "what is gone"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run removed it"},
		},
		Example: `old-site:
  file.absent: {path: /etc/nginx/sites-enabled/default}`,
		CheckDoc: "One lstat.",
		UndoDoc:  fmt.Sprintf("What was removed is restored, up to %d MiB and %d entries; beyond, the plan says that it is irreversible.", hostfile.MaxKept>>20, hostfile.MaxKeptEntries),
	}
}

// Check looks whether something is there.
func (Absent) Check(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return executor.Change{}, err
	}
	st, err := hostfile.Look(h, name)
	if err != nil {
		return executor.Change{}, err
	}
	if st == nil {
		return executor.Change{Outputs: map[string]any{"path": name, "changed": false}}, nil
	}
	return executor.Change{
		Needed: true, Diff: "remove " + hostfile.KindName(st.Mode) + "\n", Outputs: map[string]any{"path": name, "changed": true},
	}, hostfile.Writable(h, name)
}

// Capture keeps what is there, a folder with all that is in it.
func (Absent) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	return capture(h, p, true, false)
}

// Apply removes it.
func (Absent) Apply(_ context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return nil, err
	}
	st, err := hostfile.Look(h, name)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"path": name, "changed": true}
	if st == nil {
		return out, nil
	}
	return out, hostfile.RemoveTree(h, name, st)
}

// Revert puts back what Capture saw.
func (Absent) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p, u)
}

// RevertDiff says what Revert would change.
func (Absent) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	return revertDiff(h, p, u)
}
