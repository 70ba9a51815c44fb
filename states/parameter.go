package states

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// contentKeys are how a Contents parameter is written.
var contentKeys = []string{"template", "source", "content"}

func contentsParam(f *Function) *Param {
	for i := range f.Params {
		if f.Params[i].Type == Contents {
			return &f.Params[i]
		}
	}
	return nil
}

// checkNames finds parameters that are unknown, missing or exclude each other, which needs no node.
func (l *Catalogue) checkNames(p StatePart) {
	known := make([]string, 0, len(p.fn.Params)+3)
	contents := contentsParam(p.fn)
	for _, param := range p.fn.Params {
		if param.Type != Contents {
			known = append(known, param.Name)
		}
	}
	if contents != nil {
		known = append(known, contentKeys...)
	}
	form := ""
	for _, e := range p.params {
		if !slices.Contains(known, e.key) {
			l.problems.add(e.place, suggest(e.key, known), "unknown parameter %q of %s", e.key, p.fn.FullName())
			continue
		}
		if contents != nil && slices.Contains(contentKeys, e.key) {
			if form != "" {
				l.problems.add(e.place, "", "%s and %s exclude each other", form, e.key)
			}
			form = e.key
		}
	}
	for _, param := range p.fn.Params {
		if !param.Required || param.Default != nil {
			continue
		}
		if param.Type == Contents {
			if form == "" {
				l.problems.add(p.place, "", "%s needs template:, source: or content:", p.fn.FullName())
			}
		} else if !slices.ContainsFunc(p.params, func(e docEntry) bool { return e.key == param.Name }) {
			l.problems.add(p.place, "", "%s needs the parameter %q", p.fn.FullName(), param.Name)
		}
	}
}

// part evaluates and checks the parameters of a part.
func (c *compilation) part(p StatePart, s *scope, dir string) StatePartInvocation {
	params := make(map[string]any, len(p.fn.Params))
	good := true
	c.outputs.allowed = true
	defer func() { c.outputs.allowed = false }()
	for _, e := range p.params {
		param := c.paramFor(p.fn, e.key)
		if param == nil {
			good = false
			continue // reported by checkNames
		}
		if param.Type == Contents {
			content, ok := c.content(e, s, dir)
			params[param.Name] = content
			good = good && ok
			continue
		}
		if param.Type == Folder {
			files, ok := c.folder(p, e, s, dir)
			params[param.Name] = files
			good = good && ok
			continue
		}
		value, ok := c.evaluate(e.value, s)
		if !ok {
			good = false
			continue
		}
		if value == nil {
			if param.Required && param.Default == nil {
				c.problems.add(e.place, "", "%s needs the parameter %q, and here it is nothing", p.fn.FullName(), param.Name)
				good = false
			}
			continue
		}
		checked, hint, err := asParameter(param, value)
		if err != nil {
			c.problems.add(e.value.place, hint, "parameter %q of %s: %s", param.Name, p.fn.FullName(), err)
			good = false
			continue
		}
		params[param.Name] = checked
	}
	c.fillDefaults(p.fn, params)
	if good && p.fn.Validate != nil && !isDeferred(params) { // else the engine asks it
		if err := p.fn.Validate(params); err != nil {
			c.problems.add(p.place, "", "%s: %s", p.fn.FullName(), err)
		}
	}
	return StatePartInvocation{Module: p.fn.Module, Function: p.fn.Name, Params: params, Place: p.place}
}

func (c *compilation) paramFor(f *Function, key string) *Param {
	for i := range f.Params {
		param := &f.Params[i]
		if param.Type == Contents {
			if slices.Contains(contentKeys, key) {
				return param
			}
		} else if param.Name == key {
			return param
		}
	}
	return nil
}

func (c *compilation) fillDefaults(f *Function, params map[string]any) {
	for _, param := range f.Params {
		if _, has := params[param.Name]; !has && param.Default != nil {
			params[param.Name] = normal(param.Default)
		}
	}
}

// normal brings a default, which Go code wrote, to the types that a StatePartInvocation holds.
func normal(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case []string:
		list := make([]any, len(v))
		for i, s := range v {
			list[i] = s
		}
		return list
	}
	return v
}

var modeText = regexp.MustCompile(`^[0-7]{3,4}$`)

// checkValue checks a value against a parameter's type; it returns the value, or a hint and what is wrong.
func checkValue(p *Param, v any) (any, string, error) {
	switch p.Type {
	case String:
		return checkString(p, v)
	case Bool:
		if _, ok := v.(bool); !ok {
			return nil, "", fmt.Errorf("must be true or false, not %s", typeName(v))
		}
	case Int:
		if _, ok := v.(int64); !ok {
			return nil, "", fmt.Errorf("must be a whole number, not %s", typeName(v))
		}
	case Mode:
		s, ok := v.(string)
		if !ok {
			return nil, `write it in quotes, such as "0644"`, fmt.Errorf("must be an octal mode in quotes, not %s", typeName(v))
		}
		if !modeText.MatchString(s) {
			return nil, `write three or four octal digits, such as "0644"`, fmt.Errorf("%q is not an octal mode", s)
		}
	case Duration:
		s, ok := v.(string)
		if d, err := time.ParseDuration(s); !ok || err != nil || d < 0 {
			return nil, `write a number and a unit, such as "30s"`, fmt.Errorf("must be a duration, not %s", typeName(v))
		}
	case Path:
		return checkPath(v)
	case Strings:
		return checkStrings(v)
	case Map:
		if _, ok := v.(map[string]any); !ok {
			return nil, "", fmt.Errorf("must be a map, not %s", typeName(v))
		}
	}
	return v, "", nil
}

// quotesHint says what to do with a value that should be a string.
func quotesHint(v any) string {
	switch v.(type) {
	case bool, int64, float64:
		return "put it in quotes"
	}
	return ""
}

func checkString(p *Param, v any) (any, string, error) {
	s, ok := v.(string)
	if !ok {
		return nil, quotesHint(v), fmt.Errorf("must be a string, not %s", typeName(v))
	}
	if strings.ContainsRune(s, 0) {
		return nil, "", fmt.Errorf("must not hold a NUL character")
	}
	if len(p.OneOf) > 0 && !slices.Contains(p.OneOf, s) {
		return nil, suggest(s, p.OneOf), fmt.Errorf("must be one of %s, not %q", strings.Join(p.OneOf, ", "), s)
	}
	return s, "", nil
}

func checkPath(v any) (any, string, error) {
	s, ok := v.(string)
	if !ok {
		return nil, "", fmt.Errorf("must be a path, not %s", typeName(v))
	}
	if !path.IsAbs(s) || strings.ContainsRune(s, 0) {
		return nil, "", fmt.Errorf("must be an absolute path, not %q", s)
	}
	if clean := path.Clean(s); clean != s {
		return nil, "write " + clean, fmt.Errorf("%q is not a clean path", s)
	}
	return s, "", nil
}

func checkStrings(v any) (any, string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, "", fmt.Errorf("must be a list of strings, not %s", typeName(v))
	}
	for _, item := range list {
		if _, later := item.(Deferred); later {
			continue
		}
		s, ok := item.(string)
		if !ok {
			return nil, "", fmt.Errorf("must be a list of strings, and it holds %s", typeName(item))
		}
		if strings.ContainsRune(s, 0) {
			return nil, "", fmt.Errorf("must not hold a NUL character")
		}
	}
	return list, "", nil
}

// typeName says what a value is, for messages.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case bool:
		return fmt.Sprintf("the bool %t", v)
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case string:
		return fmt.Sprintf("the string %q", shorten(v))
	case []any:
		return "a list"
	}
	return "a map"
}
