package main

import (
	"fmt"
	"sync"
)

// board shows many machines at work: on a terminal a line for each that is, elsewhere a plain line for each step.
type board struct {
	t *terminal

	mu     sync.Mutex
	active []*boardLine
	drawn  int // lines of the terminal that the active ones take
}

type boardLine struct {
	board *board
	name  string
	text  string
}

func (b *board) begin(name string) *boardLine {
	l := &boardLine{board: b, name: name}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active = append(b.active, l)
	return l
}

// say is what the machine is about now.
func (l *boardLine) say(format string, args ...any) {
	l.board.change(func() {
		l.text = fmt.Sprintf(format, args...)
		if !l.board.t.live {
			l.board.t.note("%s: %s", l.name, l.text)
		}
	})
}

// tell leaves a line that stays.
func (l *boardLine) tell(format string, args ...any) {
	l.board.change(func() { l.board.t.note("%s: %s", l.name, fmt.Sprintf(format, args...)) })
}

// note is tell for a text as it is.
func (l *boardLine) note(text string) { l.tell("%s", text) }

// end leaves the last line of the machine.
func (l *boardLine) end(mark, text string) {
	l.board.change(func() {
		for i, other := range l.board.active {
			if other == l {
				l.board.active = append(l.board.active[:i], l.board.active[i+1:]...)
				break
			}
		}
		l.board.t.note("%s %s: %s", mark, l.name, text)
	})
}

// change clears what is drawn, lets do print what stays, and draws anew.
func (b *board) change(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clear()
	do()
	b.draw()
}

func (b *board) clear() {
	if b.drawn > 0 {
		fmt.Fprintf(b.t.err, "\x1b[%dA\r\x1b[J", b.drawn)
		b.drawn = 0
	}
}

func (b *board) draw() {
	if !b.t.live {
		return
	}
	for _, l := range b.active {
		line := []rune("… " + l.name + ": " + firstLine(l.text))
		if len(line) >= b.t.width {
			line = line[:b.t.width-1]
		}
		fmt.Fprintln(b.t.err, string(line))
		b.drawn++
	}
}
