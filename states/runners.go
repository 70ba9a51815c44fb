package states

// A block or sequence is called a runner here. Its own instance comes after all that it runs, and they lie side by side:
// from its first to itself.

// connectRunners chains what blocks and sequences run, in the order written.
func (c *compilation) connectRunners() {
	for at := range c.instances {
		in := &c.instances[at]
		switch {
		case in.Block != nil:
			last := -1
			for i, list := range [][]int{in.Block.Run, in.Block.Rescue, in.Block.Always} {
				c.chain(at, list, last, blockKeys[i]+" of "+in.ID)
				if len(list) > 0 {
					last = list[len(list)-1]
					c.graph.add(link{from: last, to: at, kind: EdgeAfter, reason: blockKeys[i] + " of " + in.ID, place: in.Place})
				}
			}
		case in.Sequence != nil:
			c.chain(at, in.Sequence, -1, "sequence "+in.ID)
			if n := len(in.Sequence); n > 0 {
				c.graph.add(link{from: in.Sequence[n-1], to: at, kind: EdgeRequire, reason: "sequence " + in.ID, place: in.Place})
			}
		}
	}
}

// chain puts a list in its order, each only if the one before succeeded, and after what comes before the list.
func (c *compilation) chain(runner int, list []int, before int, reason string) {
	kind := EdgeAfter
	for _, at := range list {
		if before >= 0 {
			c.graph.add(link{from: before, to: c.instances[at].first, kind: kind, reason: reason, place: c.instances[runner].Place})
		}
		before, kind = at, EdgeRequire
	}
}

// together tells whether one block or sequence runs both.
func (c *compilation) together(a, b int) bool {
	return c.instances[a].root != 0 && c.instances[a].root == c.instances[b].root
}

// within tells whether a runner runs an instance.
func (c *compilation) within(at, runner int) bool {
	return c.instances[runner].first <= at && at < runner
}

// fitting finds those of the invocations that a requisite of self means. One that is in another sequence, or in none, it
// means in all its invocations; of one in the same sequence the nearest: the last before self, or for an outgoing requisite
// the first after it. Where an invocation of self has no such one it has no edge; where none of them has, all contradict the
// sequence, and the edge shows it.
func (c *compilation) fitting(key string, n named, self int, targets []int) []int {
	if c.instances[self].root == 0 || len(targets) == 0 {
		return targets
	}
	if c.graph.tries += len(targets); c.graph.tries > 4*MaxEdges {
		c.graph.full = true
		return nil
	}
	outgoing := linkOf(key, self, -1, "", Place{}).from == self
	var fit []int
	same := map[string][]int{} // in the same sequence
	var ids []string
	for _, t := range targets {
		switch id := c.instances[t].ID; {
		case !c.together(self, t):
			fit = append(fit, t)
		case c.within(self, t) || c.within(t, self):
			c.problems.add(n.place, "what it runs runs in the order written in any case", "%s in %s names %q: one of the two runs the other", key, c.instances[self].ID, n.name)
		default:
			if same[id] == nil {
				ids = append(ids, id)
			}
			same[id] = append(same[id], t)
		}
	}
	for _, id := range ids {
		all := same[id]
		if kind := linkOf(key, self, -1, "", Place{}).kind; kind == EdgeNotify || kind == EdgeFailure {
			all = c.running(all) // what does not run neither reacts nor changes anything
		}
		if t, ok := c.nearest(self, all, outgoing); ok {
			fit = append(fit, t)
		}
	}
	return fit
}

// running are those that no when skips; where all are skipped, all.
func (c *compilation) running(all []int) []int {
	var run []int
	for _, at := range all {
		if c.instances[at].Skip == "" {
			run = append(run, at)
		}
	}
	if len(run) == 0 {
		return all
	}
	return run
}

// nearest of the invocations of one state, which are in order.
func (c *compilation) nearest(self int, all []int, outgoing bool) (int, bool) {
	found := -1
	for _, t := range all {
		switch {
		case t == self:
			return t, true // itself: a cycle
		case t < self && !outgoing:
			found = t
		case t > self && outgoing && found < 0:
			found = t
		}
	}
	if found >= 0 {
		return found, true
	}
	mine := c.known[c.instances[self].ID]
	if outgoing {
		return all[0], mine[0] > all[len(all)-1]
	}
	return all[0], mine[len(mine)-1] < all[0]
}

// join adds an edge. One into a block or sequence waits until it is known which of its states reacts to what.
func (c *compilation) join(l link) bool {
	if c.instances[l.to].first < l.to {
		c.entries = append(c.entries, l)
		return len(c.entries) <= MaxEdges
	}
	return c.graph.add(l)
}

// enterRunners leads the edges into a block or sequence to all that it runs, and decides who of them waits for a
// notification: a lazy state that something in the same sequence notifies. Any other runs in its turn.
func (c *compilation) enterRunners() {
	notified := c.notifiedTogether()
	for at := len(c.instances) - 1; at >= 0; at-- {
		in := &c.instances[at]
		if in.root == 0 {
			continue
		}
		outer := in.parent > 0 && c.instances[in.parent-1].Lazy
		in.Lazy = outer || in.decl.lazy && (in.root == at+1 || notified[at])
	}
	for _, l := range c.entries {
		runner := l.to
		for l.to = c.instances[runner].first; l.to <= runner; l.to++ {
			if (l.kind == EdgeNotify || l.kind == EdgeFailure) && c.waits(l.to, runner, notified) {
				continue
			}
			if !c.graph.add(l) {
				return
			}
		}
	}
}

// waits tells whether an instance, or what runs it below the runner, waits for a notification of its own.
func (c *compilation) waits(at, runner int, notified map[int]bool) bool {
	for ; at != runner; at = c.instances[at].parent - 1 {
		if c.instances[at].decl.lazy && notified[at] {
			return true
		}
	}
	return false
}

// notifiedTogether finds what something else in its own block or sequence notifies.
func (c *compilation) notifiedTogether() map[int]bool {
	notified := map[int]bool{}
	for _, links := range [][]link{c.graph.links, c.entries} {
		for _, l := range links {
			if (l.kind == EdgeNotify || l.kind == EdgeFailure) && c.together(l.from, l.to) {
				notified[l.to] = true
			}
		}
	}
	return notified
}

// remap moves the indices that an invocation holds to the places of the plan.
func (in *StateInvocation) remap(position []int) {
	moved := func(list []int) {
		for i, at := range list {
			list[i] = position[at]
		}
	}
	if in.Block != nil {
		moved(in.Block.Run)
		moved(in.Block.Rescue)
		moved(in.Block.Always)
	}
	moved(in.Sequence)
	if in.SupersededBy > 0 {
		in.SupersededBy = position[in.SupersededBy]
	}
}
