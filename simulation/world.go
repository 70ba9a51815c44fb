package simulation

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"shoal/membership"
	"shoal/mesh/meshtest"
	"shoal/ring"
	"shoal/store"
)

// World is one mesh and all that it runs in. It belongs to one goroutine.
type World struct {
	plan   Plan
	agenda agenda
	now    time.Duration
	dice   *rand.Rand // of all that the plan does not say
	nodes  []*Node
	byID   map[membership.NodeID]*Node
	net    *network
	shared *Shared
	crowd  crowd
	judge  *judge
	trace  trace
	steps  int

	ambushes []*ambush
	away     uint64 // nodes on an island, one bit for each
	// strangers are those of the last island until they have surely met the others.
	strangers uint64
	calmed    bool // all faults are over
}

// Shared is what worlds may use one after the other, since it is the same in all: keys, grants and rings. It belongs to one
// goroutine.
type Shared struct {
	operator ed25519.PrivateKey
	chain    *membership.Chain
	keys     map[string]ed25519.PrivateKey
	grants   map[string]membership.Signed
	rings    map[string]ring.Ring
}

// NewShared makes the trust chain that all worlds have.
func NewShared() (*Shared, error) {
	s := &Shared{
		operator: meshtest.Key("operator"), keys: map[string]ed25519.PrivateKey{}, grants: map[string]membership.Signed{},
		rings: map[string]ring.Ring{},
	}
	nonce := sha256.Sum256([]byte("mesh"))
	genesis, err := membership.NewGenesis(nonce[:], 1, s.operator)
	if err == nil {
		s.chain, err = membership.OpenChain([]membership.Signed{genesis})
	}
	return s, err
}

func (s *Shared) key(name string) ed25519.PrivateKey {
	if s.keys[name] == nil {
		s.keys[name] = meshtest.Key(name)
	}
	return s.keys[name]
}

// grant is a ticket that a node has redeemed.
func (s *Shared) grant(name, env, zone string) (membership.Signed, error) {
	id := name + "/" + env + "/" + zone
	if g, ok := s.grants[id]; ok {
		return g, nil
	}
	seed := sha256.Sum256([]byte("ticket of " + id))
	ticket, err := membership.NewTicket(bytes.NewReader(seed[:]), s.chain, make([]byte, membership.GossipKeySize),
		membership.TicketSpec{Expires: epoch.Add(24 * time.Hour), Tags: map[string]string{"env": env}, Zone: zone}, s.operator)
	if err != nil {
		return membership.Signed{}, err
	}
	g, err := ticket.Redeem(s.key(name), name)
	if err == nil {
		s.grants[id] = g
	}
	return g, err
}

// maxRings bounds the rings that are remembered: 100 KiB each.
const maxRings = 2048

// place makes the ring of some nodes: a function of them, so it is made once.
func (s *Shared) place(nodes []ring.Node) ring.Ring {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(string(n.ID))
		b.WriteByte(' ')
		b.WriteString(n.Zone)
		b.WriteByte('\n')
	}
	key := b.String()
	if s.rings[key] == nil {
		for old := range s.rings {
			if len(s.rings) < maxRings {
				break
			}
			delete(s.rings, old) // any of them: what is remembered changes no course
		}
		s.rings[key] = ring.NewPlacement().Update(nodes)
	}
	return s.rings[key]
}

// place makes the ring of some nodes as this one does.
func (n *Node) place(nodes []ring.Node) ring.Ring {
	if n.circular {
		return ring.NewCircular(nodes)
	}
	return n.w.shared.place(nodes)
}

func newWorld(plan Plan, shared *Shared) *World {
	w := &World{
		plan: plan, dice: rand.New(rand.NewPCG(plan.Seed, 0x5ea1)), byID: map[membership.NodeID]*Node{}, shared: shared,
	}
	w.net = newNetwork(w)
	w.judge = newJudge(w)
	w.crowd = newCrowd(w)
	return w
}

// at lets something happen at a time.
func (w *World) at(t time.Duration, run func()) { w.agenda.add(max(t, w.now), run) }

// after lets something happen a while from now.
func (w *World) after(d time.Duration, run func()) { w.agenda.add(w.now+max(d, 0), run) }

// maxSteps is more than any world needs: one that takes more goes round in circles.
const maxSteps = 400_000

// run lets time pass until a moment, until done, or until an invariant is broken.
func (w *World) run(until time.Duration, done func() bool) {
	for !w.judge.broken() && !done() {
		if len(w.agenda.heap) == 0 || w.agenda.heap[0].at > until {
			w.now = until
			return
		}
		h, _ := w.agenda.next()
		w.now = max(w.now, h.at)
		h.run()
		if most := maxSteps * max(1, w.plan.Stretch); w.steps > most {
			w.judge.fail(nil, "livelock: more than %d steps", most)
		}
	}
}

func never() bool { return false }

// millis draws a duration from low to high milliseconds.
func (w *World) millis(low, high int) time.Duration {
	return time.Duration(low)*time.Millisecond + time.Duration(w.dice.Int64N(int64(high-low+1)*int64(time.Millisecond)))
}

// percent is true that often.
func (w *World) percent(n int) bool { return n > 0 && w.dice.IntN(100) < n }

// add makes a node with a ticket of its own; it meets via first.
func (w *World) add(via *Node) {
	num := len(w.nodes)
	n := &Node{w: w, num: num, Name: fmt.Sprintf("n%d", num+1), disk: NewDisk(w.dice), told: map[int]membership.Status{}, missed: map[int]int{},
		epochs: map[string]uint64{}}
	n.key = w.shared.key(n.Name)
	n.ID = membership.IDOf(n.key.Public().(ed25519.PublicKey))
	grant, err := w.shared.grant(n.Name, w.plan.envOf(num), w.plan.zoneOf(num))
	if err != nil {
		panic(err) // the world itself is broken
	}
	n.first = append(w.shared.chain.Statements(), grant)
	w.nodes, w.byID[n.ID] = append(w.nodes, n), n
	w.net.grow()
	n.via = via
	n.boot()
	w.after(w.millis(0, 500), func() { w.watch(n) })
}

// running are the nodes that take part.
func (w *World) running() []*Node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *Node) bool { return !n.up || n.halted || n.gone || n.evicted })
}

// members are the nodes that have not left for good.
func (w *World) members() []*Node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *Node) bool { return n.gone || n.evicted })
}

// objectsOf makes a revision and all that it is made of.
func (w *World) objectsOf(r store.Revision, files map[string]string) (store.Hash, [][]byte) {
	object, objects := meshtest.SignRevision(w.shared.operator, r, files)
	return store.HashOf(object), objects
}
