package fake

import (
	"context"
	"fmt"
	"sync"

	"shoal/executor"
)

// Web is what can be fetched, by URL.
type Web struct {
	files executor.Files

	mu    sync.Mutex
	pages map[string][]byte
	asked map[string]int
}

// NewWeb is an empty one; what is fetched from it goes to files.
func NewWeb(files executor.Files) *Web {
	return &Web{files: files, pages: map[string][]byte{}, asked: map[string]int{}}
}

// Publish puts something there.
func (w *Web) Publish(url string, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[url] = data
}

// Asked is how often something was fetched.
func (w *Web) Asked(url string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[url]
}

// Fetch implements executor.Fetcher.
func (w *Web) Fetch(ctx context.Context, r executor.Request, path string, meta executor.Meta) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", context.Cause(ctx)
	}
	w.mu.Lock()
	w.asked[r.URL]++
	data, ok := w.pages[r.URL]
	w.mu.Unlock()
	switch {
	case !ok:
		return "", fmt.Errorf("%w %s: 404 Not Found", executor.ErrFetch, r.URL)
	case int64(len(data)) > r.Limit:
		return "", fmt.Errorf("%w %s: more than %d bytes", executor.ErrFetch, r.URL, r.Limit)
	case hashOf(data) != r.Hash:
		return "", fmt.Errorf("%w %s: its hash is %s, not %s", executor.ErrFetch, r.URL, hashOf(data), r.Hash)
	}
	return w.files.Stage(path, data, meta)
}
