package attacks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

func apiAttacks() []attack {
	return []attack{
		{"page-in-a-browser", "API", Stranger, "a page in a browser on the machine posts to the API", "any-page", func(t *testing.T) string { return leaves(t, "node", "") }},
		{"dns-rebinding", "API", Stranger, "a page whose name points at loopback posts to the API, with the header", "any-host", func(t *testing.T) string { return leaves(t, "evil.example", "1") }},
		{"body-without-end", "API", Stranger, "posts a request of 64 MiB", "bodies-unbounded", endlessBody},
		{"hashes-without-end", "API", Stranger, "asks for a hundred thousand hashes at once", "hashes-unbounded", endlessHashes},
		{"announced-gigabyte", "API", Stranger, "announces an object of 1 GiB, for which memory is to be made ready", "api-objects-of-any-size", announcedGigabyte},
		{"batch-without-end", "API", Stranger, "puts thousands of objects in one request, to be held in memory", "batches-unbounded", endlessBatch},
		{"slow-headers", "slow", Stranger, "opens a request and never ends its headers", "slow-headers-welcome", slowHeaders},
		{"api-on-the-network", "API", Stranger, "reaches the API over the network, because somebody configured an address there", "api-anywhere", apiAnywhere},
		{"open-the-socket", "API", Stranger, "is another user of the machine, and opens the socket", "socket-for-all", openSocket},
		{"object-by-another-name", "API", Stranger, "pushes one revision under the hash of another that was approved", "any-object", otherObject},
	}
}

// backend is a node that notes what was done to it; whatever else is asked of it is a crash of the test.
type backend struct {
	api.Backend
	asked                            atomic.Int64
	left, pushed, submitted, adopted atomic.Bool
}

// keeper is its store.
type keeper struct {
	store.Store
	b *backend
}

func (b *backend) Self() api.SelfInfo { return api.SelfInfo{Name: "n1"} }
func (b *backend) Leave()             { b.left.Store(true) }
func (b *backend) Store() store.Store { return keeper{b: b} }

func (k keeper) Put(_ context.Context, objects [][]byte) error {
	k.b.asked.Add(int64(len(objects)))
	return nil
}

func (b *backend) Missing(_ context.Context, hashes []store.Hash) ([]store.Hash, error) {
	b.asked.Store(int64(len(hashes)))
	return nil, nil
}

func (b *backend) Submit(context.Context, []membership.Signed) error {
	b.submitted.Store(true)
	return nil
}

func (b *backend) AdoptChain([]membership.Signed) error {
	b.adopted.Store(true)
	return nil
}

func (b *backend) Push(context.Context, store.Hash, []byte) (r mesh.PushResult, err error) {
	b.pushed.Store(true)
	return r, nil
}

// server serves b on a socket, as a node does.
func server(t *testing.T, b *backend) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "api.sock")
	serve(t, must(api.Listen(socket, nil))(t), b, nil, nil)
	return socket
}

func post(t *testing.T, socket, host, header, path string, body io.Reader) (status int) {
	t.Helper()
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}
	defer tr.CloseIdleConnections()
	req := must(http.NewRequestWithContext(t.Context(), "POST", "http://"+host+path, body))(t)
	req.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/v1/objects") {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	if header != "" {
		req.Header.Set("X-Shoal", header)
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return 0 // cut off in the middle
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func leaves(t *testing.T, host, header string) string {
	b := &backend{}
	post(t, server(t, b), host, header, "/v1/leave", strings.NewReader("{}"))
	if b.left.Load() {
		return "the node leaves its mesh"
	}
	return ""
}

// endless is JSON that goes on and on.
type endless struct{ left, read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range n {
		p[i] = ' '
	}
	e.left, e.read = e.left-n, e.read+n
	return n, nil
}

func endlessBody(t *testing.T) string {
	body := io.MultiReader(&endless{left: 64 << 20}, strings.NewReader(`{"hashes":[]}`))
	if got := post(t, server(t, &backend{}), "node", "1", "/v1/missing", body); got == http.StatusOK {
		return "a request of 64 MiB is answered"
	}
	return ""
}

func endlessHashes(t *testing.T) string {
	hash, _ := json.Marshal(store.HashOf(nil))
	body := `{"hashes":[` + string(hash) + strings.Repeat(","+string(hash), 100_000) + `]}`
	b := &backend{}
	post(t, server(t, b), "node", "1", "/v1/missing", strings.NewReader(body))
	if n := b.asked.Load(); n > 0 {
		return fmt.Sprintf("the node looks for %d hashes", n)
	}
	return ""
}

func announcedGigabyte(t *testing.T) string {
	c := must(net.Dial("unix", server(t, &backend{})))(t)
	defer c.Close()
	fmt.Fprint(c, "POST /v1/objects HTTP/1.1\r\nHost: node\r\nX-Shoal: 1\r\nContent-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\n\x30\x00\x00\x00x")
	_ = c.SetReadDeadline(time.Now().Add(patience))
	resp := must(http.ReadResponse(bufio.NewReader(c), nil))(t)
	defer resp.Body.Close()
	// Who believes it makes room, and then misses the bytes.
	if text := must(io.ReadAll(resp.Body))(t); bytes.Contains(text, []byte("unexpected EOF")) {
		return "room is made for 768 MiB"
	}
	return ""
}

func endlessBatch(t *testing.T) string {
	b := &backend{}
	post(t, server(t, b), "node", "1", "/v1/objects", bytes.NewReader(make([]byte, 4*5000)))
	if n := b.asked.Load(); n > 0 {
		return fmt.Sprintf("%d objects in one request", n)
	}
	return ""
}

func slowHeaders(t *testing.T) string {
	c := must(net.Dial("unix", server(t, &backend{})))(t)
	defer c.Close()
	fmt.Fprint(c, "GET /v1/self HTTP/1.1\r\nHost: node\r\n")
	_ = c.SetReadDeadline(time.Now().Add(12 * time.Second))
	_, err := io.ReadAll(c)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return "the connection is open after 12 s"
	}
	return ""
}

func apiAnywhere(*testing.T) string {
	l, err := api.Listen("0.0.0.0:0", nil)
	if err != nil {
		return ""
	}
	l.Close()
	return "the API listens on all addresses"
}

func openSocket(t *testing.T) string {
	info := must(os.Stat(server(t, &backend{})))(t)
	if info.Mode().Perm()&0o007 != 0 {
		return "anybody on the machine may connect: " + info.Mode().String()
	}
	return ""
}

func otherObject(t *testing.T) string {
	b := &backend{}
	body, _ := json.Marshal(api.PushRequest{Revision: store.HashOf([]byte("approved")), Object: []byte("another")})
	post(t, server(t, b), "node", "1", "/v1/push", bytes.NewReader(body))
	if b.pushed.Load() {
		return "another object is pushed than the one that its hash names"
	}
	return ""
}
