package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"shoal/membership"
)

var guardNow = time.Unix(1_800_000_000, 0)

// world of three members, a stranger, and who of them says that it leaves.
type hall struct {
	*guard
	self, a, b, x string
	going         map[membership.NodeID]bool
}

func newHall() *hall {
	f := &fabric{ports: map[string]*port{}}
	h := &hall{going: map[membership.NodeID]bool{}}
	members := map[membership.NodeID]bool{}
	for i, name := range []*string{&h.self, &h.a, &h.b} {
		id := f.port(i + 1).id
		*name, members[id] = string(id), true
	}
	h.x = string(f.port(9).id)
	h.guard = newGuard(Options{
		Self: membership.NodeID(h.self), Logger: slog.New(slog.DiscardHandler),
		Allowed: func(id membership.NodeID) bool { return members[id] },
		Leaving: func(id membership.NodeID) bool { return h.going[id] },
	})
	return h
}

func packed(t testing.TB, kind byte, v any) []byte {
	t.Helper()
	data, err := pack(kind, v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func said(t testing.TB, kind byte, v any) []byte {
	return append([]byte{kindUser}, packed(t, kind, v)...)
}

// What a member may say of another, and what comes of it.
func TestGuard(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet func(t *testing.T, h *hall) []byte
		want   string // pass, drop, suspect
	}{
		{"a ping", func(t *testing.T, h *hall) []byte { return packed(t, kindPing, map[string]any{"SeqNo": 1}) }, "pass"},
		{"a suspicion", func(t *testing.T, h *hall) []byte { return packed(t, kindSuspect, accusation{1, h.b, h.a}) }, "pass"},
		{"a suspicion by a stranger", func(t *testing.T, h *hall) []byte { return packed(t, kindSuspect, accusation{1, h.b, h.x}) }, "drop"},
		{"a suspicion of a stranger", func(t *testing.T, h *hall) []byte { return packed(t, kindSuspect, accusation{1, h.x, h.a}) }, "drop"},
		{"a death", func(t *testing.T, h *hall) []byte { return packed(t, kindDead, accusation{1, h.b, h.a}) }, "suspect"},
		{"the own death", func(t *testing.T, h *hall) []byte { return packed(t, kindDead, accusation{1, h.self, h.a}) }, "pass"},
		{"a forged leave", func(t *testing.T, h *hall) []byte { return packed(t, kindDead, accusation{1, h.b, h.b}) }, "suspect"},
		{"a leave", func(t *testing.T, h *hall) []byte {
			h.going[membership.NodeID(h.b)] = true
			return packed(t, kindDead, accusation{1, h.b, h.b})
		}, "pass"},
		{"the last incarnation", func(t *testing.T, h *hall) []byte {
			return packed(t, kindSuspect, accusation{math.MaxUint32, h.b, h.a})
		}, "drop"},
		{"alive at the last incarnation", func(t *testing.T, h *hall) []byte {
			return packed(t, kindAlive, aliveness{Incarnation: math.MaxUint32, Node: h.b})
		}, "drop"},
		{"alive", func(t *testing.T, h *hall) []byte { return packed(t, kindAlive, aliveness{Incarnation: 3, Node: h.b}) }, "pass"},
		{"a newcomer", func(t *testing.T, h *hall) []byte { return packed(t, kindAlive, aliveness{Incarnation: 3, Node: h.x}) }, "pass"},
		{"a compressed message", func(t *testing.T, h *hall) []byte { return append([]byte{kindCompress}, make([]byte, 20)...) }, "drop"},
		{"an encrypted message", func(t *testing.T, h *hall) []byte { return append([]byte{kindEncrypt}, make([]byte, 20)...) }, "drop"},
		{"a forged leave intent", func(t *testing.T, h *hall) []byte { return said(t, serfLeave, intent{LTime: 1, Node: h.b}) }, "drop"},
		{"a leave intent", func(t *testing.T, h *hall) []byte {
			h.going[membership.NodeID(h.b)] = true
			return said(t, serfLeave, intent{LTime: 1, Node: h.b})
		}, "pass"},
		{"pruning", func(t *testing.T, h *hall) []byte {
			h.going[membership.NodeID(h.b)] = true
			return said(t, serfLeave, intent{LTime: 1, Node: h.b, Prune: true})
		}, "drop"},
		{"a join intent", func(t *testing.T, h *hall) []byte { return said(t, serfJoin, intent{LTime: 1, Node: h.b}) }, "pass"},
		{"a Lamport bomb", func(t *testing.T, h *hall) []byte { return said(t, serfJoin, intent{LTime: math.MaxUint64, Node: h.b}) }, "drop"},
		{"a hint", func(t *testing.T, h *hall) []byte { return said(t, serfEvent, event{LTime: 1, Name: hintEvent + h.a}) }, "pass"},
		{"a hint of a stranger", func(t *testing.T, h *hall) []byte { return said(t, serfEvent, event{LTime: 1, Name: hintEvent + h.x}) }, "drop"},
		{"another event", func(t *testing.T, h *hall) []byte { return said(t, serfEvent, event{LTime: 1, Name: "deploy"}) }, "drop"},
		{"a query of serf", func(t *testing.T, h *hall) []byte { return said(t, 4, map[string]any{"Name": "_serf_install-key"}) }, "drop"},
		{"a relay of serf", func(t *testing.T, h *hall) []byte { return said(t, 9, map[string]any{}) }, "drop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHall()
			packet := c.packet(t, h)
			got := h.packet(packet, "10.0.0.9:1", guardNow)
			inCompound := h.packet(join([][]byte{packet, packed(t, kindPing, map[string]any{"SeqNo": 1})}), "10.0.0.9:1", guardNow)
			switch {
			case c.want == "pass" && !bytes.Equal(got, packet), c.want == "drop" && got != nil, c.want == "suspect" && (got == nil || got[0] != kindSuspect):
				t.Errorf("%q goes on as %q", packet, got)
			case inCompound == nil || (inCompound[1] == 1) != (c.want == "drop"):
				t.Errorf("in a compound it goes on as %q", inCompound)
			}
		})
	}
}

// Somebody who calls a node suspect without end is heard now and then, and the node itself contradicts each time.
func TestSuspicionsAreRationed(t *testing.T) {
	h := newHall()
	heard, contradicted := 0, 0
	for i := range 1000 {
		n := uint32(i + 1)
		if h.packet(packed(t, kindSuspect, accusation{n, h.b, h.a}), "10.0.0.9:1", guardNow) != nil {
			heard++
		}
		if h.packet(packed(t, kindSuspect, accusation{n, h.self, h.a}), "10.0.0.9:1", guardNow) != nil {
			contradicted++
		}
	}
	if heard != accusedBurst || contradicted != 1000 {
		t.Errorf("%d of 1000 suspicions came through, and %d of those of this node itself", heard, contradicted)
	}
	later := guardNow.Add(accusedEvery)
	if h.packet(packed(t, kindSuspect, accusation{2000, h.b, h.a}), "10.0.0.9:1", later) == nil {
		t.Error("it is never heard again")
	}
	if h.packet(packed(t, kindSuspect, accusation{2000, h.b, h.a}), "10.0.0.9:1", later) == nil {
		t.Error("a suspicion that comes again, as they all do, is not heard")
	}
	// However long it lies, the counters do not come near their end.
	for i := range 10000 {
		h.incarnate(h.b, uint32(min(uint64(i)<<20, math.MaxUint32)), later)
	}
	if top := h.about[h.b].incarnation; top > incarnationEnd {
		t.Errorf("the incarnation went to %d", top)
	}
}

func exchangeOf(t testing.TB, nodes []nodeState, user []byte) []byte {
	t.Helper()
	data, err := encodeExchange(exchangeHeader{Nodes: len(nodes), UserStateLen: len(user)}, nodes, user)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestExchangeIsCleaned(t *testing.T) {
	h := newHall()
	h.going[membership.NodeID(h.a)] = true
	user := packed(t, serfPushPull, serfState{
		LTime: 5, StatusLTimes: map[string]uint64{h.a: 1, h.b: math.MaxUint64, h.x: 1}, LeftMembers: []string{h.a, h.b},
		EventLTime: 7, Events: []*serfEvents{nil, {LTime: 3, Events: []serfPayload{{hintEvent + h.a, []byte("x")}, {"other", nil}}}, {LTime: math.MaxUint64}},
		QueryLTime: math.MaxUint64,
	})
	data := exchangeOf(t, []nodeState{
		{Name: h.self, Incarnation: 2}, {Name: h.a, Incarnation: 1, State: stateLeft}, {Name: h.b, Incarnation: 1, State: stateLeft},
		{Name: h.x, Incarnation: 1, State: stateDead}, {Name: h.x, Incarnation: 1},
	}, user)
	r, err := h.stream(bytes.NewReader(data), "peer")
	if err != nil {
		t.Fatal(err)
	}
	clean, err := io.ReadAll(r)
	if err != nil || clean[0] != kindPushPull {
		t.Fatal(err)
	}
	states := 0
	again := newHall()
	again.leaving = func(membership.NodeID) bool { return true } // so that what is there still is seen
	out, err := again.exchange(bytes.NewReader(clean[1:]), "peer", guardNow)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{h.self, h.a, h.b, h.x} {
		states += bytes.Count(out, []byte(name))
	}
	if bytes.Contains(out, []byte("other")) || states < 5 {
		t.Errorf("it goes on as %q", out)
	}
	if n, ok := h.state(nodeState{Name: h.b, State: stateLeft, Incarnation: 1}, "peer", guardNow); !ok || n.State != stateDead {
		t.Error("a node is left that has not said so")
	}
	if n, ok := h.state(nodeState{Name: h.a, State: stateLeft, Incarnation: 1}, "peer", guardNow); !ok || n.State != stateLeft {
		t.Error("a node that has said that it leaves is not left")
	}
	for name, bad := range map[string][]byte{
		"compressed": {kindCompress, 0}, "a message to serf": {kindUser, 0, 0}, "cut short": data[:len(data)/2],
		"a Lamport bomb": exchangeOf(t, nil, packed(t, serfPushPull, serfState{LTime: math.MaxUint64})),
		"too many nodes": append(packed(t, kindPushPull, exchangeHeader{Nodes: maxNamed + 1}), data...),
	} {
		if _, err := h.stream(bytes.NewReader(bad), "peer"); err == nil {
			t.Error(name, "goes on")
		}
	}
	if len(h.reading) != 0 {
		t.Error("a place is never given back")
	}
	h.begin("peer")
	if _, err := h.stream(bytes.NewReader(data), "peer"); !errors.Is(err, errMessage) {
		t.Error("two exchanges of one peer are read at a time:", err)
	}
}

// What is sealed is opened with any of the keys, and with none after it is gone.
func TestSeals(t *testing.T) {
	var s seals
	key, old := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	if _, err := s.seal([]byte("x")); err == nil {
		t.Error("without a key something goes out")
	}
	if err := s.use([][]byte{old}); err != nil {
		t.Fatal(err)
	}
	was, err := s.seal([]byte("hello"))
	if err != nil || was[0]&0x40 != 0 {
		t.Fatal(was, err)
	}
	if err := s.use([][]byte{key, old}); err != nil {
		t.Fatal(err)
	}
	now, _ := s.seal([]byte("world"))
	for sealed, want := range map[string]string{string(was): "hello", string(now): "world"} {
		if got, err := s.open([]byte(sealed)); err != nil || string(got) != want {
			t.Errorf("%q %v", got, err)
		}
	}
	if err := s.use([][]byte{key}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.open(was); err == nil || s.refused.Load() != 1 {
		t.Error("a packet with the old key is opened")
	}
	if s.use([][]byte{make([]byte, 31)}) == nil {
		t.Error("a short key is taken")
	}
}

func udpAddr(addr string) net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)) }

// An evicted node that has the old key neither hears nor says anything any more.
func TestOldKeyIsWorthNothing(t *testing.T) {
	f := &fabric{ports: map[string]*port{}}
	a, b, x := f.port(1), f.port(2), f.port(3)
	ga, gb := start(t, a, everybody), start(t, b, everybody)
	if n, err := gb.Join(t.Context(), []string{a.addr}); n != 1 {
		t.Fatal(n, err)
	}
	old, next := make([]byte, 32), bytes.Repeat([]byte{9}, 32)
	for _, g := range []*Gossip{ga, gb} { // one after the other: they overlap
		if err := g.UseKeys([][]byte{old, next}); err != nil {
			t.Fatal(err)
		}
	}
	for _, keys := range [][][]byte{{next, old}, {next}} {
		for _, g := range []*Gossip{ga, gb} {
			if err := g.UseKeys(keys); err != nil {
				t.Fatal(err)
			}
		}
	}
	var theirs seals
	if err := theirs.use([][]byte{old}); err != nil {
		t.Fatal(err)
	}
	lie, err := theirs.seal(packed(t, kindDead, accusation{1, string(b.id), string(x.id)}))
	if err != nil {
		t.Fatal(err)
	}
	before := ga.Unsealed()
	if _, err := (&packets{port: x}).WriteTo(lie, udpAddr(a.addr)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a refuses the packet", func() bool { return ga.Unsealed() > before })
	if err := gb.Hint([]byte("secret")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a hears b", func() bool {
		select {
		case e := <-ga.Events():
			return string(e.Hint) == "secret"
		default:
			return false
		}
	})
	if statuses(ga)[b.id] != membership.Alive {
		t.Error("b is not alive for a")
	}
}

// A death that somebody made up does not make a node failed, and a leave that it did not say not left: it contradicts.
func TestForgedDeathIsContradicted(t *testing.T) {
	f := &fabric{ports: map[string]*port{}}
	a, b, x := f.port(1), f.port(2), f.port(3)
	none := func(membership.NodeID) bool { return false }
	var gs []*Gossip
	for _, p := range []*port{a, b} {
		g, err := Start(Options{Self: p.id, Network: p, Keys: [][]byte{make([]byte, 32)}, Allowed: everybody, Leaving: none})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Close() })
		gs = append(gs, g)
	}
	if n, err := gs[1].Join(t.Context(), []string{a.addr}); n != 1 {
		t.Fatal(n, err)
	}
	eventually(t, "a knows b", func() bool { return statuses(gs[0])[b.id] == membership.Alive })
	var theirs seals
	if err := theirs.use([][]byte{make([]byte, 32)}); err != nil {
		t.Fatal(err)
	}
	send := func(data []byte) {
		t.Helper()
		sealed, err := theirs.seal(data)
		if err == nil {
			_, err = (&packets{port: x}).WriteTo(sealed, udpAddr(a.addr))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range uint32(3) {
		send(packed(t, kindDead, accusation{3, string(b.id), string(x.id)}))
		send(packed(t, kindDead, accusation{3, string(b.id), string(b.id)}))
		send(said(t, serfLeave, intent{LTime: uint64(n) + 10, Node: string(b.id)}))
		send(said(t, serfLeave, intent{LTime: uint64(n) + 10, Node: string(b.id), Prune: true}))
	}
	eventually(t, "b has contradicted", func() bool {
		gs[0].guard.mu.Lock()
		defer gs[0].guard.mu.Unlock()
		h := gs[0].guard.about[string(b.id)]
		return h != nil && h.incarnation > 3
	})
	if got := statuses(gs[0])[b.id]; got != membership.Alive {
		t.Errorf("b is %s for a", got)
	}
	for {
		select {
		case e := <-gs[0].Events():
			if e.Node == b.id && (e.Status == membership.Failed || e.Status == membership.Left) {
				t.Errorf("b was %s for a", e.Status)
			}
			continue
		default:
		}
		return
	}
}

// FuzzPacket gives the guard whatever a holder of the key may send.
func FuzzPacket(f *testing.F) {
	h := newHall()
	f.Add(packed(f, kindDead, accusation{1, h.b, h.a}))
	f.Add(packed(f, kindAlive, aliveness{Incarnation: 1, Node: h.b, Addr: []byte{10, 0, 0, 1}, Port: 1, Vsn: []byte{1, 5, 2, 2, 5, 4}}))
	f.Add(said(f, serfEvent, event{LTime: 1, Name: hintEvent + h.a, Payload: []byte("x")}))
	f.Add(join([][]byte{said(f, serfJoin, intent{LTime: 1, Node: h.b}), packed(f, kindSuspect, accusation{1, h.b, h.a})}))
	f.Add(append(binary.BigEndian.AppendUint32([]byte{kindHasCRC}, 1), packed(f, kindSuspect, accusation{1, h.b, h.a})...))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := newHall()
		out := h.packet(data, "10.0.0.9:1", guardNow)
		if len(out) > 2*len(data)+128 {
			t.Fatalf("%d bytes become %d", len(data), len(out))
		}
		if out != nil && newHall().packet(out, "10.0.0.9:1", guardNow) == nil {
			t.Fatalf("what goes on is not let through again: %q", out)
		}
	})
}

// FuzzExchange gives the guard whatever a member may send over a stream.
func FuzzExchange(f *testing.F) {
	h := newHall()
	user := packed(f, serfPushPull, serfState{LTime: 5, StatusLTimes: map[string]uint64{h.a: 1}, LeftMembers: []string{h.a}, EventLTime: 7})
	f.Add(exchangeOf(f, []nodeState{{Name: h.a, Incarnation: 1}, {Name: h.b, Incarnation: 1, State: stateLeft}}, user))
	f.Add([]byte{kindPing})
	f.Fuzz(func(t *testing.T, data []byte) {
		h := newHall()
		r, err := h.stream(bytes.NewReader(data), "peer")
		if err != nil {
			return
		}
		out, err := io.ReadAll(r)
		if err != nil || data[0] != kindPushPull {
			return
		}
		if _, err := newHall().stream(bytes.NewReader(out), "peer"); err != nil {
			t.Fatalf("what goes on is not read again: %v", err)
		}
	})
}

// FuzzSealed gives the seal whatever is on the network.
func FuzzSealed(f *testing.F) {
	var s seals
	if err := s.use([][]byte{make([]byte, 32)}); err != nil {
		f.Fatal(err)
	}
	good, _ := s.seal([]byte("x"))
	f.Add(good)
	f.Add(good[:sealOverhead])
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := s.open(data)
		if err != nil {
			return
		}
		nonce := data[1 : 1+sealNonce]
		if again := s.keys.Load().aeads[0].Seal(bytes.Clone(data[:1+sealNonce]), nonce, plain, nil); !bytes.Equal(again, data) {
			t.Fatalf("opened %q, which nobody sealed", data)
		}
	})
}
