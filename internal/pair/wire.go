// Package pair joins the two processes of an agent: the executor's side, which is root and has no network, and the mesh's side,
// which has the network and no rights. They speak over one socket pair, which the executor's side makes when it starts the other.
//
//	mesh's side                              executor's side
//	     │ ◀──────────── Start ──────────────── │  key, grant, configuration
//	     │ ───────────── Up ──────────────────▶ │  the node takes part
//	     │ ───────────── Records ─────────────▶ │  verified against its own genesis
//	     │ ───────────── Offer ───────────────▶ │  verified: author, certificate, environment, version
//	     │ ◀──────────── Get ────────────────── │
//	     │ ───────────── Object ──────────────▶ │  verified against its name, and kept
//	     │ ◀──────────── Ask ────────────────── │  before and after a change: does a peer answer?
//	     │ ───────────── Told ────────────────▶ │
//	     │ ◀──────────── Done ───────────────── │  the report of a run
//	     │ ◀──────────── Stop ───────────────── │  say goodbye and end
//
// The executor's side believes the other nothing that is not signed by an operator or a publisher.
package pair

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/node"
	"shoal/store"
)

// Limits of what one side can make the other do.
const (
	MaxFrame   = 4 << 20 // bytes
	maxRecords = 2048    // of one Records
	maxHashes  = 64      // of one Get
	maxStart   = 1 << 20 // bytes of a Start
	maxText    = 4096    // bytes of an error
	// frameTime is how long a frame may take once it has begun, and how long one may wait to be taken.
	frameTime = 30 * time.Second
)

// ErrFrame is returned for what is no frame, or one over a limit.
var ErrFrame = errors.New("bad frame from the other process")

// Message is what one side says to the other.
type Message interface {
	kind() byte
	check() error
}

type (
	// Start is all that the mesh's side is to know; Body is for those who start it.
	Start struct {
		Body []byte `cbor:"1,keyasint"`
	}
	// Up says that the node takes part, or stands alone and answers.
	Up struct{}
	// Left says that the node was told to leave, and did.
	Left struct{}
	// Records are statements, grants, redemptions and revocations.
	Records struct {
		Records []membership.Signed `cbor:"1,keyasint"`
	}
	// Offer shows a revision whose objects are all on the mesh's side.
	Offer struct {
		Proof mesh.Proof `cbor:"1,keyasint"`
	}
	// Get asks for objects; each is answered with an Object.
	Get struct {
		Hashes []store.Hash `cbor:"1,keyasint"`
	}
	// Object is one, or why there is none.
	Object struct {
		Hash store.Hash `cbor:"1,keyasint"`
		Data []byte     `cbor:"2,keyasint,omitempty"`
		Err  string     `cbor:"3,keyasint,omitempty"`
	}
	// Ask asks whether a peer answers: before a change, or, Confirm, after it.
	Ask struct {
		ID      uint64 `cbor:"1,keyasint"`
		Confirm bool   `cbor:"2,keyasint"`
	}
	// Told answers an Ask; Err is empty when one did.
	Told struct {
		ID  uint64 `cbor:"1,keyasint"`
		Err string `cbor:"2,keyasint,omitempty"`
	}
	// Done tells of a run.
	Done struct {
		Reported mesh.Reported `cbor:"1,keyasint"`
	}
	// Keys asks the executor's side about the keys of secrets, as node.KeyKeeper has it: which are lacking; with Wrapped, to take
	// one; with To, to wrap one.
	Keys struct {
		ID      uint64            `cbor:"1,keyasint"`
		Env     string            `cbor:"2,keyasint,omitempty"`
		Secret  store.Hash        `cbor:"3,keyasint"`
		Wrapped []byte            `cbor:"4,keyasint,omitempty"`
		To      membership.NodeID `cbor:"5,keyasint,omitempty"`
	}
	// KeysTold answers Keys.
	KeysTold struct {
		ID      uint64            `cbor:"1,keyasint"`
		Lacking []node.LackingKey `cbor:"2,keyasint,omitempty"`
		Wrapped []byte            `cbor:"3,keyasint,omitempty"`
		Err     string            `cbor:"4,keyasint,omitempty"`
	}
	// Stop asks the node to say goodbye and end.
	Stop struct{}
)

func (*Start) kind() byte    { return 1 }
func (*Up) kind() byte       { return 2 }
func (*Left) kind() byte     { return 3 }
func (*Records) kind() byte  { return 4 }
func (*Offer) kind() byte    { return 5 }
func (*Get) kind() byte      { return 6 }
func (*Object) kind() byte   { return 7 }
func (*Ask) kind() byte      { return 8 }
func (*Told) kind() byte     { return 9 }
func (*Done) kind() byte     { return 10 }
func (*Stop) kind() byte     { return 11 }
func (*Keys) kind() byte     { return 12 }
func (*KeysTold) kind() byte { return 13 }

var blank = map[byte]func() Message{
	1: func() Message { return &Start{} }, 2: func() Message { return &Up{} }, 3: func() Message { return &Left{} },
	4: func() Message { return &Records{} }, 5: func() Message { return &Offer{} }, 6: func() Message { return &Get{} },
	7: func() Message { return &Object{} }, 8: func() Message { return &Ask{} }, 9: func() Message { return &Told{} },
	10: func() Message { return &Done{} }, 11: func() Message { return &Stop{} },
	12: func() Message { return &Keys{} }, 13: func() Message { return &KeysTold{} },
}

func atMost(what string, n, limit int) error {
	if n > limit {
		return fmt.Errorf("%d %s, at most %d", n, what, limit)
	}
	return nil
}

func (m *Start) check() error   { return atMost("bytes of a start", len(m.Body), maxStart) }
func (*Up) check() error        { return nil }
func (*Left) check() error      { return nil }
func (m *Records) check() error { return atMost("records", len(m.Records), maxRecords) }
func (m *Offer) check() error {
	return atMost("changes of acceptors", len(m.Proof.Seals), mesh.MaxSeals)
}
func (m *Get) check() error { return atMost("hashes", len(m.Hashes), maxHashes) }
func (m *Object) check() error {
	return errors.Join(atMost("bytes of an object", len(m.Data), store.MaxObject), atMost("bytes of an error", len(m.Err), maxText))
}
func (*Ask) check() error    { return nil }
func (m *Told) check() error { return atMost("bytes of an error", len(m.Err), maxText) }
func (m *Done) check() error {
	return atMost("bytes of a report", len(m.Reported.Report), mesh.MaxReport)
}
func (*Stop) check() error { return nil }
func (m *Keys) check() error {
	return errors.Join(atMost("bytes of a name", len(m.Env), store.MaxEnv), atMost("bytes of a key", len(m.Wrapped), maxText), atMost("bytes of a node", len(m.To), maxText))
}
func (m *KeysTold) check() error {
	return errors.Join(atMost("bytes of a key", len(m.Wrapped), maxText), atMost("bytes of an error", len(m.Err), maxText))
}

// Encode makes the payload of a frame: the kind and the body.
func Encode(m Message) ([]byte, error) {
	body, err := codec.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(body)+1 > MaxFrame {
		return nil, fmt.Errorf("%w: %T of %d bytes", ErrFrame, m, len(body))
	}
	return append([]byte{m.kind()}, body...), nil
}

// Decode reads the payload of a frame and checks its limits.
func Decode(payload []byte) (Message, error) {
	if len(payload) < 2 || len(payload) > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrame, len(payload))
	}
	make, known := blank[payload[0]]
	if !known {
		return nil, fmt.Errorf("%w: kind %d", ErrFrame, payload[0])
	}
	m := make()
	err := codec.Unmarshal(payload[1:], m)
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %T: %w", ErrFrame, m, err)
	}
	return m, nil
}

// Conn is one end of the pair. Many may send; one receives.
type Conn struct {
	conn net.Conn
	mu   sync.Mutex
}

// NewConn takes over a connection.
func NewConn(c net.Conn) *Conn { return &Conn{conn: c} }

// Close ends it, and whoever waits to send or receive.
func (c *Conn) Close() error { return c.conn.Close() }

// Send sends a message, and gives up when the other side does not take it.
func (c *Conn) Send(m Message) error {
	payload, err := Encode(m)
	if err != nil {
		return err
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(frameTime)); err != nil {
		return err
	}
	_, err = c.conn.Write(frame)
	return err
}

// Receive waits for a message. One that has begun must end in time.
func (c *Conn) Receive() (Message, error) {
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(c.conn, head[:1]); err != nil {
		return nil, err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(frameTime)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c.conn, head[1:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrame, n)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(c.conn, payload); err != nil {
		return nil, err
	}
	return Decode(payload)
}

// cut shortens the text of an error to what a message takes.
func cut(err error) string {
	text := err.Error()
	return text[:min(len(text), maxText)]
}
