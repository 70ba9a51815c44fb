package states

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// jinjaTests are gonja's, and those that people know from Ansible. none is a value: it is defined.
func jinjaTests(b *budget) *exec.TestSet {
	set := exec.NewTestSet(map[string]exec.TestFunction{}).Update(builtins.Tests)
	own := map[string]ownFilter{
		"match":    {"pattern ignorecase? multiline?", func(c filterCall) (any, error) { return c.matches("^(?:", ")") }},
		"search":   {"pattern ignorecase? multiline?", func(c filterCall) (any, error) { return c.matches("", "") }},
		"regex":    {"pattern ignorecase? multiline? match_type?", func(c filterCall) (any, error) { return c.matches("", "") }},
		"version":  {"version operator? strict? version_type?", testVersion},
		"subset":   {"other", func(c filterCall) (any, error) { return subset(c.in, c.args["other"]) }},
		"superset": {"other", func(c filterCall) (any, error) { return subset(c.args["other"], c.in) }},
		"contains": {"item", func(c filterCall) (any, error) { return contains(c.in, c.args["item"]) }},
		"in":       {"list", func(c filterCall) (any, error) { return contains(c.args["list"], c.in) }},
		"truthy":   {"", func(c filterCall) (any, error) { return truth(c.in), nil }},
		"falsy":    {"", func(c filterCall) (any, error) { return !truth(c.in), nil }},
		"true":     {"", func(c filterCall) (any, error) { return c.in == true, nil }},
		"false":    {"", func(c filterCall) (any, error) { return c.in == false, nil }},
		"all":      {"", func(c filterCall) (any, error) { return allOf(c.in, true) }},
		"any":      {"", func(c filterCall) (any, error) { n, err := allOf(c.in, false); return !n, err }},
		"sequence": {"", func(c filterCall) (any, error) { _, err := listOf(c.in); return err == nil, nil }},
		"iterable": {"", func(c filterCall) (any, error) { _, err := listOf(c.in); return err == nil, nil }},
		"number":   {"", func(c filterCall) (any, error) { _, ok := numberOf(c.in); return ok, nil }},
		"divisibleby": {"num", func(c filterCall) (any, error) {
			rest, err := arithmetic("%", c.in, c.args["num"])
			return equal(rest, 0), err
		}},
	}
	own["version_compare"], own["superset"] = own["version"], own["superset"]
	for _, op := range []struct{ op, names string }{{"==", "== eq equalto"}, {"!=", "!= ne"}, {"<", "< lt lessthan"}, {"<=", "<= le"}, {">", "> gt greaterthan"}, {">=", ">= ge"}} {
		for _, name := range strings.Fields(op.names) {
			own[name] = ownFilter{"other", func(c filterCall) (any, error) { return c.budget.operate(op.op, c.in, c.args["other"]) }}
		}
	}
	for name, test := range own {
		add(set, name, func(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) (bool, error) {
			if in.IsError() {
				return false, in
			}
			c, err := b.bind(test.params, in, params)
			if err != nil {
				return false, fmt.Errorf("test %s: %w", name, err)
			}
			out, err := test.apply(c)
			if err != nil {
				return false, fmt.Errorf("test %s: %w", name, err)
			}
			return out == true, nil
		})
	}
	add(set, "defined", func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) (bool, error) { return !in.IsError(), nil })
	add(set, "undefined", func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) (bool, error) { return in.IsError(), nil })
	add(set, markFilter, func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) (bool, error) {
		name := params.Args[0].String()
		if !in.IsError() || !e.Environment.Tests.Exists(name) {
			b.at = params.Args[1].Integer()
		}
		out := e.ExecuteTestByName(name, in, &exec.VarArgs{Args: params.Args[2:], KwArgs: params.KwArgs})
		if out.IsError() {
			return false, out
		}
		return out.IsTrue(), nil
	})
	return set
}

// selectAttribute is selectattr and rejectattr; an attribute that an item lacks is undefined, and no test but defined and
// undefined takes that for an answer.
func (b *budget) selectAttribute(keep bool) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		items, err := b.items(in)
		if err == nil && len(params.Args) == 0 {
			err = errors.New("it takes the name of an attribute, and a test with its arguments")
		}
		if err != nil {
			return exec.AsValue(err)
		}
		out := exec.ValuesList{}
		for _, item := range items {
			v := itemAttribute(item, params.Args[0].String())
			ok := v
			if len(params.Args) > 1 {
				ok = e.ExecuteTestByName(params.Args[1].String(), v, &exec.VarArgs{Args: params.Args[2:], KwArgs: params.KwArgs})
			}
			if ok.IsError() && len(params.Args) > 1 {
				return ok
			}
			if (!ok.IsError() && ok.IsTrue()) == keep {
				out = append(out, item)
			}
		}
		return exec.AsValue(out)
	}
}

// mapFilter is map: of an attribute, where one that an item lacks is an error unless there is a default; or of a filter.
func (b *budget) mapFilter(other exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		name, ok := params.KwArgs["attribute"]
		if !ok {
			return other(e, in, params)
		}
		items, err := b.items(in)
		if err != nil {
			return exec.AsValue(err)
		}
		out := exec.ValuesList{}
		for _, item := range items {
			v := itemAttribute(item, name.String())
			if fallback, has := params.KwArgs["default"]; has && v.IsError() {
				v = fallback
			}
			if v.IsError() {
				return v
			}
			out = append(out, v)
		}
		return exec.AsValue(out)
	}
}

func itemAttribute(v *exec.Value, name string) *exec.Value {
	for _, part := range strings.Split(name, ".") {
		var key any = part
		if i, err := strconv.Atoi(part); err == nil && v.IsList() {
			key = i
		}
		inner, ok := v.GetItem(key)
		if !ok {
			return exec.AsValue(fmt.Errorf("attribute '%s' not found", part))
		}
		v = inner
	}
	return v
}

func add(set *exec.TestSet, name string, test exec.TestFunction) {
	if set.Exists(name) {
		_ = set.Replace(name, test) // it exists
		return
	}
	_ = set.Register(name, test) // it does not
}

func (c filterCall) matches(before, after string) (any, error) {
	re, err := c.pattern("")
	if err != nil {
		return nil, err
	}
	m := re.FindStringIndex(pythonText(c.in))
	return m != nil && (before == "" || m[0] == 0), nil
}

func subset(in, of any) (any, error) {
	list, err := listOf(in)
	if err != nil {
		return nil, err
	}
	all, err := listOf(of)
	for _, e := range list {
		if indexOf(all, e) < 0 {
			return false, err
		}
	}
	return err == nil, err
}

func allOf(v any, want bool) (bool, error) {
	list, err := listOf(v)
	for _, e := range list {
		if truth(e) != want {
			return false, err
		}
	}
	return true, err
}

// testVersion compares versions part by part: numbers as numbers, and letters after numbers, as Python's LooseVersion.
func testVersion(c filterCall) (any, error) {
	d := compareVersions(versionParts(pythonText(c.in)), versionParts(c.text("version", "")))
	switch op := c.text("operator", "eq"); op {
	case "==", "=", "eq":
		return d == 0, nil
	case "!=", "<>", "ne":
		return d != 0, nil
	case "<", "lt":
		return d < 0, nil
	case "<=", "le":
		return d <= 0, nil
	case ">", "gt":
		return d > 0, nil
	case ">=", "ge":
		return d >= 0, nil
	default:
		return nil, fmt.Errorf("operator must be ==, !=, <, <=, > or >=, not %q", op)
	}
}

func versionParts(s string) []string {
	var parts []string
	last := byte(0)
	class := func(c byte) byte {
		switch {
		case c >= '0' && c <= '9':
			return '0'
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			return 'a'
		case c == '.':
			return '.'
		}
		return c
	}
	for i := range len(s) {
		k := class(s[i])
		if k != '.' {
			if k != last {
				parts = append(parts, "")
			}
			parts[len(parts)-1] += s[i : i+1]
		}
		last = k
	}
	return parts
}

func compareVersions(a, b []string) int {
	for i := range min(len(a), len(b)) {
		m, errA := strconv.Atoi(a[i])
		n, errB := strconv.Atoi(b[i])
		switch {
		case errA == nil && errB == nil && m != n:
			return m - n
		case errA == nil && errB != nil:
			return -1
		case errA != nil && errB == nil:
			return 1
		case a[i] != b[i] && errA != nil:
			return strings.Compare(a[i], b[i])
		}
	}
	return len(a) - len(b)
}
