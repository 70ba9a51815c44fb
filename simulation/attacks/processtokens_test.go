package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shoal/internal/fleet"
	"shoal/mesh/api"
	"shoal/mesh/meshtest"
	"shoal/store"
)

// What is done with tokens to real agents, which have their API on a port.
func processTokenAttacks() []attack {
	return []attack{
		{"process-token-beyond-its-scope", "token", Stranger, "has a token for reading, and hands an object in to a real agent", "any-token-may", processScope},
		{"process-token-of-another-environment", "token", Stranger, "has a token for staging, and pushes what a publisher signed for production to a real agent", "tokens-push-anything", processEnvironment},
		{"process-token-makes-it-leave", "token", Stranger, "has a token of all scopes, and makes a real agent leave its mesh", "tokens-leave", processTokenLeaves},
		{"process-expired-token", "token", Stranger, "shows a real agent a token that has ended", "expired-tokens", processExpiredToken},
		{"process-revoked-token", "token", Stranger, "shows a real agent a token that was revoked after it had let it in", "tokens-remembered", processRevokedToken},
		{"process-token-of-another-node", "token", Stranger, "shows a real agent a token of another agent", "anybodys-token", processForeignToken},
		{"process-hash-for-a-token", "token", Stranger, "has read a real agent's file of tokens, and shows a hash from it", "hashes-are-tokens", processHash},
		{"process-guessed-tokens", "token", Stranger, "shows a real agent a thousand guesses in a row", "guesses-unbounded", processGuesses},
		{"process-token-in-a-page", "token", Stranger, "has a page in a browser send a token to a real agent", "pages-with-tokens", processTokenInAPage},
		{"process-token-in-clear", "token", Stranger, "listens where a command is told that the node is", "tokens-in-clear", processTokenInClear},
		{"process-clear-at-a-port-with-tls", "token", Stranger, "has a client talk in clear to a real agent that has a certificate", "clear-at-tls", processClear},
	}
}

// portOf is a real agent whose API is on a port, too.
type portOf struct {
	*fleet.Fleet
	*fleet.Node
	t *testing.T
}

func ported(t *testing.T, args ...string) portOf {
	t.Helper()
	f := newFleet(t)
	p := portOf{f, f.Add("n1", "role=web"), t}
	p.Node.Args = append(args, "--api", p.API())
	join(t, p.Node, nil)
	return p
}

// secured is one with a certificate.
func secured(t *testing.T) portOf {
	t.Helper()
	dir := t.TempDir()
	cert, key := selfSignedPEM(t)
	args := []string{}
	for flag, data := range map[string][]byte{"--api-cert": cert, "--api-key": key} {
		name := filepath.Join(dir, flag)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, flag, name)
	}
	return ported(t, args...)
}

// token has the operator of the machine make one, and says what it is.
func (p portOf) token(name string, scopes ...string) (text string) {
	p.t.Helper()
	args := []string{"token", "create", name, "--root", p.Root, "--ttl", "1h"}
	for _, s := range scopes {
		args = append(args, "--scope", s)
	}
	return strings.TrimSpace(run(p.t, p.Fleet, args...).Stdout)
}

// lets tells whether a token is let in.
func (p portOf) lets(token string) bool {
	_, err := clientAt(p.t, p.API(), token).Self(p.t.Context())
	return err == nil
}

func (p portOf) good(token string) string {
	p.t.Helper()
	if !p.lets(token) {
		p.t.Fatal("a good token is not let in, so the attack shows nothing")
	}
	return token
}

func processScope(t *testing.T) string {
	p := ported(t)
	c := clientAt(t, p.API(), p.good(p.token("t", api.ScopeRead)))
	object := []byte("an object that nobody wants")
	_ = c.Put(t.Context(), [][]byte{object})
	if data, err := c.Get(t.Context(), store.HashOf(object)); err == nil && string(data) == string(object) {
		return "an object is stored, by a token for reading"
	}
	return ""
}

func processEnvironment(t *testing.T) string {
	p := ported(t)
	object, objects := meshtest.SignRevision(operatorOf(t, p.Fleet), store.Revision{Env: production, Version: 1, Kind: store.KindPush}, writing("/etc/motd", "theirs"))
	c := clientAt(t, p.API(), p.good(p.token("t", api.ScopePush+"staging")))
	if err := c.Put(t.Context(), objects); err != nil {
		t.Fatal("the token for pushes hands nothing in, so the attack shows nothing:", err)
	}
	_, err := c.Push(t.Context(), api.PushRequest{Revision: store.HashOf(object), Object: object})
	t.Logf("push: %v", err)
	return within(4*quiet, func() string {
		if data, err := os.ReadFile(p.Path("etc/motd")); err == nil {
			return fmt.Sprintf("production is pushed with a token for staging: the agent writes %q", data)
		}
		return ""
	})
}

func processTokenLeaves(t *testing.T) string {
	p := ported(t)
	_ = clientAt(t, p.API(), p.good(p.token("t", api.ScopeRead, api.ScopePush+"*", api.ScopeRecords))).Leave(t.Context())
	if hasEnded(t, p.Node) {
		return "the agent leaves its mesh and ends, by the word of a token"
	}
	return ""
}

func processExpiredToken(t *testing.T) string {
	p := ported(t)
	token := strings.TrimSpace(run(t, p.Fleet, "token", "create", "t", "--root", p.Root, "--ttl", "3s").Stdout)
	<-time.After(3100 * time.Millisecond)
	p.good(p.token("another"))
	if p.lets(token) {
		return "the agent lets in a token that has ended"
	}
	return ""
}

func processRevokedToken(t *testing.T) string {
	p := ported(t)
	c := clientAt(t, p.API(), p.good(p.token("t")))
	must(c.Self(t.Context()))(t)
	run(t, p.Fleet, "token", "revoke", "t", "--root", p.Root)
	if _, err := c.Self(t.Context()); err == nil {
		return "the agent lets in a token after it was revoked"
	}
	return ""
}

func processForeignToken(t *testing.T) string {
	n1, n2 := ported(t), ported(t)
	n2.good(n2.token("t"))
	if n2.lets(n1.good(n1.token("t"))) {
		return "an agent lets in a token of another"
	}
	return ""
}

func processHash(t *testing.T) string {
	p := ported(t)
	p.token("t")
	tokens := must(api.ParseTokens(must(os.ReadFile(p.Path("var/lib/shoal/access/tokens")))(t)))(t)
	if len(tokens) != 1 {
		t.Fatalf("%d tokens in the agent's file", len(tokens))
	}
	if p.lets(tokens[0].Hash) {
		return "the agent lets in the hash of a token"
	}
	return ""
}

// processGuesses: the ration is 16 and one a second.
func processGuesses(t *testing.T) string {
	p := ported(t)
	p.token("t")
	return looksAt(t, clientAt(t, p.API(), "shoal_guess"))
}

func processTokenInAPage(t *testing.T) string {
	p := ported(t)
	if carries(t, p.API(), p.good(p.token("t")), "node", map[string]string{"Origin": "https://evil.example"}) == 200 {
		return "a page reads the agent's API"
	}
	return ""
}

// processTokenInClear runs a command that is pointed at an address that is no loopback one, and is this machine all the same.
func processTokenInClear(t *testing.T) string {
	f := newFleet(t)
	heard, port := eavesdrop(t)
	f.More = append(f.More, "SHOAL_TOKEN=shoal_secret")
	res := must(f.Shoal(t.Context(), "members", "--node", "0.0.0.0:"+port))(t)
	if res.Status == 0 {
		t.Fatal("nobody is there, and the command is content")
	}
	if strings.Contains(heard(), "shoal_secret") {
		return "the command sends the token in clear"
	}
	return ""
}

func processClear(t *testing.T) string {
	p := secured(t)
	if p.lets(p.token("t")) {
		return "the agent answers to a token that came in clear"
	}
	return ""
}

// newFleet is an operator's home; no agent runs.
func newFleet(t *testing.T) *fleet.Fleet {
	t.Helper()
	wasBuilt.Store(true)
	f := must(fleet.NewAt(int(200+nets.Add(1)), must(shoal())(t), t.TempDir()))(t)
	t.Cleanup(func() { _ = f.Close() })
	run(t, f, "init")
	return f
}
