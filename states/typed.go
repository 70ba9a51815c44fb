package states

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// check checks a value against a parameter of a component; it returns a hint and what is wrong.
func (d *declaredParameter) check(v any) (hint string, err error) {
	if hint, err := checkTyped(d.Type, v); err != nil {
		return hint, err
	}
	if d.OneOf == nil {
		return "", nil
	}
	allowed, words := make([]string, len(d.OneOf)), []string{}
	for i, o := range d.OneOf {
		if reflect.DeepEqual(o, v) {
			return "", nil
		}
		allowed[i] = Shown(o)
		if s, ok := o.(string); ok {
			words = append(words, s)
		}
	}
	if s, ok := v.(string); ok {
		hint = suggest(s, words)
	}
	return hint, fmt.Errorf("must be one of %s, not %s", strings.Join(allowed, ", "), Shown(v))
}

func checkTyped(t Type, v any) (hint string, err error) {
	switch t {
	case Number:
		switch v.(type) {
		case int64, float64:
		default:
			return "", fmt.Errorf("must be a number, not %s", typeName(v))
		}
		return "", nil
	case List:
		if _, ok := v.([]any); !ok {
			return "", fmt.Errorf("must be a list, not %s", typeName(v))
		}
		return "", nil
	}
	_, hint, err = checkValue(&Param{Type: t}, v)
	return hint, err
}

// Shown is a value as it is written in JSON, in short.
func Shown(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return typeName(v)
	}
	return shorten(string(data))
}
