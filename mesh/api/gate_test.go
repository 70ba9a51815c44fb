package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/store"
)

// tcp runs n on a loopback address with tokens; what is in tokens counts at each request.
type tcp struct {
	addr   string
	mu     sync.Mutex
	tokens []api.Token
}

func serveTCP(t *testing.T, n *fakeNode, secured *tls.Config) *tcp {
	t.Helper()
	n.objects = map[store.Hash][]byte{}
	l, err := api.Listen("127.0.0.1:0", secured)
	if err != nil {
		t.Fatal(err)
	}
	s := &tcp{addr: l.Addr().String()}
	gate := &api.Gate{Tokens: func() ([]api.Token, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.tokens, nil
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, api.NewHandler(n, slog.New(slog.DiscardHandler), gate), secured) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// token makes one, and what its holder is told.
func (s *tcp) token(t *testing.T, now time.Time, ttl time.Duration, scopes ...string) string {
	t.Helper()
	token, text, err := api.NewToken(rand.Reader, "t"+scopes[0], scopes, now, ttl)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(token.Hash, text) || !strings.HasPrefix(text, "shoal_") {
		t.Errorf("the text is kept: %+v", token)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, token)
	return text
}

func clientOf(t *testing.T, addr string, who api.Credentials) *api.Client {
	c := api.NewClientWith(addr, who)
	t.Cleanup(c.Close)
	return c
}

func revisionOf(t *testing.T, env string) (object []byte) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	object, err := store.SealRevision(store.Revision{Env: env, Version: 1, Kind: store.KindPush}, key)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// TestTokensAreLimited: each of the requests, with each kind of token.
func TestTokensAreLimited(t *testing.T) {
	n := &fakeNode{pushed: func(h store.Hash) (mesh.PushResult, error) { return mesh.PushResult{Revision: h}, nil }}
	s := serveTCP(t, n, nil)
	now := time.Now()
	texts := map[string]string{
		"none": "", "wrong": "shoal_wrong", "over": s.token(t, now.Add(-2*time.Hour), time.Hour, "read", "push:*", "records"),
		"read": s.token(t, now, time.Hour, "read"), "push": s.token(t, now, time.Hour, "push:staging"),
		"push all": s.token(t, now, time.Hour, "push:*"), "records": s.token(t, now, time.Hour, "records"),
	}
	staging, production := revisionOf(t, "staging"), revisionOf(t, "production")
	ctx := t.Context()
	requests := map[string]struct {
		do   func(c *api.Client) error
		lets string // the tokens that may, divided by commas
	}{
		"ask":  {func(c *api.Client) error { _, err := c.Members(ctx); return err }, "read,push,push all"},
		"tree": {func(c *api.Client) error { _, err := c.Head(ctx, "production"); return err }, "read,push,push all"},
		"put":  {func(c *api.Client) error { return c.Put(ctx, [][]byte{[]byte("x"), production}) }, "push,push all"},
		"push its own": {func(c *api.Client) error {
			_, err := c.Push(ctx, api.PushRequest{Revision: store.HashOf(staging), Object: staging})
			return err
		}, "push,push all"},
		"push another's": {func(c *api.Client) error {
			_, err := c.Push(ctx, api.PushRequest{Revision: store.HashOf(production), Object: production})
			return err
		}, "push all"},
		"push another's that is there": {func(c *api.Client) error {
			_, err := c.Push(ctx, api.PushRequest{Revision: store.HashOf(production)})
			return err
		}, "push all"},
		"other operators": {func(c *api.Client) error {
			_, err := c.Push(ctx, api.PushRequest{Revision: store.HashOf(staging), Object: staging, Chain: make([]membership.Signed, 1)})
			return err
		}, "push,push all"}, // and they are not adopted
		"leave": {func(c *api.Client) error { return c.Leave(ctx) }, ""},
	}
	n.objects[store.HashOf(production)] = production
	for what, r := range requests {
		for kind, text := range texts {
			err := r.do(clientOf(t, s.addr, api.Credentials{Token: text}))
			may := false
			for _, k := range strings.Split(r.lets, ",") {
				may = may || k == kind
			}
			if may != (err == nil) || !may && kindOf(err) != api.Refused {
				t.Errorf("%s with %s: %v", what, kind, err)
			}
		}
	}
	if err := clientOf(t, s.addr, api.Credentials{Token: texts["records"]}).Submit(ctx, nil); err == nil || strings.Contains(err.Error(), "token") {
		t.Errorf("records with a token for them: %v", err) // it is the node that refuses them
	}
	if n.left || n.adopted > 0 {
		t.Errorf("left %v, adopted %d", n.left, n.adopted)
	}
	s.mu.Lock()
	s.tokens = nil
	s.mu.Unlock()
	if _, err := clientOf(t, s.addr, api.Credentials{Token: texts["read"]}).Self(ctx); kindOf(err) != api.Refused {
		t.Errorf("a token that was revoked: %v", err)
	}
}

func TestTokenForm(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		name   string
		scopes []string
		ttl    time.Duration
	}{
		"no name": {"", []string{"read"}, time.Hour}, "a line": {"a\nb", []string{"read"}, time.Hour}, "no scope": {"a", nil, time.Hour},
		"a scope that is none": {"a", []string{"write"}, time.Hour}, "an environment that is none": {"a", []string{"push:../x"}, time.Hour},
		"over before it begins": {"a", []string{"read"}, -time.Hour},
	} {
		if _, _, err := api.NewToken(rand.Reader, c.name, c.scopes, now, c.ttl); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	token, _, err := api.NewToken(rand.Reader, "a", []string{"read", "push:production"}, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	data, err := api.FormatTokens([]api.Token{token})
	if err != nil {
		t.Fatal(err)
	}
	back, err := api.ParseTokens(data)
	if err != nil || len(back) != 1 || back[0].Hash != token.Hash {
		t.Errorf("%+v %v", back, err)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte(`[{"name":"a","sha256":"00","scopes":["read"],"created":"2026-01-01T00:00:00Z","expires":"2027-01-01T00:00:00Z"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tokens, err := api.ParseTokens(data)
		if err != nil || len(tokens) == 0 {
			return
		}
		if len(tokens) > api.MaxTokens {
			t.Fatalf("%d tokens", len(tokens))
		}
		again, err := api.FormatTokens(tokens)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := api.ParseTokens(again); err != nil {
			t.Fatal(err)
		}
	})
}

// certificate is signed by an authority; nil: by itself.
func certificate(t *testing.T, name string, by *tls.Certificate) (pair tls.Certificate, cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: by == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := form, any(private)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, form, parent, private.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	if pair, err = tls.X509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return pair, cert, key
}

func TestMutualTLS(t *testing.T) {
	authority, ca, _ := certificate(t, "authority", nil)
	other, _, _ := certificate(t, "another", nil)
	_, cert, key := certificate(t, "node", &authority)
	client, _, _ := certificate(t, "client", &authority)
	forged, _, _ := certificate(t, "client", &other)
	secured, err := api.ServerTLS(cert, key, ca)
	if err != nil {
		t.Fatal(err)
	}
	n := &fakeNode{}
	s := serveTCP(t, n, secured)
	text := s.token(t, time.Now(), time.Hour, "read")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	with := func(pairs ...tls.Certificate) *tls.Config { return &tls.Config{RootCAs: roots, Certificates: pairs} }
	insists := with() // else it shows only what the node asks for
	insists.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &forged, nil }
	ctx := t.Context()
	for name, c := range map[string]struct {
		who  api.Credentials
		want api.Kind
	}{
		"a certificate":            {api.Credentials{TLS: with(client)}, ""},
		"a token":                  {api.Credentials{TLS: with(), Token: text}, ""},
		"neither":                  {api.Credentials{TLS: with()}, api.Refused},
		"a forged certificate":     {api.Credentials{TLS: insists}, api.Unavailable},
		"another node":             {api.Credentials{TLS: &tls.Config{RootCAs: x509.NewCertPool()}, Token: text}, api.Unavailable},
		"a token in the clear":     {api.Credentials{Token: text}, api.BadInput},
		"a stranger, in the clear": {api.Credentials{}, api.BadInput},
	} {
		_, err := clientOf(t, s.addr, c.who).Self(ctx)
		if got := kindOf(err); got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := clientOf(t, s.addr, api.Credentials{TLS: with(client)}).Leave(ctx); kindOf(err) != api.Refused || n.left {
		t.Errorf("leave with a certificate: %v", err)
	}
	if _, err := clientOf(t, "192.0.2.1:1", api.Credentials{Token: text}).Self(ctx); kindOf(err) != api.BadInput {
		t.Errorf("a token is sent to another machine in clear: %v", err)
	}
}

// TestTooManyRequests: those that are under way keep others out, and let them in when they end.
func TestTooManyRequests(t *testing.T) {
	inside, release := make(chan struct{}, 1000), make(chan struct{})
	n := &fakeNode{pushed: func(store.Hash) (mesh.PushResult, error) {
		inside <- struct{}{}
		<-release
		return mesh.PushResult{}, nil
	}}
	s := serveTCP(t, n, nil)
	text := s.token(t, time.Now(), time.Hour, "push:*")
	object := revisionOf(t, "production")
	var pushing sync.WaitGroup
	push := func() error {
		_, err := clientOf(t, s.addr, api.Credentials{Token: text}).Push(context.Background(), api.PushRequest{Revision: store.HashOf(object), Object: object})
		return err
	}
	const most = 32
	for range most {
		pushing.Go(func() {
			if err := push(); err != nil {
				t.Error(err)
			}
		})
	}
	for range most {
		<-inside
	}
	if err := push(); kindOf(err) != api.Unavailable {
		t.Errorf("one more: %v", err)
	}
	close(release)
	pushing.Wait()
	if err := push(); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

// endless is a body that says how much of it was taken.
type endless struct{ taken atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'A'
	}
	if e.taken.Add(int64(len(p))) > 8*api.MaxBody {
		return 0, io.EOF
	}
	return len(p), nil
}

// TestTooLarge: a body over the limit is not read to its end.
func TestTooLarge(t *testing.T) {
	s := serveTCP(t, &fakeNode{}, nil)
	text := s.token(t, time.Now(), time.Hour, "push:*", "records")
	long := &endless{}
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.addr+"/v1/records", io.MultiReader(strings.NewReader(`[{"Body":"`), long))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "node"
	for k, v := range map[string]string{"X-Shoal": "1", "Content-Type": "application/json", "Authorization": "Bearer " + text} {
		req.Header.Set(k, v)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", resp.StatusCode)
		}
	} // else it hung up in the middle
	if taken := long.taken.Load(); taken > 3*api.MaxBody {
		t.Errorf("%d bytes were taken", taken)
	}
}
