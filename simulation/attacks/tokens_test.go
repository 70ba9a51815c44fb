package attacks

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh/api"
	"shoal/mesh/meshtest"
	"shoal/store"
)

func tokenAttacks() []attack {
	return []attack{
		{"token-beyond-its-scope", "token", Stranger, "has a token for reading, and hands in objects and records", "any-token-may", beyondScope},
		{"token-of-another-environment", "token", Stranger, "has a token for staging, and pushes what a publisher signed for production", "tokens-push-anything", otherEnvironment},
		{"token-brings-operators", "token", Stranger, "has a token for pushes, and shows its own operators to a node that has none yet", "tokens-bring-operators", bringsOperators},
		{"token-makes-it-leave", "token", Stranger, "has a token of all scopes, and makes the node leave its mesh", "tokens-leave", tokenLeaves},
		{"expired-token", "token", Stranger, "shows a token that has ended", "expired-tokens", expiredToken},
		{"revoked-token", "token", Stranger, "shows a token that was good a moment ago, over the connection that it had", "tokens-remembered", revokedToken},
		{"token-of-another-node", "token", Stranger, "shows a node the token of another", "anybodys-token", foreignToken},
		{"hash-for-a-token", "token", Stranger, "has read a node's list of tokens, and shows a hash from it", "hashes-are-tokens", hashForToken},
		{"guessed-tokens", "token", Stranger, "guesses a thousand tokens in a row", "guesses-unbounded", guessTokens},
		{"token-in-a-page", "token", Stranger, "has a page in a browser send a token that somebody pasted into it", "pages-with-tokens", tokenInAPage},
		{"dns-rebinding-with-a-token", "token", Stranger, "has a page whose name points at loopback send such a token", "any-host", reboundToken},
		{"token-in-clear", "token", Stranger, "reads on the way what an operator's command sends to a node without TLS", "tokens-in-clear", tokenInClear},
		{"clear-at-a-port-with-tls", "token", Stranger, "has a client talk to the API over TLS in clear, to read its token", "clear-at-tls", clearAtTLS},
	}
}

// gated is a node whose API is on a TCP port.
type gated struct {
	*backend
	t      *testing.T
	addr   string
	mu     sync.Mutex
	tokens []api.Token
}

func gate(t *testing.T, secured *tls.Config) *gated {
	t.Helper()
	g := &gated{backend: &backend{}, t: t}
	l := must(api.Listen("127.0.0.1:0", secured))(t)
	g.addr = l.Addr().String()
	serve(t, l, g.backend, &api.Gate{Tokens: func() ([]api.Token, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.tokens, nil
	}}, secured)
	return g
}

// token is one of the node's.
func (g *gated) token(made time.Time, scopes ...string) (text string) {
	g.t.Helper()
	token, text, err := api.NewToken(rand.Reader, "t", scopes, made, time.Hour)
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = append(g.tokens, token)
	return text
}

func (g *gated) client(token string) *api.Client { return clientAt(g.t, g.addr, token) }

func clientAt(t *testing.T, addr, token string) *api.Client {
	c := api.NewClientWith(addr, api.Credentials{Token: token})
	t.Cleanup(c.Close)
	return c
}

// lets tells whether a token is let in.
func (g *gated) lets(token string) bool {
	_, err := g.client(token).Self(g.t.Context())
	return err == nil
}

// good makes sure that a token is one: else an attack with it shows nothing.
func (g *gated) good(token string) string {
	g.t.Helper()
	if !g.lets(token) {
		g.t.Fatal("a good token is not let in")
	}
	return token
}

func beyondScope(t *testing.T) string {
	g := gate(t, nil)
	c := g.client(g.good(g.token(time.Now(), api.ScopeRead)))
	_ = c.Put(t.Context(), [][]byte{[]byte("x")})
	_ = c.Submit(t.Context(), []membership.Signed{{}})
	if n := g.asked.Load(); n > 0 || g.submitted.Load() {
		return fmt.Sprintf("%d objects are stored, by a token for reading", n)
	}
	return ""
}

func signedFor(env string) (object []byte) {
	object, _ = meshtest.SignRevision(operator(), store.Revision{Env: env, Version: 1, Kind: store.KindPush}, map[string]string{"site.yaml": env})
	return object
}

func otherEnvironment(t *testing.T) string {
	g := gate(t, nil)
	object := signedFor(production)
	_, _ = g.client(g.good(g.token(time.Now(), api.ScopePush+"staging"))).Push(t.Context(), api.PushRequest{Revision: store.HashOf(object), Object: object})
	if g.pushed.Load() {
		return "production is pushed with a token for staging"
	}
	return ""
}

func bringsOperators(t *testing.T) string {
	g := gate(t, nil)
	object := signedFor(production)
	_, err := g.client(g.token(time.Now(), api.ScopePush+production)).Push(t.Context(),
		api.PushRequest{Revision: store.HashOf(object), Object: object, Chain: []membership.Signed{{}}})
	if g.adopted.Load() {
		return "the node takes over the operators that a token for pushes shows"
	}
	if err != nil || !g.pushed.Load() {
		t.Fatal("the push itself is refused, so the attack shows nothing:", err)
	}
	return ""
}

func tokenLeaves(t *testing.T) string {
	g := gate(t, nil)
	_ = g.client(g.good(g.token(time.Now(), api.ScopeRead, api.ScopePush+"*", api.ScopeRecords))).Leave(t.Context())
	if g.left.Load() {
		return "the node leaves its mesh, by the word of a token"
	}
	return ""
}

func expiredToken(t *testing.T) string {
	g := gate(t, nil)
	if g.lets(g.token(time.Now().Add(-2*time.Hour), api.ScopeRead)) {
		return "a token of the hour before last is let in"
	}
	return ""
}

func revokedToken(t *testing.T) string {
	g := gate(t, nil)
	c := g.client(g.good(g.token(time.Now(), api.ScopeRead)))
	must(c.Self(t.Context()))(t)
	g.mu.Lock()
	g.tokens = nil
	g.mu.Unlock()
	if _, err := c.Self(t.Context()); err == nil {
		return "a token is let in after it was revoked"
	}
	return ""
}

func foreignToken(t *testing.T) string {
	n1, n2 := gate(t, nil), gate(t, nil)
	n2.good(n2.token(time.Now(), api.ScopeRead))
	if n2.lets(n1.good(n1.token(time.Now(), api.ScopeRead))) {
		return "n2 lets in a token of n1"
	}
	return ""
}

func hashForToken(t *testing.T) string {
	g := gate(t, nil)
	g.token(time.Now(), api.ScopeRead)
	if g.lets(g.tokens[0].Hash) {
		return "the hash of a token is let in"
	}
	return ""
}

func guessTokens(t *testing.T) string {
	g := gate(t, nil)
	g.token(time.Now(), api.ScopeRead)
	return looksAt(t, g.client("shoal_guess"))
}

// looksAt counts the guesses that a node looks at. The ration is 16 and one a second.
func looksAt(t *testing.T, c *api.Client) string {
	began, looked := time.Now(), 0
	for range 1000 {
		_, err := c.Self(t.Context())
		var said *api.Error
		if !errors.As(err, &said) {
			t.Fatal(err)
		}
		if said.Kind == api.Refused {
			looked++
		}
	}
	if most := 17 + int(time.Since(began)/time.Second); looked > most {
		return fmt.Sprintf("the node looked at %d guesses in %s", looked, time.Since(began).Round(time.Millisecond))
	}
	return ""
}

// carries sends a request for self with a token and what a browser adds.
func carries(t *testing.T, addr, token, host string, more map[string]string) (status int) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/v1/self", nil))(t)
	req.Host = host
	req.Header.Set("X-Shoal", "1")
	req.Header.Set("Authorization", "Bearer "+token)
	for k, v := range more {
		req.Header.Set(k, v)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp := must((&http.Client{Transport: tr}).Do(req))(t)
	resp.Body.Close()
	return resp.StatusCode
}

func tokenInAPage(t *testing.T) string {
	g := gate(t, nil)
	token := g.good(g.token(time.Now(), api.ScopeRead))
	if carries(t, g.addr, token, "node", map[string]string{"Origin": "https://evil.example"}) == http.StatusOK {
		return "a page reads the node's API"
	}
	return ""
}

func reboundToken(t *testing.T) string {
	g := gate(t, nil)
	token := g.good(g.token(time.Now(), api.ScopeRead))
	if carries(t, g.addr, token, "evil.example", nil) == http.StatusOK {
		return "a page of evil.example reads the node's API"
	}
	return ""
}

// tokenInClear has the operator's command pointed at an address that is no loopback one, and is this machine all the same.
func tokenInClear(t *testing.T) string {
	heard, port := eavesdrop(t)
	_, _ = clientAt(t, "0.0.0.0:"+port, "shoal_secret").Self(t.Context())
	if strings.Contains(heard(), "shoal_secret") {
		return "the token is sent in clear"
	}
	return ""
}

// eavesdrop listens on a port, and says when asked what the first to call has said.
func eavesdrop(t *testing.T) (heard func() string, port string) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	said := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			said <- ""
			return
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(patience))
		data := make([]byte, 4096)
		n, _ := c.Read(data)
		said <- string(data[:n])
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return func() string { l.Close(); return <-said }, port
}

func clearAtTLS(t *testing.T) string {
	g := gate(t, selfSigned(t))
	if g.lets(g.token(time.Now(), api.ScopeRead)) {
		return "the node answers to a token that came in clear"
	}
	return ""
}

func selfSigned(t *testing.T) *tls.Config {
	cert, key := selfSignedPEM(t)
	return must(api.ServerTLS(cert, key, nil))(t)
}

func selfSignedPEM(t *testing.T) (cert, key []byte) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der := must(x509.CreateCertificate(rand.Reader, form, form, public, private))(t)
	raw := must(x509.MarshalPKCS8PrivateKey(private))(t)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// serve runs an API until the test ends.
func serve(t *testing.T, l net.Listener, b *backend, g *api.Gate, secured *tls.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- api.Serve(ctx, l, api.NewHandler(b, slog.New(slog.DiscardHandler), g), secured)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
