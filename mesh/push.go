package mesh

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/internal/codec"
	"shoal/membership"
	"shoal/store"
)

// Times and limits of a push.
const (
	pushTime   = 10 * time.Second // until a push that cannot be committed is staged
	maxPushes  = 256              // under way and staged
	retryLow   = 15 * time.Second // between attempts at what is staged
	retryHigh  = 30 * time.Second
	retrySoon  = 500 * time.Millisecond
	treeRounds = 8 // manifest, its pieces, the files; more is a peer's mischief
)

// DefaultPushMost bounds one attempt at a push, however much it moves: see collect.go.
const DefaultPushMost = time.Hour

// ErrTooMany is returned when a node has as many pushes as it can remember.
var ErrTooMany = errors.New("too many pushes under way or staged")

// ErrElectorate is returned for the first revision of an environment when it names other members than the node knows.
var ErrElectorate = errors.New("it was signed for other members than this node knows: look who is there, and sign it anew")

// ErrNoMajority is returned when too few acceptors of a head could be reached.
var ErrNoMajority = errors.New("a majority of its acceptors cannot be reached")

var errTreeDepth = errors.New("it names more and more objects")

// pushes are the revisions that this node tries to make heads.
type pushes struct {
	open map[store.Hash]*push
	soon bool // a retry of the staged ones is set
}

func newPushes() pushes { return pushes{open: map[store.Hash]*push{}} }

// push is one revision on its way:
//
//	tree ──▶ copies ──▶ creation ──▶ head ──▶ committed | diverged
//	 each step within pushTime, else ──▶ staged, and all over again later
type push struct {
	revision store.Revision
	object   []byte
	hash     store.Hash
	waiters  []uint64
	staged   bool

	attempt  uint64 // of now; 0: idle
	watch    *timer // of the attempt
	attempts uint64
	stage    string // what is being waited for, for people
	trees    int
	want     *want
	job      *job
	proposal *proposal
	// disksAsked is how often it has waited for acceptors to say which disks they have.
	disksAsked int
	followed   []membership.NodeID // whose word about the electorate was followed in this attempt
	// electorate are those whom the revision names, where it begins an environment.
	electorate []membership.NodeID
}

type stagedPush struct {
	Object     []byte              `cbor:"1,keyasint"`
	Electorate []membership.NodeID `cbor:"2,keyasint,omitempty"`
}

func (c *Core) loadStaged(name string, value []byte) error {
	var s stagedPush
	if err := codec.Unmarshal(value, &s); err != nil {
		return err
	}
	var signed membership.Signed
	if err := codec.Unmarshal(s.Object, &signed); err != nil {
		return err
	}
	p := &push{object: s.Object, hash: store.HashOf(s.Object), staged: true, electorate: s.Electorate}
	if err := codec.Unmarshal(signed.Body, &p.revision); err != nil {
		return err
	}
	if p.hash.String() != name {
		return store.ErrCorrupt
	}
	c.pushes.open[p.hash] = p
	return nil
}

// Staged are the revisions that wait for a majority, sorted by environment and version.
func (c *Core) Staged() []RevisionInfo {
	var out []RevisionInfo
	for _, h := range sortedHashes(c.pushes.open) {
		if p := c.pushes.open[h]; p.staged {
			out = append(out, InfoOf(h, p.revision))
		}
	}
	slices.SortStableFunc(out, func(a, b RevisionInfo) int {
		return cmp.Or(strings.Compare(a.Env, b.Env), cmp.Compare(a.Version, b.Version))
	})
	return out
}

func (c *Core) startPushes() {
	c.every(retryLow, retryHigh, c.retryStaged)
	c.retryStagedSoon()
}

// push begins, or joins, the attempt to commit a revision. Repeating a push changes nothing.
func (c *Core) push(ev Push) {
	r, err := store.OpenRevision(ev.Object, c.publishers())
	if err != nil {
		c.emit(Answer{ID: ev.ID, Err: err})
		return
	}
	h := store.HashOf(ev.Object)
	p := c.pushes.open[h]
	if p == nil {
		if len(c.pushes.open) >= maxPushes {
			c.emit(Answer{ID: ev.ID, Err: ErrTooMany})
			return
		}
		p = &push{revision: r, object: ev.Object, hash: h}
		if _, known := c.heads.creations[r.Env]; !known && !c.named(p) {
			c.emit(Answer{ID: ev.ID, Err: fmt.Errorf("push: %w", ErrElectorate)})
			return
		}
		c.pushes.open[h] = p
	}
	p.waiters = append(p.waiters, ev.ID)
	if parent := c.pushes.open[r.Parent]; parent != nil && parent.staged {
		p.stage = "a majority for its parent, which is staged itself"
		c.stage(p)
	} else if p.attempt == 0 {
		c.attempt(p)
	} else if len(p.waiters) == 1 { // the node tries again by itself: who asks now is not told how that ends in a moment
		c.timers.stop(p.watch)
		c.watchPush(p, p.attempt, c.now, c.now.Add(c.cfg.PushMost))
	}
}

// attempt goes through the steps once. What is decided already is answered at once.
func (c *Core) attempt(p *push) {
	if c.decided(p) {
		return
	}
	p.attempts++
	p.attempt, p.trees, p.followed, p.disksAsked = p.attempts, 0, nil, 0
	c.watchPush(p, p.attempt, c.now, c.now.Add(c.cfg.PushMost))
	if c.isHeadsTree(p.revision.Manifest) {
		p.job = c.replicate(nil, c.cfg.Replicas, 0, func(error) {})
		c.afterCopies(p)
		return
	}
	p.stage = "its objects"
	c.emit(CheckTree{Manifest: p.revision.Manifest})
}

// isHeadsTree tells whether a head has this tree: then it is where it has to be.
func (c *Core) isHeadsTree(manifest store.Hash) bool {
	for _, h := range c.heads.current {
		if h.revision.Manifest == manifest {
			return true
		}
	}
	return false
}

// watchPush stages a push that has not come forward for pushTime. One that still moves objects is not stuck: a large tree takes
// as long as it takes.
func (c *Core) watchPush(p *push, attempt uint64, since, most time.Time) {
	p.watch = c.after(since.Add(pushTime).Sub(c.now), func() {
		if p.attempt != attempt {
			return
		}
		if moved := p.moved(); moved.After(since) && c.now.Before(most) {
			c.watchPush(p, attempt, moved, most)
			return
		}
		c.stage(p)
	})
}

// moved is when an object last came here or got its quorum.
func (p *push) moved() (at time.Time) {
	if p.want != nil {
		at = p.want.moved
	}
	if p.job != nil && p.job.moved.After(at) {
		at = p.job.moved
	}
	return at
}

// decided answers from a certified head: it is there for all, and for good.
func (c *Core) decided(p *push) bool {
	h, ok := c.heads.current[p.revision.Env]
	if !ok {
		return false
	}
	switch {
	case h.value.Includes(p.hash):
		c.endPush(p, Pushed{Outcome: store.Committed, Head: h.head()})
	case h.value.Version >= p.revision.Version,
		h.value.Version+1 == p.revision.Version && h.value.Hash() != p.revision.Parent:
		c.endPush(p, Pushed{Outcome: store.Diverged, Head: h.head(), Why: fmt.Sprintf(
			"diverged: its parent is version %d, the head is version %d (%s)",
			p.revision.Version-1, h.value.Version, h.value.Hash().Short())})
	default:
		return false
	}
	return true
}

func (c *Core) treeCheckedForPush(ev TreeChecked) {
	for _, hash := range sortedHashes(c.pushes.open) {
		p := c.pushes.open[hash]
		if p == nil || p.attempt == 0 || p.revision.Manifest != ev.Manifest || p.stage != "its objects" {
			continue
		}
		c.pushTree(p, ev)
	}
}

func (c *Core) pushTree(p *push, ev TreeChecked) {
	if p.want != nil && !p.want.closed {
		return
	}
	p.trees++
	switch {
	case ev.Err != nil || p.trees > treeRounds:
		c.failPush(p, fmt.Errorf("push: the tree of version %d: %w", p.revision.Version, cmp.Or(ev.Err, errTreeDepth)))
	case len(ev.Missing) > 0:
		this := p.attempt
		p.want = c.fetch(ev.Missing, 0, func(err error) {
			if err == nil && p.attempt == this {
				c.emit(CheckTree{Manifest: ev.Manifest})
			}
		})
	default:
		this := p.attempt
		p.stage = "copies of its objects on their owners"
		// The revision itself goes to the acceptors with its head.
		p.job = c.replicate(ev.Objects, c.leastCopies(p.revision.Env), 0, func(err error) {
			if err == nil && p.attempt == this {
				c.afterCopies(p)
			}
		})
	}
}

// afterCopies: all objects are on a quorum of their owners. Now the head may name them.
func (c *Core) afterCopies(p *push) {
	if c.decided(p) {
		return
	}
	if _, ok := c.heads.creations[p.revision.Env]; ok {
		c.proposeHead(p)
		return
	}
	c.proposeCreation(p)
}

// leastCopies is what the acceptors of a head say of the mesh, whomever this node knows. One that had met nobody but itself, or those
// of its own island, counted few copies as enough, and may have its head decided by those whom it meets then.
func (c *Core) leastCopies(env string) int {
	created, ok := c.heads.creations[env]
	if !ok {
		return 0
	}
	return store.Majority(min(c.cfg.Replicas, len(created.members(created.epoch()))))
}

// proposeHead makes the revision the head, unless another was faster.
func (c *Core) proposeHead(p *push) {
	env := p.revision.Env
	if p.job == nil || p.job.least < c.leastCopies(env) {
		p.stage, p.job = "its objects", nil // they were counted before this node knew of the acceptors
		c.emit(CheckTree{Manifest: p.revision.Manifest})
		return
	}
	p.stage = "a majority of the acceptors of " + env
	if c.registers.proposals[store.HeadRegister(env)] != nil {
		return // one at a time; nextProposal comes back to this
	}
	c.reads.last[env] = false
	p.proposal = c.headProposal(env, store.AdvanceHead(p.revision, p.object))
	p.proposal.chosen = func(cert store.Certificate) {
		if !c.sealChosen(env, cert) {
			c.headChosen(p, cert)
		}
		c.nextProposal(env)
	}
	p.proposal.declined = func([]byte) {
		c.endPush(p, Pushed{Outcome: store.Diverged, Head: store.Head{Env: env}, Why: fmt.Sprintf(
			"diverged: %s has no version %d yet", env, p.revision.Version-1)})
		c.nextProposal(env)
	}
	c.propose(p.proposal)
}

// headProposal proposes to the acceptors of a head.
func (c *Core) headProposal(env string, change store.Transition) *proposal {
	created := c.heads.creations[env]
	p := &proposal{Proposal: store.Proposal{
		Register: store.HeadRegister(env), Epoch: created.epoch(), Members: created.members(created.epoch()), Change: change,
	}}
	if vote, err := c.heads.current[env].record.Certificate.Vote(); err == nil && vote.Epoch == p.Epoch {
		p.After = vote.Ballot.Number + 1 // which its proposer was promised along with it
	}
	if a := c.registers.acceptors[p.Register]; a.Epoch == p.Epoch {
		p.After = max(p.After, a.Promised.Number) // this node may have heard of a ballot that came to nothing, or not yet of its head
	}
	p.After = max(p.After, c.registers.leases[p.Register].Number(p.Epoch))
	p.told = func() Message { return c.headTold(env) }
	return p
}

// headChosen: some revision is certified now, this one or the one that stood in its way.
func (c *Core) headChosen(p *push, cert store.Certificate) {
	env := p.revision.Env
	own, err := c.ownHead(env, cert)
	if err == nil {
		err = c.takeHead(own)
	}
	if err != nil {
		c.failPush(p, fmt.Errorf("push: %w", err))
		return
	}
	h := c.heads.current[env]
	if h.value.Hash() == p.hash {
		c.tellHead(env)
	}
	if c.pushes.open[p.hash] == p && p.attempt != 0 && !c.decided(p) {
		c.endPush(p, Pushed{Outcome: store.Diverged, Head: h.head(), Why: fmt.Sprintf(
			"diverged: its parent is not committed; version %d is", h.value.Version)})
	}
}

// headMoved answers the pushes that a new head decides.
func (c *Core) headMoved(env string) {
	for _, h := range sortedHashes(c.pushes.open) {
		if p := c.pushes.open[h]; p != nil && p.revision.Env == env {
			c.decided(p)
		}
	}
}

// nextProposal gives the register to the next that waits for it; reads and pushes take turns.
func (c *Core) nextProposal(env string) {
	if !c.reads.last[env] && c.readHead(env) {
		return
	}
	defer c.readHead(env)
	for _, h := range sortedHashes(c.pushes.open) {
		p := c.pushes.open[h]
		if p == nil || p.attempt == 0 || p.revision.Env != env || p.job == nil || !p.job.closed || len(p.job.needs) > 0 {
			continue
		}
		if p.proposal == nil || p.proposal.closed {
			c.afterCopies(p)
		}
	}
}

// stop ends the attempt; what its messages still bring about is found by the next.
func (c *Core) stop(p *push) {
	p.attempt = 0
	c.timers.stop(p.watch)
	p.want.cancel()
	p.want = nil
	if p.job != nil && !p.job.closed {
		c.closeJob(p.job)
	}
	p.job = nil
	c.cancelProposal(p.proposal)
	p.proposal = nil
}

// stage keeps a revision that could not be committed now. It is not lost, and not told to be committed.
func (c *Core) stage(p *push) {
	why := "staged: cannot reach " + p.stage
	if p.job != nil {
		why += c.misplacedOwners(sortedHashes(p.job.needs))
	}
	if p.proposal != nil {
		why += c.fencedAcceptors(p.proposal)
	}
	c.stop(p)
	if !p.staged {
		p.staged = true
		c.people.changes++
		c.save(keyStaged+p.hash.String(), stagedPush{Object: p.object, Electorate: p.electorate})
		c.keepSoon(p.hash, p.object, true)
	}
	h := store.Head{Env: p.revision.Env}
	if known, ok := c.heads.current[p.revision.Env]; ok {
		h = known.head()
	}
	c.answerPush(p, Answer{Value: Pushed{Outcome: store.Staged, Head: h, Why: why}})
	c.nextProposal(p.revision.Env)
}

func (c *Core) endPush(p *push, result Pushed) {
	waiting := len(p.waiters) > 0
	c.dropPush(p)
	c.answerPush(p, Answer{Value: result})
	c.retryStagedSoon() // those that waited for their parent
	if !waiting {
		c.note("staged revision is "+string(result.Outcome), "", p.revision.Env, nil)
	}
}

func (c *Core) failPush(p *push, err error) {
	c.dropPush(p)
	c.answerPush(p, Answer{Err: err})
}

func (c *Core) dropPush(p *push) {
	c.stop(p)
	delete(c.pushes.open, p.hash)
	if p.staged {
		p.staged = false
		c.people.changes++
		c.emit(Save{Key: keyStaged + p.hash.String()})
	}
}

func (c *Core) answerPush(p *push, a Answer) {
	for _, id := range p.waiters {
		a.ID = id
		c.emit(a)
	}
	p.waiters = nil
}

// retryStaged tries again what waits; it costs little while there is no majority.
func (c *Core) retryStaged() {
	for _, h := range sortedHashes(c.pushes.open) {
		p := c.pushes.open[h]
		if p != nil && p.staged && p.attempt == 0 && c.pushes.open[p.revision.Parent] == nil {
			c.attempt(p)
		}
	}
}

// goOn is for when this node came to know what pushes may wait for.
func (c *Core) goOn() {
	c.retryStagedSoon()
	for _, h := range sortedHashes(c.pushes.open) {
		if p := c.pushes.open[h]; p != nil && p.proposal == nil {
			c.nextProposal(p.revision.Env)
		}
	}
}

// retryStagedSoon is for when somebody came back. Many may come at once: one retry serves them all.
func (c *Core) retryStagedSoon() {
	if c.pushes.soon || len(c.pushes.open) == 0 {
		return
	}
	c.pushes.soon = true
	c.after(c.dice.between(retrySoon, 3*retrySoon), func() {
		c.pushes.soon = false
		c.retryStaged()
	})
}
