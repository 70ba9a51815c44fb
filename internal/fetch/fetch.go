// Package fetch downloads over HTTP and HTTPS what is known by its hash, for whoever puts it where it belongs: the machine
// itself, or another over a connection.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"time"

	"shoal/executor"
)

// Limits of a fetch: a server may be slow, not still.
const (
	fetchAnswer    = time.Minute // until the first byte of an answer
	fetchStall     = time.Minute // without a byte in the middle
	fetchRedirects = 10
)

// Client downloads through the proxies that the environment names.
type Client struct {
	http http.Client
	open func(ctx context.Context, r executor.Request) (io.ReadCloser, error)
}

// NewClient keeps no connection open.
func NewClient() *Client {
	c := &Client{http: http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: fetchAnswer, TLSHandshakeTimeout: fetchAnswer,
		DisableCompression: true, // the hash is of what the server has
		DisableKeepAlives:  true,
	}}}
	c.open = c.Open
	return c
}

// NewClientBy leaves the network to open, which gives the bytes of a server that says OK. What they must be is looked at here.
func NewClientBy(open func(ctx context.Context, r executor.Request) (io.ReadCloser, error)) *Client {
	return &Client{open: open}
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

// Fetch hands what the server has to take, which is to read it to its end. When it returns nil, take has had exactly the bytes
// that r names. Its errors are of the kind executor.ErrFetch, but for those of take.
func (c *Client) Fetch(ctx context.Context, r executor.Request, take func(body io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answer, err := c.open(ctx, r)
	if err != nil {
		return fetchError(r, ctx, err)
	}
	defer answer.Close()
	stall := time.AfterFunc(fetchStall, func() { cancel(fmt.Errorf("nothing came for %s", fetchStall)) })
	defer stall.Stop()
	body := &body{in: answer, stall: stall, left: r.Limit, limit: r.Limit, sum: sha256.New()}
	err = take(body)
	switch {
	case body.err != nil:
		return fetchError(r, ctx, body.err)
	case err != nil:
		return err
	}
	if hash := "sha256:" + hex.EncodeToString(body.sum.Sum(nil)); hash != r.Hash {
		return fetchError(r, ctx, fmt.Errorf("its hash is %s, not %s", hash, r.Hash))
	}
	return nil
}

// Place is where staged files are.
type Place interface {
	SetMeta(path string, meta executor.Meta) error
	Remove(path string) error
}

// Stage fetches into a temporary file of a place, which fill makes, and leaves nothing there when it fails. A name that fill returns
// beside an error is that of a file that is there.
func (c *Client) Stage(ctx context.Context, r executor.Request, at Place, meta executor.Meta, fill func(body io.Reader) (staged string, err error)) (string, error) {
	staged := ""
	err := c.Fetch(ctx, r, func(body io.Reader) (err error) {
		staged, err = fill(body)
		return err
	})
	if err == nil {
		err = at.SetMeta(staged, meta)
	}
	if err != nil && staged != "" {
		err = errors.Join(err, at.Remove(staged))
	}
	if err != nil {
		return "", err
	}
	return staged, nil
}

// Open begins to fetch, and looks at nothing of what comes.
func (c *Client) Open(ctx context.Context, r executor.Request) (io.ReadCloser, error) {
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
	client := c.http
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

// body is what comes: each byte puts off the end of a fetch, is counted, and goes into the hash.
type body struct {
	in          io.Reader
	stall       *time.Timer
	left, limit int64
	sum         hash.Hash
	err         error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if n > 0 {
		b.stall.Reset(fetchStall)
	}
	if b.left -= int64(n); b.left < 0 {
		n, err = 0, fmt.Errorf("it has more than %d bytes", b.limit)
	}
	_, _ = b.sum.Write(p[:n]) // never fails (hash.Hash)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}
