package doccheck

import (
	"bytes"
	"io/fs"
	"testing"

	"shoal/states"
)

// Every document of the examples can be formatted, and is left alone the second time.
func TestExamplesCanBeFormatted(t *testing.T) {
	for site, tree := range exampleTrees(t) {
		names, _, err := states.Documents(tree)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d documents, %v", site, len(names), err)
		}
		for _, name := range names {
			data, err := fs.ReadFile(tree, name)
			if err != nil {
				t.Fatal(err)
			}
			once, err := states.Format(name, data)
			if err != nil {
				t.Errorf("%s: %v", site, err)
				continue
			}
			if twice, err := states.Format(name, once); err != nil || !bytes.Equal(once, twice) {
				t.Errorf("%s: %s is formatted otherwise the second time (%v)", site, name, err)
			}
		}
	}
}
