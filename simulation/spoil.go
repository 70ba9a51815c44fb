package simulation

import (
	"shoal/internal/codec"
	"shoal/mesh"
	"shoal/store"
)

// What is promised is promised for as long as not too much is lost at once: any one copy of an object, any minority of a head's
// acceptors; while these change, of those who are and of those who are to be. So a fault that destroys something is left out where it would destroy more than that.

// maySpoil tells whether a node may lose its disk now.
func (j *judge) maySpoil(n *Node) bool {
	if !j.allCreated() || n.gone || n.evicted || n.lost {
		return false
	}
	for _, h := range j.order {
		if !j.needs(h) {
			continue
		}
		for _, object := range j.made[h].objects {
			if j.copies(store.HashOf(object), n) == 0 {
				return false
			}
		}
	}
	for _, env := range j.w.plan.envs() {
		if !j.seatsSuffice(env, n) || !j.creationSurvives(env, n) {
			return false
		}
	}
	return true
}

// seatsSuffice tells whether a majority of an environment's acceptors know all that they promised, also without n.
// Both those that anybody knows of count, and those that are known without n: it may be the only one who knows of a change; and those
// that are proposed, or that some acceptor has taken: whoever finds them there finishes the change.
func (j *judge) seatsSuffice(env string, without *Node) bool {
	for _, next := range j.changing(env) {
		if !j.suffices(env, next, without) {
			return false
		}
	}
	return j.suffices(env, j.seats(env, nil), without) && j.suffices(env, j.seats(env, without), without)
}

// changing are the acceptors of changes that are under way.
func (j *judge) changing(env string) (all [][]store.Seat) {
	for _, n := range j.w.nodes {
		if n.up {
			if next := n.core.Proposed(env); len(next) > 0 {
				all = append(all, next)
			}
		}
		data, ok := n.disk.Synced(store.MetaKey(mesh.SavePrefix + "acceptor/" + store.HeadRegister(env)))
		var a store.Acceptor
		if ok && codec.Unmarshal(data, &a) == nil && len(a.Next) > 0 && a.Phase != store.Moved {
			all = append(all, a.Next)
		}
	}
	return all
}

// suffices counts seats; one without a disk nobody can take.
func (j *judge) suffices(env string, seats []store.Seat, without *Node) bool {
	good := 0
	for _, s := range seats {
		n := j.w.byID[s.Node]
		if s.Disk != 0 && n != without && !n.gone && !n.evicted && !n.lost && n.diskID() == s.Disk && !j.doubtful[n][env] {
			good++
		}
	}
	return len(seats) > 0 && good >= store.Majority(len(seats))
}

// seats are the newest that anybody but one knows.
func (j *judge) seats(env string, but *Node) (seats []store.Seat) {
	newest := uint64(0)
	for _, n := range j.w.nodes {
		if n.up && n != but {
			if epoch, s := n.core.Configuration(env); len(s) > 0 && (seats == nil || epoch > newest) {
				newest, seats = epoch, s
			}
		}
	}
	return seats
}

// creationSurvives tells whether a majority of the nodes know who the acceptors are, also without n: the directory, in which that
// was decided, has no fence (docs/decisions/register-creation.md).
func (j *judge) creationSurvives(env string, without *Node) bool {
	members, know := j.w.members(), 0
	for _, n := range members {
		if _, ok := n.disk.Synced(store.MetaKey(mesh.SavePrefix + "creation/" + env)); ok && n != without && !n.lost {
			know++
		}
	}
	return know >= store.Majority(len(members))
}

// allCreated tells whether all environments have begun.
func (j *judge) allCreated() bool {
	for _, env := range j.w.plan.envs() {
		if _, ok := j.creations[env]; !ok {
			return false
		}
	}
	return true
}

// mayLose tells whether a node may lose the object under a key now.
func (j *judge) mayLose(n *Node, key []byte) bool {
	h := store.Hash(key[len(key)-len(store.Hash{}):])
	return j.copies(h, n) > 0
}

// spoilt forgets what a node has promised to remember.
func (j *judge) spoilt(n *Node) {
	j.spoiltAt = j.w.now
	delete(j.staged, n)
	delete(j.applies, n)
	for _, env := range j.w.plan.envs() {
		delete(j.watermark, lineage{n, env})
	}
}

// rewound: nothing that the node says of a register counts before it has asked the others.
func (j *judge) rewound(n *Node) {
	j.doubtful[n] = map[string]bool{}
	for _, env := range j.w.plan.envs() {
		j.doubtful[n][env] = true
	}
}

func (n *Node) incarnation() (own store.Incarnation) {
	if data, ok := n.disk.Synced(store.MetaKey(mesh.SavePrefix + "disk/own")); ok {
		_ = codec.Unmarshal(data, &own)
	}
	return own
}

func (n *Node) diskID() uint64 { return n.incarnation().Disk }
