package pkgrepo

import (
	"strings"
	"testing"

	"shoal/executor"
)

// FuzzPin: an address of a tree goes into a line of apt's preferences. What validate lets through stays one line.
func FuzzPin(f *testing.F) {
	f.Add("https://download.docker.com/linux/debian")
	f.Add("http://[::1%25en0]:80/")
	f.Add("file:/srv/repo")
	f.Fuzz(func(t *testing.T, uri string) {
		p := map[string]any{"name": "x", "uris": []any{uri}}
		if validate(p) != nil {
			return
		}
		if pin := pinOf(executor.Params(p)); strings.ContainsAny(pin, "\n\r") {
			t.Errorf("%q becomes %q", uri, pin)
		}
	})
}
