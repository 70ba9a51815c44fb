package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"shoal/store"
)

// What a token may be for. Whoever may push may read too: a push looks at what is there.
const (
	ScopeRead    = "read"    // ask
	ScopePush    = "push:"   // and the name of an environment, or *: hand in revisions of it, which a publisher must have signed
	ScopeRecords = "records" // hand in what operators have signed: evictions, statements, recoveries
)

// Limits of a list of tokens.
const (
	MaxTokens   = 256
	maxTokenLen = 128
	tokenPrefix = "shoal_"
)

// Token is a key to the API over TCP. Its text is known to its holder alone: here is its hash.
type Token struct {
	Name    string    `json:"name"`
	Hash    string    `json:"sha256"`
	Scopes  []string  `json:"scopes"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// NewToken makes a token and the text that is to be given to its holder. It is 256 random bits, so that its plain hash gives nothing away.
func NewToken(random io.Reader, name string, scopes []string, now time.Time, ttl time.Duration) (t Token, text string, err error) {
	t = Token{Name: name, Scopes: slices.Clone(scopes), Created: now.UTC().Truncate(time.Second), Expires: now.Add(ttl).UTC().Truncate(time.Second)}
	if err := t.check(); err != nil {
		return t, "", err
	}
	var secret [32]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return t, "", err
	}
	text = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	t.Hash = hashOf(text)
	return t, text, nil
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (t Token) check() error {
	if t.Name == "" || len(t.Name) > 64 || strings.ContainsFunc(t.Name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("token name %.70q: 1 to 64 printable characters without spaces", t.Name)
	}
	if len(t.Scopes) == 0 || len(t.Scopes) > 16 {
		return fmt.Errorf("token %s: 1 to 16 scopes", t.Name)
	}
	for _, scope := range t.Scopes {
		env, push := strings.CutPrefix(scope, ScopePush)
		switch {
		case scope == ScopeRead || scope == ScopeRecords || push && env == "*":
		case !push:
			return fmt.Errorf("token %s: a scope is read, push:ENV or records, not %.70q", t.Name, scope)
		default:
			if err := store.CheckEnv(env); err != nil {
				return fmt.Errorf("token %s: %w", t.Name, err)
			}
		}
	}
	if !t.Expires.After(t.Created) {
		return fmt.Errorf("token %s: it ends before it begins", t.Name)
	}
	return nil
}

// ParseTokens reads a list of tokens as FormatTokens writes it.
func ParseTokens(data []byte) ([]Token, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var tokens []Token
	if err := json.Unmarshal(data, &tokens); err != nil {
		return nil, fmt.Errorf("list of tokens: %w", err)
	}
	if len(tokens) > MaxTokens {
		return nil, fmt.Errorf("list of tokens: %d, at most %d", len(tokens), MaxTokens)
	}
	for _, t := range tokens {
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("list of tokens: %w", err)
		}
	}
	return tokens, nil
}

// FormatTokens writes a list of tokens.
func FormatTokens(tokens []Token) ([]byte, error) { return json.MarshalIndent(tokens, "", "  ") }

var errToken = errors.New("no token of this node: unknown, revoked or over")

// findToken compares with all, in the same time whichever it is. With an error comes the token that is over, if it is that.
func findToken(tokens []Token, text string, now time.Time) (found Token, err error) {
	if len(text) > maxTokenLen {
		return found, errToken
	}
	hash, err := []byte(hashOf(text)), errToken
	for _, t := range tokens {
		if subtle.ConstantTimeCompare([]byte(t.Hash), hash) == 1 {
			found = t
		}
	}
	if found.Name != "" && now.Before(found.Expires) {
		err = nil
	}
	return found, err
}

// may tells whether a token has one of the scopes.
func (t Token) may(any ...string) bool {
	return slices.ContainsFunc(any, func(s string) bool { return slices.Contains(t.Scopes, s) })
}

func (t Token) mayPush(env string) bool { return t.may(ScopePush+env, ScopePush+"*") }

func (t Token) pushes() bool {
	return slices.ContainsFunc(t.Scopes, func(s string) bool { return strings.HasPrefix(s, ScopePush) })
}
