package simulation

import (
	"fmt"

	"shoal/mesh"
	"shoal/store"
)

// wrong says what is not as it must be once all faults are over; nothing when all is well.
func (j *judge) wrong() string {
	for _, c := range j.w.crowd.clients {
		if c.waits > 0 {
			return fmt.Sprintf("client %d still waits", c.num+1)
		}
	}
	members := j.w.members()
	if len(members) == 0 {
		return ""
	}
	first := members[0]
	if !first.up {
		return first.Name + " is down"
	}
	for _, n := range members {
		if !n.up || n.halted {
			return n.Name + " is down"
		}
		if n.core.Roster().Digest() != first.core.Roster().Digest() {
			return fmt.Sprintf("the rosters of %s and %s differ", first.Name, n.Name)
		}
		if s := n.core.Staged(); len(s) > 0 {
			return fmt.Sprintf("%s still has %d staged", n.Name, len(s))
		}
		heads := n.core.Heads()
		for _, env := range j.w.plan.envs() {
			if heads[env].Version != j.newest[env] {
				return fmt.Sprintf("%s has head %d of %s, not %d", n.Name, heads[env].Version, env, j.newest[env])
			}
		}
		env := n.core.Env()
		if applied, _ := n.core.Applied(); applied.Version != j.newest[env] {
			return fmt.Sprintf("%s applies %d of %s, not %d", n.Name, applied.Version, env, j.newest[env])
		}
	}
	return j.misplaced()
}

// misplaced finds an object of an acknowledged revision that is not on one of its owners.
func (j *judge) misplaced() string {
	ring := j.w.members()[0].core.Ring()
	for _, h := range j.acked {
		if !j.needs(h) {
			continue
		}
		for _, object := range j.made[h].objects {
			name := store.HashOf(object)
			for _, id := range ring.Owners(ring.PartitionOf(name[:]), mesh.DefaultReplicas) {
				if n := j.w.byID[id]; !n.holds(name) && !j.wasDamaged(n, object) {
					return fmt.Sprintf("object %s of %s is not on its owner %s", name.Short(), h.Short(), n.Name)
				}
			}
		}
	}
	return ""
}

// final is the verdict at the end of a course.
func (j *judge) final() {
	if j.broken() {
		return
	}
	if why := j.wrong(); why != "" {
		j.fail(nil, "invariant 10: %s after all faults ended: %s", calmTime, why)
		return
	}
	j.lasting()
	j.bounded()
	for _, env := range j.w.plan.envs() {
		j.linear(env)
	}
}

// lasting: what was acknowledged is in the history and can be read.
func (j *judge) lasting() {
	for _, h := range j.acked {
		m := j.made[h]
		if j.heads[place{m.Env, m.Version}] != h {
			j.fail(nil, "invariant 1: %s was acknowledged, and is not version %d of %s", h.Short(), m.Version, m.Env)
		}
		if !j.needs(h) {
			continue
		}
		for _, object := range m.objects {
			if j.copies(store.HashOf(object), nil) == 0 {
				j.fail(nil, "invariant 1: object %s of %s is lost", store.HashOf(object).Short(), h.Short())
			}
		}
	}
}
