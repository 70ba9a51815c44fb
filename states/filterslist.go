package states

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// listFilters make lists, maps and numbers of lists.
var listFilters = map[string]ownFilter{
	"items":   {"", items},
	"list":    {"", func(c filterCall) (any, error) { return c.list() }},
	"flatten": {"levels? skip_nulls?", flatten},
	"combine": {"others* recursive? list_merge?", combine},
	"zip":     {"others*", func(c filterCall) (any, error) { return zip(c, false) }},
	"zip_longest": {"others* fillvalue?", func(c filterCall) (any, error) {
		return zip(c, true)
	}},
	"difference": {"other", func(c filterCall) (any, error) {
		return pick(c, func(in, other bool) bool { return in && !other })
	}},
	"intersect": {"other", func(c filterCall) (any, error) { return pick(c, func(in, other bool) bool { return in && other }) }},
	"union":     {"other", func(c filterCall) (any, error) { return pick(c, func(in, other bool) bool { return in || other }) }},
	"symmetric_difference": {"other", func(c filterCall) (any, error) {
		return pick(c, func(in, other bool) bool { return in != other })
	}},
	"dict2items":  {"key_name? value_name?", dictToItems},
	"items2dict":  {"key_name? value_name?", itemsToDict},
	"subelements": {"subelements", subelements},
	"product":     {"others*", productOf},
	"extract":     {"container", extract},
	"sum":         {"attribute? start?", sum},
	"round":       {"precision? method?", round},
	"float":       {"default?", toFloat},
	"abs":         {"", func(c filterCall) (any, error) { return absolute(c.in) }},
	"pow":         {"y", func(c filterCall) (any, error) { return arithmetic("**", c.in, c.args["y"]) }},
	"ternary":     {"true_val false_val none_val?", ternary},
	"bool":        {"", toBool},
	"int":         {"default? base?", toInt},
	"max":         {"case_sensitive? attribute?", func(c filterCall) (any, error) { return extreme(c, 1) }},
	"min":         {"case_sensitive? attribute?", func(c filterCall) (any, error) { return extreme(c, -1) }},
	"mandatory":   {"msg?", func(c filterCall) (any, error) { return c.in, nil }},
}

func flatten(c filterCall) (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	levels, err := c.whole("levels", maxCalls)
	keep := false
	if v, ok := c.args["skip_nulls"]; ok {
		keep = !truth(v)
	}
	return flattenInto([]any{}, list, levels, keep), err
}

func flattenInto(out, list []any, levels int, keep bool) []any {
	for _, e := range list {
		inner, isList := e.([]any)
		switch {
		case isList && levels > 0:
			out = flattenInto(out, inner, levels-1, keep)
		case e != nil || keep:
			out = append(out, e)
		}
	}
	return out
}

// combine lays maps over each other, the later wins.
func combine(c filterCall) (any, error) {
	how := c.text("list_merge", "replace")
	switch how {
	case "replace", "keep", "append", "prepend", "append_rp", "prepend_rp":
	default:
		return nil, fmt.Errorf("list_merge must be replace, keep, append, prepend, append_rp or prepend_rp, not %q", how)
	}
	out := newDict()
	for _, m := range flattenInto(nil, append([]any{c.in}, c.rest...), maxCalls, true) {
		d, ok := m.(*dict)
		if !ok {
			return nil, fmt.Errorf("it combines maps, not %s", jinjaType(m))
		}
		out = combineTwo(out, d, c.is("recursive"), how)
	}
	return out, nil
}

func combineTwo(below, above *dict, recursive bool, how string) *dict {
	out := below.copy()
	for _, k := range above.keys {
		v := above.values[k]
		old, has := out.values[k]
		d, isMap := old.(*dict)
		e, alsoMap := v.(*dict)
		l, isList := old.([]any)
		m, alsoList := v.([]any)
		switch {
		case has && isMap && alsoMap && recursive:
			v = combineTwo(d, e, recursive, how)
		case has && isList && alsoList:
			v = mergeLists(l, m, how)
		}
		out.set(k, v)
	}
	return out
}

func mergeLists(below, above []any, how string) []any {
	rest := func() []any {
		var out []any
		for _, e := range below {
			if indexOf(above, e) < 0 {
				out = append(out, e)
			}
		}
		return out
	}
	switch how {
	case "keep":
		return below
	case "append":
		return append(append([]any{}, below...), above...)
	case "prepend":
		return append(append([]any{}, above...), below...)
	case "append_rp":
		return append(rest(), above...)
	case "prepend_rp":
		return append(append([]any{}, above...), rest()...)
	}
	return above
}

func zip(c filterCall, longest bool) (any, error) {
	lists := make([][]any, 0, len(c.rest)+1)
	shortest, most := math.MaxInt, 0
	for _, v := range append([]any{c.in}, c.rest...) {
		l, err := listOf(v)
		if err != nil {
			return nil, err
		}
		lists = append(lists, l)
		shortest, most = min(shortest, len(l)), max(most, len(l))
	}
	if longest {
		shortest = most
	}
	if err := c.budget.spend(shortest * len(lists)); err != nil {
		return nil, err
	}
	out := make([]any, shortest)
	for i := range out {
		row := make([]any, len(lists))
		for j, l := range lists {
			if row[j] = c.args["fillvalue"]; i < len(l) {
				row[j] = l[i]
			}
		}
		out[i] = row
	}
	return out, nil
}

// pick is the set operations: each value once, in the order in which they come.
func pick(c filterCall, want func(in, other bool) bool) (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	other, err := listOf(c.args["other"])
	if err != nil {
		return nil, err
	}
	if err := c.budget.spend((len(list) + len(other)) * (len(list) + len(other)) / 16); err != nil {
		return nil, err
	}
	out := []any{}
	for _, e := range append(append([]any{}, list...), other...) {
		if want(indexOf(list, e) >= 0, indexOf(other, e) >= 0) && indexOf(out, e) < 0 {
			out = append(out, e)
		}
	}
	return out, nil
}

func items(c filterCall) (any, error) {
	d, ok := c.in.(*dict)
	if !ok {
		return nil, fmt.Errorf("it needs a map, not %s", jinjaType(c.in))
	}
	out := []any{}
	for _, k := range d.keys {
		out = append(out, []any{k, d.values[k]})
	}
	return out, nil
}

func dictToItems(c filterCall) (any, error) {
	d, ok := c.in.(*dict)
	if !ok {
		return nil, fmt.Errorf("it needs a map, not %s", jinjaType(c.in))
	}
	out := []any{}
	for _, k := range d.keys {
		item := newDict()
		item.set(c.text("key_name", "key"), k)
		item.set(c.text("value_name", "value"), d.values[k])
		out = append(out, item)
	}
	return out, nil
}

func itemsToDict(c filterCall) (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	out := newDict()
	for _, e := range list {
		k, ok := attribute(e, c.text("key_name", "key"))
		v, also := attribute(e, c.text("value_name", "value"))
		if !ok || !also {
			return nil, fmt.Errorf("each item needs %q and %q", c.text("key_name", "key"), c.text("value_name", "value"))
		}
		out.set(pythonText(k), v)
	}
	return out, nil
}

func subelements(c filterCall) (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, e := range list {
		inner, ok := attribute(e, c.text("subelements", ""))
		items, isList := inner.([]any)
		if !ok || !isList {
			return nil, fmt.Errorf("each item needs a list %q", c.text("subelements", ""))
		}
		for _, i := range items {
			out = append(out, []any{e, i})
		}
	}
	return out, nil
}

func productOf(c filterCall) (any, error) {
	out := []any{[]any{}}
	for _, v := range append([]any{c.in}, c.rest...) {
		list, err := listOf(v)
		if err != nil {
			return nil, err
		}
		if err := c.budget.spend(product(len(out), len(list))); err != nil {
			return nil, err
		}
		var next []any
		for _, row := range out {
			for _, e := range list {
				next = append(next, append(append([]any{}, row.([]any)...), e))
			}
		}
		out = next
	}
	return out, nil
}

func extract(c filterCall) (any, error) {
	switch at := c.args["container"].(type) {
	case *dict:
		if v, ok := at.values[pythonText(c.in)]; ok {
			return v, nil
		}
	case []any:
		if i, ok := wholeOf(c.in); ok && i >= 0 && i < len(at) {
			return at[i], nil
		}
	}
	return nil, fmt.Errorf("the container has no %s", pythonText(c.in))
}

func sum(c filterCall) (any, error) {
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	total, ok := c.args["start"]
	if !ok {
		total = 0
	}
	for _, e := range list {
		if name, ok := c.args["attribute"]; ok && name != nil {
			if e, ok = attribute(e, pythonText(name)); !ok {
				return nil, fmt.Errorf("an item has no %q", pythonText(name))
			}
		}
		if total, err = c.budget.operate("+", total, e); err != nil {
			return nil, err
		}
	}
	return total, nil
}

// round rounds half to even, as Python does.
func round(c filterCall) (any, error) {
	precision, err := c.whole("precision", 0)
	f, ok := numberOf(c.in)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("it needs a number, not %s", jinjaType(c.in))
	case precision > 300 || precision < -300:
		return nil, fmt.Errorf("the precision %d is too large here", precision)
	}
	scale := math.Pow(10, float64(precision))
	switch how := c.text("method", "common"); how {
	case "floor":
		return math.Floor(f*scale) / scale, nil
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "common":
		if precision >= 0 {
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', precision, 64), 64)
		} else {
			f = math.RoundToEven(f*scale) / scale
		}
		if n, whole := c.in.(int); whole && precision >= 0 {
			return n, nil
		} else if whole {
			return int(f), nil
		}
		return f, nil
	default:
		return nil, fmt.Errorf("method must be common, floor or ceil, not %q", how)
	}
}

func toFloat(c filterCall) (any, error) {
	if f, ok := numberOf(c.in); ok {
		return f, nil
	}
	if s, ok := c.in.(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil {
			return f, nil
		}
	}
	if v, ok := c.args["default"]; ok {
		return v, nil
	}
	return 0.0, nil
}

func absolute(v any) (any, error) {
	switch v := v.(type) {
	case int:
		return max(v, -v), nil
	case float64:
		return math.Abs(v), nil
	}
	return nil, fmt.Errorf("it needs a number, not %s", jinjaType(v))
}

func ternary(c filterCall) (any, error) {
	if v, ok := c.args["none_val"]; ok && c.in == nil {
		return v, nil
	}
	if truth(c.in) {
		return c.args["true_val"], nil
	}
	return c.args["false_val"], nil
}

func toBool(c filterCall) (any, error) {
	if c.in == nil {
		return nil, nil
	}
	switch strings.ToLower(pythonText(c.in)) {
	case "yes", "true", "on", "1":
		return true, nil
	}
	return false, nil
}

func toInt(c filterCall) (any, error) {
	base, err := c.whole("base", 10)
	if err != nil {
		return nil, err
	}
	switch v := c.in.(type) {
	case string:
		s := strings.TrimSpace(v)
		digits := s
		for prefix, b := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
			if base == b {
				digits = strings.TrimPrefix(strings.ToLower(digits), prefix)
			}
		}
		if n, err := strconv.ParseInt(digits, min(max(base, 2), 36), 64); err == nil {
			return int(n), nil
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<62 {
			return int(f), nil
		}
	case float64:
		if math.Abs(v) < 1<<62 {
			return int(v), nil
		}
	case int, bool:
		n, _ := wholeOf(v)
		return n, nil
	}
	if v, ok := c.args["default"]; ok {
		return v, nil
	}
	return 0, nil
}

// extreme is the largest or smallest item; texts are compared without regard to case unless told otherwise.
func extreme(c filterCall, want int) (any, error) {
	list, err := c.list()
	if err != nil || len(list) == 0 {
		return nil, firstOf(err, fmt.Errorf("an empty list has no largest and no smallest item"))
	}
	var best, bestKey any
	for i, e := range list {
		key := e
		if name, ok := c.args["attribute"]; ok {
			if key, ok = attribute(e, pythonText(name)); !ok {
				return nil, fmt.Errorf("an item has no %q", pythonText(name))
			}
		}
		if s, ok := key.(string); ok && !c.is("case_sensitive") {
			key = strings.ToLower(s)
		}
		d := want
		if i > 0 {
			if d, err = compare(key, bestKey); err != nil {
				return nil, err
			}
		}
		if d*want > 0 {
			best, bestKey = e, key
		}
	}
	return best, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
