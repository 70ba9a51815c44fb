package states

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with a tree.
type Problem struct {
	Place   Place
	Message string // lower case, says what is wrong
	Source  string // the offending line, without its newline; empty when there is none
	Hint    string // what to do, such as a name that is close; may be empty
}

// Problems is the error of a tree that does not compile: all of them, in the order of their places.
type Problems []Problem

// Error prints each problem with its place, its line, a caret and the hint.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s", p.Place, p.Message)
		if p.Source != "" {
			fmt.Fprintf(&b, "\n    %s", p.Source)
			if p.Place.Column > 0 && p.Place.Column <= len(p.Source)+1 {
				fmt.Fprintf(&b, "\n    %s^", blanks(p.Source[:p.Place.Column-1]))
			}
		}
		if p.Hint != "" {
			fmt.Fprintf(&b, "\n    %s", p.Hint)
		}
	}
	return b.String()
}

// blanks keeps tabs, so that the caret stands under its character.
func blanks(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, s)
}
