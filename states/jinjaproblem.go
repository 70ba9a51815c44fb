package states

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/parser"
)

var (
	jinjaLine    = regexp.MustCompile(`(?i)at line (\d+)`)
	jinjaMissing = []*regexp.Regexp{
		regexp.MustCompile(`attribute '([^']*)' not found`),
		regexp.MustCompile(`item ''?([^']*?)''? not found`),
		regexp.MustCompile(`Unable to evaluate name "([^"]*)"`),
	}
	jinjaFilter = regexp.MustCompile(`(?i)filter '([^']*)' not found|unknown filter:? '?([\w.]+)`)
	jinjaTest   = regexp.MustCompile(`(?i)test '([^']*)' not found`)
	jinjaTag    = regexp.MustCompile(`ControlStructure '(\w+)' not found`)
	extendsTag  = regexp.MustCompile(`\{%[-+]?\s*extends\b`)
	jinjaMethod = regexp.MustCompile(`unknown method '(\w+)' for`)
)

// problem finds place, message and hint in gonja's error: the place is that of the mark that evaluation came to last.
func (j *jinja) problem(name string, err error, s *scope) *placedError {
	text := err.Error()
	p := placedError{place: Place{File: name}}
	var syntax *parser.SyntaxError
	if errors.As(err, &syntax) {
		if unclosed := j.unclosed(name); unclosed != nil {
			return unclosed
		}
	}
	if syntax != nil && syntax.Line > 0 {
		return j.syntaxProblem(p, syntax)
	}
	if at := j.budget.at; at > 0 {
		p.place = j.budget.places[at-1]
	} else {
		for _, m := range jinjaLine.FindAllStringSubmatch(text, -1) {
			if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
				p.place.Line, p.place.Column = n, 1
			}
		}
	}
	if e := j.lib.refusedSecret(text); e != nil {
		p.message, p.hint, p.place = e.message, e.hint, j.wordNear(p.place, secretFunction)
		return &p
	}
	for _, re := range jinjaMissing {
		if m := re.FindStringSubmatch(text); m != nil {
			p.message = fmt.Sprintf("undefined variable %q", m[1])
			if s != nil {
				p.hint = suggest(m[1], s.names())
			}
			if m[1] == "states" {
				p.message, p.hint = outputsUnknown, outputsHint
			}
			p.place = j.wordNear(p.place, m[1])
			if p.hint == "" && j.isTag(p.place) {
				p.hint = fmt.Sprintf("this node has no such tag; tags.%s is defined asks whether it has", m[1])
			}
			return &p
		}
	}
	for _, unknown := range []struct {
		re    *regexp.Regexp
		what  string
		known []string
	}{{jinjaFilter, "filter", jinjaFilterNames()}, {jinjaTest, "test", j.testNames}, {jinjaMethod, "method", jinjaMethodNames}} {
		if m := unknown.re.FindStringSubmatch(text); m != nil {
			word := strings.Join(m[1:], "")
			p.message, p.hint = fmt.Sprintf("unknown %s %q", unknown.what, word), suggest(word, unknown.known)
			p.place = j.wordNear(p.place, word)
			return &p
		}
	}
	if m := notProvided.FindStringSubmatch(text); m != nil {
		p.message = fmt.Sprintf("template: the macro needs the argument %q", m[1])
		return &p
	}
	if unclosed := j.unclosed(p.place.File); p.place.Line == 0 && unclosed != nil {
		return unclosed
	}
	p.message = "template: " + strings.Replace(lastSaid(text), "is not callable", "is no function: it cannot be called", 1)
	if p.place.Line == 0 || strings.Contains(text, includeFailed) || strings.Contains(text, tooManyIncludes) {
		if data, err := j.lib.tree.read(p.place.File, MaxTemplateBytes); err == nil && p.place.Line == 0 {
			if at := extendsTag.FindIndex(data); at != nil { // it is followed while the file is parsed
				p.place.Line = 1 + bytes.Count(data[:at[0]], []byte("\n"))
			}
		}
		word := ""
		for _, tag := range []string{"include", "extends", "import"} {
			if strings.Contains(j.lib.tree.line(p.place), tag) {
				word = tag
			}
		}
		p.place = j.lib.wordPlace(p.place, word)
	}
	return &p
}

var notProvided = regexp.MustCompile(`parameter "(\w+)" was not provided`)

// unclosed finds a comment, raw block, tag or string of a template that has no end: gonja's lexer tells no place.
func (j *jinja) unclosed(file string) *placedError {
	data, err := j.lib.tree.read(file, MaxTemplateBytes)
	if err != nil {
		return nil
	}
	for at := 0; ; {
		i := bytes.IndexByte(data[at:], '{')
		if i < 0 || at+i+1 >= len(data) {
			return nil
		}
		at += i
		end, what := map[byte]string{'#': "#}", '{': "}}", '%': "%}"}[data[at+1]], map[byte]string{'#': "comment", '{': "variable", '%': "tag"}[data[at+1]]
		if end == "" {
			at++
			continue
		}
		stop := tagEnd(data[at:], end)
		if stop > 0 && end == "%}" && isRaw(data[at:at+stop]) {
			end, what = "endraw", "raw"
			stop = after(data[at:], stop, end)
			if !bytes.Contains(data[at:at+stop], []byte(end)) {
				stop = -1
			}
		}
		if stop < 0 {
			line := 1 + bytes.Count(data[:at], []byte("\n"))
			return &placedError{Place{File: file, Line: line, Column: at - bytes.LastIndexByte(data[:at], '\n')}, fmt.Sprintf("template: this %s is not closed: there is no %s", what, end),
				"a quote that is not closed hides what follows it"}
		}
		at += stop
	}
}

// tagEnd is the offset behind the end of a tag or comment, or -1; quotes hide an end.
func tagEnd(data []byte, end string) int {
	quote := byte(0)
	for i := 2; i < len(data); i++ {
		c := data[i]
		switch {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case bytes.HasPrefix(data[i:], []byte(end)):
			return i + len(end)
		case end != "#}" && (c == '"' || c == '\''):
			quote = c
		}
	}
	return -1
}

// syntaxProblem puts the parser's words into the language's.
func (j *jinja) syntaxProblem(p placedError, e *parser.SyntaxError) *placedError {
	p.place.Line, p.place.Column = e.Line, max(1, e.Column)
	if data, err := j.lib.tree.read(p.place.File, MaxTemplateBytes); err == nil && e.Line > bytes.Count(data, []byte("\n")) && bytes.HasSuffix(data, []byte("\n")) {
		p.place.Line, p.place.Column = e.Line-1, 1 // what is missing is missing at the end
	}
	p.message = "template: " + lowerFirst(strings.TrimSuffix(e.Message, "."))
	if m := jinjaTag.FindStringSubmatch(e.Message); m != nil {
		p.message, p.hint = fmt.Sprintf("unknown tag %q", m[1]), suggest(m[1], jinjaTagNames)
		for _, part := range jinjaPartTags {
			if m[1] == part {
				p.message = fmt.Sprintf("template: %s without the tag that it belongs to", part)
				p.hint = ""
			}
		}
	}
	return &p
}

// wordNear finds a name from a mark on: on its line behind it, else in the lines that follow, since a tag may go over many
// and elif has no mark of its own; else where wordPlace finds it.
func (j *jinja) wordNear(p Place, word string) Place {
	for down := p; word != "" && down.Line-p.Line < 200; down.Line++ {
		line := j.lib.tree.line(down)
		from := 0
		if down.Line == p.Line {
			from = min(max(0, p.Column-1), len(line))
		}
		if i := wordIndex(line[from:], word); i >= 0 {
			down.Column = from + i + 1
			return down
		}
	}
	return j.lib.wordPlace(p, word)
}

// isTag: what is written there is a member of tags.
func (j *jinja) isTag(p Place) bool {
	line := j.lib.tree.line(p)
	return p.Column > 0 && p.Column <= len(line) && isOwnTag(line[:p.Column-1])
}

var invalidCall = regexp.MustCompile(`tick: |invalid call to (?:filter|function|method|test) '[^']*': |unable to execute test '[^']*': `)

// lastSaid is the innermost of an error's wrapped messages, in one short line.
func lastSaid(text string) string {
	text = strings.TrimPrefix(strings.TrimRight(text, "\n"), "': ")
	text = invalidCall.ReplaceAllString(text, "")
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = strings.TrimPrefix(text[i+1:], "': ")
	}
	for _, own := range []string{": filter ", ": test "} { // this package's own say it all
		if i := strings.LastIndex(text, own); i >= 0 {
			return shortMessage(text[i+2:])
		}
	}
	if i := strings.LastIndex(text, "map[]}: "); i >= 0 { // the arguments of a filter, as Go prints them
		text = text[i+len("map[]}: "):]
	}
	for {
		i := strings.Index(text, ": ")
		if i < 0 || !strings.Contains(text[:i], "(") && !strings.HasPrefix(strings.ToLower(text), "unable") && !strings.HasPrefix(text, "failed") {
			break
		}
		text = text[i+2:]
	}
	if i := strings.LastIndex(text, ": "); i >= 0 && strings.HasPrefix(text, "invalid call to method") {
		text = text[i+2:] // what is left out is the whole string that the method was called on
	}
	return shortMessage(text)
}

func shortMessage(text string) string {
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	return lowerFirst(text)
}
