package simulation

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/mesh"
	"shoal/store"
)

// judge sees all that nodes do, and knows what must not be. The numbers are those of docs/simulation.md.
type judge struct {
	w     *World
	first *Violation
	made  map[store.Hash]*made
	order []store.Hash // of made

	heads     map[place]store.Hash // certified
	newest    map[string]uint64
	versions  map[store.Hash]uint64 // of the values of registers, by their hash
	creations map[string][]byte
	seals     map[place]store.Vote // by epoch
	chosen    []chosen
	acked     []store.Hash
	watermark map[lineage]uint64
	staged    map[*Node]map[store.Hash]bool
	spoiltAt  time.Duration
	doubtful  map[*Node]map[string]bool   // rewound, and has not voted since
	votedAs   map[start]store.Incarnation // newest start of a disk that ever voted
	saidIn    map[mesh.Message]uint64     // epoch of an acceptor's answer that is on its way
	proposed  map[ballotOf]store.Hash     // what stands under a ballot
	load      load

	since   map[store.Hash]time.Duration // a revision is known to be certified
	applies map[*Node]store.Hash
	reading map[*Node]time.Duration // when the node began to read what is to be kept
	signed  map[copyFor]map[membership.NodeID]time.Duration
}

// Violation is an invariant that does not hold.
type Violation struct {
	Step int
	At   time.Duration
	Node string
	What string
}

// String is for people.
func (v Violation) String() string {
	return strings.TrimSpace(fmt.Sprintf("step %d, %.3fs: %s %s", v.Step, v.At.Seconds(), v.Node, v.What))
}

type made struct {
	store.Revision
	object  []byte
	objects [][]byte
	acked   bool
}

type place struct {
	env    string
	number uint64
}

// chosen is a value that a majority of an epoch voted for.
type chosen struct {
	env            string
	epoch, version uint64
}

// lineage is a node's disk since it was last new or older.
type lineage struct {
	node *Node
	env  string
}

type start struct {
	node *Node
	disk uint64
}

func newJudge(w *World) *judge {
	return &judge{
		w: w, made: map[store.Hash]*made{}, heads: map[place]store.Hash{}, newest: map[string]uint64{},
		versions: map[store.Hash]uint64{}, creations: map[string][]byte{}, seals: map[place]store.Vote{},
		watermark: map[lineage]uint64{}, staged: map[*Node]map[store.Hash]bool{}, spoiltAt: -time.Hour,
		proposed: map[ballotOf]store.Hash{}, since: map[store.Hash]time.Duration{}, applies: map[*Node]store.Hash{}, reading: map[*Node]time.Duration{},
		signed: map[copyFor]map[membership.NodeID]time.Duration{}, doubtful: map[*Node]map[string]bool{}, votedAs: map[start]store.Incarnation{}, saidIn: map[mesh.Message]uint64{},
	}
}

func (j *judge) broken() bool { return j.first != nil }

// fail notes the first invariant that was broken; what follows from it does not matter.
func (j *judge) fail(n *Node, format string, args ...any) {
	if j.first != nil {
		return
	}
	v := Violation{Step: j.w.steps, At: j.w.now, What: fmt.Sprintf(format, args...)}
	if n != nil {
		v.Node = n.Name
	}
	j.first = &v
	j.w.note(n, "BROKEN: %s", v.What)
}

func (j *judge) makes(h store.Hash, r store.Revision, objects [][]byte) {
	if j.made[h] == nil {
		j.made[h] = &made{Revision: r, object: objects[len(objects)-1], objects: objects}
		j.order = append(j.order, h)
	}
}

func (j *judge) started(n *Node) {
	for _, r := range n.core.Staged() {
		h := r.Revision
		if j.staged[n][h] {
			continue
		}
		j.stage(n, h)
	}
	have := map[store.Hash]bool{}
	for _, r := range n.core.Staged() {
		have[r.Revision] = true
	}
	for _, h := range j.order {
		if j.staged[n][h] && !have[h] {
			if j.decidedAt(n, h) {
				delete(j.staged[n], h)
				continue
			}
			j.fail(n, "invariant 8: forgot %s, which was staged", h.Short())
		}
	}
}

func (j *judge) stage(n *Node, h store.Hash) {
	if j.staged[n] == nil {
		j.staged[n] = map[store.Hash]bool{}
	}
	j.staged[n][h] = true
}

// notStarted: only a disk that a fault has spoilt may keep a node from starting.
func (j *judge) notStarted(n *Node, err error) {
	if len(n.disk.rotten) == 0 {
		j.fail(n, "does not start from its own disk: %v", err)
	}
}

// learns looks at what a node is about to save: that something was certified is so, whether or not its disk keeps it.
func (j *judge) learns(n *Node, actions []mesh.Action) {
	for _, a := range actions {
		if s, ok := a.(mesh.Save); ok && s.Value != nil {
			j.learn(n, s)
		}
	}
}

func (j *judge) learn(n *Node, s mesh.Save) {
	kind, name, _ := strings.Cut(strings.TrimPrefix(s.Key, mesh.SavePrefix), "/")
	switch kind {
	case "head":
		j.savedHead(n, s.Value)
	case "seal":
		j.savedSeal(n, name, s.Value)
	case "creation":
		var c store.Creation
		if err := codec.Unmarshal(s.Value, &c); err != nil {
			j.fail(n, "saves a creation that does not decode: %v", err)
			return
		}
		if old, ok := j.creations[name]; ok && !bytes.Equal(old, c.Certificate.Value) {
			j.fail(n, "invariant 6: %s was created twice, with other acceptors", name)
		}
		j.creations[name] = c.Certificate.Value
	}
}

// kept looks at what has just become durable.
func (j *judge) kept(n *Node, actions []mesh.Action) {
	for _, a := range actions {
		if s, ok := a.(mesh.Save); ok && strings.HasPrefix(s.Key, stagedPrefix) {
			j.savedStaged(n, strings.TrimPrefix(s.Key, stagedPrefix), s.Value)
		}
	}
}

const stagedPrefix = mesh.SavePrefix + "staged/"

func (j *judge) savedHead(n *Node, value []byte) {
	var record store.HeadRecord
	var v store.HeadValue
	err := codec.Unmarshal(value, &record)
	if err == nil {
		err = codec.Unmarshal(record.Certificate.Value, &v)
	}
	vote, errVote := record.Certificate.Vote()
	if err != nil || errVote != nil {
		j.fail(n, "saves a head that does not decode: %v", err)
		return
	}
	j.certified(n, record.Env, v.Version, v.Hash())
	j.versions[store.HashOf(record.Certificate.Value)] = v.Version
	if len(vote.Next) == 0 {
		j.chosen = append(j.chosen, chosen{record.Env, vote.Epoch, v.Version})
		j.checkEpoch(n, record.Env, vote.Epoch)
	}
}

// certified: of each version there is at most one, it was made by a publisher, and it stands on its parent.
func (j *judge) certified(n *Node, env string, version uint64, h store.Hash) {
	at := place{env, version}
	if old, ok := j.heads[at]; ok {
		if old != h {
			j.fail(n, "invariant 5: two heads of %s %d: %s and %s", env, version, old.Short(), h.Short())
		}
		return
	}
	m := j.made[h]
	switch {
	case m == nil:
		j.fail(n, "invariant 4: %s %d is %s, which no publisher made", env, version, h.Short())
	case m.Env != env || m.Version != version:
		j.fail(n, "invariant 4: %s %d is %s, made as %s %d", env, version, h.Short(), m.Env, m.Version)
	case version > 1 && j.heads[place{env, version - 1}] != (store.Hash{}) && j.heads[place{env, version - 1}] != m.Parent:
		j.fail(n, "invariant 2: %s %d does not stand on version %d", env, version, version-1)
	}
	j.heads[at], j.since[h] = h, j.w.now
	j.w.knowsFirst(n, newHead)
	j.newest[env] = max(j.newest[env], version)
}

func (j *judge) savedStaged(n *Node, name string, value []byte) {
	for _, h := range j.order {
		if h.String() != name {
			continue
		}
		if value != nil {
			j.stage(n, h)
			return
		}
		if j.staged[n][h] && !j.decidedAt(n, h) {
			j.fail(n, "invariant 8: dropped %s, which was staged and is not decided", h.Short())
		}
		delete(j.staged[n], h)
	}
}

// decided tells whether a revision is in the history, or another took its place.
func (j *judge) decided(h store.Hash) bool {
	m := j.made[h]
	before := j.heads[place{m.Env, m.Version - 1}]
	return j.newest[m.Env] >= m.Version || m.Version > 1 && before != (store.Hash{}) && before != m.Parent ||
		j.newest[m.Env] == 0 && m.Version > 1
}

// decidedAt tells whether a node may say that what it has staged is decided: also what stands on a revision that is neither in the
// history nor staged there has no place.
func (j *judge) decidedAt(n *Node, h store.Hash) bool {
	m := j.made[h]
	return j.decided(h) || m.Version > j.newest[m.Env]+1 && !j.staged[n][m.Parent]
}

// converges: what a node applies is certified, and it never goes back.
func (j *judge) converges(n *Node, a mesh.Converge) {
	h := a.Head
	if got, ok := j.heads[place{h.Env, h.Version}]; !ok || got != h.Revision {
		j.fail(n, "invariant 4: applies %s %d %s, which was never certified", h.Env, h.Version, h.Revision.Short())
	}
	l := lineage{n, h.Env}
	if h.Version < j.watermark[l] {
		j.fail(n, "invariant 3: went back from %s %d to %d", h.Env, j.watermark[l], h.Version)
	}
	j.watermark[l], j.applies[n] = h.Version, h.Revision
	if m := j.made[h.Revision]; m != nil && n.life > 0 {
		for _, object := range m.objects[:len(m.objects)-1] { // the revision itself came with the head
			if _, err := n.objects.Get(context.Background(), store.HashOf(object)); err != nil && !j.wasDamaged(n, object) {
				j.fail(n, "applies %s %d without all of it: %v", h.Env, h.Version, err)
			}
		}
	}
}

func (j *judge) wasDamaged(n *Node, object []byte) bool {
	key := store.ObjectKey(store.HashOf(object))
	return n.disk.Damaged[string(key)] || n.disk.rotten[string(key)]
}

// answers looks at the instant at which the node decides to answer.
func (j *judge) answers(n *Node, a mesh.Answer) {
	if pushed, ok := a.Value.(mesh.Pushed); ok && pushed.Outcome == store.Staged && n.disk.Failed { // committed is on other disks
		j.fail(n, "invariant 12: says that it has staged a revision, after a failed sync")
	}
}

// quiet is how long after a disk was lost the copies of what was acknowledged meanwhile may be one less.
const quiet = 30 * time.Second

// acknowledged: a client was told.
func (j *judge) acknowledged(o *op) {
	m := j.made[o.revision]
	if o.outcome != store.Committed {
		return
	}
	if h, ok := j.heads[place{o.env, m.Version}]; !ok || h != o.revision {
		j.fail(nil, "invariant 2: client %d was told that %s is committed, which was never certified", o.client+1, o.revision.Short())
		return
	}
	if m.acked {
		return
	}
	m.acked = true
	j.acked = append(j.acked, o.revision)
	need := j.least()
	for _, object := range m.objects {
		if copies := j.present(store.HashOf(object), nil); copies < need {
			j.fail(nil, "invariant 1: %s was acknowledged with %d copies of object %s", o.revision.Short(), copies, store.HashOf(object).Short())
		}
	}
}

// needs tells whether a revision's objects must not be lost: it is acknowledged or certified, and so new that it is kept.
func (j *judge) needs(h store.Hash) bool {
	m := j.made[h]
	return (m.acked || j.heads[place{m.Env, m.Version}] == h) && j.newest[m.Env] < m.Version+uint64(j.w.plan.Keep)
}

// least is how many copies there must be of what is kept.
func (j *judge) least() int {
	if j.w.now-j.spoiltAt < quiet {
		return 1
	}
	return min(len(j.w.members()), mesh.DefaultReplicas)/2 + 1
}

// present counts the copies of an object, good or not, but for those of one node.
func (j *judge) present(h store.Hash, but *Node) (count int) {
	for _, n := range j.w.nodes {
		if n != but && !n.gone && !n.evicted && !n.lost {
			_, object := n.disk.Synced(store.ObjectKey(h))
			if _, record := n.disk.Synced(revisionKey(h)); object || record {
				count++
			}
		}
	}
	return count
}

// copies counts the good copies of an object, but for those of one node.
func (j *judge) copies(h store.Hash, but *Node) (count int) {
	for _, n := range j.w.nodes {
		if n != but && !n.gone && !n.evicted && !n.lost && n.holds(h) {
			count++
		}
	}
	return count
}

// holds tells whether an object would be on the disk after a power cut, with the right bytes.
func (n *Node) holds(h store.Hash) bool {
	if data, ok := n.disk.Synced(store.ObjectKey(h)); ok && store.HashOf(data) == h {
		return true
	}
	_, recorded := n.disk.Synced(revisionKey(h)) // on its way to become an object
	return recorded
}

func revisionKey(h store.Hash) []byte {
	return store.MetaKey(mesh.SavePrefix + "revision/" + h.String())
}
