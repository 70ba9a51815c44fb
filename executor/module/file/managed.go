package file

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"shoal/executor"
	"shoal/states"
)

// Managed is file.managed.
type Managed struct{}

// Function describes it.
func (Managed) Function() states.Function {
	return states.Function{
		Module: "file", Name: "managed",
		Doc: "A regular file with the given contents, owner and mode. Folders above it are made with mode 0755. Without contents the file is made empty, and what one that is there holds is left alone.",
		Params: append([]states.Param{
			pathParam("where the file is"),
			{Name: "contents", Type: states.Contents, Doc: "what it holds: template:, source: or content:"},
			{Name: "validate", Type: states.String, Doc: "a shell command that is run on the new file before it is moved into place; {path} is its name; a status other than 0 fails the state"},
			{Name: "backup", Type: states.String, Default: "none", OneOf: []string{"none"}, Doc: "old contents are kept for undo alone"},
		}, metaParams("0644 for a new file, else left as it is")...),
		Outputs: []states.Output{
			{Name: "path", Type: states.Path, Doc: "where the file is"},
			{Name: "sha256", Type: states.String, Doc: "hash of what it holds, in hexadecimal"},
			{Name: "changed", Type: states.Bool, Doc: "whether this run changed it"},
		},
		CheckDoc: "One lstat while the file is as it was when its hash was last read; then owner, mode and hash are compared.",
		UndoDoc:  "Contents, owner, mode, times and extended attributes are restored; a file and folders that it made are removed.",
	}
}

// aim is what the parameters of one call come to.
type aim struct {
	wanted
	path     string
	content  *states.Content
	validate string
}

func aimOf(h executor.Host, p executor.Params) (a aim, err error) {
	if a.path, err = pathOf(p); err != nil {
		return a, err
	}
	if c, ok := p["contents"].(states.Content); ok {
		a.content = &c
	}
	a.validate, _ = p["validate"].(string)
	a.wanted, err = wantedMeta(h, p)
	return a, err
}

// Check compares type, hash, mode and owner.
func (Managed) Check(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (executor.Change, error) {
	a, err := aimOf(h, p)
	if err != nil {
		return executor.Change{}, err
	}
	st, err := look(h, a.path)
	if err != nil {
		return executor.Change{}, err
	}
	hash, fresh, err := a.compare(h, st)
	if err != nil {
		return executor.Change{}, err
	}
	change := executor.Change{Outputs: a.outputs(hash, false)}
	if st != nil && !fresh {
		change.Diff = a.diff(*st)
	}
	change.Needed = fresh || change.Diff != ""
	if !change.Needed {
		return change, a.missing
	}
	if err := writable(h, a.path); err != nil {
		return executor.Change{}, err
	}
	if fresh {
		if change.Diff, err = a.describe(ctx, h, c, st); err != nil {
			return executor.Change{}, err
		}
	}
	change.Outputs["changed"] = true
	return change, a.missing
}

// compare says whether the file has to be written anew, and what it holds afterwards.
func (a aim) compare(h executor.Host, st *executor.Stat) (hash string, fresh bool, err error) {
	if a.content != nil {
		hash = a.content.Hash
	}
	switch {
	case st == nil:
		if a.content == nil {
			hash = hashOf(nil)
		}
		return hash, true, nil
	case st.Mode.IsDir():
		return "", false, fmt.Errorf("%s is a folder", a.path)
	case st.Mode&fs.ModeSymlink != 0:
		if a.content == nil {
			return "", false, fmt.Errorf("%s is a symlink, and there are no contents to put in its place", a.path)
		}
		return hash, true, nil
	case !st.Mode.IsRegular():
		return "", false, fmt.Errorf("%s is %s", a.path, kindName(st.Mode))
	case a.content == nil:
		return "", false, nil
	case st.Size != a.content.Size:
		return hash, true, nil
	}
	now, err := h.Hash(a.path, *st)
	return hash, now != hash, err
}

func (a aim) outputs(hash string, changed bool) map[string]any {
	out := map[string]any{"path": a.path, "changed": changed}
	if hash != "" {
		out["sha256"] = strings.TrimPrefix(hash, "sha256:")
	}
	return out
}

// describe is the diff of a file that is written anew.
func (a aim) describe(ctx context.Context, h executor.Host, c executor.Contents, st *executor.Stat) (string, error) {
	data, err := a.bytes(ctx, c)
	if err != nil {
		return "", err
	}
	if st == nil {
		return executor.TextDiff(a.path, nil, data) + a.created("file", fileMode), nil
	}
	if !st.Mode.IsRegular() {
		return "it is " + kindName(st.Mode) + "\n" + executor.TextDiff(a.path, nil, data), nil
	}
	if st.Size > MaxKept {
		return fmt.Sprintf("%s: %d -> %d bytes, too long to show\n", a.path, st.Size, len(data)), nil
	}
	old, err := h.ReadFile(a.path)
	if err != nil {
		return "", err
	}
	return executor.TextDiff(a.path, old, data) + a.diff(*st), nil
}

func (a aim) bytes(ctx context.Context, c executor.Contents) ([]byte, error) {
	if a.content == nil {
		return nil, nil
	}
	return c.Bytes(ctx, *a.content)
}

// Capture keeps the file as it is; its contents only where contents are managed.
func (Managed) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	name, err := pathOf(p)
	if err != nil {
		return executor.Undo{}, err
	}
	_, managed := p["contents"].(states.Content)
	return capture(h, name, false, !managed)
}

// Prepare stages the new file beside the old one, with the owner, mode and extended attributes that it is to have.
func (Managed) Prepare(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (string, error) {
	a, err := aimOf(h, p)
	if err != nil {
		return "", err
	}
	st, err := look(h, a.path)
	if err != nil {
		return "", err
	}
	if _, fresh, err := a.compare(h, st); err != nil || !fresh {
		return "", err
	}
	return a.stage(ctx, h, c, st)
}

func (a aim) stage(ctx context.Context, h executor.Host, c executor.Contents, st *executor.Stat) (string, error) {
	if a.missing != nil {
		return "", a.missing
	}
	data, err := a.bytes(ctx, c)
	if err != nil {
		return "", err
	}
	if st != nil && !st.Mode.IsRegular() {
		st = nil // of a symlink nothing is kept
	}
	meta := a.over(st, fileMode, self(h))
	if st != nil {
		if meta.Xattrs, err = h.Xattrs(a.path); err != nil {
			return "", err
		}
	}
	return h.Stage(a.path, data, meta)
}

// Apply writes the file, or changes what only its owner and mode lack.
func (m Managed) Apply(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (map[string]any, error) {
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
	hash, fresh, err := a.compare(h, st)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return a.outputs(hash, true), h.SetMeta(a.path, a.over(st, fileMode, ids{}))
	}
	staged, err := a.stage(ctx, h, c, st)
	if err != nil {
		return nil, err
	}
	if err := h.SyncFiles(); err != nil {
		return nil, err
	}
	return a.place(ctx, h, staged)
}

// ApplyStaged validates the staged file and moves it into place.
func (Managed) ApplyStaged(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params, staged string) (map[string]any, error) {
	a, err := aimOf(h, p)
	if err != nil {
		return nil, err
	}
	return a.place(ctx, h, staged)
}

func (a aim) place(ctx context.Context, h executor.Host, staged string) (map[string]any, error) {
	if err := a.check(ctx, h, staged); err != nil {
		_ = h.Remove(staged) // swept by the rollback where this fails
		return nil, err
	}
	hash := hashOf(nil)
	if a.content != nil {
		hash = a.content.Hash
	}
	return a.outputs(hash, true), a.move(h, staged)
}

// move makes the folders above only where the first try shows that they are not there.
func (a aim) move(h executor.Host, staged string) error {
	err := h.Rename(staged, a.path)
	if err == nil || !isNotExist(err) {
		return err
	}
	if err := makeParents(h, a.path); err != nil {
		return err
	}
	return h.Rename(staged, a.path)
}

// validateOutput is how much of a failing command's output is shown, in bytes.
const validateOutput = 4 << 10

func (a aim) check(ctx context.Context, h executor.Host, staged string) error {
	if a.validate == "" {
		return nil
	}
	quoted := "'" + strings.ReplaceAll(h.Path(staged), "'", `'\''`) + "'"
	script := strings.ReplaceAll(a.validate, "{path}", quoted)
	exit, err := h.Run(ctx, executor.Command{Argv: []string{"/bin/sh", "-c", script}, Limit: validateOutput})
	if err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	if exit.Status != 0 {
		said := strings.TrimSpace(string(exit.Stderr) + string(exit.Stdout))
		return fmt.Errorf("validate: %s: status %d: %s", a.validate, exit.Status, said)
	}
	return nil
}

// Revert puts back what Capture saw.
func (Managed) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p, u)
}

// RevertDiff says what Revert would change.
func (Managed) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	return revertDiff(h, p, u)
}
