package gossip

import (
	"net"
	"strconv"
	"strings"

	"github.com/hashicorp/serf/serf"

	"shoal/membership"
)

// maxHints is how many hints wait for the reader; older ones are dropped, for a newer one says more.
const maxHints = 64

// pump stands between serf, which must never wait, and the reader of the events, who may: it keeps the newest status of
// each node, and some hints.
type pump struct {
	in    chan serf.Event
	out   chan membership.Event
	order []membership.NodeID // of nodes with news, oldest first
	news  map[membership.NodeID]membership.Event
	hints []membership.Event
	heard func(serf.UserEvent) // is told each hint once, and must not wait; may be nil
}

func newPump() *pump {
	return &pump{
		in: make(chan serf.Event, 64), out: make(chan membership.Event),
		news: map[membership.NodeID]membership.Event{},
	}
}

func (p *pump) run(done <-chan struct{}) {
	defer close(p.out)
	for {
		var out chan membership.Event
		next, ok := p.next()
		if ok {
			out = p.out
		}
		select {
		case e := <-p.in:
			p.take(e)
		case out <- next:
			p.delivered()
		case <-done:
			return
		}
	}
}

// next is what the reader gets: statuses before hints, so that a hint's sender is known.
func (p *pump) next() (membership.Event, bool) {
	if len(p.order) > 0 {
		return p.news[p.order[0]], true
	}
	if len(p.hints) > 0 {
		return p.hints[0], true
	}
	return membership.Event{}, false
}

func (p *pump) delivered() {
	if len(p.order) > 0 {
		delete(p.news, p.order[0])
		p.order = p.order[1:]
		return
	}
	p.hints = p.hints[1:]
}

func (p *pump) take(event serf.Event) {
	switch e := event.(type) {
	case serf.MemberEvent:
		if e.Type == serf.EventMemberReap {
			return // forgotten after forgetTime; the roster is who remembers
		}
		for _, m := range e.Members {
			p.status(memberEvent(m, statusAfter(e.Type)))
		}
	case serf.UserEvent:
		sender, ok := strings.CutPrefix(e.Name, hintEvent)
		if !ok || len(e.Payload) > membership.MaxHint {
			return
		}
		if p.heard != nil {
			p.heard(e)
		}
		if len(p.hints) == maxHints {
			p.hints = p.hints[1:]
		}
		p.hints = append(p.hints, membership.Event{Node: membership.NodeID(sender), Hint: e.Payload})
	}
}

func (p *pump) status(e membership.Event) {
	if _, waiting := p.news[e.Node]; !waiting {
		p.order = append(p.order, e.Node)
	}
	p.news[e.Node] = e
}

func memberEvent(m serf.Member, status membership.Status) membership.Event {
	return membership.Event{
		Node:   membership.NodeID(m.Name),
		Addr:   net.JoinHostPort(m.Addr.String(), strconv.Itoa(int(m.Port))),
		Status: status,
	}
}

func statusAfter(t serf.EventType) membership.Status {
	switch t {
	case serf.EventMemberLeave:
		return membership.Left
	case serf.EventMemberFailed:
		return membership.Failed
	default: // joined or updated
		return membership.Alive
	}
}

func statusOf(s serf.MemberStatus) membership.Status {
	switch s {
	case serf.StatusAlive:
		return membership.Alive
	case serf.StatusLeaving, serf.StatusLeft:
		return membership.Left
	default:
		return membership.Failed
	}
}
