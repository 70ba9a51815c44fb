package states_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"shoal/states"
)

// TestHideMarked: what stands below a mark is hidden in a text, whichever way it is written, and nothing that stands elsewhere.
func TestHideMarked(t *testing.T) {
	for name, c := range map[string][2]string{
		"scalar":      {"a: 1\np: !secret hunter2 # why\nb: 2\n", "a: 1\np: !secret ********\nb: 2\n"},
		"block":       {"p: !secret |\n  one\n\n    two\nb: 2\n", "p: !secret ********\n  ********\n\n    ********\nb: 2\n"},
		"below":       {"p: !secret\n  hunter2\nb: 2", "p: !secret ********\n  ********\nb: 2"},
		"in a list":   {"l:\n  - !secret x1\n  - y\n", "l:\n  - !secret ********\n  - y\n"},
		"map":         {"l: !secret\n  a: x\n  b: y\nc: z\n", "l: !secret ********\n  ********\n  ********\nc: z\n"},
		"JSON":        {"{\"p\": {\"$secret\": \"x\"},\r\n \"b\": 2}", "{\"p\": {\"$secret\": ********\r\n ********"},
		"pretty JSON": {"{\n  \"p\": {\n    \"$secret\": [\n      \"x\"\n    ]\n  },\n  \"b\": 2\n}\n", "{\n  \"p\": {\n    \"$secret\": ********\n      ********\n    ]\n  },\n  \"b\": 2\n}\n"},
		"none":        {"a: secret\n", "a: secret\n"},
	} {
		got := string(states.HideMarked([]byte(c[0])))
		if got != c[1] {
			t.Errorf("%s:\n%q, want\n%q", name, got, c[1])
		}
		if strings.Count(got, "\n") != strings.Count(c[0], "\n") {
			t.Errorf("%s: other lines", name)
		}
	}
}

func TestSecretsOfATree(t *testing.T) {
	tree := fstest.MapFS{
		"site.yaml":                     {Data: []byte("targets:\n  - {on: '*', components: [app], variables: {pin: 4711, deep: {a: !secret one-of-them}}}\n")},
		"components/app/component.yaml": {Data: []byte("parameters:\n  pin: {type: int, secret: true, default: 9876}\n  open: {default: fine}\n")},
		"roles/x.json":                  {Data: []byte(`{"variables": {"k": {"$secret": ["in-a-list", 12345]}}}`)},
		"broken.yaml":                   {Data: []byte("a: [\n")},
	}
	if got, want := states.SecretsOf(tree), []string{"12345", "4711", "9876", "in-a-list", "one-of-them"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMask(t *testing.T) {
	m := states.NewMask([]string{"correct-horse-battery", "ab", "x", "first line\nsecond line", `say "so"`, "8842"})
	for text, want := range map[string]string{
		"pre correct-horse-battery post":             "pre ******** post",
		"CORRECT-HORSE-BATTERY":                      "********",
		"ab, (ab) lab abc x":                         "********, (********) lab abc x",
		"+  first line\n+  second line":              "+  ********\n+  ********",
		`echo "say \"so\""`:                          `echo "********"`,
		"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5":               "********",
		"dXNlcjpjb3JyZWN0LWhvcnNlLWJhdHRlcnk=":       "dXNlcj" + "********" + "k=",
		"636f72726563742d686f7273652d62617474657279": "********",
		"it was correct-horse-b… and more":           "it was ********… and more",
		"…rse-battery is the end":                    "…******** is the end",
		"nothing of it":                              "nothing of it",
	} {
		if got := m.Text(text); got != want && !(strings.HasPrefix(text, "dXNl") && !strings.Contains(got, "Y29ycmVjdC1") && strings.Contains(got, states.Masked)) {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if got := m.Value(map[string]any{"n": int64(8842), "l": []any{"correct-horse-battery", true}, "o": int64(17)}).(map[string]any); got["n"] != states.Masked || got["l"].([]any)[0] != states.Masked || got["o"] != int64(17) {
		t.Errorf("%v", got)
	}
}

// TestStandIns differ from what they stand for in every digit and at both ends of every line, and have its shape.
func TestStandIns(t *testing.T) {
	for _, n := range []int64{0, 1, 9, 10, 1234, 99999, -17, 1 << 62, -1 << 63, 1<<63 - 1} {
		if other := states.StandIn(n).(int64); other == n || other != states.StandIn(n) {
			t.Errorf("%d stands for %d", other, n)
		}
	}
	for _, s := range []string{"", "x", "xX", "two\nlines\n", "\n\n", "y\nx\ny"} {
		other := states.StandIn(s).(string)
		if strings.Count(other, "\n") != strings.Count(s, "\n") || s != "" && other == s {
			t.Errorf("%q stands for %q", other, s)
		}
	}
	if got := states.Differing("a pass b", "a word b", nil, nil); !slices.Equal(got, []string{"pass"}) {
		t.Errorf("got %q", got)
	}
}
