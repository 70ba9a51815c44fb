package ssh_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"shoal/executor/hosttest"
	"shoal/internal/sshdtest"
)

func TestFetch(t *testing.T) {
	needRoot(t)
	m := machine(t, sshdtest.Start(t, sshdtest.Options{}))
	hosttest.FetchSuite(t, func(t *testing.T) hosttest.FetchFixture {
		mux := http.NewServeMux()
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		return hosttest.FetchFixture{Host: host(t, m, t.TempDir(), "/nowhere"), Publish: func(name string, data []byte) string {
			mux.HandleFunc("/"+name, func(w http.ResponseWriter, _ *http.Request) { w.Write(data) })
			return server.URL + "/" + name
		}}
	})
}
