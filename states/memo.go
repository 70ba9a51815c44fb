package states

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
)

// What is the same for many nodes is worked out once: each piece of work notes what it read of its node, and its result serves
// every node for which these are equal (the constructive traces of Mokhov, Mitchell and Peyton Jones, "Build systems à la
// carte", 2018). Work is a function of what it reads, so that a plan does not show whether it was shared.

// Limits of what a catalogue keeps to share.
const (
	maxReadSets    = 4       // different sets of what one piece of work read
	maxKept        = 64      // results of one piece of work
	maxKeptInAll   = 100_000 // results of all
	maxKeptContent = 64 << 20
)

// sharing is what a catalogue keeps for it.
type sharing struct {
	noting      *effects // of the piece of work being done
	values      map[*docNode]*memo[evaluated]
	graphs      map[[32]byte]*arrangement
	kept        int
	keptContent int64 // bytes
	arranged    int   // invocations and edges of graphs
	serial      int   // of the State declared last
	room        room
	keyBuffer   []byte
}

// room is memory that one compilation after another uses. Nothing of a plan lies in it.
type room struct {
	instances []instance
	indices   []int
	known     map[string][]int
	declared  map[string]*declared
}

func newRoom() room { return room{known: map[string][]int{}, declared: map[string]*declared{}} }

// maxRoom is how many instances the room is kept for.
const maxRoom = 20_000

// take takes the room back from a compilation that is done with it.
func (r *room) take(c *compilation) {
	if len(c.instances) > maxRoom || len(c.declared) > maxRoom {
		*r = newRoom()
		return
	}
	clear(c.instances)
	clear(c.known)
	clear(c.declared)
	r.instances, r.indices = c.instances[:0], c.indices[:0]
}

// shared is what a compilation needs for it.
type shared struct {
	tags       map[string]any
	sortedTags []string
	digests    map[uintptr]*digests
	keyBuffer  []byte
	order      []int // the instance of each invocation of the plan
	indices    []int // holds lists of instances
}

// evaluated is the value of a document's node; not ok: a problem was reported.
type evaluated struct {
	value any
	ok    bool
}

// memo keeps the results of one piece of work.
type memo[T any] struct {
	always *result[T] // of work that reads nothing
	own    bool       // its result is the node's own: it read the name
	sets   []*readSet
	kept   map[string]result[T]
}

type result[T any] struct {
	value   T
	effects effects
}

// readSet is a set of what was read, in an order.
type readSet struct {
	reads
	tagNames, varNames []string
}

// effects are what a piece of work does to its compilation beside its value.
type effects struct {
	outermost bool // nobody wants to know, but for the fleet
	asked     int  // of the fleet
	reads     reads
	spent     int64
	rendered  []renderedContent
}

type renderedContent struct {
	hash string
	data []byte
}

// recall returns what work returns, from an earlier node where that read the same.
func recall[T any](c *compilation, m *memo[T], s *scope, work func() T) T {
	if len(s.late) > 0 {
		return work() // some of its variables are known only while the states run
	}
	if r := m.always; r != nil && c.replay(&r.effects) {
		return r.value
	}
	for i, set := range m.sets {
		if r, ok := m.kept[string(c.keyOf(set, i, s))]; ok && c.replay(&r.effects) {
			return r.value
		}
	}
	outer, before := c.lib.noting, c.problems.calls
	if m.own && outer.outermost {
		return work() // nobody asks what it reads
	}
	did := &effects{}
	c.lib.noting = did
	value := work()
	c.lib.noting = outer
	outer.add(did)
	if c.problems.calls == before && !c.full {
		keepResult(c, m, s, result[T]{value, *did})
	}
	return value
}

func (e *effects) add(o *effects) {
	if e.outermost {
		e.reads.fleet = e.reads.fleet || o.reads.fleet
		return
	}
	e.asked += o.asked
	e.reads.add(&o.reads)
	e.spent += o.spent
	e.rendered = append(e.rendered, o.rendered...)
}

func keepResult[T any](c *compilation, m *memo[T], s *scope, r result[T]) {
	did := &r.effects.reads
	m.own = did.name && len(m.kept) == 0
	size := int64(0)
	for _, content := range r.effects.rendered {
		size += int64(len(content.data))
	}
	if did.name || did.everything || len(m.kept) >= maxKept && !did.each || c.lib.kept >= maxKeptInAll || c.lib.keptContent+size > maxKeptContent {
		return // no other node has this one's name
	}
	if did.each || did.ofNode() {
		at, ok := m.setFor(did)
		if !ok {
			return
		}
		if m.kept == nil {
			m.kept = map[string]result[T]{}
		}
		m.kept[string(c.keyOf(m.sets[at], at, s))] = r
	} else {
		m.always = &r
	}
	c.lib.kept++
	c.lib.keptContent += size
}

// setFor finds or adds a set of what was read; not ok: there are too many.
func (m *memo[T]) setFor(did *reads) (at int, ok bool) {
	set := &readSet{reads: *did, tagNames: keysOf(did.tags), varNames: keysOf(did.vars)}
	at = slices.IndexFunc(m.sets, func(o *readSet) bool { return o.equal(set) })
	if at < 0 && len(m.sets) < maxReadSets {
		at = len(m.sets)
		m.sets = append(m.sets, set)
	}
	return at, at >= 0
}

func (r *readSet) equal(o *readSet) bool {
	return r.zone == o.zone && r.fleet == o.fleet && r.each == o.each && r.allTags == o.allTags && r.allVars == o.allVars &&
		slices.Equal(r.tagNames, o.tagNames) && slices.Equal(r.varNames, o.varNames)
}

// replay does to the compilation what the work did; false when that would be too much, so that the work must say so itself.
func (c *compilation) replay(e *effects) bool {
	size := e.spent
	for _, content := range e.rendered {
		size += int64(len(content.data))
	}
	if c.rendered+size > MaxRenderedTotal {
		return false
	}
	if c.lib.fleet.work += e.asked; c.lib.fleet.work > maxFleetWork {
		c.lib.fleet.work -= e.asked
		return false
	}
	c.rendered += e.spent
	for _, content := range e.rendered {
		if _, has := c.plan.Rendered[content.hash]; !has {
			c.rendered += int64(len(content.data))
			c.plan.Rendered[content.hash] = content.data
		}
	}
	c.lib.noting.add(e)
	return true
}

// keyOf writes down the values of what a set names, for the node being compiled; until the next call.
func (c *compilation) keyOf(set *readSet, index int, s *scope) []byte {
	key := append(c.keyBuffer[:0], byte(index))
	text := func(s string, has bool) {
		if !has {
			key = append(key, 0)
			return
		}
		key = binary.AppendUvarint(append(key, 1), uint64(len(s)))
		key = append(key, s...)
	}
	if set.zone {
		text(c.node.Zone, true)
	}
	if set.fleet {
		key = append(key, c.fleetDigest()...)
	}
	names := set.tagNames
	if set.allTags {
		names = c.tagNames()
		key = binary.AppendUvarint(key, uint64(len(names)))
	}
	for _, name := range names {
		if set.allTags {
			text(name, true)
		}
		v, has := c.node.Tags[name]
		text(v, has)
	}
	if set.each {
		key = append(key, digestOf(s.each)...)
	}
	if len(set.varNames) == 0 && !set.allVars {
		c.keyBuffer = key
		return key
	}
	d := c.digestsOf(s.vars)
	if set.allVars {
		key = append(key, d.of()...)
	} else {
		for _, name := range set.varNames {
			v, has := s.vars[name]
			if !has {
				key = append(key, 0)
				continue
			}
			key = append(append(key, 1), d.ofKey(name, v)...)
		}
	}
	c.keyBuffer = key
	return key
}

// scope is what a text may know of the node being compiled.
func (c *compilation) scope(vars map[string]any) scope {
	return scope{vars: vars, node: c.node, tags: c.tags}
}

// memos are those of one State.
type memos struct {
	forEach memo[evaluated]
	when    memo[whenMade]
	parts   memo[madeParts]
}

// variables evaluates variables as a document of the tree has them; these may use tags, name, zone and nodes().
func (c *compilation) variables(n *docNode) (any, bool) {
	m := c.lib.values[n]
	if m == nil {
		m = &memo[evaluated]{}
		c.lib.values[n] = m
	}
	s := c.scope(nil)
	return c.sharedValue(m, n, &s)
}

// sharedValue is evaluate, shared.
func (c *compilation) sharedValue(m *memo[evaluated], n *docNode, s *scope) (any, bool) {
	v := recall(c, m, s, func() evaluated {
		v, ok := c.evaluate(n, s)
		return evaluated{v, ok}
	})
	return v.value, v.ok
}

func (c *compilation) tagNames() []string {
	if c.sortedTags == nil {
		c.sortedTags = keysOf(c.node.Tags)
	}
	return c.sortedTags
}

// digests of one set of variables, made when first asked for.
type digests struct {
	vars map[string]any // which also keeps its address from being used again
	all  []byte
	keys map[string][]byte
}

// digestsOf finds the digests of a set of variables by its identity: many states share one.
func (c *compilation) digestsOf(vars map[string]any) *digests {
	at := reflect.ValueOf(vars).Pointer()
	d := c.digests[at]
	if d == nil {
		d = &digests{vars: vars, keys: map[string][]byte{}}
		c.digests[at] = d
	}
	return d
}

func (d *digests) of() []byte {
	if d.all == nil {
		d.all = digestOf(d.vars)
	}
	return d.all
}

func (d *digests) ofKey(name string, v any) []byte {
	digest, ok := d.keys[name]
	if !ok {
		digest = digestOf(v)
		d.keys[name] = digest
	}
	return digest
}

// digestOf is equal for equal plain values only, but for collisions of the hash.
func digestOf(v any) []byte {
	var e encoder
	if err := e.value(v, 0); err != nil {
		e.out = fmt.Appendf(nil, "%#v", v) // deeper than an encoding may be: printed in the order of the keys
	}
	sum := sha256.Sum256(e.out)
	return sum[:]
}
