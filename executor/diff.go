package executor

import (
	"bytes"
	"fmt"
	"strings"
)

// Limits of a diff: it is read by people and travels in reports.
const (
	MaxDiffInput = 256 << 10 // bytes on either side
	maxDiffEdits = 1000      // lines that differ
	maxDiffBytes = 16 << 10
	diffContext  = 3
)

// TextDiff is a unified diff of two files' contents; "binary files differ" where one is not text.
func TextDiff(name string, old, new []byte) string { return ShownDiff(name, old, new, old, new) }

// ShownDiff is TextDiff, with other lines printed in the place of those that differ: shownOld and shownNew have as many lines.
func ShownDiff(name string, old, new, shownOld, shownNew []byte) string {
	if bytes.Equal(old, new) {
		return ""
	}
	if binary(old) || binary(new) {
		return fmt.Sprintf("binary files differ: %s, %d -> %d bytes\n", name, len(old), len(new))
	}
	if len(old) > MaxDiffInput || len(new) > MaxDiffInput {
		return fmt.Sprintf("%s: %d -> %d bytes, too long to show\n", name, len(old), len(new))
	}
	a, b := lines(old), lines(new)
	script, ok := edits(a, b)
	if !ok {
		return fmt.Sprintf("%s: %d -> %d lines, too different to show\n", name, len(a), len(b))
	}
	a, b = lines(shownOld), lines(shownNew)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", name, name)
	for _, h := range hunks(script) {
		h.print(&out, a, b)
		if out.Len() > maxDiffBytes {
			return out.String()[:maxDiffBytes] + "\n… the rest is not shown\n"
		}
	}
	return out.String()
}

func binary(data []byte) bool { return bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 }

func lines(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	all := strings.SplitAfter(string(data), "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// edit is one line that is kept (' '), taken ('-') or added ('+'), with its index on either side.
type edit struct {
	op   byte
	a, b int
}

// edits is the shortest script from a to b (Myers, An O(ND) Difference Algorithm, 1986), or ok=false when it is longer than
// maxDiffEdits.
func edits(a, b []string) (script []edit, ok bool) {
	if len(a) == 0 || len(b) == 0 {
		return plain(a, b), true
	}
	limit := min(len(a)+len(b), maxDiffEdits)
	v := map[int]int{1: 0}
	var trace []map[int]int
	for d := 0; d <= limit; d++ {
		row := make(map[int]int, d+1)
		for k := -d; k <= d; k += 2 {
			x := v[k-1] + 1
			if k == -d || k != d && v[k-1] < v[k+1] {
				x = v[k+1]
			}
			y := x - k
			for x < len(a) && y < len(b) && a[x] == b[y] {
				x, y = x+1, y+1
			}
			row[k] = x
			v[k] = x
			if x >= len(a) && y >= len(b) {
				return backtrack(append(trace, row), len(a), len(b)), true
			}
		}
		trace = append(trace, row)
	}
	return nil, false
}

func plain(a, b []string) []edit {
	script := make([]edit, 0, len(a)+len(b))
	for i := range a {
		script = append(script, edit{'-', i, 0})
	}
	for i := range b {
		script = append(script, edit{'+', len(a), i})
	}
	return script
}

func backtrack(trace []map[int]int, x, y int) []edit {
	var reversed []edit
	for d := len(trace) - 1; d > 0; d-- {
		k, before := x-y, trace[d-1]
		left, hasLeft := before[k-1]
		right, hasRight := before[k+1]
		down := k == -d || k != d && (!hasLeft || hasRight && left < right)
		fromX, fromY := left, left-(k-1)
		if down {
			fromX, fromY = right, right-(k+1)
		}
		for x > fromX && y > fromY && !(down && x == fromX && y == fromY+1) && !(!down && x == fromX+1 && y == fromY) {
			x, y = x-1, y-1
			reversed = append(reversed, edit{' ', x, y})
		}
		if down {
			y--
			reversed = append(reversed, edit{'+', x, y})
		} else {
			x--
			reversed = append(reversed, edit{'-', x, y})
		}
	}
	for x > 0 && y > 0 {
		x, y = x-1, y-1
		reversed = append(reversed, edit{' ', x, y})
	}
	script := make([]edit, len(reversed))
	for i, e := range reversed {
		script[len(reversed)-1-i] = e
	}
	return script
}

type hunk []edit

// hunks cuts a script into its changes with their context.
func hunks(script []edit) []hunk {
	var all []hunk
	start, end := -1, -1
	for i, e := range script {
		if e.op == ' ' {
			continue
		}
		from := max(i-diffContext, 0)
		if start >= 0 && from > end {
			all = append(all, script[start:end])
			start = -1
		}
		if start < 0 {
			start = from
		}
		end = min(i+1+diffContext, len(script))
	}
	if start >= 0 {
		all = append(all, script[start:end])
	}
	return all
}

func (h hunk) print(out *strings.Builder, a, b []string) {
	var counts [2]int
	for _, e := range h {
		if e.op != '+' {
			counts[0]++
		}
		if e.op != '-' {
			counts[1]++
		}
	}
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(h[0].a, counts[0]), span(h[0].b, counts[1]))
	for _, e := range h {
		line := ""
		if e.op == '+' {
			line = b[e.b]
		} else {
			line = a[e.a]
		}
		out.WriteByte(e.op)
		out.WriteString(line)
		if !strings.HasSuffix(line, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

func span(start, count int) string {
	if count == 0 {
		return fmt.Sprintf("%d,0", start)
	}
	if count == 1 {
		return fmt.Sprintf("%d", start+1)
	}
	return fmt.Sprintf("%d,%d", start+1, count)
}
