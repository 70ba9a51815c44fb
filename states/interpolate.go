package states

import (
	"encoding/json"
	"strconv"
	"strings"
)

// piece of a string: literal text, or the expression of a ${ … }.
type piece struct {
	literal    string
	expression string
	isExpr     bool
	nth        int // which "${" of the string, from 0, counting escaped ones
	lead       int // bytes between "${" and the expression
}

// splitText takes a string apart at its ${ … }. "$${" stands for a literal "${". Braces and quotes inside an expression
// are matched, so that maps and strings may hold a brace.
func splitText(s string) ([]piece, *expressionError) {
	if !strings.Contains(s, "${") {
		return []piece{{literal: s}}, nil
	}
	var pieces []piece
	var literal strings.Builder
	for nth := 0; ; nth++ {
		i := strings.Index(s, "${")
		if i < 0 {
			literal.WriteString(s)
			break
		}
		if i > 0 && s[i-1] == '$' {
			literal.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		literal.WriteString(s[:i])
		end := closingBrace(s[i+2:])
		if end < 0 {
			return nil, &expressionError{message: "${ without its }", hint: "write $${ for a literal ${", offset: nth}
		}
		if literal.Len() > 0 {
			pieces = append(pieces, piece{literal: literal.String()})
			literal.Reset()
		}
		inner := s[i+2 : i+2+end]
		text := strings.TrimSpace(inner)
		pieces = append(pieces, piece{expression: text, isExpr: true, nth: nth, lead: strings.Index(inner, text)})
		nth += strings.Count(inner, "${")
		s = s[i+2+end+1:]
	}
	if literal.Len() > 0 {
		pieces = append(pieces, piece{literal: literal.String()})
	}
	return pieces, nil
}

// closingBrace is the offset of the } that ends an expression, or -1.
func closingBrace(s string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{':
			depth++
		case c == '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

// asText is how a value looks inside a longer string: scalars plainly, lists and maps as JSON.
func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(data)
}
