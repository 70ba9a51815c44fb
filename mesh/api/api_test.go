package api_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"shoal/executor"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is a backend that keeps objects in a map.
type fakeNode struct {
	objects map[store.Hash][]byte
	adopted int
	left    bool
	pushed  func(store.Hash) (mesh.PushResult, error)
}

func (n *fakeNode) Self() api.SelfInfo { return api.SelfInfo{Name: "n1", Env: "production"} }
func (n *fakeNode) Members() []mesh.MemberInfo {
	return []mesh.MemberInfo{{Name: "n1", Status: membership.Alive}}
}
func (n *fakeNode) Roster() []membership.Signed { return nil }
func (n *fakeNode) Ring(context.Context) (mesh.RingInfo, error) {
	return mesh.RingInfo{Placement: "token/2"}, nil
}
func (n *fakeNode) Status(context.Context) (mesh.StatusInfo, error) {
	return mesh.StatusInfo{Envs: map[string]mesh.EnvHead{"production": {Version: 3}}}, nil
}
func (n *fakeNode) Log(_ context.Context, env string) ([]mesh.RevisionInfo, error) {
	return []mesh.RevisionInfo{{Env: env, Version: 1}}, nil
}
func (n *fakeNode) Staged() []mesh.RevisionInfo { return nil }

func (n *fakeNode) ConfirmedHead(ctx context.Context, env string) (store.Head, error) {
	return n.Store().Head(ctx, env)
}
func (n *fakeNode) History(_ context.Context, name string, to uint64) (mesh.HistoryInfo, error) {
	return mesh.HistoryInfo{Node: name, Low: to}, nil
}

func (n *fakeNode) EarlierReport(_ context.Context, name string, _ uint64) (executor.Report, error) {
	if name == "nobody" {
		return executor.Report{}, store.ErrNotFound
	}
	return executor.Report{Node: "n1", Result: executor.Converged}, nil
}
func (n *fakeNode) Missing(_ context.Context, hashes []store.Hash) ([]store.Hash, error) {
	var missing []store.Hash
	for _, h := range hashes {
		if n.objects[h] == nil {
			missing = append(missing, h)
		}
	}
	return missing, nil
}
func (n *fakeNode) Push(_ context.Context, h store.Hash, _ []byte) (mesh.PushResult, error) {
	return n.pushed(h)
}
func (n *fakeNode) AdoptChain(s []membership.Signed) error {
	n.adopted += len(s)
	return nil
}
func (n *fakeNode) Submit(context.Context, []membership.Signed) error {
	return errors.New("not signed by an operator")
}
func (n *fakeNode) Standing(_ context.Context, env string) (mesh.StandingInfo, error) {
	return mesh.StandingInfo{Env: env, Version: 3}, nil
}
func (n *fakeNode) Recover(context.Context, membership.Signed) error {
	return membership.ErrUnauthorised
}
func (n *fakeNode) Leave()              { n.left = true }
func (n *fakeNode) Store() store.Store  { return n }
func (n *fakeNode) Copied() store.Store { return n }

func (n *fakeNode) Put(_ context.Context, objects [][]byte) error {
	for _, o := range objects {
		n.objects[store.HashOf(o)] = o
	}
	return nil
}
func (n *fakeNode) Get(_ context.Context, h store.Hash) ([]byte, error) {
	if o, ok := n.objects[h]; ok {
		return o, nil
	}
	return nil, store.ErrNotFound
}
func (n *fakeNode) Head(_ context.Context, env string) (store.Head, error) {
	if env != "production" {
		return store.Head{}, store.ErrNotFound
	}
	return store.Head{Env: env, Version: 3}, nil
}
func (n *fakeNode) Advance(context.Context, store.Hash) (store.Outcome, store.Head, error) {
	return "", store.Head{}, errors.New("not used")
}

// serve runs n on a socket and returns a client and the socket's path.
func serve(t *testing.T, n *fakeNode) (*api.Client, string) {
	t.Helper()
	n.objects = map[store.Hash][]byte{}
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := api.Listen("unix:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, api.NewHandler(n, slog.New(slog.DiscardHandler), nil), nil) }()
	client := api.NewClient(path)
	t.Cleanup(func() {
		client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return client, path
}

func TestObjectsTravel(t *testing.T) {
	n := &fakeNode{}
	client, _ := serve(t, n)
	ctx := t.Context()
	objects := [][]byte{[]byte("one"), make([]byte, store.MaxObject), {}}
	if err := client.Put(ctx, objects); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		got, err := client.Get(ctx, store.HashOf(o))
		if err != nil || string(got) != string(o) {
			t.Errorf("object of %d bytes: %v", len(o), err)
		}
	}
	absent := store.HashOf([]byte("absent"))
	missing, err := client.Missing(ctx, []store.Hash{store.HashOf(objects[0]), absent})
	if err != nil || len(missing) != 1 || missing[0] != absent {
		t.Errorf("missing: %v %v", missing, err)
	}
	n.objects[absent] = []byte("something else")
	if _, err := client.Get(ctx, absent); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("an object with the wrong bytes: %v", err)
	}
}

func TestLimits(t *testing.T) {
	client, _ := serve(t, &fakeNode{})
	for name, objects := range map[string][][]byte{
		"object too large": {make([]byte, store.MaxObject+1)},
		"batch too large":  make([][]byte, api.MaxBatch+1),
	} {
		if kind := kindOf(client.Put(t.Context(), objects)); kind != api.BadInput {
			t.Errorf("%s: kind %q", name, kind)
		}
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	n := &fakeNode{pushed: func(store.Hash) (mesh.PushResult, error) { return mesh.PushResult{}, store.ErrUnpublished }}
	client, _ := serve(t, n)
	ctx := t.Context()
	_, pushErr := client.Push(ctx, api.PushRequest{})
	_, headErr := client.Head(ctx, "nowhere")
	_, reportErr := client.Report(ctx, "nobody")
	_, deadErr := api.NewClient(filepath.Join(t.TempDir(), "none")).Self(ctx)
	for name, c := range map[string]struct {
		err  error
		want api.Kind
	}{
		"unsigned push":      {pushErr, api.Refused},
		"no head":            {headErr, api.NotFound},
		"no report":          {reportErr, api.NotFound},
		"unsigned recovery":  {client.Recover(ctx, membership.Signed{}), api.Refused},
		"unsigned eviction":  {client.Submit(ctx, nil), api.Refused},
		"nobody at the door": {deadErr, api.Unavailable},
	} {
		if got := kindOf(c.err); got != c.want {
			t.Errorf("%s: kind %q of %v, want %q", name, got, c.err, c.want)
		}
	}
}

func kindOf(err error) api.Kind {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// A page in a browser can make it send requests to a loopback port, of some kinds.
func TestForeignPagesAreRefused(t *testing.T) {
	n := &fakeNode{}
	_, path := serve(t, n)
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}
	defer tr.CloseIdleConnections()
	for name, c := range map[string]struct {
		method, host string
		headers      map[string]string
		status       int
	}{
		"ours":               {"POST", "node", map[string]string{}, http.StatusOK},
		"simple request":     {"POST", "node", map[string]string{"X-Shoal": ""}, http.StatusForbidden},
		"DNS rebinding":      {"POST", "evil.example", map[string]string{}, http.StatusForbidden},
		"another site":       {"POST", "node", map[string]string{"Origin": "https://evil.example"}, http.StatusForbidden},
		"a sandboxed frame":  {"POST", "node", map[string]string{"Origin": "null"}, http.StatusForbidden},
		"a browser":          {"POST", "node", map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
		"a form":             {"POST", "node", map[string]string{"Content-Type": "text/plain"}, http.StatusForbidden},
		"a form with a file": {"POST", "node", map[string]string{"Content-Type": "multipart/form-data; boundary=x"}, http.StatusForbidden},
		"no type":            {"POST", "node", map[string]string{"Content-Type": ""}, http.StatusForbidden},
		"a cookie":           {"POST", "node", map[string]string{"Cookie": "a=b"}, http.StatusForbidden},
		"a question first":   {"OPTIONS", "node", map[string]string{}, http.StatusForbidden},
		"a link":             {"GET", "node", map[string]string{}, http.StatusMethodNotAllowed},
		"a long header":      {"POST", "node", map[string]string{"X-Long": strings.Repeat("x", 32<<10)}, http.StatusRequestHeaderFieldsTooLarge},
	} {
		n.left = false
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+c.host+"/v1/leave", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Shoal", "1")
		req.Header.Set("Content-Type", "application/json")
		for k, v := range c.headers {
			req.Header.Set(k, v)
		}
		resp, err := (&http.Client{Transport: tr}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || n.left != (c.status == http.StatusOK) || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: status %d, left %v", name, resp.StatusCode, n.left)
		}
	}
}

func TestListen(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "192.0.2.1:7947", "example.org:80", "[::]:0"} {
		if l, err := api.Listen(addr, nil); err == nil {
			l.Close()
			t.Errorf("listens on %s, where strangers are", addr)
		}
	}
	path := filepath.Join(t.TempDir(), "api.sock")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	if _, err := api.Listen(path, nil); err == nil {
		t.Error("took over a socket that somebody listens on")
	}
	stale.Close()
	l, err := api.Listen(path, nil)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(file, nil); err == nil {
		t.Error("removed a file that is no socket")
	}
}
