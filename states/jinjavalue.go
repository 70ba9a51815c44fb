package states

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// dict is a map in the order written, as Python has it.
type dict struct {
	keys   []string
	values map[string]any
}

func newDict() *dict { return &dict{values: map[string]any{}} }

func (d *dict) set(k string, v any) {
	if _, has := d.values[k]; !has {
		d.keys = append(d.keys, k)
	}
	d.values[k] = v
}

func (d *dict) copy() *dict {
	c := newDict()
	for _, k := range d.keys {
		c.set(k, d.values[k])
	}
	return c
}

// plain takes a template's value apart into nil, bool, int, float64, string, []any and *dict; each value counts as a step,
// as often as it is used, so that shared lists cannot stand for more than a rendering may handle.
func (b *budget) plain(v *exec.Value) (any, error) { return b.plainAt(v, 0) }

func (b *budget) plainAt(v *exec.Value, depth int) (any, error) {
	if depth > maxCalls {
		return nil, fmt.Errorf("a value nested deeper than %d levels", maxCalls)
	}
	if err := b.spend(1); err != nil {
		return nil, err
	}
	switch {
	case v == nil || v.IsNil():
		return nil, nil
	case v.IsError():
		return nil, v
	case v.IsBool():
		return v.Bool(), nil
	case v.IsFloat():
		return v.Float(), nil
	case v.IsInteger():
		return v.Integer(), nil
	case v.IsString():
		return v.String(), nil
	case v.IsList():
		return b.plainList(v, depth)
	case v.IsDict():
		return b.plainDict(v, depth)
	}
	return v.String(), nil
}

func (b *budget) plainList(v *exec.Value, depth int) (any, error) {
	list := make([]any, 0, min(v.Len(), 1024))
	for i := range v.Len() {
		e, err := b.plainAt(v.Index(i), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func (b *budget) plainDict(v *exec.Value, depth int) (any, error) {
	d := newDict()
	add := func(key, value *exec.Value) error {
		e, err := b.plainAt(value, depth+1)
		if err == nil {
			d.set(key.String(), e)
		}
		return err
	}
	if own, ok := v.Interface().(*exec.Dict); ok {
		for _, p := range own.Pairs {
			if err := add(p.Key, p.Value); err != nil {
				return nil, err
			}
		}
		return d, nil
	}
	keys := v.Keys()
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	for _, k := range keys {
		item, _ := v.GetItem(k.Interface())
		if err := add(k, item); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// jinjaOf is the inverse of plain.
func jinjaOf(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = jinjaOf(e)
		}
		return list
	case *dict:
		d := exec.NewDict()
		for _, k := range v.keys {
			d.Pairs = append(d.Pairs, &exec.Pair{Key: exec.AsValue(k), Value: exec.AsValue(jinjaOf(v.values[k]))})
		}
		return d
	}
	return v
}

// dictOf makes dicts of the maps of other packages.
func dictOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		d := newDict()
		for _, k := range keysOf(v) {
			d.set(k, dictOf(v[k]))
		}
		return d
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = dictOf(e)
		}
		return list
	case int64:
		return int(v)
	}
	return v
}

// pythonText is str(v); in a list or dict it is repr(v).
func pythonText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b strings.Builder
	pythonRepr(&b, v)
	return b.String()
}

func pythonRepr(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int:
		b.WriteString(strconv.Itoa(v))
	case float64:
		b.WriteString(pythonFloat(v))
	case string:
		pythonQuote(b, v)
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			pythonRepr(b, e)
		}
		b.WriteByte(']')
	case *dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			pythonQuote(b, k)
			b.WriteString(": ")
			pythonRepr(b, v.values[k])
		}
		b.WriteByte('}')
	default:
		fmt.Fprint(b, v)
	}
}

func pythonQuote(b *strings.Builder, s string) {
	quote := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = `"`
	}
	s = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(s)
	if quote == "'" {
		s = strings.ReplaceAll(s, "'", `\'`)
	}
	b.WriteString(quote + s + quote)
}

// pythonFloat is repr of a float: the shortest that reads back, always with a point or an exponent.
func pythonFloat(f float64) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+"))
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// truth is bool(v).
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

// equal is a == b: numbers and bools by value.
func equal(a, b any) bool {
	if x, ok := numberOf(a); ok {
		y, also := numberOf(b)
		return also && x == y
	}
	switch a := a.(type) {
	case []any:
		l, ok := b.([]any)
		if !ok || len(l) != len(a) {
			return false
		}
		for i := range a {
			if !equal(a[i], l[i]) {
				return false
			}
		}
		return true
	case *dict:
		d, ok := b.(*dict)
		if !ok || len(d.keys) != len(a.keys) {
			return false
		}
		for k, v := range a.values {
			if w, has := d.values[k]; !has || !equal(v, w) {
				return false
			}
		}
		return true
	case string:
		s, ok := b.(string)
		return ok && s == a
	}
	return a == nil && b == nil
}

func numberOf(v any) (float64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

var errUnordered = errors.New("cannot be compared")

// compare orders numbers, strings and lists; anything else has no order.
func compare(a, b any) (int, error) {
	x, isNumber := numberOf(a)
	y, alsoNumber := numberOf(b)
	s, isText := a.(string)
	t, alsoText := b.(string)
	l, isList := a.([]any)
	m, alsoList := b.([]any)
	switch {
	case isNumber && alsoNumber:
		return int(sign(x - y)), nil
	case isText && alsoText:
		return strings.Compare(s, t), nil
	case isList && alsoList:
		for i := range min(len(l), len(m)) {
			if d, err := compare(l[i], m[i]); err != nil || d != 0 {
				return d, err
			}
		}
		return len(l) - len(m), nil
	}
	return 0, fmt.Errorf("%s and %s %w", jinjaType(a), jinjaType(b), errUnordered)
}

func sign(f float64) float64 {
	switch {
	case f < 0:
		return -1
	case f > 0:
		return 1
	}
	return 0
}

// jinjaType says what a value is, for messages.
func jinjaType(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		return "the string " + strconv.Quote(shorten(v))
	case []any:
		return "a list"
	case *dict:
		return "a map"
	case bool:
		return "the bool " + pythonText(v)
	}
	return "the number " + pythonText(v)
}

func sortValues(list []*exec.Value) {
	sort.SliceStable(list, func(i, j int) bool { return list[i].String() < list[j].String() })
}
