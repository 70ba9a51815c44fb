package ssh

import (
	"context"
	"errors"
	"io"

	"shoal/executor"
	"shoal/internal/fetch"
)

// fetcher downloads here, with the network and the proxies of this side, and sends what came: a shell over there has no tool for it
// that is everywhere, and what is fetched is known by its hash, wherever it comes from.
type fetcher struct {
	files  *Files
	client *fetch.Client
}

// Fetch implements executor.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, r executor.Request, name string, meta executor.Meta) (staged string, err error) {
	err = f.client.Fetch(ctx, r, func(body io.Reader) error {
		staged, err = f.files.stageFrom(name, func(real string) error { return f.files.write(real, body) })
		return err
	})
	if staged == "" {
		return "", err
	}
	if err == nil {
		err = f.files.SetMeta(staged, meta)
	}
	if err != nil {
		return "", errors.Join(err, f.files.Remove(staged))
	}
	return staged, nil
}
