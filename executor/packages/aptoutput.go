package packages

import (
	"slices"
	"strings"

	"shoal/executor"
)

// policy is what apt-cache policy says of one package.
type policy struct {
	candidate string
	versions  []string // those that a repository has
}

// parsePolicy reads the answer for one name; known is false when apt has no package of exactly that name, as it takes a name
// for a pattern too. A version that only the status file of dpkg has is installed and cannot be had again.
func parsePolicy(output, name string) (p policy, known bool) {
	inTable, version := false, ""
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		switch {
		case !strings.HasPrefix(line, " "):
			if known {
				return p, true // the next package
			}
			known = strings.TrimSpace(line) == name+":"
		case !known || len(fields) == 0:
		case fields[0] == "Candidate:" && len(fields) > 1:
			if fields[1] != "(none)" {
				p.candidate = fields[1]
			}
		case fields[0] == "Version" && len(fields) > 1 && fields[1] == "table:":
			inTable = true
		case !inTable:
		case isVersionLine(line):
			if version = fields[0]; version == "***" && len(fields) > 1 {
				version = fields[1]
			}
		case len(fields) > 1 && fields[1] != "/var/lib/dpkg/status" && version != "" && !slices.Contains(p.versions, version):
			p.versions = append(p.versions, version)
		}
	}
	return p, known
}

// isVersionLine: versions stand at column 5, after a mark for the one that is installed; their sources further in.
func isVersionLine(line string) bool {
	return strings.HasPrefix(line, " *** ") || (strings.HasPrefix(line, "     ") && len(line) > 5 && line[5] != ' ')
}

// parseSimulation reads the lines "Inst NAME [OLD] (NEW …)" and "Remv NAME [OLD]" of apt-get --simulate.
func parseSimulation(output string) []executor.PackageChange {
	byName := map[string]executor.PackageChange{}
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		c := executor.PackageChange{Name: fields[1]}
		rest := fields[2:]
		if len(rest) > 0 && strings.HasPrefix(rest[0], "[") {
			c.Before = strings.Trim(rest[0], "[]")
			rest = rest[1:]
		}
		switch fields[0] {
		case "Inst":
			if len(rest) == 0 || !strings.HasPrefix(rest[0], "(") {
				continue
			}
			c.After = strings.Trim(rest[0], "()")
		case "Remv", "Purg":
		default:
			continue
		}
		if c.Before != c.After { // the same version again, such as a reinstall, changes nothing that is told here
			byName[c.Name] = c
		}
	}
	changes := make([]executor.PackageChange, 0, len(byName))
	for _, c := range byName {
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b executor.PackageChange) int { return strings.Compare(a.Name, b.Name) })
	return changes
}

// aptErrors are the lines in which apt says what is wrong, and where there are none, the last of all.
func aptErrors(output string) string {
	var errors, last []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if strings.HasPrefix(line, "E: ") || strings.HasPrefix(line, "dpkg: error") {
			errors = append(errors, line)
		}
		last = append(last, line)
	}
	if len(errors) == 0 {
		errors = last[max(0, len(last)-5):]
	} else if errors = errors[max(0, len(errors)-5):]; len(last) > 0 {
		// What a maintainer script said stands above apt's own lines.
		if i := slices.Index(last, errors[0]); i > 0 {
			errors = append(last[max(0, i-5):i], errors...)
		}
	}
	return strings.Join(errors, "\n")
}
