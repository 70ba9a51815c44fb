package doccheck

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var dependencyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+) \\| (yes|no) \\|$")

// TestDependencies: docs/dependencies.md has the modules that go.mod has, each with its purpose, and says which are in the binary.
func TestDependencies(t *testing.T) {
	page, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, row := range dependencyRow.FindAllStringSubmatch(string(page), -1) {
		if listed[row[1]] != "" || len(row[2]) < 10 {
			t.Errorf("%s is there twice, or without a purpose", row[1])
		}
		listed[row[1]] = row[3]
	}
	direct, linked := modules(t, "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all"),
		modules(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "shoal/cmd/shoal")
	for module := range direct {
		want := "no"
		if linked[module] {
			want = "yes"
		}
		if listed[module] != want {
			t.Errorf("%s: docs/dependencies.md says %q, in the binary: %s", module, listed[module], want)
		}
	}
	for module := range listed {
		if !direct[module] {
			t.Errorf("%s is in docs/dependencies.md, and no dependency", module)
		}
	}
	if len(direct) < 20 {
		t.Errorf("go.mod has %d direct dependencies?", len(direct))
	}
}

func modules(t *testing.T, args ...string) map[string]bool {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go %v: %v", args, err)
	}
	found := map[string]bool{}
	for _, line := range strings.Fields(string(out)) {
		found[line] = true
	}
	return found
}
