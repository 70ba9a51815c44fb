package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal is where a command prints: data to out, progress and diagnostics to err, colour only where a person looks.
type terminal struct {
	out, err io.Writer
	json     bool // data as JSON
	color    bool // out is a terminal and NO_COLOR is unset
	tinted   bool // err is a terminal and NO_COLOR is unset
	live     bool // err is a terminal: progress may redraw its line
	width    int
}

func newTerminal(out, err io.Writer) *terminal {
	t := &terminal{out: out, err: err, width: 80}
	t.live = isTerminal(err)
	forced, wanted := os.Getenv("CLICOLOR_FORCE") != "", os.Getenv("NO_COLOR") == ""
	t.color = wanted && (forced || isTerminal(out))
	t.tinted = wanted && (forced || t.live)
	if f, ok := err.(*os.File); ok && t.live {
		if w, _, e := term.GetSize(int(f.Fd())); e == nil && w > 20 {
			t.width = w
		}
	}
	return t
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// SGR codes (ECMA-48) by meaning.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// paint wraps s, which goes to out, in a colour when there is somebody to see it.
func (t *terminal) paint(code, s string) string { return painted(t.color, code, s) }

// tint is paint for what goes to err.
func (t *terminal) tint(code, s string) string { return painted(t.tinted, code, s) }

func painted(seen bool, code, s string) string {
	if !seen || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *terminal) printf(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

// note goes to standard error: what a person should know and a pipe should not.
func (t *terminal) note(format string, args ...any) { fmt.Fprintf(t.err, format+"\n", args...) }

// printJSON prints one value, indented.
func (t *terminal) printJSON(v any) error {
	enc := json.NewEncoder(t.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows under a header in aligned columns; words of good and bad news are coloured after they are aligned.
func (t *terminal) table(header []string, rows [][]string) {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	t.row(widths, header, func(string) string { return dim })
	for _, row := range rows {
		t.row(widths, row, func(cell string) string { return wordColors[cell] })
	}
}

func (t *terminal) row(widths []int, cells []string, color func(string) string) {
	var b strings.Builder
	for i, cell := range cells {
		text := cell
		if code := color(cell); code != "" {
			text = t.paint(code, cell)
		}
		b.WriteString(text)
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
	}
	t.printf("%s\n", strings.TrimRight(b.String(), " "))
}

// wordColors paints the words that tables and reports use for good and bad news.
var wordColors = map[string]string{
	"alive": green, "converged": green, "committed": green,
	"suspect": yellow, "staged": yellow, "waiting": yellow, "left": dim,
	"failed": red, "rolled_back": red, "rollback_incomplete": red, "diverged": red,
}

// bytesText is a size for people, in binary units.
func bytesText(n int64) string {
	switch {
	case n < 0:
		return "?"
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
