package states

import (
	"fmt"
	"math"
	"strconv"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// starDocument makes the document of what states() returned. Starlark values carry no places: a text that is written in the
// file has the place where it is written, behind that of what it is in; everything else has that of what it is in.
type starDocument struct {
	literals map[string][]starLiteral
	total    int
	problem  *placedError
}

// convert makes a node; at is the place of what the value is in, and after its offset.
func (d *starDocument) convert(v starlark.Value, at starLiteral, path string, depth int) *docNode {
	n := &docNode{place: at.place, size: 1, computed: true}
	if d.total++; d.total > MaxDocumentNodes {
		d.refuse(at, "", "more than %d values", MaxDocumentNodes)
	} else if depth > MaxDepth {
		d.refuse(at, "", "nested deeper than %d levels", MaxDepth)
	}
	if d.problem != nil {
		return n
	}
	switch v := v.(type) {
	case starlark.NoneType:
	case starlark.Bool:
		n.kind, n.boolean = kindBool, bool(v)
	case starlark.Int:
		whole, ok := v.Int64()
		if !ok {
			d.refuse(at, "", "%s is %s, which does not fit into 64 bits", path, shorten(v.String()))
		}
		n.kind, n.integer, n.text = kindInt, whole, v.String()
	case starlark.Float:
		if math.IsInf(float64(v), 0) || math.IsNaN(float64(v)) {
			d.refuse(at, "", "%s is %s: a number must be finite", path, v)
		}
		n.kind, n.float, n.text = kindFloat, float64(v), strconv.FormatFloat(float64(v), 'g', -1, 64)
	case starlark.String:
		d.text(n, string(v), at)
	case *starlark.Dict:
		d.dict(n, v, at, path, depth)
	case *starlark.List, starlark.Tuple:
		d.list(n, v.(starlark.Sequence), at, path, depth)
	default:
		d.refuse(at, starHint(v), "%s is %s: a document holds None, bools, numbers, strings, lists and dicts", path, starType(v))
	}
	return n
}

func starHint(v starlark.Value) string {
	switch v.(type) {
	case *starlark.Set:
		return "make a list of it: sorted(…)"
	case starlark.Callable:
		return "call it: write () behind its name"
	case *starlarkstruct.Struct:
		return "name one of its fields"
	case starlark.Iterable:
		return "make a list of it: list(…)"
	}
	return ""
}

func (d *starDocument) refuse(at starLiteral, hint, format string, args ...any) {
	if d.problem == nil {
		d.problem = &placedError{at.place, fmt.Sprintf(format, args...), hint}
	}
}

func (d *starDocument) text(n *docNode, s string, at starLiteral) {
	n.kind, n.text, n.size = kindString, s, textSize(s)
	if found, ok := d.literal(s, at); ok {
		n.place, n.computed = found.place, false
	}
}

// literal finds where a text is written: the first place behind that of what it is in, else the first of all.
func (d *starDocument) literal(s string, at starLiteral) (starLiteral, bool) {
	all := d.literals[s]
	for _, l := range all {
		if l.place.File == at.place.File && l.offset >= at.offset {
			return l, true
		}
	}
	if len(all) > 0 {
		return all[0], true
	}
	return at, false
}

func (d *starDocument) list(n *docNode, v starlark.Sequence, at starLiteral, path string, depth int) {
	n.kind = kindList
	it := v.Iterate()
	defer it.Done()
	var e starlark.Value
	for i := 0; it.Next(&e) && d.problem == nil; i++ {
		c := d.convert(e, at, fmt.Sprintf("%s[%d]", path, i), depth+1)
		n.items = append(n.items, c)
		n.size += c.size
	}
}

func (d *starDocument) dict(n *docNode, v *starlark.Dict, at starLiteral, path string, depth int) {
	n.kind = kindMap
	for k, e := range v.Entries() {
		key, ok := starlark.AsString(k)
		if !ok {
			d.refuse(at, "write it in quotes", "a key of %s must be a string, not %s", path, starType(k))
			return
		}
		from, _ := d.literal(key, at)
		c := d.convert(e, from, path+"["+strconv.Quote(key)+"]", depth+1)
		if d.problem != nil {
			return
		}
		n.entries = append(n.entries, docEntry{key, from.place, c})
		n.size += c.size
	}
}

// starValue makes a frozen Starlark value of a variable.
func starValue(v any) starlark.Value {
	switch v := v.(type) {
	case bool:
		return starlark.Bool(v)
	case int64:
		return starlark.MakeInt64(v)
	case float64:
		return starlark.Float(v)
	case string:
		return starlark.String(v)
	case []any:
		list := make([]starlark.Value, len(v))
		for i, e := range v {
			list[i] = starValue(e)
		}
		return starlark.NewList(list)
	case map[string]any:
		d := starlark.NewDict(len(v))
		for _, k := range keysOf(v) {
			_ = d.SetKey(starlark.String(k), starValue(v[k])) // a new dict takes any string
		}
		return d
	}
	return starlark.None
}
