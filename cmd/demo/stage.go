package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// stage is where the demonstration prints: headings, what is typed, what is answered, and what was checked.
type stage struct {
	out    io.Writer
	color  bool
	live   bool // commands may draw their progress themselves
	scene  int
	checks int
}

func newStage(out *os.File) *stage {
	tty := isTerminal(out)
	return &stage{out: out, live: tty, color: tty && os.Getenv("NO_COLOR") == ""}
}

func (s *stage) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *stage) line(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *stage) title(text string) {
	s.line("\n%s\n%s", s.paint("1;36", text), s.paint("36", strings.Repeat("━", len([]rune(text)))))
}

// heading opens a scene.
func (s *stage) heading(text string) {
	s.scene++
	s.line("\n%s %s", s.paint("1;36", fmt.Sprintf("%d ▸", s.scene)), s.paint("1", text))
}

// say explains what is about to happen and why it matters.
func (s *stage) say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		s.line("    %s", s.paint("2", strings.TrimSuffix(line, "\n")))
	}
}

func (s *stage) typed(command string) {
	s.line("")
	s.typedNext(command)
}

// typedNext is a command right below another.
func (s *stage) typedNext(command string) { s.line("    %s", s.paint("1;33", "$ "+command)) }

// answer prints what a command said, without blank lines at its ends.
func (s *stage) answer(text string) {
	text = strings.Trim(text, "\n")
	if text == "" {
		return
	}
	for line := range strings.Lines(text) {
		s.line("    %s", strings.TrimSuffix(line, "\n"))
	}
}

// checked is one thing that was looked at and found true.
func (s *stage) checked(what string, took time.Duration) {
	s.checks++
	s.line("    %s %s %s", s.paint("1;32", "✓"), what, s.paint("2", tookText(took)))
}

func (s *stage) end(took time.Duration) {
	s.line("\n%s %d things were checked in %.1f s, and nothing is left behind.", s.paint("1;32", "✓"), s.checks, took.Seconds())
	s.line("  A tree of your own in five minutes: README.md. How it works: docs/ARCHITECTURE.md.")
}

func tookText(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("(%.1f ms)", float64(d.Microseconds())/1000)
	default:
		return fmt.Sprintf("(%.2f s)", d.Seconds())
	}
}
