package mesh

import (
	"errors"

	"shoal/membership"
)

// MaxFrame is the longest message in bytes: one object and its envelope.
const MaxFrame = 512 << 10

// Errors of a Transport that callers branch on.
var (
	ErrQueueFull   = errors.New("send queue full")
	ErrUnknownPeer = errors.New("no address known")
)

// Frame is one message from a peer that has proved a grant.
type Frame struct {
	From membership.NodeID
	Data []byte
}

// Transport carries frames between members. Frames to one peer arrive in order or not at all, save that a small one may
// overtake a big one (over 16 KiB); a lost connection loses those in flight, and nobody is told: the protocol asks again.
type Transport interface {
	// Send queues a frame and never blocks: ErrQueueFull when the peer is slow, ErrUnknownPeer when it has no address.
	Send(to membership.NodeID, data []byte) error
	// Frames is closed by Close.
	Frames() <-chan Frame
	// Learn says where a peer can be dialled (IP:port).
	Learn(peer membership.NodeID, addr string)
	// Drop closes the connections to a peer, as when its grant was revoked.
	Drop(peer membership.NodeID)
	Close() error
}
