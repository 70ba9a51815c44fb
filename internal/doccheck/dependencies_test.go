package doccheck

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var dependencyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+) \\| (yes|no) \\|$")

var requiredLine = regexp.MustCompile(`(?m)^\t(\S+) v\S+`)

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
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required, linked := map[string]bool{}, modules(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "shoal/cmd/shoal")
	for _, line := range requiredLine.FindAllStringSubmatch(string(mod), -1) {
		required[line[1]] = true
	}
	for module := range required {
		want := "no"
		if linked[module] {
			want = "yes"
		}
		if listed[module] != want {
			t.Errorf("%s: docs/dependencies.md says %q, in the binary: %s", module, listed[module], want)
		}
	}
	for module := range listed {
		if !required[module] {
			t.Errorf("%s is in docs/dependencies.md, and no dependency", module)
		}
	}
	if len(required) < 60 {
		t.Errorf("go.mod has %d dependencies?", len(required))
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
