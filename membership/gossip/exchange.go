package gossip

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"shoal/membership"
)

// Streams carry the exchange of all that two nodes know (push-pull), and a probe where packets do not come through.

const (
	maxExchange = 8 << 20 // bytes: MaxRoster nodes and what serf adds
	maxSmall    = 4 << 10
	// maxExchanges are read at a time.
	maxExchanges = 16
	maxClocks    = 1024 // recent events in an exchange; serf keeps 512
)

// States of a node in an exchange.
const (
	stateDead uint8 = 2
	stateLeft uint8 = 3
)

type (
	exchangeHeader struct {
		Nodes        int
		UserStateLen int
		Join         bool
	}
	nodeState struct {
		Name        string
		Addr        []byte
		Port        uint16
		Meta        []byte
		Incarnation uint32
		State       uint8
		Vsn         []uint8
	}
	serfState struct {
		LTime        uint64
		StatusLTimes map[string]uint64
		LeftMembers  []string
		EventLTime   uint64
		Events       []*serfEvents
		QueryLTime   uint64
	}
	serfEvents struct {
		LTime  uint64
		Events []serfPayload
	}
	serfPayload struct {
		Name    string
		Payload []byte
	}
)

func nodeID(name string) membership.NodeID { return membership.NodeID(name) }

// guarded is a stream of which memberlist reads what the guard lets through.
type guarded struct {
	net.Conn
	guard *guard
	in    io.Reader // nil: nothing was read yet
}

// Read implements net.Conn.
func (c *guarded) Read(p []byte) (int, error) {
	if c.in == nil {
		in, err := c.guard.stream(c.Conn, c.RemoteAddr().String())
		if err != nil {
			return 0, err
		}
		c.in = in
	}
	return c.in.Read(p)
}

// stream is what of a stream goes on to memberlist.
func (g *guard) stream(r io.Reader, source string) (io.Reader, error) {
	var kind [1]byte
	if _, err := io.ReadFull(r, kind[:]); err != nil {
		return nil, err
	}
	switch kind[0] {
	case kindPing, kindAck, kindErr:
		return io.MultiReader(bytes.NewReader(kind[:]), io.LimitReader(r, maxSmall)), nil
	case kindPushPull:
		if !g.begin(source) {
			return nil, fmt.Errorf("%w: too many at a time", errMessage)
		}
		defer g.end(source)
		data, err := g.exchange(io.LimitReader(r, maxExchange), source, time.Now())
		return bytes.NewReader(data), err
	}
	return nil, fmt.Errorf("%w: kind %d", errMessage, kind[0])
}

// exchange reads an exchange, and writes what of it goes on.
func (g *guard) exchange(r io.Reader, source string, now time.Time) ([]byte, error) {
	in := bufio.NewReader(r) // the decoder reads bytes one by one from it, and no further than it must
	dec := codec.NewDecoder(in, &codec.MsgpackHandle{})
	var h exchangeHeader
	if err := dec.Decode(&h); err != nil {
		return nil, err
	}
	if h.Nodes < 0 || h.Nodes > maxNamed || h.UserStateLen < 0 || h.UserStateLen > maxExchange {
		return nil, fmt.Errorf("%w: %d nodes", errMessage, h.Nodes)
	}
	var nodes []nodeState
	for range h.Nodes {
		var n nodeState
		if err := dec.Decode(&n); err != nil {
			return nil, err
		}
		if n, ok := g.state(n, source, now); ok {
			nodes = append(nodes, n)
		}
	}
	var said bytes.Buffer
	if n, err := io.CopyN(&said, in, int64(h.UserStateLen)); err != nil || n != int64(h.UserStateLen) {
		return nil, io.ErrUnexpectedEOF
	}
	user, err := g.serfState(said.Bytes())
	if err != nil {
		return nil, err
	}
	return encodeExchange(exchangeHeader{Nodes: len(nodes), UserStateLen: len(user), Join: h.Join}, nodes, user)
}

func encodeExchange(h exchangeHeader, nodes []nodeState, user []byte) ([]byte, error) {
	out := bytes.NewBuffer([]byte{kindPushPull})
	enc := codec.NewEncoder(out, &codec.MsgpackHandle{})
	if err := enc.Encode(&h); err != nil {
		return nil, err
	}
	for i := range nodes {
		if err := enc.Encode(&nodes[i]); err != nil {
			return nil, err
		}
	}
	out.Write(user)
	return out.Bytes(), nil
}

// state is what is heard of a node in an exchange. memberlist itself hears a death there as a suspicion.
func (g *guard) state(n nodeState, source string, now time.Time) (nodeState, bool) {
	if len(n.Meta) > maxMeta || len(n.Vsn) > 16 || len(n.Addr) > 16 {
		return n, false
	}
	if !g.member(n.Name) {
		return n, n.State == 0 && n.Incarnation <= incarnationEnd // somebody new, whom the doorman remembers
	}
	if n.State == 0 {
		return n, g.incarnate(n.Name, n.Incarnation, now)
	}
	if n.State == stateLeft && !g.leaving(nodeID(n.Name)) {
		n.State = stateDead
	}
	return n, g.accuse(n.Name, string(g.self), source, n.Incarnation, now)
}

// serfState is what goes on of serf's part.
func (g *guard) serfState(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var s serfState
	if data[0] != serfPushPull || unpack(data[1:], &s) != nil || len(s.StatusLTimes) > maxNamed || len(s.LeftMembers) > maxNamed || len(s.Events) > maxClocks {
		return nil, errMessage
	}
	if !g.ticks(s.LTime) || !g.ticks(s.EventLTime) {
		return nil, fmt.Errorf("%w: its clock is out of bounds", errMessage)
	}
	clean := serfState{LTime: s.LTime, EventLTime: s.EventLTime, StatusLTimes: map[string]uint64{}}
	for name, at := range s.StatusLTimes {
		if g.member(name) && g.ticks(at) {
			clean.StatusLTimes[name] = at
		}
	}
	for _, name := range s.LeftMembers {
		if _, ok := clean.StatusLTimes[name]; ok && g.leaving(nodeID(name)) {
			clean.LeftMembers = append(clean.LeftMembers, name)
		}
	}
	for _, e := range s.Events {
		if e == nil || !g.ticks(e.LTime) {
			clean.Events = append(clean.Events, nil) // as serf writes an empty place
			continue
		}
		kept := &serfEvents{LTime: e.LTime}
		for _, p := range e.Events {
			if g.hint(p.Name, p.Payload) {
				kept.Events = append(kept.Events, p)
			}
		}
		clean.Events = append(clean.Events, kept)
	}
	return pack(serfPushPull, clean)
}
