package states

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits that keep the parser and the resolver, which recurse, from using much stack.
const (
	maxStarWords  = 5000 // words of one expression between commas
	maxStarElifs  = 1000 // elif branches of one file: each nests in the one before
	maxStarDigits = 100  // of one number
)

// starLiteral is a string that a Starlark source holds, for the places of what it makes.
type starLiteral struct {
	offset int
	place  Place
}

// starScan goes once over a Starlark source: it refuses what is nested too deeply, and finds the string literals.
type starScan struct {
	source   string
	at       int
	line     int
	start    int // of the line
	words    []int
	elifs    int
	literals map[string][]starLiteral
	file     string
	refused  *placedError
}

func scanStar(file string, data []byte) (map[string][]starLiteral, *placedError) {
	s := starScan{source: string(data), line: 1, words: []int{0}, literals: map[string][]starLiteral{}, file: file}
	for s.at < len(s.source) && s.refused == nil {
		s.token()
	}
	return s.literals, s.refused
}

func (s *starScan) place() Place {
	return Place{File: s.file, Line: s.line, Column: s.at - s.start + 1}
}

func (s *starScan) refuse(format string, args ...any) {
	if s.refused == nil {
		s.refused = &placedError{place: s.place(), message: fmt.Sprintf(format, args...)}
	}
}

// token passes one token, and counts it in its bracket.
func (s *starScan) token() {
	c := s.source[s.at]
	depth := len(s.words) - 1
	switch {
	case c == '\n':
		s.newline(depth)
	case c == ' ' || c == '\t' || c == '\r' || c == '\\':
		s.at++
	case c == '#':
		s.at = s.until("\n")
	case c == '(' || c == '[' || c == '{':
		s.count()
		if s.words = append(s.words, 0); depth >= MaxDepth {
			s.refuse("nested deeper than %d levels", MaxDepth)
		}
		s.at++
	case c == ')' || c == ']' || c == '}':
		if depth > 0 {
			s.words = s.words[:depth]
		}
		s.at++
	case c == ',' || c == ';':
		s.words[depth] = 0
		s.at++
	case c == '"' || c == '\'':
		s.count()
		s.text(false)
	default:
		s.count()
		s.word(c)
	}
}

func (s *starScan) count() {
	if s.words[len(s.words)-1]++; s.words[len(s.words)-1] > maxStarWords {
		s.refuse("an expression of more than %d words", maxStarWords)
	}
}

func (s *starScan) newline(depth int) {
	s.at++
	s.line, s.start = s.line+1, s.at
	if depth > 0 {
		return
	}
	s.words[0] = 0
	indent := 0
	for s.at+indent < len(s.source) && (s.source[s.at+indent] == ' ' || s.source[s.at+indent] == '\t') {
		indent++
	}
	if rest := s.source[s.at+indent:]; indent > 4*MaxDepth && rest != "" && !strings.ContainsAny(rest[:1], "#\r\n") {
		s.refuse("indented by more than %d blanks", 4*MaxDepth)
	}
}

// word passes a name, a number, an operator, or a string with a prefix.
func (s *starScan) word(c byte) {
	if !wordByte(c) {
		s.at++
		return
	}
	begin := s.at
	for s.at < len(s.source) && wordByte(s.source[s.at]) {
		s.at++
	}
	word := s.source[begin:s.at]
	switch {
	case c >= '0' && c <= '9' && len(word) > maxStarDigits:
		s.refuse("a number of more than %d digits", maxStarDigits)
	case word == "elif":
		if s.elifs++; s.elifs > maxStarElifs {
			s.refuse("more than %d elif in one file", maxStarElifs)
		}
	case s.at < len(s.source) && (s.source[s.at] == '"' || s.source[s.at] == '\''):
		if word == "r" || word == "b" || word == "rb" || word == "br" {
			s.text(word != "b")
		}
	}
}

// text passes a string literal and remembers its place.
func (s *starScan) text(raw bool) {
	begin, place := s.at, s.place()
	quote := s.source[s.at : s.at+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s.source[s.at:], triple) {
		quote = triple
	}
	s.at += len(quote)
	from := s.at
	for s.at < len(s.source) && !strings.HasPrefix(s.source[s.at:], quote) {
		switch s.source[s.at] {
		case '\\':
			s.at++
		case '\n':
			if len(quote) == 1 {
				return // not closed: the parser says so
			}
		}
		if s.at < len(s.source) && s.source[s.at] == '\n' {
			s.line, s.start = s.line+1, s.at+1
		}
		s.at++
	}
	if s.at >= len(s.source) {
		s.at = len(s.source)
		return
	}
	value := s.source[from:s.at]
	s.at += len(quote)
	if !raw && strings.Contains(value, "\\") {
		unquoted, err := strconv.Unquote(`"` + strings.ReplaceAll(value, "\n", `\n`) + `"`)
		if err != nil {
			return
		}
		value = unquoted
	}
	s.literals[value] = append(s.literals[value], starLiteral{begin, place})
}

func (s *starScan) until(end string) int {
	i := strings.Index(s.source[s.at:], end)
	if i < 0 {
		return len(s.source)
	}
	return s.at + i
}
