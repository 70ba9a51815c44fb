package executor

import "fmt"

// The compiler has checked every type before a module sees a value, so that a wrong one here reads as absent.

// String returns a string parameter, or "" when it is absent.
func (p Params) String(name string) string {
	s, _ := p[name].(string)
	return s
}

// Bool returns a bool parameter, and whether it was given.
func (p Params) Bool(name string) (value, ok bool) {
	value, ok = p[name].(bool)
	return value, ok
}

// Int returns an int parameter, and whether it was given.
func (p Params) Int(name string) (value int64, ok bool) {
	value, ok = p[name].(int64)
	return value, ok
}

// Strings returns a list of strings, and whether it was given.
func (p Params) Strings(name string) (values []string, ok bool) {
	switch list := p[name].(type) {
	case []string:
		return list, true
	case []any:
		for _, v := range list {
			values = append(values, fmt.Sprint(v))
		}
		return values, true
	}
	return nil, false
}
