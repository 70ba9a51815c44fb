package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// The messages of memberlist (protocol version 2 to 5) and serf (4 and 5) as they are on the wire: a byte for the kind, and MessagePack.
// Both libraries keep these for themselves.

const (
	kindPing byte = iota
	kindIndirectPing
	kindAck
	kindSuspect
	kindAlive
	kindDead
	kindPushPull
	kindCompound
	kindUser
	kindCompress
	kindEncrypt
	kindNack
	kindHasCRC
	kindErr
)

const (
	serfLeave byte = iota
	serfJoin
	serfPushPull
	serfEvent
)

type (
	accusation struct {
		Incarnation uint32
		Node        string
		From        string
	}
	aliveness struct {
		Incarnation uint32
		Node        string
		Addr        []byte
		Port        uint16
		Meta        []byte
		Vsn         []uint8
	}
	intent struct {
		LTime uint64
		Node  string
		Prune bool `codec:",omitempty"`
	}
	event struct {
		LTime   uint64
		Name    string
		Payload []byte
		CC      bool
	}
)

var errMessage = errors.New("not a message for this mesh")

func unpack(data []byte, into any) error {
	return codec.NewDecoder(bytes.NewReader(data), &codec.MsgpackHandle{}).Decode(into)
}

func pack(kind byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer([]byte{kind})
	err := codec.NewEncoder(buf, &codec.MsgpackHandle{}).Encode(v)
	return buf.Bytes(), err
}

// packet is what of a packet goes on to memberlist; nil: nothing.
func (g *guard) packet(data []byte, source string, now time.Time) []byte {
	if len(data) > 5 && data[0] == kindHasCRC {
		data = data[5:] // the seal says more than the checksum
	}
	if len(data) == 0 {
		return nil
	}
	if data[0] != kindCompound {
		return g.message(data, source, now)
	}
	parts, ok := compound(data[1:])
	if !ok {
		return nil
	}
	var kept [][]byte
	for _, part := range parts {
		if m := g.message(part, source, now); m != nil {
			kept = append(kept, m)
		}
	}
	return join(kept)
}

// compound takes apart a compound message: how many, their lengths, themselves.
func compound(data []byte) (parts [][]byte, ok bool) {
	if len(data) == 0 || len(data) < 1+2*int(data[0]) {
		return nil, false
	}
	n := int(data[0])
	sizes, rest := data[1:1+2*n], data[1+2*n:]
	for i := range n {
		size := int(binary.BigEndian.Uint16(sizes[2*i:]))
		if size > len(rest) {
			break // cut short: memberlist takes what is whole, too
		}
		parts, rest = append(parts, rest[:size:size]), rest[size:]
	}
	return parts, true
}

func join(parts [][]byte) []byte {
	if len(parts) == 0 {
		return nil
	}
	out := []byte{kindCompound, byte(len(parts))}
	for _, p := range parts {
		out = binary.BigEndian.AppendUint16(out, uint16(len(p)))
	}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// message is what of a message goes on to memberlist; nil: nothing.
func (g *guard) message(data []byte, source string, now time.Time) []byte {
	if len(data) < 2 {
		return nil
	}
	switch data[0] {
	case kindPing, kindIndirectPing, kindAck, kindNack:
		return data
	case kindSuspect, kindDead:
		return g.accusation(data, source, now)
	case kindAlive:
		var m aliveness
		if unpack(data[1:], &m) != nil || len(m.Meta) > maxMeta || (g.member(m.Node) && !g.incarnate(m.Node, m.Incarnation, now)) ||
			(!g.member(m.Node) && m.Incarnation > incarnationEnd) {
			return nil
		}
		return data
	case kindUser:
		if g.said(data[1:]) {
			return data
		}
	}
	return nil
}

// accusation hears a death as a suspicion, unless the node has said itself that it goes. What is said of this node goes on as it is: it
// contradicts.
func (g *guard) accusation(data []byte, source string, now time.Time) []byte {
	var m accusation
	if unpack(data[1:], &m) != nil || !g.accuse(m.Node, m.From, source, m.Incarnation, now) {
		return nil
	}
	own := m.Node == string(g.self)
	if data[0] == kindSuspect || own || (m.From == m.Node && g.leaving(nodeID(m.Node))) {
		return data
	}
	suspicion, err := pack(kindSuspect, m)
	if err != nil {
		return nil
	}
	return suspicion
}

// said tells whether a message of serf goes on.
func (g *guard) said(data []byte) bool {
	if len(data) < 2 {
		return false
	}
	switch data[0] {
	case serfLeave:
		var m intent
		return unpack(data[1:], &m) == nil && !m.Prune && g.leaving(nodeID(m.Node)) && g.ticks(m.LTime)
	case serfJoin:
		var m intent
		return unpack(data[1:], &m) == nil && g.member(m.Node) && g.ticks(m.LTime)
	case serfEvent:
		var m event
		return unpack(data[1:], &m) == nil && g.hint(m.Name, m.Payload) && g.ticks(m.LTime)
	}
	return false
}
