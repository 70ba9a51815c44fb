package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"shoal/executor"
)

// Limits of a fetch: a server may be slow, not still.
const (
	fetchAnswer    = time.Minute // until the first byte of an answer
	fetchStall     = time.Minute // without a byte in the middle
	fetchRedirects = 10
)

// fetcher downloads over HTTP and HTTPS, through the proxies that the environment names.
type fetcher struct {
	files  *Files
	client *http.Client
}

func newFetcher(f *Files) *fetcher {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: fetchAnswer, TLSHandshakeTimeout: fetchAnswer,
		DisableCompression: true, // the hash is of what the server has
		DisableKeepAlives:  true,
	}
	return &fetcher{files: f, client: &http.Client{Transport: transport, CheckRedirect: redirect}}
}

// redirect follows a few, and none from HTTPS to HTTP.
func redirect(next *http.Request, before []*http.Request) error {
	if len(before) >= fetchRedirects {
		return fmt.Errorf("more than %d redirects", fetchRedirects)
	}
	if before[len(before)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return fmt.Errorf("redirected from https to %s", next.URL.Scheme)
	}
	return nil
}

// Fetch implements executor.Fetcher.
func (f *fetcher) Fetch(ctx context.Context, r executor.Request, name string, meta executor.Meta) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := f.open(ctx, r)
	if err != nil {
		return "", fetchError(r, ctx, err)
	}
	defer body.Close()
	stall := time.AfterFunc(fetchStall, func() { cancel(fmt.Errorf("nothing came for %s", fetchStall)) })
	defer stall.Stop()
	dirFD, dir, err := f.files.folder(name)
	if err != nil {
		return "", pathError("fetch", name, err)
	}
	defer unix.Close(dirFD)
	fd := -1
	temporary, err := f.files.stages.create(func(temporary string) (err error) {
		fd, err = unix.Openat(dirFD, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return "", pathError("fetch", name, err)
	}
	file := os.NewFile(uintptr(fd), temporary)
	defer file.Close()
	f.files.dirty.add(dirFD)
	if err := fetchInto(file, &patient{body, stall}, r); err != nil {
		return "", errors.Join(fetchError(r, ctx, err), unix.Unlinkat(dirFD, temporary, 0))
	}
	if err := setMeta(int(file.Fd()), meta); err != nil {
		return "", errors.Join(pathError("fetch", name, err), unix.Unlinkat(dirFD, temporary, 0))
	}
	return path.Join(dir, temporary), nil
}

func (f *fetcher) open(ctx context.Context, r executor.Request) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, errors.New("malformed URL")
	}
	if request.URL.Scheme != "http" && request.URL.Scheme != "https" {
		return nil, fmt.Errorf("scheme %q is neither http nor https", request.URL.Scheme)
	}
	for key, value := range r.Headers {
		request.Header.Set(key, value)
	}
	if !r.Allows(request.URL.Hostname()) {
		return nil, fmt.Errorf("host %s is not allowed", request.URL.Hostname())
	}
	client := *f.client
	client.CheckRedirect = func(next *http.Request, before []*http.Request) error {
		if !r.Allows(next.URL.Hostname()) {
			return fmt.Errorf("redirected to host %s, which is not allowed", next.URL.Hostname())
		}
		return redirect(next, before)
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("the server says %s", answer.Status), answer.Body.Close())
	}
	if answer.ContentLength > r.Limit {
		return nil, errors.Join(fmt.Errorf("it has %d bytes, more than %d", answer.ContentLength, r.Limit), answer.Body.Close())
	}
	return answer.Body, nil
}

// fetchError leaves out the password that a URL may have.
func fetchError(r executor.Request, ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	shown := "a malformed URL"
	if u, parseErr := url.Parse(r.URL); parseErr == nil {
		shown = u.Redacted()
	}
	return fmt.Errorf("%w %s: %w", executor.ErrFetch, shown, err)
}

// patient puts off the end of a fetch with each byte that comes.
type patient struct {
	io.Reader
	stall *time.Timer
}

func (w *patient) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.stall.Reset(fetchStall)
	}
	return n, err
}

func fetchInto(file io.Writer, body io.Reader, r executor.Request) error {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(body, r.Limit+1))
	if err != nil {
		return err
	}
	if n > r.Limit {
		return fmt.Errorf("it has more than %d bytes", r.Limit)
	}
	if hash := "sha256:" + hex.EncodeToString(sum.Sum(nil)); hash != r.Hash {
		return fmt.Errorf("its hash is %s, not %s", hash, r.Hash)
	}
	return nil
}
