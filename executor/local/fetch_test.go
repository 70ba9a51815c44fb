package local

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/hosttest"
)

func TestFetch(t *testing.T) {
	hosttest.FetchSuite(t, func(t *testing.T) hosttest.FetchFixture {
		mux := http.NewServeMux()
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		h, err := New(Options{Root: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		return hosttest.FetchFixture{Host: h, Publish: func(name string, data []byte) string {
			mux.HandleFunc("/"+name, func(w http.ResponseWriter, _ *http.Request) { w.Write(data) })
			return server.URL + "/" + name
		}}
	})
}

func TestFetchOverTheWire(t *testing.T) {
	started := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/slow":
			w.Write([]byte("begun"))
			w.(http.Flusher).Flush()
			close(started)
			<-r.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("short"))
		default:
			http.Error(w, r.Header.Get("X-Token"), http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	h, err := New(Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	host := strings.TrimPrefix(server.URL, "http://")
	for url, want := range map[string]string{
		server.URL + "/loop":                "redirects",
		server.URL + "/cut":                 "unexpected EOF",
		"http://ann:secret@" + host + "/no": "403 Forbidden",
		"ftp://example.org/x":               "neither http nor https",
	} {
		_, err := h.Fetch(t.Context(), executor.Request{URL: url, Limit: 1000}, "/f", executor.Meta{Mode: 0o644})
		if !errors.Is(err, executor.ErrFetch) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, wanted %q", url, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	if _, err := h.Fetch(ctx, executor.Request{URL: server.URL + "/slow", Limit: 1000}, "/f", executor.Meta{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if names, err := h.ReadDir("/"); err != nil || len(names) != 0 {
		t.Errorf("left %v, %v", names, err)
	}
}
