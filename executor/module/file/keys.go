package file

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"shoal/executor"
)

// keyEdit sets one key, or removes it, in one section of an INI file or in a file without sections.
type keyEdit struct {
	section    string // empty: above all sections
	key, value string
	separator  string
	absent     bool
}

// parseKeys reads keys: a map of keys to values, or of sections to such maps. Nothing as a value removes the key.
func parseKeys(p executor.Params) ([]keyEdit, error) {
	m, _ := p["keys"].(map[string]any)
	separator := p.String("separator")
	if separator == "" {
		separator = " = "
	}
	var all []keyEdit
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if inner, ok := m[key].(map[string]any); ok {
			if p.String("section") != "" {
				return nil, fmt.Errorf("keys: %s is a section, and section: names one too", key)
			}
			for _, k := range slices.Sorted(maps.Keys(inner)) {
				e, err := newKey(key, k, separator, inner[k])
				if err != nil {
					return nil, err
				}
				all = append(all, e)
			}
			continue
		}
		e, err := newKey(p.String("section"), key, separator, m[key])
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func newKey(section, key, separator string, v any) (keyEdit, error) {
	e := keyEdit{section: section, key: key, separator: separator}
	switch v := v.(type) {
	case nil:
		e.absent = true
	case string:
		e.value = v
	case bool:
		e.value = strconv.FormatBool(v)
	case int64:
		e.value = strconv.FormatInt(v, 10)
	case float64:
		e.value = strconv.FormatFloat(v, 'g', -1, 64)
	default:
		return e, fmt.Errorf("keys: the value of %s must be a string, a number, a bool or nothing", key)
	}
	if strings.ContainsAny(section+key+e.value+separator, "\n\r") || strings.TrimSpace(key) != key || key == "" || strings.ContainsAny(section, "[]") {
		return e, fmt.Errorf("keys: %q does not fit into one line", key)
	}
	return e, nil
}

// apply sets the first line that has the key, and removes the others: readers differ in which one counts.
func (k keyEdit) apply(t *text) {
	start, end, found := k.bounds(t)
	if !found {
		if !k.absent {
			if n := len(t.lines); n > 0 && strings.TrimSpace(t.lines[n-1]) != "" {
				t.insert(n, "")
			}
			t.insert(len(t.lines), "["+k.section+"]", k.line())
		}
		return
	}
	set := k.absent
	comment := -1
	for i := start; i < end; i++ {
		value, ok := k.read(t.lines[i])
		switch {
		case !ok:
			if _, was := k.read(uncommented(t.lines[i])); was {
				comment = i
			}
		case set:
			t.lines = slices.Delete(t.lines, i, i+1)
			i, end = i-1, end-1
		case value != strings.TrimSpace(k.value):
			t.lines[i], set = k.line(), true
		default:
			set = true
		}
	}
	if set {
		return
	}
	at := end
	for at > start && strings.TrimSpace(t.lines[at-1]) == "" {
		at--
	}
	if comment >= 0 { // beside the comment that documents it
		at = comment + 1
	}
	t.insert(at, k.line())
}

func (k keyEdit) line() string { return strings.TrimRight(k.key+k.separator+k.value, " \t") }

// read returns the value of a line that sets the key.
func (k keyEdit) read(line string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.TrimLeft(line, " \t"), k.key)
	if !ok {
		return "", false
	}
	sign := strings.TrimSpace(k.separator)
	trimmed := strings.TrimLeft(rest, " \t")
	if sign == "" {
		// "key value": the space is the sign.
		return strings.TrimSpace(rest), trimmed != rest || rest == ""
	}
	value, ok := strings.CutPrefix(trimmed, sign)
	return strings.TrimSpace(value), ok
}

func uncommented(line string) string {
	bare := strings.TrimLeft(line, "#; \t")
	if bare == line {
		return ""
	}
	return bare
}

// bounds are the lines of the section, without its heading.
func (k keyEdit) bounds(t *text) (start, end int, found bool) {
	found = k.section == ""
	for i, line := range t.lines {
		name, heading := section(line)
		switch {
		case !heading || k.separatorIsSpace():
		case found:
			return start, i, true
		case name == k.section:
			start, found = i+1, true
		}
	}
	return start, len(t.lines), found
}

// separatorIsSpace: a file of "key value" lines has no sections, unless one is named.
func (k keyEdit) separatorIsSpace() bool {
	return k.section == "" && strings.TrimSpace(k.separator) == ""
}

func section(line string) (string, bool) {
	line = strings.TrimSpace(line)
	if len(line) < 2 || line[0] != '[' || line[len(line)-1] != ']' {
		return "", false
	}
	return strings.TrimSpace(line[1 : len(line)-1]), true
}
