package states

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// builtinFilters are gonja's that are pure and do as Jinja2 does. "random" is not pure; "lipsum" and "now" are no filters,
// and not there either.
var builtinFilters = strings.Fields(`attr batch capitalize dictsort e escape filesizeformat first
	forceescape groupby indent last length count lower map pprint reject
	replace reverse safe select slice sort striptags title trim truncate unique upper
	urlize wordcount xmlattr`)

// ownFilter is a filter of this package: what Jinja2, Ansible and Salt have and gonja lacks, or does otherwise. Its
// parameters are named in order; a name that ends in ? may be left out, one that ends in * takes all that is left.
type ownFilter struct {
	params string
	apply  func(c filterCall) (any, error)
}

// filterCall is one call of a filter or test: its input and arguments as plain values.
type filterCall struct {
	budget *budget
	in     any
	args   map[string]any
	rest   []any
}

func (c filterCall) text(name, fallback string) string {
	if v, ok := c.args[name]; ok && v != nil {
		return pythonText(v)
	}
	return fallback
}

func (c filterCall) whole(name string, fallback int) (int, error) {
	v, ok := c.args[name]
	if !ok {
		return fallback, nil
	}
	n, ok := wholeOf(v)
	if !ok {
		return 0, fmt.Errorf("%s must be a whole number, not %s", name, jinjaType(v))
	}
	return n, nil
}

func (c filterCall) is(name string) bool { return truth(c.args[name]) }

func (c filterCall) list() ([]any, error) { return listOf(c.in) }

// listOf are the items of a list, the keys of a map, or the characters of a string.
func listOf(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case *dict:
		list := make([]any, len(v.keys))
		for i, k := range v.keys {
			list[i] = k
		}
		return list, nil
	case string:
		list := []any{}
		for _, r := range v {
			list = append(list, string(r))
		}
		return list, nil
	}
	return nil, fmt.Errorf("it needs a list, not %s", jinjaType(v))
}

// ownFilters are those of this package, by name.
func ownFilters() map[string]ownFilter {
	all := map[string]ownFilter{}
	maps.Copy(all, textFilters)
	maps.Copy(all, listFilters)
	maps.Copy(all, dataFilters)
	return all
}

func jinjaFilterNames() []string {
	return append(slices.Clone(builtinFilters), append(keysOf(ownFilters()), "default", "d", "selectattr", "rejectattr")...)
}

// jinjaFilters are all filters, each wrapped so that none makes something huge out of something small.
func jinjaFilters(b *budget) *exec.FilterSet {
	all := map[string]exec.FilterFunction{}
	for _, name := range builtinFilters {
		if f, ok := builtins.Filters.Get(name); ok {
			all[name] = b.limit(f)
		}
	}
	for name, f := range ownFilters() {
		all[name] = b.limit(b.own(name, f))
	}
	all["default"], all["d"] = defaultFilter, defaultFilter
	all["selectattr"], all["rejectattr"] = b.limit(b.selectAttribute(true)), b.limit(b.selectAttribute(false))
	all["map"] = b.mapFilter(all["map"])
	b.guards(all)
	b.operators(all)
	return exec.NewFilterSet(all)
}

// defaultFilter passes on one of two values. Unlike gonja's it takes none for a value.
func defaultFilter(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	fallback, falsy := exec.AsValue(""), false
	for i, v := range params.Args {
		switch i {
		case 0:
			fallback = v
		case 1:
			falsy = v.IsTrue()
		}
	}
	for k, v := range params.KwArgs {
		switch k {
		case "default_value":
			fallback = v
		case "boolean":
			falsy = v.IsTrue()
		}
	}
	if in.IsError() || falsy && !in.IsTrue() {
		return fallback
	}
	return in
}

// own makes gonja's function of a filter.
func (b *budget) own(name string, f ownFilter) exec.FilterFunction {
	return func(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if in.IsError() {
			return in
		}
		c, err := b.bind(f.params, in, params)
		if err == nil {
			var out any
			if out, err = f.apply(c); err == nil {
				if err = b.payDeep(out); err == nil {
					return exec.AsSafeValue(jinjaOf(out))
				}
			}
		}
		return exec.AsValue(fmt.Errorf("filter %s: %w", name, err))
	}
}

// payDeep pays for what a filter made.
func (b *budget) payDeep(v any) error {
	if l, ok := v.([]any); ok {
		return b.pay(len(l) * bytesPerValue)
	}
	return b.pay(sizeOfPlain(v))
}

// bind gives the arguments of a call their names.
func (b *budget) bind(params string, in *exec.Value, given *exec.VarArgs) (filterCall, error) {
	c := filterCall{budget: b, args: map[string]any{}}
	var err error
	if c.in, err = b.plain(in); err != nil {
		return c, err
	}
	names := strings.Fields(params)
	known := make([]string, len(names))
	for i, n := range names {
		known[i] = strings.TrimRight(n, "?*")
	}
	for i, a := range given.Args {
		v, err := b.plain(a)
		switch {
		case err != nil:
			return c, err
		case i < len(names) && !strings.Contains(strings.Join(names[:i+1], " "), "*"):
			c.args[known[i]] = v
		case strings.Contains(params, "*"):
			c.rest = append(c.rest, v)
		default:
			return c, fmt.Errorf("it takes %s, not %d arguments", signature(names), len(given.Args))
		}
	}
	for _, k := range keysOf(given.KwArgs) {
		v, err := b.plain(given.KwArgs[k])
		if err != nil {
			return c, err
		}
		if !slices.Contains(known, k) && !strings.HasSuffix(params, "**") {
			return c, fmt.Errorf("it takes %s, and no %q", signature(names), k)
		}
		c.args[k] = v
	}
	for i, n := range names {
		if _, has := c.args[n]; !has && known[i] == n {
			return c, fmt.Errorf("it needs %q: it takes %s", n, signature(names))
		}
	}
	return c, nil
}

func signature(names []string) string {
	if len(names) == 0 {
		return "no arguments"
	}
	return "(" + strings.NewReplacer("?", "", "*", "…").Replace(strings.Join(names, ", ")) + ")"
}

func (b *budget) limit(f exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if err := b.spendOn(in, params); err != nil {
			return exec.AsValue(err)
		}
		out := f(e, in, params)
		if out.IsString() && out.Len() > MaxRenderedBytes {
			return exec.AsValue(tooLong())
		}
		return out
	}
}

func tooLong() error { return fmt.Errorf("a string of more than %s", sizeText(MaxRenderedBytes)) }

func (b *budget) spendOn(in *exec.Value, params *exec.VarArgs) error {
	largest, second, cost := 1, 1, 1
	weigh := func(v *exec.Value) error {
		n := textOf(v)
		cost += n / bytesPerStep
		if v != nil && v.IsInteger() {
			if n = v.Integer(); n > maxNumber && v != in {
				return fmt.Errorf("the number %d is too large here", n)
			}
			if v == in {
				n = 1
			}
		}
		if n > largest {
			largest, second = n, largest
		} else if n > second {
			second = n
		}
		return nil
	}
	for _, v := range append(append([]*exec.Value{in}, params.Args...), slices.Collect(maps.Values(params.KwArgs))...) {
		if err := weigh(v); err != nil {
			return err
		}
	}
	// What a replace, join or indent makes is at most the product of two of these.
	if largest > MaxRenderedBytes || second > 1 && largest*second > maxProduct {
		return tooLong()
	}
	return b.spend(cost)
}

// maxProduct bounds what a filter or method can make of two arguments.
const maxProduct = 256 << 20

// textOf is the length of a string, or of all the strings of a list.
func textOf(v *exec.Value) int {
	n := sizeOf(v)
	if v == nil || v.IsError() || !v.IsList() {
		return n
	}
	v.Iterate(func(_, _ int, item, _ *exec.Value) bool {
		n += sizeOf(item)
		return n <= MaxRenderedBytes
	}, func() {})
	return n
}

// jinjaMethodNames are the methods of strings.
var jinjaMethodNames = strings.Fields(`capitalize capwords casefold center count encode endswith expandtabs find format
	format_map isalnum isalpha isascii isdecimal isdigit islower isnumeric isprintable isspace istitle isupper join ljust
	lower lstrip partition removeprefix removesuffix replace rfind rjust rpartition rsplit rstrip split splitlines
	startswith strip swapcase title translate upper zfill`)

// jinjaMethods are gonja's; those of strings are limited as the filters are.
func jinjaMethods(b *budget) exec.Methods {
	methods := builtins.Methods
	limited := map[string]exec.Method[string]{}
	for _, name := range jinjaMethodNames {
		m, ok := builtins.Methods.Str.Get(name)
		if !ok {
			continue
		}
		limited[name] = func(self string, v *exec.Value, params *exec.VarArgs) (any, error) {
			if err := b.spendOn(exec.AsValue(self), params); err != nil {
				return nil, err
			}
			if own, ok := textMethods[name]; ok {
				c, err := b.bind(own.params, exec.AsValue(self), params)
				if err != nil {
					return nil, err
				}
				out, err := own.apply(c)
				return jinjaOf(out), err
			}
			out, err := m(self, v, params)
			if s, ok := out.(string); ok && len(s) > MaxRenderedBytes {
				return nil, tooLong()
			}
			return out, err
		}
	}
	methods.Dict = dictMethods(b)
	methods.List = listMethods(b)
	methods.Str = exec.NewMethodSet(limited)
	return methods
}
