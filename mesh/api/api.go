// Package api is how a person's command reaches a node: HTTP with JSON over the node's Unix socket, or over TCP on a
// loopback address. Whoever may open the socket may ask and push; what is pushed is verified by the node all the same.
package api

import (
	"errors"
	"fmt"
	"net/http"

	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// Limits of one request.
const (
	MaxBody   = 20 << 20 // bytes
	MaxHashes = 8192
	MaxBatch  = 64 // objects in one upload
)

// header must be on every request: a page in a browser cannot send it to another site without asking first, and
// nobody here answers that question.
const header = "X-Shoal"

// host is what every request calls us, whatever the address: a page whose own name was made to point at a loopback address
// (DNS rebinding) calls us by that name.
const host = "node"

// SelfInfo says who answers.
type SelfInfo struct {
	Name    string            `json:"name"`
	ID      membership.NodeID `json:"id"`
	Mesh    string            `json:"mesh"` // hexadecimal; empty for a node without a mesh
	Zone    string            `json:"zone"`
	Tags    map[string]string `json:"tags"` // granted tags and facts
	Env     string            `json:"env"`
	Version string            `json:"version"` // of the binary
	DataDir string            `json:"data_dir"`
	Root    string            `json:"root"` // the folder it keeps in shape; "/" for the machine itself
}

// PushRequest asks to make a revision, whose objects were put before, the head of its environment.
type PushRequest struct {
	Revision store.Hash `json:"revision"`
	// Object is that of the revision, when it was not put before.
	Object []byte `json:"object,omitempty"`
	// Chain is the publisher's trust chain: a node without a mesh takes it over on the first push, others ignore it.
	Chain []membership.Signed `json:"chain,omitempty"`
}

// Kind tells callers what to do about an error.
type Kind string

// The kinds of errors, with the HTTP status that carries each.
const (
	BadInput    Kind = "bad_input"
	NotFound    Kind = "not_found"
	Refused     Kind = "refused"
	Unavailable Kind = "unavailable"
	Outdated    Kind = "outdated" // what was signed does not fit any more; look again and sign anew
	Internal    Kind = "internal"
)

var httpStatus = map[Kind]int{
	BadInput:    http.StatusBadRequest,
	NotFound:    http.StatusNotFound,
	Refused:     http.StatusForbidden,
	Unavailable: http.StatusServiceUnavailable,
	Outdated:    http.StatusConflict,
	Internal:    http.StatusInternalServerError,
}

// Error is what went wrong at the node.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"error"`
}

func (e *Error) Error() string { return e.Message }

// errorOf finds the kind of a backend's error.
func errorOf(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return &Error{k.kind, err.Error()}
		}
	}
	return &Error{Internal, err.Error()}
}

// KindOf is what an error of a node would be over the API.
func KindOf(err error) Kind { return errorOf(err).Kind }

// kinds are the sentinels that people can do something about.
var kinds = []struct {
	err  error
	kind Kind
}{
	{store.ErrNotFound, NotFound},
	{mesh.ErrNoReport, NotFound},
	{mesh.ErrUnknownNode, NotFound},
	{store.ErrUnpublished, Refused},
	{membership.ErrSignature, Refused},
	{store.ErrReserve, Unavailable},
	{store.ErrBroken, Unavailable},
	{mesh.ErrUnavailable, Unavailable},
	{mesh.ErrUnobtainable, Unavailable},
	{mesh.ErrUnreached, Unavailable},
	{mesh.ErrNoMajority, Unavailable},
	{mesh.ErrTooMany, Unavailable},
	{mesh.ErrElectorate, Outdated},
}

func badInput(format string, args ...any) *Error {
	return &Error{BadInput, fmt.Sprintf(format, args...)}
}

// listOf bounds the JSON of hash lists in both directions.
type listOf struct {
	Hashes []store.Hash `json:"hashes"`
}
