package meshtest

import (
	"context"
	"errors"
	"sync"

	"shoal/membership"
	"shoal/mesh"
)

// Hub joins whole nodes in one process, in real time: a transport that checks credentials as the real one does, and a
// gossip that knows at once who is there.
type Hub struct {
	mu    sync.Mutex
	ports map[membership.NodeID]*Port
	cut   map[[2]membership.NodeID]bool
}

// NewHub makes a Hub without nodes.
func NewHub() *Hub {
	return &Hub{ports: map[membership.NodeID]*Port{}, cut: map[[2]membership.NodeID]bool{}}
}

// Member is what a Port asks of its node.
type Member interface {
	Known(membership.NodeID) bool
	Admit(ctx context.Context, peer membership.NodeID, credential []membership.Signed) error
	Credential() []membership.Signed
}

// Port is one node's transport and gossip. It implements mesh.Transport and what mesh/node asks of a gossip.
type Port struct {
	hub    *Hub
	id     membership.NodeID
	addr   string
	member Member
	queue  chan queued
	frames chan mesh.Frame
	events chan membership.Event
	joined bool
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

type queued struct {
	from       membership.NodeID
	credential []membership.Signed
	data       []byte
}

// Connect gives a node its port, under an address that others can join by. Close it in the end.
func (h *Hub) Connect(id membership.NodeID, addr string, member Member) *Port {
	p := &Port{
		hub: h, id: id, addr: addr, member: member,
		queue: make(chan queued, 4096), frames: make(chan mesh.Frame, 64), events: make(chan membership.Event, 4096),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	h.mu.Lock()
	h.ports[id] = p
	h.mu.Unlock()
	p.work.Go(p.deliver)
	return p
}

func (p *Port) deliver() {
	for {
		select {
		case <-p.ctx.Done():
			return
		case q := <-p.queue:
			if !p.member.Known(q.from) && p.member.Admit(p.ctx, q.from, q.credential) != nil {
				continue
			}
			select {
			case p.frames <- mesh.Frame{From: q.from, Data: q.data}:
			case <-p.ctx.Done():
				return
			}
		}
	}
}

// Send implements mesh.Transport.
func (p *Port) Send(to membership.NodeID, data []byte) error {
	p.hub.mu.Lock()
	other := p.hub.ports[to]
	cut := p.hub.isCut(p.id, to)
	p.hub.mu.Unlock()
	if other == nil {
		return mesh.ErrUnknownPeer
	}
	if cut {
		return nil
	}
	select {
	case other.queue <- queued{p.id, p.member.Credential(), data}:
		return nil
	default:
		return mesh.ErrQueueFull
	}
}

// UseKeys is asked of a gossip; this one has no packets.
func (p *Port) UseKeys([][]byte) error { return nil }

// Frames implements mesh.Transport.
func (p *Port) Frames() <-chan mesh.Frame { return p.frames }

// Learn implements mesh.Transport.
func (p *Port) Learn(membership.NodeID, string) {}

// Drop implements mesh.Transport.
func (p *Port) Drop(membership.NodeID) {}

// Close ends the port as a kill does: nobody is told, and the others see it fail.
func (p *Port) Close() error {
	p.cancel()
	p.work.Wait()
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.hub.ports[p.id] == p {
		delete(p.hub.ports, p.id)
		p.hub.tellAll(p, membership.Failed)
	}
	return nil
}

// Events is the gossip's channel.
func (p *Port) Events() <-chan membership.Event { return p.events }

// Join meets everybody, if one of the addresses is there.
func (p *Port) Join(_ context.Context, addrs []string) (int, error) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	for _, other := range p.hub.ports {
		for _, addr := range addrs {
			if other.addr == addr && other != p && !p.hub.isCut(p.id, other.id) {
				other.joined, p.joined = true, true
				p.hub.meet(other)
				p.hub.meet(p)
				return 1, nil
			}
		}
	}
	return 0, errors.New("nobody is there")
}

// meet tells a port and all others that have joined of each other.
func (h *Hub) meet(p *Port) {
	for _, other := range h.ports {
		if other != p && other.joined && !h.isCut(p.id, other.id) {
			p.tell(membership.Event{Node: other.id, Addr: other.addr, Status: membership.Alive})
			other.tell(membership.Event{Node: p.id, Addr: p.addr, Status: membership.Alive})
		}
	}
}

// Hint tells all others.
func (p *Port) Hint(data []byte) error {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	for _, other := range p.hub.ports {
		if other != p && !p.hub.isCut(p.id, other.id) {
			other.tell(membership.Event{Hint: data})
		}
	}
	return nil
}

// Leave says goodbye.
func (p *Port) Leave(context.Context) error {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.hub.tellAll(p, membership.Left)
	p.joined = false
	return nil
}

func (h *Hub) tellAll(p *Port, status membership.Status) {
	if !p.joined {
		return
	}
	for _, other := range h.ports {
		if other != p && !h.isCut(p.id, other.id) {
			other.tell(membership.Event{Node: p.id, Addr: p.addr, Status: status})
		}
	}
}

func (p *Port) tell(ev membership.Event) {
	select {
	case p.events <- ev:
	default: // nobody reads: the node is gone
	}
}

func (h *Hub) isCut(a, b membership.NodeID) bool {
	return h.cut[[2]membership.NodeID{min(a, b), max(a, b)}]
}

// Cut parts a node from all others, or lets it back.
func (h *Hub) Cut(id membership.NodeID, cut bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	status := membership.Failed
	if !cut {
		status = membership.Alive
	}
	p := h.ports[id]
	for other, q := range h.ports {
		if other == id {
			continue
		}
		h.cut[[2]membership.NodeID{min(id, other), max(id, other)}] = cut
		q.tell(membership.Event{Node: id, Addr: p.addr, Status: status})
		p.tell(membership.Event{Node: other, Addr: q.addr, Status: status})
	}
}
