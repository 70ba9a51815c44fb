// Package swim measures the gossip that ships, on hundreds of nodes in virtual time: how soon a dead node is found, how often a
// living one is taken for dead, how fast a hint reaches all, and how soon a mesh that was cut in two is one again. Each node is
// memberlist and serf as membership/gossip sets them up, with the redialling of mesh/node, over the network of simulation/bubble;
// what has nothing to do with it (heads, objects, runs) is left out. The name is that of the protocol (SWIM, Das et al. 2002).
package swim

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"shoal/membership"
	"shoal/membership/gossip"
	"shoal/mesh/node"
	"shoal/simulation/bubble"
)

// apart is between the starts of two nodes, on average. Their timers then have nothing in common.
const apart = 100 * time.Millisecond

// Mesh is so many nodes. It must be made, used and closed in a bubble.
type Mesh struct {
	Fabric *bubble.Fabric

	timing gossip.Timing
	dice   *rand.Rand
	nodes  []*member
	seen   *record
	beat   *atomic.Uint64
}

// member is one node.
type member struct {
	name   string
	addr   string
	id     membership.NodeID
	port   *bubble.Port
	gossip *gossip.Gossip
	cancel context.CancelFunc
	ended  chan struct{}
}

// open is what a port asks of its node: here everybody is in the roster.
type open struct{}

func (open) Known(membership.NodeID) bool { return true }
func (open) Admit(context.Context, membership.NodeID, []membership.Signed) error {
	return nil
}
func (open) Vouch(context.Context, membership.NodeID, []membership.Signed) error {
	return nil
}
func (open) Credential() []membership.Signed { return nil }

// Start starts so many nodes, each of which joins one of those before it, and waits until they see each other. beat, which may be
// nil, grows as time passes. The mesh must be closed, also one that comes with an error.
func Start(count int, seed uint64, timing gossip.Timing, beat *atomic.Uint64) (*Mesh, error) {
	m := newMesh(count, seed, timing, beat)
	for i, one := range m.nodes {
		if err := m.start(one); err != nil {
			return m, err
		}
		if i > 0 {
			if err := m.join(one, m.nodes[m.dice.IntN(i)]); err != nil {
				return m, err
			}
		}
		m.rest(apart)
	}
	return m, m.whole()
}

func newMesh(count int, seed uint64, timing gossip.Timing, beat *atomic.Uint64) *Mesh {
	if beat == nil {
		beat = &atomic.Uint64{}
	}
	m := &Mesh{
		Fabric: bubble.NewFabric(seed), timing: timing, dice: rand.New(rand.NewPCG(seed, 0x5317)), beat: beat,
	}
	index := map[membership.NodeID]int{}
	for i := range count {
		key := sha256.Sum256(fmt.Append(nil, "node ", i))
		public := ed25519.NewKeyFromSeed(key[:]).Public().(ed25519.PublicKey)
		one := &member{name: fmt.Sprint("n", i), addr: fmt.Sprintf("10.%d.%d.%d:7077", i>>16, i>>8&0xff, i&0xff), id: membership.IDOf(public)}
		m.nodes = append(m.nodes, one)
		index[one.id] = i
	}
	m.seen = newRecord(index)
	return m
}

// rest waits for a random time, of d on average.
func (m *Mesh) rest(d time.Duration) { m.sleep(time.Duration(m.dice.Int64N(int64(2 * d)))) }

// sleep lets time pass, and whoever watches see it.
func (m *Mesh) sleep(d time.Duration) {
	for ; d > 0; d -= time.Second {
		m.beat.Add(1)
		time.Sleep(min(d, time.Second))
	}
}

func (m *Mesh) start(one *member) error {
	port := m.Fabric.Connect(one.name, one.id, one.addr, open{})
	g, err := gossip.Start(gossip.Options{
		Self: one.id, Network: port, Keys: [][]byte{make([]byte, membership.GossipKeySize)}, Timing: &m.timing,
		Allowed: func(membership.NodeID) bool { return true },
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", one.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	one.port, one.gossip, one.cancel, one.ended = port, g, cancel, make(chan struct{})
	me := m.seen.index[one.id]
	changed := make(chan struct{}, 1)
	m.seen.up(me)
	go func() {
		for e := range g.Events() {
			m.seen.take(me, e)
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	go func() {
		defer close(one.ended)
		node.Redial{
			Absent: func() ([]string, bool) { return m.absent(me) }, Barred: func() bool { return false },
			Changed: changed, Join: g.Join,
		}.Run(ctx)
	}()
	return nil
}

// absent are those whom a node has seen, and does not see alive: its roster has them.
func (m *Mesh) absent(me int) (addrs []string, alone bool) {
	missing, alone := m.seen.missing(me)
	for _, i := range missing {
		addrs = append(addrs, m.nodes[i].addr)
	}
	return addrs, alone
}

func (m *Mesh) join(one, other *member) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := one.gossip.Join(ctx, []string{other.addr}); err != nil {
		return fmt.Errorf("%s joins %s: %w", one.name, other.name, err)
	}
	return nil
}

// whole waits until each that is up sees all that are up alive.
func (m *Mesh) whole() error {
	for began := time.Now(); ; m.sleep(100 * time.Millisecond) {
		if missing := m.seen.gaps(); missing == 0 {
			return nil
		} else if time.Since(began) > joinTime {
			return fmt.Errorf("%s after the last of %d nodes started there are still %d that another does not see", joinTime, len(m.nodes), missing)
		}
	}
}

// crash ends a node as a power cut does.
func (m *Mesh) crash(i int) {
	one := m.nodes[i]
	m.seen.down(i)
	one.stop()
}

func (one *member) stop() {
	_ = one.port.Close()
	one.cancel()
	_ = one.gossip.Close()
	<-one.ended
	one.gossip = nil
}

// Close ends all that runs, the network last.
func (m *Mesh) Close() {
	for i, one := range m.nodes {
		if one.gossip != nil {
			m.seen.down(i)
			one.stop()
		}
	}
	time.Sleep(30 * time.Second) // virtual: what serf has begun comes to its end
	m.Fabric.Close()
}
