package scenario

import (
	"os"
	"strings"
	"testing"
)

// TestDocsParse reads the scenarios that the manual shows.
func TestDocsParse(t *testing.T) {
	text, err := os.ReadFile("../../docs/simulation.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```scenario\n")
	if len(blocks) < 2 {
		t.Fatal("the manual shows none")
	}
	for _, block := range blocks[1:] {
		code, _, _ := strings.Cut(block, "```")
		if _, err := Parse("docs/simulation.md", []byte(code)); err != nil {
			t.Error(err)
		}
	}
}
