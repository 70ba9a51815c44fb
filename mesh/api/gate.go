package api

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// Limits of what all requests together may take.
const (
	maxRequests = 128             // at the same time; more are told to come again
	maxRemote   = 32              // of these, over TCP
	requestTime = 5 * time.Minute // for one, its body and its answer included
)

// right is what a request needs.
type right int

const (
	toAsk      right = iota
	toPush           // objects, and revisions of the environments that the caller may push
	toSubmit         // what operators have signed
	socketOnly       // as good as being there
)

// Gate decides who may do what over TCP. On the socket the operating system has decided already.
type Gate struct {
	// Tokens are those that hold now.
	Tokens func() ([]Token, error)

	guesses guesses
}

// caller is who asks; all: everything but what is for the socket alone.
type caller struct {
	local bool
	all   bool
	token Token
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// enter finds out who asks.
func (g *Gate) enter(r *http.Request) (caller, *Error) {
	if g == nil {
		return caller{local: true, all: true}, nil
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return caller{all: true}, nil
	}
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return caller{}, &Error{Refused, "over TCP this node wants a token (SHOAL_TOKEN_FILE) or a client certificate; its socket wants neither"}
	}
	from, now := guesserOf(r.RemoteAddr), time.Now()
	if g.guesses.spent(from, now) {
		return caller{}, &Error{Unavailable, "too many wrong tokens from your address; wait a second"}
	}
	tokens, err := g.Tokens()
	if err != nil {
		return caller{}, &Error{Internal, "the tokens of this node cannot be read"}
	}
	token, err := findToken(tokens, text, now)
	if err != nil {
		if token.Name == "" { // one that is over was no guess
			g.guesses.wrong(from, now)
		}
		return caller{}, &Error{Refused, err.Error()}
	}
	return caller{token: token}, nil
}

func (c caller) may(needs right) bool {
	switch {
	case c.local:
		return true
	case needs == socketOnly:
		return false
	case c.all:
		return true
	case needs == toAsk:
		return c.token.may(ScopeRead) || c.token.pushes()
	case needs == toPush:
		return c.token.pushes()
	case needs == toSubmit:
		return c.token.may(ScopeRecords)
	}
	return false
}

// fromABrowser says why a request must be one that a page made a browser send; empty: it need not be. Ours carry a header that a page
// cannot add without asking first, call every node by one name, and say nothing of where they come from.
func fromABrowser(r *http.Request) string {
	switch {
	case r.Header.Get(header) == "":
		return "the header " + header + " is missing: this is the API of a shoal node, use the shoal command"
	case r.Host != host:
		return fmt.Sprintf("the host %.100q is not this node's API", r.Host)
	case r.Header.Get("Origin") != "" || r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "":
		return "requests of web pages are refused"
	case r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Sec-Fetch-Mode") != "":
		return "requests of browsers are refused"
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		return fmt.Sprintf("the method %.20q is not of this API", r.Method)
	case r.Method == http.MethodPost:
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != jsonType && kind != bytesType {
			return fmt.Sprintf("a body of type %.100q, which a form can send; it is %s or %s", r.Header.Get("Content-Type"), jsonType, bytesType)
		}
	}
	return ""
}

const (
	jsonType  = "application/json"
	bytesType = "application/octet-stream"
)

// guard lets those in that no browser on another site can be and whom the gate knows, not too many at once, and none for ever.
func guard(next http.Handler, g *Gate) http.Handler {
	most := maxRequests
	if g != nil {
		most = maxRemote
	}
	room := make(chan struct{}, most)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why := fromABrowser(r); why != "" {
			writeError(w, &Error{Refused, why})
			return
		}
		who, refused := g.enter(r)
		if refused != nil {
			writeError(w, refused)
			return
		}
		select {
		case room <- struct{}{}:
			defer func() { <-room }()
		default:
			writeError(w, &Error{Unavailable, "too many requests at the same time; try again"})
			return
		}
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), callerKey{}, who), requestTime)
		defer cancel()
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(requestTime)) // every connection of Serve has deadlines
		_ = control.SetWriteDeadline(time.Now().Add(requestTime))
		r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// needing lets only those through who have a right.
func needing(needs right, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if who := callerOf(r.Context()); !who.may(needs) {
			writeError(w, who.refused())
			return
		}
		next(w, r)
	}
}

func (c caller) refused() *Error {
	if c.token.Name == "" {
		return &Error{Refused, "this is for the socket of the node alone"}
	}
	return &Error{Refused, fmt.Sprintf("the token %s is for %s alone", c.token.Name, strings.Join(c.token.Scopes, ", "))}
}

// mayPush looks at which environment a revision is of, and leaves nothing in the request that is for others; whether it was signed for it is for the node to say.
func (s server) mayPush(r *http.Request, in *PushRequest) error {
	who := callerOf(r.Context())
	if who.all {
		return nil
	}
	object := in.Object
	if len(object) == 0 {
		var err error
		if object, err = s.b.Store().Get(r.Context(), in.Revision); err != nil {
			return err
		}
	}
	var signed membership.Signed
	var revision store.Revision
	err := codec.Unmarshal(object, &signed)
	if err == nil {
		err = codec.Unmarshal(signed.Body, &revision)
	}
	if err != nil {
		return badInput("push: %v", err)
	}
	if !who.token.mayPush(revision.Env) {
		return who.refused()
	}
	if !who.token.may(ScopeRecords) {
		in.Chain = nil // each push shows it, and a node of a mesh needs it from nobody
	}
	return nil
}
