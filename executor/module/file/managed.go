package file

import (
	"context"

	"shoal/executor"
	"shoal/internal/hostfile"
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
			hostfile.PathParam("where the file is"),
			{Name: "contents", Type: states.Contents, Doc: "what it holds: template:, source: or content:"},
			hostfile.ValidateParam(),
			{Name: "backup", Type: states.String, Default: "none", OneOf: []string{"none"}, Doc: "old contents are kept for undo alone"},
		}, hostfile.MetaParams("0644 for a new file, else left as it is")...),
		Isolated: true,
		Outputs:  hostfile.Outputs(),
		Example: `nginx-conf:
  file.managed:
    path: /etc/nginx/nginx.conf
    template: templates/nginx.conf.j2
    mode: "0644"
    validate: nginx -t -c {path}`,
		CheckDoc: "One lstat while the file is as it was when its hash was last read; then owner, mode and hash are compared.",
		UndoDoc:  "Contents, owner, mode, times and extended attributes are restored; a file and folders that it made are removed.",
	}
}

func targetOf(h executor.Host, c executor.Contents, p executor.Params) (*hostfile.Target, error) {
	t, err := plainTarget(h, p)
	if err != nil {
		return nil, err
	}
	if content, ok := p["contents"].(states.Content); ok {
		t.HoldContent(c, content)
	}
	return t, nil
}

// plainTarget reads the parameters that every function about one file has.
func plainTarget(h executor.Host, p executor.Params) (*hostfile.Target, error) {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return nil, err
	}
	wanted, err := hostfile.WantedMeta(h, p)
	return &hostfile.Target{Path: name, Wanted: wanted, Validate: p.String("validate")}, err
}

// Check compares type, hash, mode and owner.
func (Managed) Check(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (executor.Change, error) {
	t, err := targetOf(h, c, p)
	if err != nil {
		return executor.Change{}, err
	}
	return t.Check(ctx, h)
}

// Capture keeps the file as it is; its contents only where contents are managed.
func (Managed) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	_, managed := p["contents"].(states.Content)
	return capture(h, p, false, !managed)
}

// Prepare stages the new file beside the old one.
func (Managed) Prepare(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (string, error) {
	t, err := targetOf(h, c, p)
	if err != nil {
		return "", err
	}
	return t.Prepare(ctx, h)
}

// Apply writes the file, or changes what only its owner and mode lack.
func (Managed) Apply(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params) (map[string]any, error) {
	t, err := targetOf(h, c, p)
	if err != nil {
		return nil, err
	}
	return t.Apply(ctx, h)
}

// ApplyStaged validates the staged file and moves it into place.
func (Managed) ApplyStaged(ctx context.Context, h executor.Host, c executor.Contents, p executor.Params, staged string) (map[string]any, error) {
	t, err := targetOf(h, c, p)
	if err != nil {
		return nil, err
	}
	return t.Place(ctx, h, staged)
}

// Revert puts back what Capture saw.
func (Managed) Revert(ctx context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	return revert(ctx, h, p, u)
}

// RevertDiff says what Revert would change.
func (Managed) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	return revertDiff(h, p, u)
}
