package remote

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"shoal/executor"
	"shoal/internal/codec"
	"shoal/states"
)

// Protocol is the version of what the two sides say. It changes with every change of a message.
const Protocol = 2

// maxFrame is the most bytes of one message. A file of a tree fits.
const maxFrame = states.MaxFileBytes + 64<<20

// Kind says what a job is.
type Kind string

// The kinds of jobs.
const (
	Check   Kind = "check"   // touches nothing
	Apply   Kind = "apply"   // rolls back an interrupted run before
	Recover Kind = "recover" // rolls back an interrupted run; needs no plan
)

// Hello is what a worker says of itself and its machine.
type Hello struct {
	Protocol int               `cbor:"1,keyasint"`
	Version  string            `cbor:"2,keyasint"` // of the program
	Facts    map[string]string `cbor:"3,keyasint"`
}

type message struct {
	Hello  *Hello  `cbor:"1,keyasint,omitempty"`
	Job    *job    `cbor:"2,keyasint,omitempty"`
	Ask    *ask    `cbor:"3,keyasint,omitempty"`
	Answer *answer `cbor:"4,keyasint,omitempty"`
	Cancel bool    `cbor:"5,keyasint,omitempty"`
	Result *result `cbor:"6,keyasint,omitempty"`
	Note   string  `cbor:"7,keyasint,omitempty"` // for the operator to read while the job goes on
}

type job struct {
	Kind     Kind   `cbor:"1,keyasint"`
	Plan     []byte `cbor:"2,keyasint"` // states.EncodePlan
	Env      string `cbor:"3,keyasint"`
	Version  uint64 `cbor:"4,keyasint"`
	Revision string `cbor:"5,keyasint"`
}

// ask is for a content, by its hash, or for a deferred value, by its number in the plan.
type ask struct {
	ID       uint64   `cbor:"1,keyasint"`
	Hash     string   `cbor:"2,keyasint,omitempty"`
	Deferred int      `cbor:"3,keyasint,omitempty"` // from 1
	Outputs  []output `cbor:"4,keyasint,omitempty"`
}

type output struct {
	Ref   states.OutputRef `cbor:"1,keyasint"`
	Value []byte           `cbor:"2,keyasint"` // JSON
}

type answer struct {
	ID      uint64          `cbor:"1,keyasint"`
	Data    []byte          `cbor:"2,keyasint,omitempty"`
	Value   []byte          `cbor:"3,keyasint,omitempty"` // JSON
	Content *states.Content `cbor:"4,keyasint,omitempty"`
	Error   string          `cbor:"5,keyasint,omitempty"`
}

type result struct {
	Report []byte `cbor:"1,keyasint"` // JSON: what `--json` prints, with outputs of any type
	Found  bool   `cbor:"2,keyasint"` // of recover: there was something to roll back
	Error  string `cbor:"3,keyasint,omitempty"`
}

// pipe sends and receives messages as frames of length and payload. Several goroutines may send, one receives.
type pipe struct {
	in  io.Reader
	mu  sync.Mutex
	out io.Writer
}

func (p *pipe) send(m message) error {
	data, err := codec.Marshal(m)
	if err != nil {
		return err
	}
	if len(data) > maxFrame {
		return fmt.Errorf("a message of %d bytes is over the limit of %d", len(data), maxFrame)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = p.out.Write(append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(data)), uint32(len(data))), data...))
	return err
}

// receive grows with what has come, not with what was promised.
func (p *pipe) receive() (message, error) {
	var head [4]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return message{}, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n > maxFrame {
		return message{}, fmt.Errorf("a message of %d bytes is over the limit of %d", n, maxFrame)
	}
	var data bytes.Buffer
	if got, err := io.CopyN(&data, p.in, n); err != nil {
		return message{}, fmt.Errorf("a message ends after %d of %d bytes: %w", got, n, io.ErrUnexpectedEOF)
	}
	var m message
	return m, codec.Unmarshal(data.Bytes(), &m)
}

// encodeAny and decodeAny carry what outputs and parameters may be: string, bool, int64, float64, lists and maps.
func encodeAny(v any) ([]byte, error) { return json.Marshal(v) }

func decodeAny(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return plain(v)
}

// plain turns the numbers of JSON into those of the language.
func plain(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return v.Float64()
		}
		return v.Int64()
	case []any:
		for i := range v {
			if v[i], err = plain(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = plain(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func decodeReport(data []byte) (executor.Report, error) {
	var r executor.Report
	if err := json.Unmarshal(data, &r); err != nil {
		return executor.Report{}, fmt.Errorf("decode report: %w", err)
	}
	for i := range r.States {
		if r.States[i].Outputs == nil {
			r.States[i].Outputs = map[string]any{}
		}
	}
	return r, nil
}

var errProtocol = errors.New("the other side does not keep to the protocol")
