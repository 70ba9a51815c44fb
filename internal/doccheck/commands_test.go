package doccheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A command stands on a line of its own, indented or after a prompt; a comment may follow.
var typed = regexp.MustCompile(`(?m)^(?:    |\$ )shoal ([a-z][^#\n]*)`)

// Each command that the pages show must be known to the binary with its flags; with --help it is read and not run.
func TestCommandsOfThePages(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "shoal")
	if out, err := exec.Command("go", "build", "-o", binary, "shoal/cmd/shoal").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	tried := 0
	for _, page := range []string{"README.md", "docs/language.md", "docs/operations.md", "examples/webfleet/README.md", "examples/certificates/README.md"} {
		data, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range typed.FindAllStringSubmatch(string(data), -1) {
			line, _, _ := strings.Cut(m[1], "&&")
			// No argument of a page holds a blank but messages, whose quotes do not matter here.
			args := append(strings.Fields(line), "--help")
			tried++
			out, err := exec.Command(binary, args...).Output()
			if err != nil || !strings.Contains(string(out), "Usage:\n  shoal "+args[0]) {
				t.Errorf("%s: shoal %s: %v", page, line, err)
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d commands found: has the way of writing them changed?", tried)
	}
}
