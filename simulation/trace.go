package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"shoal/mesh"
)

// trace is what tells whether two runs took the same course, and what a person reads of one.
type trace struct {
	hash  uint64
	sized uint64 // as hash, but of the sizes of frames alone: it does not know one signature from another
	told  bool   // lines are kept
	lines []line
}

type line struct {
	at   time.Duration
	node string
	text string
}

const fnvPrime = 1099511628211

func (t *trace) mix(x uint64) {
	t.hash = (t.hash ^ x) * fnvPrime
	t.sized = (t.sized ^ x) * fnvPrime
}

func (t *trace) event(now time.Duration, node int, ev mesh.Event) {
	t.mix(uint64(now))
	t.mix(uint64(node)<<32 | uint64(eventKind(ev)))
}

func (t *trace) frame(node int, frame []byte) {
	t.mix(uint64(node)<<32 | uint64(len(frame)))
	t.hash = (t.hash ^ xxhash.Sum64(frame)) * fnvPrime
}

func eventKind(ev mesh.Event) int {
	switch ev.(type) {
	case mesh.Start:
		return 1
	case mesh.Tick:
		return 2
	case mesh.Gossiped:
		return 3
	case mesh.Received:
		return 4
	case mesh.Stored:
		return 5
	case mesh.TreeChecked:
		return 6
	case mesh.Push:
		return 7
	}
	return 8
}

// maxLines bounds what is kept of one course.
const maxLines = 200_000

// note tells what happens at a node, or to all.
func (w *World) note(n *Node, format string, args ...any) {
	if !w.trace.told || len(w.trace.lines) >= maxLines {
		return
	}
	name := "--"
	if n != nil {
		name = n.Name
	}
	w.trace.lines = append(w.trace.lines, line{w.now, name, fmt.Sprintf(format, args...)})
}

// talk tells of the messages that decide something.
func (w *World) talk(from, to *Node, m mesh.Message) {
	if !w.trace.told {
		return
	}
	var what string
	switch m := m.(type) {
	case *mesh.Prepare:
		what = fmt.Sprintf("prepare %s/%d %d", m.Register, m.Epoch, m.Ballot.Number)
	case *mesh.Promise:
		what = fmt.Sprintf("promise %s %d %s, accepted %d", m.Register, m.Ballot.Number, m.Refused, m.Accepted.Number)
	case *mesh.Accept:
		what = fmt.Sprintf("accept %s/%d %d", m.Register, m.Epoch, m.Ballot.Number)
	case *mesh.Accepted:
		what = fmt.Sprintf("accepted %s %d %s", m.Register, m.Ballot.Number, m.Refused)
	default:
		return
	}
	w.note(from, "→ %s: %s", to.Name, what)
}

// timeline is the course as text, one line for each thing that happened.
func (t *trace) timeline() string {
	var b strings.Builder
	for _, l := range t.lines {
		l.write(&b)
	}
	return b.String()
}

func (l line) write(b *strings.Builder) {
	fmt.Fprintf(b, "%9.3fs %-4s %s\n", l.at.Seconds(), l.node, l.text)
}

// lanes is the end of the course, one paragraph for each node, the last lines of each.
func (t *trace) lanes(last int) string {
	var order []string
	of := map[string][]line{}
	for _, l := range t.lines {
		if of[l.node] == nil {
			order = append(order, l.node)
		}
		of[l.node] = append(of[l.node], l)
	}
	var b strings.Builder
	for _, node := range order {
		lines := of[node]
		if len(lines) > last {
			fmt.Fprintf(&b, "           %-4s (%d lines before)\n", node, len(lines)-last)
			lines = lines[len(lines)-last:]
		}
		for _, l := range lines {
			l.write(&b)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
