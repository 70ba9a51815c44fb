package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"shoal/executor"
)

func TestFetch(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/text" {
			http.Redirect(w, r, "http://127.0.0.1:1/x", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "text") // who hangs up has had enough
	}))
	t.Cleanup(secure.Close)
	c := NewClient()
	c.http.Transport.(*http.Transport).TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig
	sum := sha256.Sum256([]byte("text"))
	text := executor.Request{URL: secure.URL + "/text", Hash: "sha256:" + hex.EncodeToString(sum[:]), Limit: 4}
	var got strings.Builder
	take := func(body io.Reader) error {
		got.Reset()
		_, err := io.Copy(&got, body)
		return err
	}
	if err := c.Fetch(t.Context(), text, take); err != nil || got.String() != "text" {
		t.Errorf("%q, %v", &got, err)
	}
	full := errors.New("no room")
	if err := c.Fetch(t.Context(), text, func(io.Reader) error { return full }); err != full {
		t.Errorf("what takes it failed: %v", err)
	}
	if err := c.Fetch(t.Context(), text, func(io.Reader) error { return nil }); !errors.Is(err, executor.ErrFetch) {
		t.Errorf("what was not read counts as fetched: %v", err)
	}
	elsewhere, small, down := text, text, text
	elsewhere.Hosts, small.Limit, down.URL = []string{"example.org"}, 3, secure.URL
	for want, r := range map[string]executor.Request{"is not allowed": elsewhere, "it has 4 bytes, more than 3": small, "redirected from https to http": down} {
		if err := c.Fetch(t.Context(), r, take); !errors.Is(err, executor.ErrFetch) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, wanted %q", err, want)
		}
	}
}
