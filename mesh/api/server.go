package api

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"shoal/executor"
	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// Backend is the node behind the API.
type Backend interface {
	Self() SelfInfo
	Members() []mesh.MemberInfo
	// Roster is what shows who the members are: grants, tickets redeemed, revocations.
	Roster() []membership.Signed
	Ring(ctx context.Context) (mesh.RingInfo, error)
	Status(ctx context.Context) (mesh.StatusInfo, error)
	Log(ctx context.Context, env string) ([]mesh.RevisionInfo, error)
	// Staged are the revisions that are kept here until enough of the mesh can be reached.
	Staged() []mesh.RevisionInfo
	// EarlierReport returns the run that an entry of the named node's log is about; 0 is its last run, and an empty name this node.
	EarlierReport(ctx context.Context, name string, entry uint64) (executor.Report, error)
	// History returns the newest entries of a node's log, of those numbered up to the given one; 0: of all.
	History(ctx context.Context, name string, to uint64) (mesh.HistoryInfo, error)
	// ConfirmedHead is what an environment is at now, as a majority of its acceptors has it; Store().Head is what this node knows.
	ConfirmedHead(ctx context.Context, env string) (store.Head, error)
	Missing(ctx context.Context, hashes []store.Hash) ([]store.Hash, error)
	// Push makes a revision the head of its environment; object may be nil when it was put before.
	Push(ctx context.Context, revision store.Hash, object []byte) (mesh.PushResult, error)
	// AdoptChain gives a node without a mesh its operators; a node that has a chain ignores it.
	AdoptChain(statements []membership.Signed) error
	// Submit adds signed membership records, such as an eviction.
	Submit(ctx context.Context, records []membership.Signed) error
	// Standing tells what is left of an environment's acceptors, and how it could go on without them.
	Standing(ctx context.Context, env string) (mesh.StandingInfo, error)
	// Recover begins a new era, as the operators have signed it.
	Recover(ctx context.Context, signed membership.Signed) error
	// Leave begins the planned departure of this node.
	Leave()
	// Store takes objects in on this node: a push brings them to their owners itself.
	Store() store.Store
	// Copied takes objects in and answers when a write quorum of their owners has them on disk.
	Copied() store.Store
}

// NewHandler serves b to whom a gate lets in; nil: to all, on a socket.
func NewHandler(b Backend, log *slog.Logger, gate *Gate) http.Handler {
	s := server{b: b, log: log}
	mux := http.NewServeMux()
	handle := func(pattern string, needs right, h http.HandlerFunc) { mux.HandleFunc(pattern, needing(needs, h)) }
	handle("GET /v1/self", toAsk, s.get(func(*http.Request) (any, error) { return b.Self(), nil }))
	handle("GET /v1/members", toAsk, s.get(func(*http.Request) (any, error) { return b.Members(), nil }))
	handle("GET /v1/roster", toAsk, s.get(func(*http.Request) (any, error) { return b.Roster(), nil }))
	handle("GET /v1/ring", toAsk, s.get(func(r *http.Request) (any, error) { return b.Ring(r.Context()) }))
	handle("GET /v1/status", toAsk, s.get(func(r *http.Request) (any, error) { return b.Status(r.Context()) }))
	handle("GET /v1/log", toAsk, s.get(func(r *http.Request) (any, error) {
		return b.Log(r.Context(), r.URL.Query().Get("env"))
	}))
	handle("GET /v1/staged", toAsk, s.get(func(*http.Request) (any, error) { return b.Staged(), nil }))
	handle("GET /v1/report", toAsk, s.get(func(r *http.Request) (any, error) {
		entry, err := numberOf(r, "entry")
		if err != nil {
			return nil, err
		}
		return b.EarlierReport(r.Context(), r.URL.Query().Get("name"), entry)
	}))
	handle("GET /v1/history", toAsk, s.get(func(r *http.Request) (any, error) {
		to, err := numberOf(r, "to")
		if err != nil {
			return nil, err
		}
		return b.History(r.Context(), r.URL.Query().Get("name"), to)
	}))
	handle("GET /v1/head", toAsk, s.get(func(r *http.Request) (any, error) {
		if r.URL.Query().Get("confirmed") != "" {
			return b.ConfirmedHead(r.Context(), r.URL.Query().Get("env"))
		}
		return b.Store().Head(r.Context(), r.URL.Query().Get("env"))
	}))
	handle("POST /v1/missing", toPush, s.get(s.missing))
	handle("POST /v1/push", toPush, s.get(s.push))
	handle("POST /v1/records", toSubmit, s.get(s.records))
	handle("GET /v1/recovery", toAsk, s.get(func(r *http.Request) (any, error) {
		return b.Standing(r.Context(), r.URL.Query().Get("env"))
	}))
	handle("POST /v1/recovery", toSubmit, s.get(s.recovery))
	handle("POST /v1/leave", socketOnly, s.get(func(*http.Request) (any, error) { b.Leave(); return struct{}{}, nil }))
	handle("POST /v1/objects", toPush, s.get(s.putObjects))
	handle("GET /v1/objects/{hash}", toAsk, s.object)
	return guard(mux, gate)
}

// numberOf reads a number of the query; 0 when it is not there.
func numberOf(r *http.Request, name string) (uint64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, badInput("%s: %q is not a number", name, text)
	}
	return n, nil
}

type server struct {
	b   Backend
	log *slog.Logger
}

// get makes a handler of a function that answers with something to print as JSON.
func (s server) get(answer func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := answer(r)
		if err != nil {
			e := errorOf(err)
			if e.Kind == Internal {
				s.log.Warn("api request failed", "path", r.URL.Path, "error", err)
			}
			writeError(w, e)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the client is gone, or will see the cut
	}
}

func writeError(w http.ResponseWriter, e *Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus[e.Kind])
	_ = json.NewEncoder(w).Encode(e)
}

func decode(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badInput("read request: %v", err)
	}
	return nil
}

func (s server) missing(r *http.Request) (any, error) {
	var in listOf
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if len(in.Hashes) > MaxHashes {
		return nil, badInput("%d hashes in one request, at most %d", len(in.Hashes), MaxHashes)
	}
	missing, err := s.b.Missing(r.Context(), in.Hashes)
	return listOf{Hashes: missing}, err
}

func (s server) push(r *http.Request) (any, error) {
	var in PushRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if err := s.mayPush(r, &in); err != nil {
		return nil, err
	}
	if len(in.Chain) > 0 {
		if err := s.b.AdoptChain(in.Chain); err != nil {
			return nil, &Error{Refused, err.Error()}
		}
	}
	if len(in.Object) > 0 && store.HashOf(in.Object) != in.Revision {
		return nil, badInput("push: the object is not that of revision %s", in.Revision.Short())
	}
	return s.b.Push(r.Context(), in.Revision, in.Object)
}

func (s server) records(r *http.Request) (any, error) {
	var in []membership.Signed
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if err := s.b.Submit(r.Context(), in); err != nil {
		return nil, &Error{Refused, err.Error()}
	}
	return struct{}{}, nil
}

func (s server) recovery(r *http.Request) (any, error) {
	var in membership.Signed
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if err := s.b.Recover(r.Context(), in); err != nil {
		return nil, &Error{Refused, err.Error()}
	}
	return struct{}{}, nil
}

// putObjects reads objects as a length of four bytes, big endian, and that many bytes each.
func (s server) putObjects(r *http.Request) (any, error) {
	var objects [][]byte
	for {
		object, err := readObject(r.Body)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if objects = append(objects, object); len(objects) > MaxBatch {
			return nil, badInput("more than %d objects in one request", MaxBatch)
		}
	}
	keep := s.b.Store()
	if r.URL.Query().Get("copies") != "" {
		keep = s.b.Copied()
	}
	return struct{}{}, keep.Put(r.Context(), objects)
}

func readObject(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, badInput("read object: %v", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > store.MaxObject {
		return nil, badInput("an object of %d bytes, at most %d", n, store.MaxObject)
	}
	object := make([]byte, n)
	if _, err := io.ReadFull(r, object); err != nil {
		return nil, badInput("read object: %v", err)
	}
	return object, nil
}

func (s server) object(w http.ResponseWriter, r *http.Request) {
	hash, err := store.ParseHash(r.PathValue("hash"))
	if err != nil {
		writeError(w, badInput("%v", err))
		return
	}
	object, err := s.b.Store().Get(r.Context(), hash)
	if err != nil {
		writeError(w, errorOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(object) // the client is gone, or will see the cut
}

// Serve answers on l until ctx ends, and then lets requests finish for a second; in TLS, unless secured is nil.
func Serve(ctx context.Context, l net.Listener, h http.Handler, secured *tls.Config) error {
	l = few(l)
	if secured != nil {
		l = tls.NewListener(l, secured)
	}
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn), // of handshakes with strangers, which they may begin as often as they like
	}
	ctx, cancel := context.WithCancel(ctx)
	down := make(chan struct{})
	go func() {
		defer close(down)
		<-ctx.Done()
		grace, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close() // what is left of the requests is cut off
		}
	}()
	err := srv.Serve(l)
	cancel()
	<-down
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
