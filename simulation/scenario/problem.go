package scenario

import (
	"fmt"
	"strings"
)

// Pos is a place in a file; lines and columns count from 1, columns in bytes.
type Pos struct {
	File      string
	Line, Col int
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// Problem is something wrong with a scenario: where, what, and what to do.
type Problem struct {
	Pos  Pos
	What string
	Line string // as it is written
	Do   string
}

func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", p.Pos, p.What)
	if p.Line != "" {
		fmt.Fprintf(&b, "    %s\n    %s^\n", strings.ReplaceAll(p.Line, "\t", " "), strings.Repeat(" ", p.Pos.Col-1))
	}
	fmt.Fprintf(&b, "    %s", p.Do)
	return b.String()
}

// Problems are all that is wrong with one.
type Problems []*Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}
