package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// word is one token of a line.
type word struct {
	text   string
	col    int
	quoted bool
}

// line is what the parser reads, word by word. A problem ends it: what is read after that is empty.
type line struct {
	file    string
	number  int
	text    string
	words   []word
	at      int
	problem *Problem
}

const punctuation = "{},|>"

// split makes words. A word in quotes is a Go string; # begins a comment.
func split(file string, number int, text string) *line {
	l := &line{file: file, number: number, text: text}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t':
			i++
		case c == '#':
			return l
		case strings.IndexByte(punctuation, c) >= 0:
			l.words = append(l.words, word{text: text[i : i+1], col: i + 1})
			i++
		case c == '"':
			quoted, err := strconv.QuotedPrefix(text[i:])
			if err != nil {
				l.fail(i+1, "this string does not end", `write it as in Go: "one line\n", with \" for a quote in it`)
				return l
			}
			said, _ := strconv.Unquote(quoted) // QuotedPrefix has looked
			l.words = append(l.words, word{said, i + 1, true})
			i += len(quoted)
		default:
			end := i
			for end < len(text) && !strings.ContainsRune(punctuation+" \t\"#", rune(text[end])) {
				end++
			}
			l.words = append(l.words, word{text: text[i:end], col: i + 1})
			i = end
		}
	}
	return l
}

func (l *line) pos(col int) Pos { return Pos{l.file, l.number, col} }

func (l *line) fail(col int, what, do string) {
	if l.problem == nil {
		l.problem = &Problem{Pos: l.pos(col), What: what, Line: l.text, Do: do}
	}
}

// wrong is fail about the word that was read last.
func (l *line) wrong(what, do string) {
	col := len(l.text) + 1
	if l.at > 0 && l.at <= len(l.words) {
		col = l.words[l.at-1].col
	}
	l.fail(col, what, do)
}

func (l *line) more() bool { return l.problem == nil && l.at < len(l.words) }

// peek is the next word, empty at the end and for a string.
func (l *line) peek() string {
	if !l.more() || l.words[l.at].quoted {
		return ""
	}
	return l.words[l.at].text
}

// is takes the next word if it is this one.
func (l *line) is(want string) bool {
	if want == "" || l.peek() != want {
		return false
	}
	l.at++
	return true
}

// next takes a word; what names it for whoever left it out.
func (l *line) next(what, example string) string {
	if l.problem != nil {
		return ""
	}
	if l.at >= len(l.words) {
		l.fail(len(l.text)+1, what+" is missing", "for example: "+example)
		return ""
	}
	l.at++
	return l.words[l.at-1].text
}

// need takes a word that must be this one.
func (l *line) need(want, example string) {
	if l.problem != nil || l.is(want) {
		return
	}
	got := l.next(strconv.Quote(want), example)
	if l.problem == nil {
		l.wrong(fmt.Sprintf("%q stands where %q is to be", got, want), "for example: "+example)
	}
}

// end complains about what is left.
func (l *line) end(example string) {
	if !l.more() {
		return
	}
	got := l.next("", "")
	l.wrong(fmt.Sprintf("%q is too much here", got), "for example: "+example)
}

func (l *line) duration(example string) time.Duration {
	text := l.next("a time", example)
	if l.problem != nil {
		return 0
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err == nil && n >= 0 && n <= maxDays {
			return time.Duration(n) * 24 * time.Hour
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxDays*24*time.Hour {
		l.wrong(fmt.Sprintf("%q is no time", text), fmt.Sprintf("write 500ms, 30s, 5m, 24h or 7d; at most %dd", maxDays))
		return 0
	}
	return d
}

func (l *line) integer(what, example string, low, high int) int {
	text := l.next(what, example)
	if l.problem != nil {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		l.wrong(fmt.Sprintf("%q is no %s", text, strings.TrimPrefix(what, "a ")), fmt.Sprintf("write a number from %d to %d", low, high))
	}
	return n
}

// list joins words for people.
func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
