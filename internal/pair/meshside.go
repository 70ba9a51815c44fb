package pair

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/mesh/node"
	"shoal/store"
)

// maxGets bounds the questions for objects that are answered at the same time; maxAsks the others.
const (
	maxGets = 4
	maxAsks = 4
	// tellAgain is between two looks at what has changed: many members that join at once are told at once.
	tellAgain = 200 * time.Millisecond
)

// ErrStopped ends a MeshSide that was told to stop.
var ErrStopped = errors.New("the executor's side says stop")

// Node is what the mesh's side answers with; *node.Node is one.
type Node interface {
	Trust() []membership.Signed
	Store() store.Store
	Contact(ctx context.Context) (confirm func(context.Context) error)
	Confirm(ctx context.Context) error
	Reported(ctx context.Context, r mesh.Reported)
	Seek()
}

// MeshSide is the node.Executive of a node whose executor is in another process.
type MeshSide struct {
	conn *Conn
	log  *slog.Logger
	wake chan struct{} // something is to be told; holds one
	stop chan struct{} // closed when the other side says so
	lost chan error    // why nothing comes any more; holds one
	node Node

	mu     sync.Mutex
	wanted *mesh.Proof
	asked  uint64
	asks   map[uint64]chan KeysTold

	told map[[sha256.Size]byte]bool // records
}

var _ node.Executive = (*MeshSide)(nil)

// Accept waits for the other side's Start and returns its body.
func Accept(conn *Conn, log *slog.Logger) (*MeshSide, []byte, error) {
	m, err := conn.Receive()
	if err != nil {
		return nil, nil, err
	}
	start, ok := m.(*Start)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %T before a start", ErrFrame, m)
	}
	return &MeshSide{
		conn: conn, log: log, wake: make(chan struct{}, 1), stop: make(chan struct{}), lost: make(chan error, 1),
		told: map[[sha256.Size]byte]bool{}, asks: map[uint64]chan KeysTold{},
	}, start.Body, nil
}

// Attach sets the node. It must be called before Run, Listen and Up.
func (s *MeshSide) Attach(n Node) { s.node = n }

// Up tells that the node takes part.
func (s *MeshSide) Up() error { return s.conn.Send(&Up{}) }

// Left tells that the node was told to leave.
func (s *MeshSide) Left() error { return s.conn.Send(&Left{}) }

// Stopped is closed when the other side wants the node to leave.
func (s *MeshSide) Stopped() <-chan struct{} { return s.stop }

// Want implements node.Executive. What cannot be shown to be committed is not told: the other side has it, or something newer comes.
func (s *MeshSide) Want(c mesh.Converge) {
	if c.Proof == nil {
		return
	}
	s.mu.Lock()
	s.wanted = c.Proof
	s.mu.Unlock()
	s.FleetChanged()
}

// FleetChanged implements node.Executive.
func (s *MeshSide) FleetChanged() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run implements node.Executive: it tells the other side what is new.
func (s *MeshSide) Run(ctx context.Context) {
	s.FleetChanged()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		if err := s.tell(); err != nil {
			s.log.Error("the executor's side does not listen", "error", err)
			_ = s.conn.Close() // Listen ends, and with it this process
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tellAgain):
		}
	}
}

// tell sends the records that were not sent before, and what is wanted.
func (s *MeshSide) tell() error {
	s.mu.Lock()
	proof := s.wanted
	s.wanted = nil
	s.mu.Unlock()
	var fresh []membership.Signed
	size := 0
	flush := func() (err error) {
		if len(fresh) > 0 {
			err = s.conn.Send(&Records{Records: fresh})
		}
		fresh, size = nil, 0
		return err
	}
	for _, r := range s.node.Trust() {
		data, err := codec.Marshal(r)
		if err != nil {
			return err
		}
		id := sha256.Sum256(data)
		if s.told[id] {
			continue
		}
		s.told[id] = true
		if len(fresh) == maxRecords || size+len(data) > MaxFrame/2 {
			if err := flush(); err != nil {
				return err
			}
		}
		fresh, size = append(fresh, r), size+len(data)
	}
	if err := flush(); err != nil || proof == nil {
		return err
	}
	return s.conn.Send(&Offer{Proof: *proof})
}

// Listen answers the other side until it is gone, or ctx ends.
func (s *MeshSide) Listen(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.conn.Close() })()
	gets, asks := make(chan struct{}, maxGets), make(chan struct{}, maxAsks)
	for {
		m, err := s.conn.Receive()
		if err != nil {
			return fmt.Errorf("the executor's side is gone: %w", err)
		}
		switch m := m.(type) {
		case *Get:
			gets <- struct{}{}
			work.Go(func() {
				defer func() { <-gets }()
				s.get(ctx, m.Hashes)
			})
		case *Ask:
			asks <- struct{}{}
			work.Go(func() {
				defer func() { <-asks }()
				s.ask(ctx, m)
			})
		case *Done:
			s.node.Reported(ctx, m.Reported)
			s.node.Seek()
		case *KeysTold:
			s.keysTold(*m)
		case *Stop:
			select {
			case <-s.stop:
			default:
				close(s.stop)
			}
		default:
			return fmt.Errorf("%w: %T", ErrFrame, m)
		}
	}
}

func (s *MeshSide) get(ctx context.Context, hashes []store.Hash) {
	for _, h := range hashes {
		answer := &Object{Hash: h}
		data, err := s.node.Store().Get(ctx, h)
		if answer.Data = data; err != nil {
			answer.Data, answer.Err = nil, cut(err)
		}
		if s.conn.Send(answer) != nil {
			return // Listen finds out
		}
	}
}

var errNobody = errors.New("nobody answers")

func (s *MeshSide) ask(ctx context.Context, m *Ask) {
	answer := &Told{ID: m.ID}
	if m.Confirm {
		if err := s.node.Confirm(ctx); err != nil {
			answer.Err = cut(err)
		}
	} else if s.node.Contact(ctx) == nil {
		answer.Err = errNobody.Error()
	}
	_ = s.conn.Send(answer) // Listen finds out
}
