package states

import (
	"slices"
	"strings"
)

// The functions of meta: they run nothing of their own, and say how other states run.
const (
	metaGroup    = "meta.group"
	metaBarrier  = "meta.barrier"
	metaBlock    = "meta.block"
	metaSequence = "meta.sequence"
)

// runList is what a meta.sequence runs, or one key of a meta.block, in this order.
type runList struct {
	key   string // run, rescue or always; empty for a sequence
	steps []step
}

// step is one item of a runList. Where with is a map, it lies over the variables.
type step struct {
	named
	with *docNode
}

// runsOthers is true for a meta.block and a meta.sequence.
func (d *State) runsOthers() bool { return d.meta == metaBlock || d.meta == metaSequence }

func (l *Catalogue) declareMeta(d *State, k docEntry) {
	if !slices.Contains(metaFunctions, k.key) {
		l.problems.add(k.place, suggest(k.key, metaFunctions), "unknown function %q", k.key)
		return
	}
	if d.meta != "" {
		l.problems.add(k.place, "make two states of it", "%s and %s exclude each other", d.meta, k.key)
		return
	}
	d.meta = k.key
	switch k.key {
	case metaGroup:
		d.members = l.problems.namesOf(k.value, metaGroup)
	case metaBarrier:
		for _, e := range l.problems.mapOf(k.value, metaBarrier) {
			l.problems.unknownKey(e, metaBarrier, nil)
		}
	case metaBlock:
		d.runs = l.blockOf(k)
	case metaSequence:
		d.runs = []runList{{steps: l.stepsOf(k)}}
	}
}

// metaKeys are the keys of a state, beside requisites, that mean something on a meta state.
var metaKeys = map[string][]string{
	metaGroup: nil, metaBarrier: {"when"}, metaBlock: {"when", "lazy", "order"}, metaSequence: {"when", "lazy", "order"},
}

// checkMeta finds what a meta state cannot have, so that nothing that is written goes without effect.
func (l *Catalogue) checkMeta(d *State, e docEntry) {
	if d.meta == "" || e.value == nil {
		return
	}
	for _, k := range e.value.entries {
		switch {
		case strings.HasPrefix(k.key, "meta.") || slices.Contains(requisiteKeys, k.key) || slices.Contains(metaKeys[d.meta], k.key):
		case strings.Contains(k.key, "."):
			l.problems.add(k.place, "make two states of it", "%s and %s exclude each other", d.meta, k.key)
		case slices.Contains(stateKeys, k.key):
			hint := ""
			if d.runsOthers() {
				hint = "write it on the states that it runs"
			}
			l.problems.add(k.place, hint, "a %s takes no %s", d.meta, k.key)
		}
	}
}

func (l *Catalogue) blockOf(k docEntry) []runList {
	lists := make([]runList, len(blockKeys))
	for i, key := range blockKeys {
		lists[i].key = key
	}
	for _, e := range l.problems.mapOf(k.value, metaBlock) {
		at := slices.Index(blockKeys, e.key)
		if at < 0 {
			l.problems.unknownKey(e, metaBlock, blockKeys)
			continue
		}
		for _, n := range l.problems.namesOf(e.value, e.key) {
			lists[at].steps = append(lists[at].steps, step{named: n})
		}
	}
	if (k.value.kind == kindMap || k.value.kind == kindNull) && (k.value.get("run") == nil || isEmpty(k.value.get("run"))) {
		l.problems.add(k.place, "", "a meta.block needs run: with at least one state")
	}
	return lists
}

func isEmpty(n *docNode) bool {
	return n.kind == kindNull || n.kind == kindList && len(n.items) == 0
}

// stepsOf reads the items of a meta.sequence: a state's name, or {run: name, with: {variables}}.
func (l *Catalogue) stepsOf(k docEntry) []step {
	var steps []step
	for _, item := range l.problems.listOf(k.value, metaSequence) {
		switch item.kind {
		case kindString:
			steps = append(steps, step{named: named{item.text, item.place}})
		case kindMap:
			if s, ok := l.stepOf(item); ok {
				steps = append(steps, s)
			}
		default:
			l.problems.add(item.place, "write a state's id, or {run: id, with: {variables}}", "an item of meta.sequence cannot be %s", item.describe())
		}
	}
	if isEmpty(k.value) {
		l.problems.add(k.place, "", "a meta.sequence needs at least one state")
	}
	return steps
}

func (l *Catalogue) stepOf(item *docNode) (s step, ok bool) {
	for _, e := range item.entries {
		switch e.key {
		case "run":
			var name string
			if name, ok = l.problems.stringOf(e.value, "run"); !ok {
				return s, false
			}
			s.named = named{name, e.value.place}
		case "with":
			if l.problems.mapOf(e.value, "with"); e.value.kind == kindMap {
				s.with = e.value
			}
		default:
			l.problems.unknownKey(e, "an item of meta.sequence", stepKeys)
		}
	}
	if !ok {
		l.problems.add(item.place, "", "an item of meta.sequence needs run: with a state's id")
	}
	return s, ok
}
