package states

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

func format(c filterCall) (any, error) {
	args := c.rest
	if len(c.args) > 0 {
		args = []any{&dict{keys: keysOf(c.args), values: c.args}}
	}
	return c.budget.percent(pythonText(c.in), args)
}

var percentVerb = regexp.MustCompile(`%(?:\((\w+)\))?([-+ 0#]*)(\d*)(?:\.(\d+))?([a-zA-Z%])`)

// percent is format % values as Python has it.
func (b *budget) percent(format string, args []any) (any, error) {
	var named *dict
	if len(args) == 1 {
		named, _ = args[0].(*dict)
	}
	next := 0
	var failed error
	out := percentVerb.ReplaceAllStringFunc(format, func(verb string) string {
		m := percentVerb.FindStringSubmatch(verb)
		if m[5] == "%" || failed != nil {
			return "%"
		}
		var v any
		switch {
		case m[1] != "" && named != nil:
			inner, ok := named.values[m[1]]
			if !ok {
				failed = fmt.Errorf("the map has no %q", m[1])
			}
			v = inner
		case next < len(args):
			v = args[next]
			next++
		default:
			failed = fmt.Errorf("%q wants more values than there are", shorten(format))
			return ""
		}
		s, err := percentOne(m, v)
		if failed == nil {
			failed = err
		}
		return s
	})
	if failed == nil && named == nil && next < len(args) {
		failed = fmt.Errorf("%q wants fewer values than there are", shorten(format))
	}
	if failed != nil {
		return nil, failed
	}
	return out, b.pay(len(out))
}

func percentOne(m []string, v any) (string, error) {
	width, _ := strconv.Atoi(m[3])
	if width > 10_000 || len(m[4]) > 2 {
		return "", fmt.Errorf("the width %s%s is too large here", m[3], m[4])
	}
	spec := "%" + m[2] + m[3]
	if m[4] != "" {
		spec += "." + m[4]
	}
	number, isNumber := numberOf(v)
	switch m[5] {
	case "s":
		return fmt.Sprintf(spec+"s", pythonText(v)), nil
	case "r":
		var b strings.Builder
		pythonRepr(&b, v)
		return fmt.Sprintf(spec+"s", b.String()), nil
	case "d", "i", "u", "x", "X", "o":
		if !isNumber {
			return "", fmt.Errorf("%%%s needs a number, not %s", m[5], jinjaType(v))
		}
		verb := m[5]
		if verb == "i" || verb == "u" {
			verb = "d"
		}
		return fmt.Sprintf(spec+verb, int64(math.Trunc(number))), nil
	case "f", "F", "e", "E", "g", "G":
		if !isNumber {
			return "", fmt.Errorf("%%%s needs a number, not %s", m[5], jinjaType(v))
		}
		return fmt.Sprintf(spec+m[5], number), nil
	}
	return "", fmt.Errorf("%%%s is not known", m[5])
}
