package states

import (
	"slices"
	"strings"
)

// declared is a state of the node's components before any invocation of it is made.
type declared struct {
	*State
	comp  *component
	scope *scope // of its component
}

func (d *declared) fullID() string { return d.State.full }

// callee is a state that a block or sequence runs, or one element of it.
type callee struct {
	*declared
	element string // "[key]"; empty: all of it
}

// claim says who runs a state, or an element of it: then it runs only there.
type claim struct {
	owner *declared
	place Place
}

// claims on one state.
type claims struct {
	whole    *claim
	elements map[string]*claim
	one      *claim // of the elements the first, and the first whose owner is another
	another  *claim
}

// against finds the claim that another one by owner contradicts; nil: none.
func (k *claims) against(owner *declared, element string) *claim {
	contradicts := func(old *claim) bool { return old != nil && (old.owner != owner || owner.meta == metaBlock) }
	candidates := []*claim{k.whole, k.elements[element]}
	if element == "" {
		candidates = []*claim{k.whole, k.one, k.another}
	}
	for _, old := range candidates {
		if contradicts(old) {
			return old
		}
	}
	return nil
}

func (k *claims) add(element string, new *claim) {
	switch {
	case element == "" && k.whole == nil:
		k.whole = new
	case element != "" && k.elements[element] == nil:
		k.elements[element] = new
		if k.one == nil {
			k.one = new
		} else if k.another == nil && k.one.owner != new.owner {
			k.another = new
		}
	}
}

// claimAll finds out which states are run by blocks and sequences. A state is run by one of them at most; a sequence may run
// it more than once.
func (c *compilation) claimAll() {
	work := 0
	for _, owner := range c.written {
		for _, list := range owner.runs {
			for _, s := range list.steps {
				callees := c.callees(s.named, owner)
				if work += len(callees); work > 4*MaxStates {
					c.full = true
					c.problems.add(owner.place, "", "blocks and sequences run more than %d states", 4*MaxStates)
					return
				}
				for _, to := range callees {
					c.claim(owner, to, s.place)
				}
			}
		}
	}
	c.claimCycles()
}

func (c *compilation) claim(owner *declared, to callee, p Place) {
	id := to.fullID()
	switch {
	case to.meta == metaBarrier:
		c.problems.add(p, "what it runs runs one after another in any case", "a %s cannot run a meta.barrier, and %s is one", owner.meta, id)
	case to.order != "":
		c.problems.add(p, "write it on the "+owner.meta, "%s has order: %s, and it is %s that says when it runs", id, to.order, owner.fullID())
	}
	if c.claims[id] == nil {
		c.claims[id] = &claims{elements: map[string]*claim{}}
	}
	old := c.claims[id].against(owner, to.element)
	switch {
	case old == nil:
		c.claims[id].add(to.element, &claim{owner, p})
	case old.owner != owner:
		c.problems.add(p, "a state runs in one block or sequence only",
			"%s is run by %s (%s), and by %s", id+to.element, old.owner.fullID(), old.place, owner.fullID())
	default:
		c.problems.add(p, "only a sequence runs a state more than once", "%s is run twice by %s: first at %s", id+to.element, owner.fullID(), old.place)
	}
}

// callees resolves an item of a block or sequence: a state, an element of one, or the members of a group in the order written.
func (c *compilation) callees(n named, home *declared) []callee {
	name, ok := c.nameOf(n, home.comp.name, home.scope)
	if !ok {
		return nil
	}
	if _, isGroup := c.groups[name]; isGroup {
		return c.calleesOfGroup(name)
	}
	base, element := name, ""
	if i := strings.IndexByte(name, '['); i > 0 && strings.HasSuffix(name, "]") {
		base, element = name[:i], name[i:]
	}
	d := c.declared[base]
	if d == nil || element != "" && d.forEach == nil {
		c.unknownState(n.place, name, home.comp.name, home.meta)
		return nil
	}
	return []callee{{d, element}}
}

// calleesOfGroup lists a group's members, each once. A cycle of groups is told by membersOf.
func (c *compilation) calleesOfGroup(id string) []callee {
	if known, ok := c.groupCallees[id]; ok {
		return known
	}
	c.groupCallees[id] = nil
	var all []callee
	seen := map[string]bool{}
	for _, n := range c.groups[id].members {
		for _, to := range c.callees(n, c.groups[id]) {
			if key := to.fullID() + to.element; !seen[key] {
				seen[key] = true
				all = append(all, to)
			}
		}
	}
	c.groupCallees[id] = all
	return all
}

// claimed tells whether a block or sequence runs it.
func (c *compilation) claimed(id, element string) bool {
	k := c.claims[id]
	return k != nil && (element == "" && k.whole != nil || element != "" && k.elements[element] != nil)
}

// claimCycles finds blocks and sequences that run themselves. Each has one owner at most, so following the owners suffices.
func (c *compilation) claimCycles() {
	done := map[*declared]bool{}
	for _, d := range c.written {
		var path []*declared
		at := d
		for at != nil && at.runsOthers() && !done[at] {
			done[at] = true
			path = append(path, at)
			at = c.ownerOf(at)
		}
		if from := slices.Index(path, at); at != nil && from >= 0 {
			c.reportClaimCycle(path[from:])
		}
	}
}

func (c *compilation) ownerOf(d *declared) *declared {
	if k := c.claims[d.fullID()]; k != nil {
		return k.whole.owner
	}
	return nil
}

// reportClaimCycle prints a path in which each is run by the next, and the last by the first.
func (c *compilation) reportClaimCycle(path []*declared) {
	ids := make([]string, 0, len(path)+1)
	for i := len(path) - 1; i >= 0; i-- {
		ids = append(ids, path[i].fullID())
	}
	ids = append(ids, ids[0])
	c.full = true // none of them is expanded, so what names them would be reported for nothing
	c.problems.add(c.claims[path[len(path)-1].fullID()].whole.place, "each arrow reads: runs", "cycle: %s", strings.Join(ids, " → "))
}
