// Package download is the module download: files that are fetched, and known by their hash.
package download

import (
	"context"
	"errors"

	"shoal/executor"
	"shoal/internal/hostfile"
	"shoal/states"
)

// Modules are the functions of this package.
func Modules() []executor.Module { return []executor.Module{Fetched{}} }

// defaultLimit is how many MiB are fetched at most where nothing else is said.
const defaultLimit = 1024

// Fetched is download.fetched.
type Fetched struct{}

// Function describes it.
func (Fetched) Function() states.Function {
	params := append([]states.Param{{Name: "path", Type: states.Path, Required: true, Provides: states.ResourcePath, Doc: "where the file is"}}, hostfile.FetchParams(true)...)
	params = append(params,
		states.Param{Name: "limit_mb", Type: states.Int, Default: defaultLimit, Doc: "how many MiB it has at most"},
		hostfile.ValidateParam())
	return states.Function{
		Module: "download", Name: "fetched",
		Doc: `A file that is fetched over HTTP or HTTPS. It is known by its hash: where a file with that hash is there, nothing is fetched. Fetching comes before the run changes anything, unless the file waits for its owner to be made.

Example:
  tool:
    download.fetched:
      path: /usr/local/bin/tool
      url: https://example.org/tool-1.4-linux-amd64
      sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      mode: "0755"`,
		Params:   append(params, hostfile.MetaParams("0644 for a new file, else left as it is")...),
		Outputs:  hostfile.Outputs(),
		CheckDoc: "One lstat while the file is as it was when its hash was last read. The network is not asked.",
		UndoDoc:  "Contents, owner, mode, times and extended attributes are restored; a file and folders that it made are removed.",
		Validate: func(p map[string]any) error {
			if n, ok := executor.Params(p).Int("limit_mb"); ok && n < 1 {
				return errors.New("limit_mb: must be at least 1")
			}
			_, err := hostfile.RequestOf(p, 0)
			return err
		},
	}
}

func target(h executor.Host, p executor.Params) (*hostfile.Target, error) {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return nil, err
	}
	megabytes, ok := p.Int("limit_mb")
	if !ok {
		megabytes = defaultLimit
	}
	r, err := hostfile.RequestOf(p, megabytes<<20)
	if err != nil {
		return nil, err
	}
	wanted, err := hostfile.WantedMeta(h, p)
	return &hostfile.Target{
		Path: name, Wanted: wanted, Hash: r.Hash, Size: hostfile.UnknownSize, Fetch: r, Validate: p.String("validate"),
	}, err
}

// Check compares hash, owner and mode.
func (Fetched) Check(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (executor.Change, error) {
	t, err := target(h, p)
	if err != nil {
		return executor.Change{}, err
	}
	return t.Check(ctx, h)
}

// Capture keeps the file as it is.
func (Fetched) Capture(_ context.Context, h executor.Host, p executor.Params) (executor.Undo, error) {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return executor.Undo{}, err
	}
	return hostfile.Capture(h, name, false, false)
}

// Prepare fetches the file.
func (Fetched) Prepare(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (string, error) {
	t, err := target(h, p)
	if err != nil {
		return "", err
	}
	return t.Prepare(ctx, h)
}

// Apply fetches the file and moves it into place.
func (Fetched) Apply(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params) (map[string]any, error) {
	t, err := target(h, p)
	if err != nil {
		return nil, err
	}
	return t.Apply(ctx, h)
}

// ApplyStaged moves what was fetched into place.
func (Fetched) ApplyStaged(ctx context.Context, h executor.Host, _ executor.Contents, p executor.Params, staged string) (map[string]any, error) {
	t, err := target(h, p)
	if err != nil {
		return nil, err
	}
	return t.Place(ctx, h, staged)
}

// Revert puts back what Capture saw.
func (Fetched) Revert(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) error {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return err
	}
	return hostfile.Revert(h, name, u)
}

// RevertDiff says what Revert would change.
func (Fetched) RevertDiff(_ context.Context, h executor.Host, p executor.Params, u executor.Undo) string {
	name, err := hostfile.PathOf(p)
	if err != nil {
		return ""
	}
	return hostfile.RevertDiff(h, name, u)
}
