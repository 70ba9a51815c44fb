package states

import (
	"strings"
	"unicode/utf8"
)

// layout rewrites a document's lines one after another. It knows the blocks that are open, by the columns in which they
// were and in which they are now.
type layout struct {
	style   layoutStyle
	file    string
	lines   []string
	at      int // of the next line
	levels  []level
	waiting []waitingLine // comments and empty lines: the line after them says how far they are indented
	out     strings.Builder
	err     *placedError
}

// level is one open block: a map or a list.
type level struct {
	was, is int // columns, from 0
	list    bool
}

// waitingLine is a comment, or an empty line.
type waitingLine struct {
	column int
	text   string
}

// indentStep is how much deeper a block is than the one around it.
const indentStep = 2

func (l *layout) refuse(message string) {
	if l.err == nil {
		l.err = &placedError{Place{File: l.file, Line: l.at, Column: 1}, message, "it is left as it is"}
	}
}

func (l *layout) next() {
	line := l.lines[l.at]
	l.at++
	column := leading(line)
	text := line[column:]
	switch {
	case blankText(text):
		l.waiting = append(l.waiting, waitingLine{})
	case text[0] == '#':
		l.waiting = append(l.waiting, waitingLine{column, trimEnd(text)})
	case text[0] == '\t':
		l.refuse("cannot format: a tab in the indentation")
	case column == 0 && (isMarker(text, "---") || isMarker(text, "...")):
		l.marker(text)
	case column == 0 && text[0] == '%', isMarker(text, "?"), isMarker(text, ":"):
		l.refuse("cannot format: directives and keys marked with ? are not part of the language")
	default:
		l.structure(column, text)
	}
}

// marker is the beginning or the end of a document.
func (l *layout) marker(text string) {
	rest := strings.TrimLeft(text[3:], " \t")
	if rest != "" && rest[0] != '#' {
		l.refuse("cannot format: a value in the line of the document's marker")
		return
	}
	l.flush(0, 0, l.levels)
	l.levels = nil
	l.out.WriteString(trimEnd(text) + "\n")
}

// structure is a line with list items, a key, or a value alone.
func (l *layout) structure(column int, text string) {
	open := append([]level(nil), l.levels...)
	start, is := column, -1
	var b strings.Builder
	for isMarker(text, "-") {
		top := l.enter(column, true)
		if is < 0 {
			is = top.is
		}
		blanks := len(text[1:]) - len(strings.TrimLeft(text[1:], " "))
		b.WriteString("-")
		if text = text[1+blanks:]; text == "" {
			break
		}
		b.WriteString(" ")
		column += 1 + blanks
	}
	parent := level{was: -1, is: -indentStep}
	if end := keyEnd(text); end >= 0 {
		parent = l.enter(column, false)
		if is < 0 {
			is = parent.is
		}
		b.WriteString(trimEnd(text[:end]) + ":")
		if text = strings.TrimLeft(text[end+1:], " \t"); text != "" {
			b.WriteString(" ")
		}
	} else {
		for is < 0 && len(l.levels) > 0 && l.levels[len(l.levels)-1].was >= column {
			l.levels = l.levels[:len(l.levels)-1]
		}
		if n := len(l.levels); n > 0 {
			parent = l.levels[n-1]
		}
		if is < 0 {
			is = parent.is + indentStep
		}
	}
	l.flush(start, is, open)
	l.out.WriteString(strings.Repeat(" ", is))
	l.value(b.String(), text, parent, start, is)
}

// enter finds or opens the block that a line at a column belongs to. A list may be in the column of the key that it
// belongs to; then it moves in.
func (l *layout) enter(column int, list bool) level {
	n := len(l.levels)
	for n > 0 && (l.levels[n-1].was > column || l.levels[n-1].was == column && l.levels[n-1].list && !list) {
		n--
	}
	l.levels = l.levels[:n]
	if n > 0 && l.levels[n-1].was == column && l.levels[n-1].list == list {
		return l.levels[n-1]
	}
	opened := level{was: column, list: list}
	if n > 0 {
		opened.is = l.levels[n-1].is + indentStep
	}
	l.levels = append(l.levels, opened)
	return opened
}

// flush writes the comments and empty lines before a line that was in one column and is in another now.
func (l *layout) flush(was, is int, open []level) {
	empty := l.out.Len() == 0 // none at the beginning, and never two
	for i, w := range l.waiting {
		if w.text == "" {
			if !empty && (was >= 0 || hasText(l.waiting[i:])) {
				l.out.WriteString("\n")
			}
			empty = true
			continue
		}
		empty = false
		l.out.WriteString(strings.Repeat(" ", commentColumn(w.column, was, is, open)) + w.text + "\n")
	}
	l.waiting = l.waiting[:0]
}

func hasText(lines []waitingLine) bool {
	for _, w := range lines {
		if w.text != "" {
			return true
		}
	}
	return false
}

// commentColumn is where a comment goes: with the line below it, or, where it was indented otherwise, with the block in
// whose column it was.
func commentColumn(column, was, is int, open []level) int {
	if column == was || column > was && len(open) > 0 && was > open[len(open)-1].was {
		return is
	}
	best := -1
	for _, o := range open {
		if o.was == column {
			return o.is
		}
		if o.was < column {
			best = o.is
		}
	}
	if column < was || best < 0 {
		return max(is, 0)
	}
	return best
}

// value writes the rest of a line: properties, and then nothing, a scalar or a flow, with all its lines. head is what the
// line has so far behind its indentation.
func (l *layout) value(head, text string, parent level, was, is int) {
	for text != "" && (text[0] == '&' || text[0] == '!') {
		end := strings.IndexAny(text, " \t")
		if end < 0 {
			end = len(text)
		}
		head += text[:end]
		if text = strings.TrimLeft(text[end:], " \t"); text != "" {
			head += " "
		}
	}
	first := l.lines[l.at-1]
	switch {
	case text == "":
		l.out.WriteString(trimEnd(head) + "\n")
	case text[0] == '#':
		l.finish(trimEnd(head), first, text, is)
	case text[0] == '|' || text[0] == '>':
		l.blockScalar(head, first, text, parent, is)
	case text[0] == '"' || text[0] == '\'' || text[0] == '{' || text[0] == '[':
		l.enclosed(head, first, text, was, is)
	default:
		l.plain(head, first, text, parent, was, is)
	}
}

// finish ends a line with its comment, which stays in its column where there is room.
func (l *layout) finish(code, line, tail string, is int) {
	tail = strings.Trim(tail, " \t")
	l.out.WriteString(code)
	if tail != "" {
		column := utf8.RuneCountInString(line[:strings.LastIndex(line, tail)])
		gap := column - is - utf8.RuneCountInString(code)
		l.out.WriteString(strings.Repeat(" ", max(gap, 1)) + tail)
	}
	l.out.WriteString("\n")
}

// plain is a scalar without quotes; lines that are deeper than its block continue it.
func (l *layout) plain(head, line, text string, parent level, was, is int) {
	end := commentStart(text)
	l.finish(head+trimEnd(text[:end]), line, text[end:], is)
	for end == len(text) {
		ahead := l.at
		for ahead < len(l.lines) && blankText(l.lines[ahead]) {
			ahead++
		}
		if ahead == len(l.lines) {
			return
		}
		line = l.lines[ahead]
		column := leading(line)
		text = line[column:]
		if column <= parent.was || text[0] == '#' || column == 0 && (isMarker(text, "---") || isMarker(text, "...")) {
			return
		}
		l.out.WriteString(strings.Repeat("\n", ahead-l.at)) // empty lines of a scalar count
		l.at = ahead + 1
		to := max(column+is-was, 0)
		l.out.WriteString(strings.Repeat(" ", to))
		end = commentStart(text)
		l.finish(trimEnd(text[:end]), line, text[end:], to)
	}
}

// enclosed is a value in quotes, braces or brackets, over as many lines as it takes.
func (l *layout) enclosed(head, line, text string, was, is int) {
	var s enclosure
	end, closed := s.scan(text, 0)
	if closed {
		body := text[:end]
		if l.style.flows && (text[0] == '{' || text[0] == '[') {
			body = respaced(body)
		}
		l.tail(head+body, line, text[end:], is)
		return
	}
	l.out.WriteString(head + s.ended(text) + "\n")
	for l.at < len(l.lines) {
		line = l.lines[l.at]
		l.at++
		if blankText(line) {
			l.out.WriteString("\n")
			continue
		}
		column := leading(line)
		text = line[column:]
		to := max(column+is-was, 0)
		l.out.WriteString(strings.Repeat(" ", to))
		if end, closed = s.scan(text, 0); closed {
			l.tail(text[:end], line, text[end:], to)
			return
		}
		l.out.WriteString(s.ended(text) + "\n")
	}
}

// tail is what stands behind an enclosed value: a comment, if anything.
func (l *layout) tail(code, line, rest string, is int) {
	if strings.HasPrefix(strings.TrimLeft(rest, " \t"), "#") || blankText(rest) {
		l.finish(code, line, rest, is)
		return
	}
	l.out.WriteString(code + trimEnd(rest) + "\n")
}

// blockScalar is | or > and its lines. Their indentation beyond the first line's is their own.
func (l *layout) blockScalar(head, line, text string, parent level, is int) {
	end := strings.IndexAny(text, " \t")
	if end < 0 {
		end = len(text)
	}
	indent, step, keep := -1, indentStep, false
	for _, r := range text[1:end] {
		switch {
		case r == '+':
			keep = true
		case r >= '1' && r <= '9':
			step = int(r - '0')
			indent = max(parent.was, 0) + step
		}
	}
	l.finish(head+text[:end], line, text[end:], is)
	from := l.at
	for ; l.at < len(l.lines); l.at++ {
		column := leading(l.lines[l.at])
		if column == len(l.lines[l.at]) {
			continue
		}
		if indent < 0 && column > parent.was {
			indent = column
		}
		if column < indent || indent < 0 {
			break
		}
	}
	for !keep && l.at > from && len(l.lines[l.at-1]) <= max(indent, 0) && leading(l.lines[l.at-1]) == len(l.lines[l.at-1]) {
		l.at-- // empty lines at the end are no part of it
	}
	for _, line := range l.lines[from:l.at] {
		if len(line) > indent && indent >= 0 {
			l.out.WriteString(strings.Repeat(" ", max(parent.is, 0)+step) + line[indent:])
		}
		l.out.WriteString("\n")
	}
}
