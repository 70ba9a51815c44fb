package api_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"shoal/internal/bounded"
	"shoal/mesh/api"
)

// FuzzRequests: whoever may open the socket sends what it likes.
func FuzzRequests(f *testing.F) {
	paths := []string{"/v1/missing", "/v1/push", "/v1/records", "/v1/recovery", "/v1/objects", "/v1/objects?copies=1"}
	f.Add(uint8(0), []byte(`{"hashes":["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}`))
	f.Add(uint8(1), []byte(`{"revision":"","object":"AA==","chain":[{"Domain":"x"}]}`))
	f.Add(uint8(2), []byte(`[{"Domain":"shoal/grant/1","Body":"AA==","Signatures":[]}]`))
	f.Add(uint8(4), []byte{0, 0, 0, 1, 'x', 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		h := api.NewHandler(&fakeNode{}, slog.New(slog.DiscardHandler), nil)
		r := httptest.NewRequest("POST", "http://node"+paths[int(path)%len(paths)], bytes.NewReader(body))
		r.Header.Set("X-Shoal", "1")
		bounded.Run(t, 32*bounded.MiB+500*uint64(len(body)), func() { h.ServeHTTP(httptest.NewRecorder(), r) })
	})
}

// FuzzResponses: a node answers an operator's command, and may be in wrong hands.
func FuzzResponses(f *testing.F) {
	path := filepath.Join(f.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		f.Fatal(err)
	}
	var status int
	var body []byte
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200 + max(status, 0)%400)
		_, _ = w.Write(body)
	})}
	go func() { _ = server.Serve(l) }()
	client := api.NewClient(path)
	f.Cleanup(func() { client.Close(); server.Close() })
	f.Add(0, []byte(`{"envs":{"production":{"version":1}},"nodes":[{"name":"n1"}]}`))
	f.Add(300, []byte(`{"kind":"refused","error":"no"}`))
	f.Fuzz(func(t *testing.T, s int, data []byte) {
		status, body = s, data
		ctx := context.Background()
		bounded.Run(t, 64*bounded.MiB+2000*uint64(len(data)), func() {
			_, _ = client.Status(ctx)
			_, _ = client.Members(ctx)
			_, _ = client.Report(ctx, "n1")
		})
	})
}
