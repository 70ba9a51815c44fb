package states

import "strings"

func leading(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

func trimEnd(s string) string { return strings.TrimRight(s, " \t") }

func blankText(s string) bool { return trimEnd(s) == "" }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isMarker: s begins with a marker that stands alone.
func isMarker(s, marker string) bool {
	rest, ok := strings.CutPrefix(s, marker)
	return ok && (rest == "" || isBlank(rest[0]))
}

// commentStart is where the comment of a line with a plain scalar begins, or its length.
func commentStart(s string) int {
	for i := 1; i < len(s); i++ {
		if s[i] == '#' && isBlank(s[i-1]) {
			return i
		}
	}
	return len(s)
}

// keyEnd is the offset of the colon that ends a key at the beginning of s, or -1.
func keyEnd(s string) int {
	i := 0
	for i < len(s) && (s[i] == '&' || s[i] == '!') {
		for i < len(s) && !isBlank(s[i]) {
			i++
		}
		for i < len(s) && isBlank(s[i]) {
			i++
		}
	}
	if i == len(s) || strings.IndexByte("{[|>#", s[i]) >= 0 {
		return -1
	}
	if s[i] == '"' || s[i] == '\'' {
		var e enclosure
		end, closed := e.scan(s, i)
		if !closed {
			return -1
		}
		for end < len(s) && isBlank(s[end]) {
			end++
		}
		if end < len(s) && s[end] == ':' {
			return end
		}
		return -1
	}
	for ; i < len(s); i++ {
		if s[i] == ':' && (i+1 == len(s) || isBlank(s[i+1])) {
			return i
		}
		if s[i] == '#' && i > 0 && isBlank(s[i-1]) {
			return -1
		}
	}
	return -1
}

// enclosure follows quotes, braces and brackets from line to line.
type enclosure struct {
	depth int
	quote byte // ", ' or 0
	token bool // within a plain scalar, where quotes are letters
}

// scan goes on at an offset of a line; it returns where the value ended, or the line's length.
func (e *enclosure) scan(s string, i int) (end int, closed bool) {
	e.token = e.token && e.depth > 0
	for ; i < len(s); i++ {
		c := s[i]
		if e.quote != 0 {
			switch {
			case c == '\\' && e.quote == '"':
				i++
			case c == '\'' && e.quote == '\'' && i+1 < len(s) && s[i+1] == '\'':
				i++
			case c == e.quote:
				if e.quote = 0; e.depth == 0 {
					return i + 1, true
				}
				e.token = true
			}
			continue
		}
		switch {
		case c == '#' && (i == 0 || isBlank(s[i-1])):
			return len(s), false
		case (c == '"' || c == '\'') && !e.token:
			e.quote = c
		case c == '{' || c == '[':
			e.depth++
			e.token = false
		case c == '}' || c == ']':
			e.token = true
			if e.depth--; e.depth <= 0 {
				return i + 1, true
			}
		case c == ',' || c == ':' && (i+1 == len(s) || isBlank(s[i+1]) || i > 0 && (s[i-1] == '"' || s[i-1] == '\'')):
			e.token = false
		case !isBlank(c):
			e.token = true
		}
	}
	return len(s), false
}

// ended is a line that the value goes beyond: blanks at its end may belong to a string.
func (e *enclosure) ended(s string) string {
	if e.quote != 0 {
		return s
	}
	return trimEnd(s)
}

// respaced writes a flow of one line with one blank after commas and colons, and none within braces and brackets.
func respaced(s string) string {
	var b strings.Builder
	var e enclosure
	space := false // wanted, or met, before the next token
	for i := 0; i < len(s); {
		c := s[i]
		last := byte('{')
		if b.Len() > 0 {
			last = b.String()[b.Len()-1]
		}
		quoted := e.token && (last == '"' || last == '\'')
		switch {
		case isBlank(c):
			space = space || last != '{' && last != '['
			i++
			continue
		case c == '}' || c == ']' || c == ',':
			if space && last == ':' { // parsers differ on {a:}
				b.WriteByte(' ')
			}
		case c == ':' && (i+1 == len(s) || strings.IndexByte(" \t,{}[]", s[i+1]) >= 0 || quoted):
			b.WriteByte(':')
			e.token, space = false, true
			i++
			continue
		case space:
			b.WriteByte(' ')
		}
		end := i + 1
		switch {
		case strings.IndexByte("{[,", c) >= 0:
			e.token = false
		case c == '}' || c == ']':
			e.token = true
		case (c == '"' || c == '\'') && !e.token:
			var q enclosure
			end, _ = q.scan(s, i)
			e.token = true
		default:
			e.token = true
		}
		b.WriteString(s[i:end])
		space = c == ','
		i = end
	}
	return b.String()
}
