// Package meshtest is a small world for Cores: a network with partitions, loss and delay, disks that keep what was saved
// and lose what was not, and a gossip that notices the dead after a while. It runs in one goroutine on a virtual clock, so
// the same seed gives the same course.
package meshtest

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing/fstest"
	"time"

	"shoal/membership"
	"shoal/mesh"
	"shoal/ring"
	"shoal/store"
)

// Faults of the network, in a hundred of messages.
type Faults struct {
	Loss, Repeat int
	Replay       int // an old message comes again, up to a minute later
	Reorder      bool
	// CrashAfterSave is how often in a thousand steps a node dies between keeping something and telling of it.
	CrashAfterSave int
}

// Network is the world.
type Network struct {
	Faults Faults
	// Watch is called for everything that a node does that a person may see.
	Watch func(n *Node, what string)
	// Answered is called at the instant of each answer.
	Answered func(n *Node, a mesh.Answer)
	// Configure may change what a node starts with, and Tamper what it sends, as one with bad intent would.
	Configure func(n *Node, c *mesh.Config)
	Tamper    func(n *Node, m mesh.Message) mesh.Message
	// SecretKeys is what a node sends who asks for keys of secrets; nil: nothing.
	SecretKeys func(n *Node, a mesh.SendSecretKeys) [][]byte

	now      time.Time
	dice     *rand.Rand
	events   events
	operator ed25519.PrivateKey
	chain    *membership.Chain
	nodes    []*Node
	byID     map[membership.NodeID]*Node
	groups   map[*Node]int // nil: no partition
	last     map[[2]*Node]time.Time
	rings    map[string]ring.Ring // a ring is a function of its nodes: the cores of a world share them
	asked    uint64
	gossips  uint64
}

// Node is one Core with its disk.
type Node struct {
	Name     string
	ID       membership.NodeID
	Core     *mesh.Core
	Up       bool
	Answers  map[uint64]mesh.Answer
	Applied  []store.Head // each Converge, since the beginning
	Proofs   []mesh.Proof // of these, those that came with one
	Verified int          // objects that the scrub read
	network  *Network
	key      ed25519.PrivateKey
	roster   []membership.Signed // what it began with
	saved    map[string][]byte
	objects  map[store.Hash][]byte
	told     map[membership.NodeID]membership.Status
	life     int // counts starts; what an earlier life had under way is lost
	timerAt  time.Time
	badWires int
}

// New makes a world without nodes.
func New(seed uint64) *Network {
	w := &Network{
		now: time.Unix(1_800_000_000, 0), dice: rand.New(rand.NewPCG(seed, 0x5ea1)), operator: keyOf("operator"),
		byID: map[membership.NodeID]*Node{}, last: map[[2]*Node]time.Time{}, Watch: func(*Node, string) {},
		Answered: func(*Node, mesh.Answer) {}, Configure: func(*Node, *mesh.Config) {},
		Tamper: func(_ *Node, m mesh.Message) mesh.Message { return m },
		rings:  map[string]ring.Ring{},
	}
	nonce := sha256.Sum256([]byte("mesh"))
	genesis, err := membership.NewGenesis(nonce[:], 1, w.operator)
	if err == nil {
		w.chain, err = membership.OpenChain([]membership.Signed{genesis})
	}
	if err != nil {
		panic(err) // the world itself is broken
	}
	return w
}

// Key is the key of a node or of anybody else: made from a word, so that a world is the same every time.
func Key(word string) ed25519.PrivateKey { return keyOf(word) }

// SeedKey is the key of a seed.
func SeedKey(seed [32]byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed[:]) }

func keyOf(word string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(word))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Mesh is the mesh that all nodes belong to.
func (w *Network) Mesh() membership.MeshID { return w.chain.Mesh() }

// Now is the virtual time.
func (w *Network) Now() time.Time { return w.now }

// Nodes are all nodes, in the order of their making.
func (w *Network) Nodes() []*Node { return slices.Clone(w.nodes) }

// Node finds a node by name; nil when there is none.
func (w *Network) Node(name string) *Node {
	for _, n := range w.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Add starts a node with a ticket of its own, and lets it meet one other; nil for the first.
func (w *Network) Add(name string, via *Node) *Node {
	n := &Node{
		Name: name, network: w, key: keyOf(name), saved: map[string][]byte{}, objects: map[store.Hash][]byte{},
		Answers: map[uint64]mesh.Answer{},
	}
	n.ID = membership.IDOf(n.key.Public().(ed25519.PublicKey))
	seed := sha256.Sum256([]byte("ticket of " + name))
	ticket, err := membership.NewTicket(bytes.NewReader(seed[:]), w.chain, make([]byte, membership.GossipKeySize),
		membership.TicketSpec{Expires: w.now.Add(24 * time.Hour)}, w.operator)
	var redeemed membership.Signed
	if err == nil {
		redeemed, err = ticket.Redeem(n.key, name)
	}
	if err != nil {
		panic(err)
	}
	n.roster = append(w.chain.Statements(), redeemed)
	w.nodes, w.byID[n.ID] = append(w.nodes, n), n
	if w.groups != nil && via != nil {
		w.groups[n] = w.groups[via]
	}
	n.boot()
	if via != nil {
		n.step(mesh.Gossiped{Event: membership.Event{Node: via.ID, Addr: via.Name, Status: membership.Alive}})
	}
	w.gossipSoon(time.Second)
	return n
}

// boot makes a Core from what is on the disk.
func (n *Node) boot() {
	roster := membership.NewRoster(n.network.chain)
	if _, err := roster.Add(n.network.now, n.roster...); err != nil {
		panic(err)
	}
	var saved []store.Pair
	for _, key := range slices.Sorted(maps.Keys(n.saved)) {
		saved = append(saved, store.Pair{Key: []byte(key), Value: n.saved[key]})
	}
	var kept []mesh.Kept
	for h, data := range n.objects {
		kept = append(kept, mesh.Kept{Hash: h, Size: len(data)})
	}
	slices.SortFunc(kept, func(a, b mesh.Kept) int { return bytes.Compare(a.Hash[:], b.Hash[:]) })
	config := mesh.Config{Key: n.key, Seed: n.network.dice.Uint64(), Place: n.network.Place}
	n.network.Configure(n, &config)
	core, err := mesh.New(config, roster, n.network.now, saved, kept)
	if err != nil {
		panic(fmt.Sprintf("%s does not start: %v", n.Name, err))
	}
	n.Core, n.Up, n.life, n.timerAt = core, true, n.life+1, time.Time{}
	n.told = map[membership.NodeID]membership.Status{}
	n.step(mesh.Start{})
}

// Place makes the ring of some nodes, as all cores of this world have it.
func (w *Network) Place(nodes []ring.Node) ring.Ring {
	key := fmt.Sprint(nodes)
	if w.rings[key] == nil {
		w.rings[key] = ring.NewPlacement().Update(nodes)
	}
	return w.rings[key]
}

// Kill stops a node as SIGKILL does: what was not saved is gone.
func (w *Network) Kill(n *Node) {
	n.Up, n.Core = false, nil
	w.gossipSoon(3 * time.Second)
}

// Restart starts a node that was killed, from its disk.
func (w *Network) Restart(n *Node) {
	if !n.Up {
		n.boot()
		w.gossipSoon(time.Second)
	}
}

// Partition lets nodes talk only within their group.
func (w *Network) Partition(groups ...[]*Node) {
	w.groups = map[*Node]int{}
	for i, g := range groups {
		for _, n := range g {
			w.groups[n] = i + 1
		}
	}
	w.gossipSoon(3 * time.Second)
}

// Heal ends all partitions.
func (w *Network) Heal() {
	w.groups = nil
	w.gossipSoon(time.Second)
}

// HealSilently ends all partitions, and the gossip does not notice.
func (w *Network) HealSilently() { w.groups = nil }

func (w *Network) reach(a, b *Node) bool {
	return a.Up && b.Up && (w.groups == nil || w.groups[a] == w.groups[b])
}

// gossipSoon lets all nodes see, a while later, who can be reached then.
func (w *Network) gossipSoon(d time.Duration) {
	w.gossips++
	this := w.gossips
	w.at(w.now.Add(d), func() {
		if this != w.gossips && d < 3*time.Second {
			return // a later look sees it all
		}
		for _, a := range w.nodes {
			for _, b := range w.nodes {
				w.gossip(a, b)
			}
		}
	})
}

func (w *Network) gossip(a, b *Node) {
	if a == b || !a.Up {
		return
	}
	status := membership.Failed
	if w.reach(a, b) {
		status = membership.Alive
	}
	if a.told[b.ID] == status || (a.told[b.ID] == "" && status == membership.Failed) {
		return
	}
	a.told[b.ID] = status
	a.step(mesh.Gossiped{Event: membership.Event{Node: b.ID, Addr: b.Name, Status: status}})
}

// Run lets virtual time pass.
func (w *Network) Run(d time.Duration) { w.RunUntil(d, func() bool { return false }) }

// RunUntil lets time pass until done, at most d; it returns whether done was reached.
func (w *Network) RunUntil(d time.Duration, done func() bool) bool {
	end := w.now.Add(d)
	for !done() {
		if len(w.events) == 0 || w.events[0].at.After(end) {
			w.now = end
			return done()
		}
		e := heap.Pop(&w.events).(event)
		if e.at.After(w.now) {
			w.now = e.at
		}
		e.run()
	}
	return true
}

func (w *Network) at(t time.Time, run func()) {
	w.asked++
	heap.Push(&w.events, event{at: t, order: w.asked, run: run})
}

// later runs in the same life of the node, or not at all.
func (n *Node) later(d time.Duration, run func()) {
	life := n.life
	n.network.at(n.network.now.Add(d), func() {
		if n.Up && n.life == life {
			run()
		}
	})
}

// step gives a Core an event and does what it says.
func (n *Node) step(ev mesh.Event) {
	w := n.network
	actions := n.Core.Step(w.now, ev)
	savedSomething := false
	for _, a := range actions {
		if s, ok := a.(mesh.Save); ok {
			savedSomething = true
			if s.Value == nil {
				delete(n.saved, s.Key)
			} else {
				n.saved[s.Key] = s.Value
			}
		}
	}
	if savedSomething && w.Faults.CrashAfterSave > 0 && w.dice.IntN(1000) < w.Faults.CrashAfterSave {
		w.Watch(n, "crashes after a save")
		w.Kill(n)
		return
	}
	for _, a := range actions {
		n.do(a)
	}
	n.setTimer()
}

func (n *Node) setTimer() {
	next := n.Core.Next()
	if next.IsZero() || next.Equal(n.timerAt) {
		return
	}
	n.timerAt = next
	n.later(next.Sub(n.network.now), func() {
		if n.timerAt.Equal(next) {
			n.timerAt = time.Time{}
			n.step(mesh.Tick{})
		}
	})
}

func (n *Node) do(a mesh.Action) {
	w := n.network
	switch a := a.(type) {
	case mesh.Send:
		n.send(a.To, a.Message)
	case mesh.SendObjects:
		n.sendObjects(a)
	case mesh.SendReport:
		if report, err := n.report(a.Node, a.Report); err == nil {
			n.send(a.To, mesh.WithReport(a.Message, report))
		}
	case mesh.SendSecretKeys:
		if w.SecretKeys != nil {
			n.send(a.To, &mesh.SecretTell{ID: a.ID, Keys: w.SecretKeys(n, a)})
		}
	case mesh.StoreObjects:
		n.later(time.Duration(1+w.dice.IntN(4))*time.Millisecond, func() { n.step(n.Put(a.Objects...)) })
	case mesh.ReachObjects:
		n.later(10*time.Millisecond, func() { n.step(mesh.DoReach(context.Background(), a, w.anywhere(n))) })
	case mesh.DropObjects:
		n.later(5*time.Millisecond, func() {
			for _, h := range a.Hashes {
				delete(n.objects, h)
			}
			n.step(mesh.Dropped{Hashes: a.Hashes})
		})
	case mesh.VerifyObjects:
		n.later(10*time.Millisecond, func() { n.step(n.verify(a.Hashes)) })
	case mesh.CheckTree:
		n.later(time.Millisecond, func() {
			n.step(mesh.DoCheckTree(context.Background(), a.Manifest, n.get, n.has))
		})
	case mesh.Converge:
		n.Applied = append(n.Applied, a.Head)
		if a.Proof != nil {
			n.Proofs = append(n.Proofs, *a.Proof)
		}
		w.Watch(n, fmt.Sprintf("converges %s %d %s", a.Head.Env, a.Head.Version, a.Head.Revision.Short()))
		n.later(50*time.Millisecond, func() {
			n.step(mesh.Reported{Summary: mesh.Summary{
				Env: a.Head.Env, Version: a.Head.Version, Revision: a.Head.Revision, Result: "converged",
			}, Report: []byte("report of " + n.Name)})
		})
	case mesh.Hint:
		for _, to := range w.nodes {
			if to != n {
				w.hint(n, to, a.Data)
			}
		}
	case mesh.Answer:
		n.Answers[a.ID] = a
		w.Answered(n, a)
	case mesh.AnswerReport:
		report, err := n.report(a.Node, a.Report)
		n.Answers[a.ID] = mesh.Answer{ID: a.ID, Value: report, Err: err}
	case mesh.Drop:
		w.Watch(n, "drops "+a.Peer.Short())
	case mesh.Note:
		w.Watch(n, "notes: "+a.String())
	}
}

func (n *Node) report(of membership.NodeID, report store.Hash) ([]byte, error) {
	data, err := mesh.ReadReport(of, report, func(key string) ([]byte, error) {
		if data, ok := n.saved[key]; ok {
			return data, nil
		}
		return nil, store.ErrNotFound
	})
	if err != nil {
		n.later(0, func() { n.step(mesh.ReportLost{Node: of, Report: report}) })
	}
	return data, err
}

func (w *Network) hint(from, to *Node, data []byte) {
	w.at(w.now.Add(time.Duration(50+w.dice.IntN(400))*time.Millisecond), func() {
		if w.reach(from, to) && w.dice.IntN(100) >= w.Faults.Loss {
			to.step(mesh.Gossiped{Event: membership.Event{Hint: data}}) // a rumour: nobody knows who began it
		}
	})
}

// anywhere gets an object from the node or whomever it can reach, at once.
func (w *Network) anywhere(n *Node) store.Getter {
	return func(ctx context.Context, h store.Hash) ([]byte, error) {
		data, err := n.get(ctx, h)
		for _, other := range w.nodes {
			if err != nil && w.reach(n, other) {
				data, err = other.get(ctx, h)
			}
		}
		return data, err
	}
}

func (n *Node) verify(hashes []store.Hash) (ev mesh.Verified) {
	n.Verified += len(hashes)
	for _, h := range hashes {
		if _, err := n.get(context.Background(), h); err != nil {
			delete(n.objects, h)
			ev.Bad = append(ev.Bad, h)
		}
	}
	return ev
}

// Put keeps objects, as a completed write does, and returns the event that tells of it.
func (n *Node) Put(objects ...[]byte) mesh.Stored {
	var ev mesh.Stored
	for _, data := range objects {
		h := store.HashOf(data)
		n.objects[h] = data
		ev.Objects = append(ev.Objects, mesh.Kept{Hash: h, Size: len(data)})
	}
	return ev
}

// Keep puts objects on the node's disk and tells it.
func (n *Node) Keep(objects ...[]byte) { n.step(n.Put(objects...)) }

func (n *Node) get(_ context.Context, h store.Hash) ([]byte, error) {
	data, ok := n.objects[h]
	if !ok {
		return nil, store.ErrNotFound
	}
	if store.HashOf(data) != h {
		return nil, store.ErrCorrupt
	}
	return data, nil
}

func (n *Node) has(_ context.Context, hashes []store.Hash) ([]bool, error) {
	out := make([]bool, len(hashes))
	for i, h := range hashes {
		_, err := n.get(context.Background(), h)
		out[i] = err == nil
	}
	return out, nil
}

func (n *Node) sendObjects(a mesh.SendObjects) {
	for _, m := range mesh.ObjectsFor(a.Hashes, n.read) {
		n.send(a.To, m)
	}
}

// read tells the Core of what it finds damaged.
func (n *Node) read(h store.Hash) ([]byte, error) {
	data, err := n.get(context.Background(), h)
	if errors.Is(err, store.ErrCorrupt) {
		delete(n.objects, h)
		n.later(0, func() { n.step(mesh.Lost{Hash: h}) })
	}
	return data, err
}

// send encodes as the real transport does, and delivers after a while, if at all.
func (n *Node) send(id membership.NodeID, m mesh.Message) {
	w := n.network
	to := w.byID[id]
	frame, err := mesh.Encode(w.Tamper(n, m))
	if err != nil {
		panic(fmt.Sprintf("%s sends %T: %v", n.Name, m, err))
	}
	if to == nil || !w.reach(n, to) || w.dice.IntN(100) < w.Faults.Loss {
		return
	}
	n.deliver(to, frame)
	if w.dice.IntN(100) < w.Faults.Repeat {
		n.deliver(to, frame)
	}
	if w.dice.IntN(100) < w.Faults.Replay {
		w.at(w.now.Add(time.Duration(w.dice.IntN(60000))*time.Millisecond), func() {
			if w.reach(n, to) {
				n.deliver(to, frame)
			}
		})
	}
}

func (n *Node) deliver(to *Node, frame []byte) {
	w := n.network
	t := w.now.Add(time.Duration(500+w.dice.IntN(4500)) * time.Microsecond)
	pair := [2]*Node{n, to}
	if !w.Faults.Reorder && t.Before(w.last[pair]) {
		t = w.last[pair]
	}
	w.last[pair] = t
	credential := n.Core.Roster().Credential(n.ID)
	w.at(t, func() {
		if w.reach(n, to) {
			to.receive(n, credential, frame)
		}
	})
}

// receive shows the sender's credential first, as the handshake does.
func (n *Node) receive(from *Node, credential []membership.Signed, frame []byte) {
	if _, ok := n.Core.Roster().Lookup(from.ID, n.network.now); !ok {
		n.step(mesh.Admit{ID: 0, Peer: from.ID, Credential: credential})
	}
	if !n.Up {
		return
	}
	m, err := mesh.Decode(frame)
	if err != nil {
		n.badWires++
		return
	}
	n.step(mesh.Received{From: from.ID, Message: m})
}

// Revision makes a signed revision of a tree with the given files, and all its objects.
func (w *Network) Revision(r store.Revision, files map[string]string) (object []byte, objects [][]byte) {
	return SignRevision(w.operator, r, files)
}

// SignRevision is Revision with any key.
func SignRevision(key ed25519.PrivateKey, r store.Revision, files map[string]string) (object []byte, objects [][]byte) {
	tree := fstest.MapFS{}
	for name, content := range files {
		tree[name] = &fstest.MapFile{Data: []byte(content)}
	}
	manifest, _, err := store.Pack(tree, func(object []byte) error {
		objects = append(objects, bytes.Clone(object))
		return nil
	})
	if err == nil {
		r.Manifest = manifest
		object, err = store.SealRevision(r, key)
	}
	if err != nil {
		panic(err)
	}
	return object, append(objects, object)
}

// Push stores a revision's objects at a node and begins the push. The answer comes under the id returned.
func (n *Node) Push(object []byte, objects [][]byte) (id uint64) {
	n.network.asked++
	id = n.network.asked
	n.step(n.Put(objects...))
	if n.Up {
		n.step(mesh.Push{ID: id, Object: object})
	}
	return id
}

// Ask gives the node an event with an ID of its own making.
func (n *Node) Ask(make func(id uint64) mesh.Event) (id uint64) {
	n.network.asked++
	id = n.network.asked
	n.step(make(id))
	return id
}

// Tell delivers a message as if from had sent it.
func (n *Node) Tell(from *Node, m mesh.Message) { n.step(mesh.Received{From: from.ID, Message: m}) }

// Holds tells whether an object is on the node's disk, with the right bytes.
func (n *Node) Holds(h store.Hash) bool {
	_, recorded := n.saved[mesh.SavePrefix+"revision/"+h.String()] // on its way to become an object
	_, err := n.get(context.Background(), h)
	return err == nil || recorded
}

// Damage changes the bytes of an object on the disk.
func (n *Node) Damage(h store.Hash) { n.objects[h] = append(bytes.Clone(n.objects[h]), 'x') }

// Wipe empties the disk of a node that is down.
func (n *Node) Wipe() { n.saved, n.objects = map[string][]byte{}, map[store.Hash][]byte{} }

// Forget deletes an object from a node that is down.
func (n *Node) Forget(h store.Hash) { delete(n.objects, h) }

// Version is what the node applies; 0 before the first.
func (n *Node) Version() uint64 {
	if len(n.Applied) == 0 {
		return 0
	}
	return n.Applied[len(n.Applied)-1].Version
}

// event is something that happens at a time; of two at one instant the one set first comes first.
type event struct {
	at    time.Time
	order uint64
	run   func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// Saved are the records on the node's disk. The caller must not change them.
func (n *Node) Saved() map[string][]byte { return n.saved }

// Image copies the disk of a node, and Restore puts a copy back while the node is down: the disk goes back in time.
func (n *Node) Image() (records map[string][]byte) { return maps.Clone(n.saved) }

// Restore puts back what Image copied. Objects stay: they prove themselves.
func (n *Node) Restore(records map[string][]byte) { n.saved = maps.Clone(records) }
