package mount

import (
	"fmt"
	"slices"
	"strings"

	"shoal/executor"
)

const fstab = "/etc/fstab"

// row is the line of fstab(5) that parameters ask for.
func row(p executor.Params) string {
	dump, _ := p.Int("dump")
	pass, _ := p.Int("pass")
	return fmt.Sprintf("%s %s %s %s %d %d\n", escape(p.String("device")), escape(p.String("path")), p.String("type"), strings.Join(options(p), ","), dump, pass)
}

// escape writes what would end a field as fstab and mountinfo do, in octal.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(s)
}

func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// isFor: the line mounts something at that path. Comments do not.
func isFor(line, path string) bool {
	fields := strings.Fields(line)
	return len(fields) >= 2 && !strings.HasPrefix(fields[0], "#") && unescape(fields[1]) == path
}

// sameRow: the fields are equal, however they are spaced; dump and pass that are not there are 0.
func sameRow(a, b string) bool {
	return slices.Equal(fields(a), fields(b))
}

func fields(line string) []string {
	f := strings.Fields(line)
	for len(f) < 6 {
		f = append(f, "0")
	}
	return f
}

func splitLines(data []byte) []string {
	lines := strings.SplitAfter(string(data), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	}
	return lines
}

// withRow is the file with that row for the path in the place of those that it has, or at the end. An empty row takes them
// out.
func withRow(data []byte, path, row string) []byte {
	var out []string
	done := row == ""
	for _, line := range splitLines(data) {
		if !isFor(line, path) {
			out = append(out, line)
			continue
		}
		if done {
			continue
		}
		if done = true; sameRow(line, row) {
			row = line // spacing is people's
		}
		out = append(out, row)
	}
	if !done {
		if n := len(out); n > 0 && !strings.HasSuffix(out[n-1], "\n") {
			out[n-1] += "\n"
		}
		out = append(out, row)
	}
	return []byte(strings.Join(out, ""))
}

// takeBack puts the rows of one path back as they were, into a file that others have changed since.
func takeBack(now, before []byte, p executor.Params) []byte {
	path := p.String("path")
	var old []string
	for _, line := range splitLines(before) {
		if isFor(line, path) {
			old = append(old, line)
		}
	}
	return withRow(now, path, strings.Join(old, ""))
}
