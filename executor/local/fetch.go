package local

import (
	"context"
	"io"

	"shoal/executor"
	"shoal/internal/fetch"
)

// fetcher puts what is fetched beside where it belongs.
type fetcher struct {
	files  *Files
	client *fetch.Client
}

// NewFetcher puts what a client fetches on a machine.
func NewFetcher(f *Files, client *fetch.Client) executor.Fetcher {
	return &fetcher{files: f, client: client}
}

// Fetch implements executor.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, r executor.Request, name string, meta executor.Meta) (string, error) {
	return f.client.Stage(ctx, r, f.files, meta, func(body io.Reader) (string, error) { return f.files.stageFrom("fetch", body, name) })
}
