//go:build wasip1

// Package guest is the side of a module written in Go: the interface of docs/modules.md as functions. Copy it, or import it.
package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"unsafe"
)

//go:wasmimport shoal_1 request
func request(ptr unsafe.Pointer, size uint32) uint32

//go:wasmimport shoal_1 operate
func operate(ptr unsafe.Pointer, size uint32) uint32

//go:wasmimport shoal_1 answer
func answer(ptr unsafe.Pointer, size uint32) uint32

//go:wasmimport shoal_1 reply
func reply(ptr unsafe.Pointer, size uint32)

// Request is what shoal asks.
type Request struct {
	ABI      int             `json:"abi"`
	Phase    string          `json:"phase"` // check, capture, apply or revert
	Function string          `json:"function"`
	Params   map[string]any  `json:"params"`
	Data     json.RawMessage `json:"data"` // of a revert: what capture gave
}

// Text is a string parameter, or "".
func (r Request) Text(name string) string {
	s, _ := r.Params[name].(string)
	return s
}

// Reply is what the module answers.
type Reply struct {
	Needed  bool           `json:"needed,omitempty"`
	Always  bool           `json:"always,omitempty"`
	Diff    string         `json:"diff,omitempty"`
	Outputs map[string]any `json:"outputs,omitempty"`

	Paths      []Path `json:"paths,omitempty"` // of a capture: what apply will touch
	Reversible *bool  `json:"reversible,omitempty"`
	Why        string `json:"why,omitempty"`
	Data       any    `json:"data,omitempty"`

	Error *Error `json:"error,omitempty"`
}

// Path is one that apply will touch; Deep: with all that is below it.
type Path struct {
	Path string `json:"path"`
	Deep bool   `json:"deep,omitempty"`
}

// Error is what failed.
type Error struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Missing *Missing `json:"missing,omitempty"`
}

// Missing is what has to be there first, such as a user.
type Missing struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

func (e *Error) Error() string { return e.Message }

// Unsupported is the reply to a phase that the module leaves to shoal.
var Unsupported = &Error{Code: "unsupported"}

// Answer has handle answer the request that is waiting: what the exported function shoal_call does.
func Answer(size uint32, handle func(Request) (Reply, error)) {
	data := make([]byte, size)
	if size > 0 {
		request(unsafe.Pointer(&data[0]), size)
	}
	var r Request
	var out Reply
	err := json.Unmarshal(data, &r)
	if err == nil {
		out, err = handle(r)
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Code: "failed", Message: err.Error()}
		}
		out = Reply{Error: e}
	}
	if data, err = json.Marshal(out); err != nil {
		panic(err)
	}
	reply(unsafe.Pointer(&data[0]), uint32(len(data)))
}

// Operation is what the module asks of the machine; docs/modules.md lists them.
type Operation struct {
	Op      string   `json:"op"`
	Path    string   `json:"path,omitempty"`
	Text    *string  `json:"text,omitempty"`
	Data    []byte   `json:"data,omitempty"`
	Content string   `json:"content,omitempty"`
	URL     string   `json:"url,omitempty"`
	SHA256  string   `json:"sha256,omitempty"`
	Limit   int64    `json:"limit,omitempty"`
	Mode    string   `json:"mode,omitempty"`
	Owner   string   `json:"owner,omitempty"`
	Group   string   `json:"group,omitempty"`
	Target  string   `json:"target,omitempty"`
	Argv    []string `json:"argv,omitempty"`
	Stdin   string   `json:"stdin,omitempty"`
	Hash    string   `json:"hash,omitempty"`
	Name    string   `json:"name,omitempty"`
}

// Result is what came of it.
type Result struct {
	Error  *Error   `json:"error"`
	Exists bool     `json:"exists"`
	Kind   string   `json:"kind"`
	Mode   string   `json:"mode"`
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Size   int64    `json:"size"`
	Text   *string  `json:"text"`
	Data   []byte   `json:"data"`
	SHA256 string   `json:"sha256"`
	Target string   `json:"target"`
	Names  []string `json:"names"`
	Needed bool     `json:"needed"`
	Diff   string   `json:"diff"`
	Status int      `json:"status"`
	Stdout string   `json:"stdout"`
	Stderr string   `json:"stderr"`
}

// Do does one operation.
func Do(o Operation) (Result, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return Result{}, err
	}
	size := operate(unsafe.Pointer(&data[0]), uint32(len(data)))
	got := make([]byte, size)
	answer(unsafe.Pointer(&got[0]), size)
	var r Result
	if err := json.Unmarshal(got, &r); err != nil {
		return Result{}, fmt.Errorf("%s: %w", o.Op, err)
	}
	if r.Error != nil {
		return r, fmt.Errorf("%s: %w", o.Op, r.Error)
	}
	return r, nil
}

// Read is the text of a file, or "" where there is none.
func Read(path string) (string, error) {
	r, err := Do(Operation{Op: "read", Path: path})
	var e *Error
	switch {
	case errors.As(err, &e) && e.Code == "not_found":
		return "", nil
	case err != nil:
		return "", err
	case r.Text == nil:
		return "", fmt.Errorf("%s holds no text", path)
	}
	return *r.Text, nil
}
