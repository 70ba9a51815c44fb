// Package attacks is what a member with bad intent tries, and what a stranger on the network does: scripted, against the cores in
// virtual time, against the real transport, gossip and API on loopback, and against the machine. A member holds the gossip key and the key
// of its node. None of the attacks may succeed; and each must succeed when the one check that stops it is taken out
// (planted.go), or it would show nothing. docs/attacks.md is the table.
package attacks

// Who attacks.
type Who string

// The two sets of attacks.
const (
	Member   Who = "member"   // has the gossip key, and the key of its own node, which was granted
	Stranger Who = "stranger" // is on the network, or on the machine without rights, and has what it found there
)

// Bug is a check that is taken out of the program: what each attack is stopped by.
type Bug struct {
	Name  string
	Check string // what the check says, for people
	Edits []Edit
}

// Edit changes one place of a file. Text must be there exactly once, without the marks: «…» stands around a condition.
type Edit struct {
	File, Text string
	how        string
	with       string
}

// refuse takes out a condition that refuses.
func refuse(file, text string) Edit { return Edit{File: file, Text: text, how: "!%s && (%s)"} }

// permit takes out a condition that is needed.
func permit(file, text string) Edit { return Edit{File: file, Text: text, how: "(%s || %s)"} }

// swap puts another text in the place of one; PLANTED in it is true while the bug is there.
func swap(file, text, with string) Edit { return Edit{File: file, Text: text, with: with} }
