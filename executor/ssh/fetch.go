package ssh

import (
	"context"
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
func (f *fetcher) Fetch(ctx context.Context, r executor.Request, name string, meta executor.Meta) (string, error) {
	return f.client.Stage(ctx, r, f.files, meta, func(body io.Reader) (string, error) {
		return f.files.stageFrom(name, func(real string) error { return f.files.write(real, body) })
	})
}
