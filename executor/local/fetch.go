package local

import (
	"context"
	"errors"
	"io"
	"os"

	"shoal/executor"
	"shoal/internal/fetch"
)

// fetcher puts what is fetched beside where it belongs.
type fetcher struct {
	files  *Files
	client *fetch.Client
}

func newFetcher(f *Files) *fetcher { return &fetcher{files: f, client: fetch.NewClient()} }

// Fetch implements executor.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, r executor.Request, name string, meta executor.Meta) (string, error) {
	return f.client.Stage(ctx, r, f.files, meta, func(body io.Reader) (string, error) { return f.files.stageFrom(body, name) })
}

// stageFrom fills a temporary file. A name beside an error is that of a file that is there.
func (f *Files) stageFrom(body io.Reader, name string) (staged string, err error) {
	fd, staged, err := f.temporary("fetch", name)
	if err != nil {
		return "", err
	}
	file := os.NewFile(uintptr(fd), staged)
	_, err = io.Copy(file, body)
	return staged, pathError("fetch", name, errors.Join(err, file.Close()))
}
