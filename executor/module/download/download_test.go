package download_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/download"
	"shoal/executor/moduletest"
	"shoal/internal/hostfile"
	"shoal/internal/testhost"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, download.Modules()) }

const page = "http://example.org/tool"

func hosts(url string) map[string]func(t *testing.T) executor.Host {
	return map[string]func(t *testing.T) executor.Host{
		page: func(*testing.T) executor.Host {
			h := fake.New()
			h.Publish(page, []byte("tool"))
			return h
		},
		url: func(t *testing.T) executor.Host {
			h := testhost.Local(t)
			return h
		},
	}
}

func have(text string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		t.Helper()
		staged, err := h.Stage("/tool", []byte(text), executor.Meta{Mode: 0o640, UID: 5, GID: 6})
		if err == nil {
			err = h.Rename(staged, "/tool")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFetched(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("tool")) }))
	t.Cleanup(server.Close)
	type p = executor.Params
	sum := strings.TrimPrefix(hostfile.HashOf([]byte("tool")), "sha256:")
	for url, host := range hosts(server.URL) {
		t.Run(url, func(t *testing.T) {
			moduletest.Run(t, moduletest.Suite{Module: download.Fetched{}, Host: host, Snapshot: moduletest.Files, Cases: []moduletest.Case{
				{Name: "new", Params: p{"path": "/usr/bin/tool", "url": url, "sha256": sum, "mode": "0755"}},
				{Name: "other bytes", Params: p{"path": "/tool", "url": url, "sha256": "sha256:" + sum}, Setup: have("old tool")},
				{Name: "other mode", Params: p{"path": "/tool", "url": url, "sha256": sum, "mode": "0600"}, Setup: have("tool")},
				{Name: "there", Params: p{"path": "/tool", "url": "http://nowhere.invalid/", "sha256": sum}, Setup: have("tool"), Matches: true},
				{Name: "refused", Params: p{"path": "/tool", "url": url, "sha256": sum, "validate": "false"}, Setup: have("old"), Fails: true},
				{Name: "other hash", Params: p{"path": "/tool", "url": url, "sha256": strings.Repeat("0", 64)}, Setup: have("old"), Fails: true},
			}})
		})
	}
}

func TestStaged(t *testing.T) {
	h := hosts("")[page](t)
	p := executor.Params{"path": "/tool", "url": page, "sha256": hostfile.HashOf([]byte("tool")), "limit_mb": int64(1)}
	staged, err := download.Fetched{}.Prepare(t.Context(), h, nil, p)
	if err == nil {
		_, err = download.Fetched{}.ApplyStaged(t.Context(), h, nil, p, staged)
	}
	if err != nil || h.(*fake.Host).Asked(page) != 1 {
		t.Fatalf("%v, fetched %d times", err, h.(*fake.Host).Asked(page))
	}
}

func TestValidate(t *testing.T) {
	sum := strings.Repeat("0", 64)
	for want, p := range map[string]executor.Params{
		"not 64 hexadecimal": {"url": page, "sha256": "123"},
		"must begin with":    {"url": "ftp://x/y", "sha256": sum},
		"is no header":       {"url": page, "sha256": sum, "headers": map[string]any{"A": "b\r\nC: d"}},
		"at least 1":         {"url": page, "sha256": sum, "limit_mb": int64(0)},
	} {
		if err := (download.Fetched{}).Function().Validate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, wanted %q", p, err, want)
		}
	}
}
