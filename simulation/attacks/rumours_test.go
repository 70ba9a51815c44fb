package attacks

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"shoal/membership"
	"shoal/membership/gossip"
	"shoal/mesh/meshtest"
	"shoal/simulation/bubble"
)

func rumourAttacks() []attack {
	return []attack{
		{"forged-deaths", "suspicion", Member, "says of all others at once, and again and again, that they are dead", "deaths-believed", forgedDeaths},
		{"forged-leaves", "suspicion", Member, "says in the name of all others that they leave", "leaves-believed", forgedLeaves},
		{"forged-leave-intents", "suspicion", Member, "says by serf that all others leave", "intents-believed", forgedIntents},
		{"forged-leaves-in-an-exchange", "suspicion", Member, "exchanges states with a node, in which all others have left", "states-believed", forgedStates},
		{"suspicions-at-a-rate", "suspicion", Member, "suspects a node ten times a second under the names of others, so that all are busy with it", "suspicions-unbounded", suspicions},
		{"incarnation-bomb", "bomb", Member, "suspects a node at the last incarnation that there is, so that it can never contradict", "incarnations-leap", incarnationBomb},
		{"lamport-bomb", "bomb", Member, "says that a node joined at the end of serf's clock, so that it can never be seen to leave", "clocks-leap", lamportBomb},
	}
}

// hall is a mesh of gossip alone, in virtual time; mallory is one of its members, and says what it likes.
type hall struct {
	t       *testing.T
	fabric  *bubble.Fabric
	ids     []membership.NodeID
	addrs   []string
	all     []*gossip.Gossip
	mallory net.PacketConn
	port    *bubble.Port // mallory's
	ports   []*bubble.Port
	goes    atomic.Bool // n2 has said itself that it leaves

	mu    sync.Mutex
	heard []membership.Event // by n1
	taps  map[uint32]bool    // incarnations at which n3 was told that n2 is suspect
}

const hallSize = 6 // the last of them is mallory

// inHall does something in a mesh of gossip that has met, and returns in what it succeeded.
func inHall(t *testing.T, do func(h *hall) string) (said string) {
	synctest.Test(t, func(t *testing.T) {
		h := &hall{t: t, fabric: bubble.NewFabric(11), taps: map[uint32]bool{}}
		defer h.close()
		for i := range hallSize {
			h.ids = append(h.ids, idOf(meshtest.Key(fmt.Sprintf("n%d", i+1))))
			h.addrs = append(h.addrs, fmt.Sprintf("10.0.0.%d:7077", i+1))
		}
		for i := range hallSize - 1 {
			h.start(i)
		}
		h.port = h.connect(hallSize - 1)
		h.mallory = h.port.PacketConn()
		time.Sleep(20 * time.Second)
		if n := len(h.failed()); n > 0 {
			t.Fatalf("%d nodes do not see each other before the attack", n)
		}
		h.mu.Lock()
		h.heard = nil
		h.mu.Unlock()
		said = do(h)
	})
	return said
}

func (h *hall) close() {
	for _, p := range h.ports {
		_ = p.Close()
	}
	for _, g := range h.all {
		_ = g.Close()
	}
	if h.mallory != nil {
		_ = h.mallory.Close()
	}
	time.Sleep(30 * time.Second) // what serf has begun comes to its end
	h.fabric.Close()
}

// connect gives the i-th node its port.
func (h *hall) connect(i int) *bubble.Port {
	p := h.fabric.Connect(fmt.Sprintf("n%d", i+1), h.ids[i], h.addrs[i], everybody{})
	h.ports = append(h.ports, p)
	return p
}

// everybody is what a port asks of its node.
type everybody struct{}

func (everybody) Known(membership.NodeID) bool                                        { return true }
func (everybody) Admit(context.Context, membership.NodeID, []membership.Signed) error { return nil }
func (everybody) Vouch(context.Context, membership.NodeID, []membership.Signed) error { return nil }
func (everybody) Credential() []membership.Signed                                     { return nil }

// tapped is a network of which is noted what n3 hears.
type tapped struct {
	*bubble.Port
	h *hall
}

func (n tapped) PacketConn() net.PacketConn { return tappedConn{n.Port.PacketConn(), n.h} }

type tappedConn struct {
	net.PacketConn
	h *hall
}

func (c tappedConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if err == nil && from.String() != c.h.addrs[hallSize-1] {
		c.h.tap(b[:n])
	}
	return n, from, err
}

func (h *hall) start(i int) {
	port := h.connect(i)
	network := gossip.Network(port)
	if i == 2 {
		network = tapped{port, h}
	}
	members := map[membership.NodeID]bool{}
	for _, id := range h.ids {
		members[id] = true
	}
	g := must(gossip.Start(gossip.Options{
		Self: h.ids[i], Network: network, Keys: [][]byte{make([]byte, membership.GossipKeySize)},
		Allowed: func(id membership.NodeID) bool { return members[id] },
		Leaving: func(id membership.NodeID) bool { return id == h.ids[1] && h.goes.Load() },
	}))(h.t)
	h.all = append(h.all, g)
	go func() {
		for e := range g.Events() {
			if i == 0 {
				h.mu.Lock()
				h.heard = append(h.heard, e)
				h.mu.Unlock()
			}
		}
	}()
	if i > 0 {
		must(g.Join(context.Background(), []string{h.addrs[0]}))(h.t)
	}
}

// failed are those whom n1 does not see alive, or did not since the attack began.
func (h *hall) failed() map[membership.NodeID]membership.Status {
	out := map[membership.NodeID]membership.Status{}
	alive := map[membership.NodeID]bool{}
	for _, m := range h.all[0].Members() {
		alive[m.Node] = m.Status == membership.Alive
	}
	for _, id := range h.ids[:hallSize-1] {
		if !alive[id] {
			out[id] = membership.Failed
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.heard {
		if len(e.Hint) == 0 && e.Status != membership.Alive && len(out) < hallSize {
			out[e.Node] = e.Status
		}
	}
	return out
}

// sent seals a message and sends it to a node, from mallory's own port.
func (h *hall) send(to int, message []byte) {
	h.t.Helper()
	nonce := make([]byte, 12)
	out := append([]byte{1}, nonce...)
	_ = must(h.mallory.WriteTo(sealer(h.t).Seal(out, nonce, message, nil), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(h.addrs[to]))))(h.t)
}

func sealer(t *testing.T) cipher.AEAD { return sealerOf(t, make([]byte, membership.GossipKeySize)) }

func sealerOf(t *testing.T, key []byte) cipher.AEAD {
	return must(cipher.NewGCM(must(aes.NewCipher(key))(t)))(t)
}

// The messages of memberlist and serf, as they are on the wire.
const (
	kindSuspect, kindDead, kindPushPull, kindCompound, kindUser, kindHasCRC = 3, 5, 6, 7, 8, 12
	serfLeave, serfJoin, serfEvent                                          = 0, 1, 3
)

type accusation struct {
	Incarnation uint32
	Node, From  string
}

type intent struct {
	LTime uint64
	Node  string
}

type userEvent struct {
	LTime   uint64
	Name    string
	Payload []byte
	CC      bool
}

func packed(t *testing.T, v any, kinds ...byte) []byte {
	b := bytes.NewBuffer(kinds)
	if err := codec.NewEncoder(b, &codec.MsgpackHandle{}).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// others are all but n1, who is lied to, and mallory.
func (h *hall) others() []membership.NodeID { return h.ids[1 : hallSize-1] }

// lies tells n1 about all others, ten times, and returns who is gone for it.
func (h *hall) lies(about func(id membership.NodeID, n int) []byte) string {
	for n := range 10 {
		for _, id := range h.others() {
			h.send(0, about(id, n))
		}
		time.Sleep(50 * time.Millisecond) // before it can be contradicted
		if said := h.lost(); said != "" {
			return said
		}
		time.Sleep(time.Second)
	}
	return h.lost()
}

// lost tells whom n1 does not see any more.
func (h *hall) lost() string {
	if gone := h.failed(); len(gone) > 0 {
		return fmt.Sprintf("n1 takes %d of %d living nodes for gone, by the word of another", len(gone), hallSize-1)
	}
	return ""
}

func forgedDeaths(t *testing.T) string {
	return inHall(t, func(h *hall) string {
		return h.lies(func(id membership.NodeID, n int) []byte {
			return packed(h.t, accusation{uint32(10 * (n + 1)), string(id), string(h.ids[hallSize-1])}, kindDead)
		})
	})
}

func forgedLeaves(t *testing.T) string {
	return inHall(t, func(h *hall) string {
		return h.lies(func(id membership.NodeID, n int) []byte {
			return packed(h.t, accusation{uint32(10 * (n + 1)), string(id), string(id)}, kindDead)
		})
	})
}

func forgedIntents(t *testing.T) string {
	return inHall(t, func(h *hall) string {
		return h.lies(func(id membership.NodeID, n int) []byte {
			return packed(h.t, intent{uint64(100 * (n + 1)), string(id)}, kindUser, serfLeave)
		})
	})
}

// exchange is a push-pull of memberlist.
func (h *hall) exchange(states ...nodeState) []byte {
	out := packed(h.t, exchangeHeader{Nodes: len(states)}, kindPushPull)
	for _, s := range states {
		out = append(out, packed(h.t, s)...)
	}
	return out
}

type exchangeHeader struct {
	Nodes, UserStateLen int
	Join                bool
}

type nodeState struct {
	Name        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Incarnation uint32
	State       uint8
	Vsn         []uint8
}

const stateLeft = 3

func forgedStates(t *testing.T) string {
	return inHall(t, func(h *hall) string {
		var states []nodeState
		for i, id := range h.others() {
			states = append(states, nodeState{Name: string(id), Addr: []byte{10, 0, 0, byte(i + 2)}, Port: 7077, Incarnation: 10, State: stateLeft, Vsn: []uint8{1, 5, 2, 2, 5, 4}})
		}
		c := must(h.port.DialStream(context.Background(), h.ids[0], "/shoal/gossip/1"))(h.t)
		defer c.Close()
		must(c.Write(h.exchange(states...)))(h.t)
		time.Sleep(50 * time.Millisecond)
		return h.lost()
	})
}

// tap looks into what n3 hears of others than mallory.
func (h *hall) tap(sealed []byte) {
	if len(sealed) < 13 {
		return
	}
	plain, err := sealer(h.t).Open(nil, sealed[1:13], sealed[13:], nil)
	if err == nil && len(plain) > 5 && plain[0] == kindHasCRC {
		plain = plain[5:]
	}
	if err != nil || len(plain) < 2 {
		return
	}
	parts := [][]byte{plain}
	if plain[0] == kindCompound {
		n := int(plain[1])
		rest := plain[2+2*n:]
		parts = nil
		for i := range n {
			size := int(binary.BigEndian.Uint16(plain[2+2*i:]))
			parts, rest = append(parts, rest[:size]), rest[size:]
		}
	}
	for _, part := range parts {
		var a accusation
		if part[0] == kindSuspect && codec.NewDecoderBytes(part[1:], &codec.MsgpackHandle{}).Decode(&a) == nil && a.Node == string(h.ids[1]) {
			h.mu.Lock()
			h.taps[a.Incarnation] = true
			h.mu.Unlock()
		}
	}
}

// suspicions: what n1 passes on of them is what all are busy with. The ration is five, and one each ten seconds.
func suspicions(t *testing.T) string {
	return inHall(t, func(h *hall) string {
		for n := range 600 {
			h.send(0, packed(h.t, accusation{uint32(2 * (n + 1)), string(h.ids[1]), string(h.ids[2+n%3])}, kindSuspect))
			time.Sleep(100 * time.Millisecond)
		}
		if said := h.lost(); said != "" {
			return said
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.taps) == 0 {
			h.t.Fatal("no suspicion comes through at all, so the attack shows nothing")
		}
		if n := len(h.taps); n > 12 {
			return fmt.Sprintf("n1 passes on %d suspicions of n2 in a minute", n)
		}
		return ""
	})
}

func incarnationBomb(t *testing.T) string {
	return inHall(t, func(h *hall) string {
		h.send(0, packed(h.t, accusation{math.MaxUint32, string(h.ids[1]), string(h.ids[2])}, kindSuspect))
		time.Sleep(time.Minute)
		return h.lost()
	})
}

// lamportBomb: n2 leaves after it, in good order, and n1 has to see that.
func lamportBomb(t *testing.T) string {
	return inHall(t, func(h *hall) string {
		h.send(0, packed(h.t, intent{math.MaxUint64, string(h.ids[1])}, kindUser, serfJoin))
		time.Sleep(5 * time.Second)
		h.goes.Store(true)
		if err := h.all[1].Leave(context.Background()); err != nil {
			h.t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		for _, m := range h.all[0].Members() {
			if m.Node == h.ids[1] && m.Status != membership.Left {
				return fmt.Sprintf("n2 has left, and is %s for n1", m.Status)
			}
		}
		return ""
	})
}
