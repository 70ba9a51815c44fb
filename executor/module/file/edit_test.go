package file_test

import (
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/file"
	"shoal/executor/moduletest"
)

func edited(old string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		have(t, h, "/etc/f", old, executor.Meta{Mode: 0o640, UID: 7, GID: 7, Xattrs: map[string][]byte{"user.note": []byte("x")}})
	}
}

func TestEdit(t *testing.T) {
	type p = executor.Params
	suite(t, file.Edit{}, []moduletest.Case{
		{Name: "a line", Params: p{"path": "/etc/f", "line": "b"}, Setup: edited("a\n")},
		{Name: "mode alone", Params: p{"path": "/etc/f", "line": "a", "mode": "0600"}, Setup: edited("a\n")},
		{Name: "new", Params: p{"path": "/x/f", "line": "b", "create": true, "mode": "0600", "owner": "app"}},
		{Name: "there", Params: p{"path": "/etc/f", "line": "b"}, Setup: edited("b\n"), Matches: true},
		{Name: "nothing to remove from", Params: p{"path": "/etc/f", "remove": "b"}, Matches: true},
		{Name: "refused", Params: p{"path": "/etc/f", "line": "b", "validate": "false {path}"}, Setup: edited("a\n"), Fails: true},
		{Name: "keys", Params: p{"path": "/etc/f", "keys": map[string]any{"s": map[string]any{"k": int64(1)}}}, Setup: edited("[s]\nk=2\n")},
	})
}

func TestEdits(t *testing.T) {
	type p = executor.Params
	type m = map[string]any
	for name, c := range map[string]struct {
		p         p
		old, want string
	}{
		"append":                    {p{"line": "c"}, "a\nb\n", "a\nb\nc\n"},
		"append, no newline before": {p{"line": "c"}, "a\nb", "a\nb\nc\n"},
		"append, CRLF":              {p{"line": "c"}, "a\r\nb\r\n", "a\r\nb\r\nc\r\n"},
		"last line keeps no end":    {p{"line": "x", "match": "^a"}, "a\nb", "x\nb"},
		"into nothing":              {p{"line": "c"}, "", "c\n"},
		"at the start":              {p{"line": "c", "at": "start"}, "a\n", "c\na\n"},
		"match, the last":           {p{"line": "P no", "match": "^#?P "}, "#P yes\nP maybe\nx\n", "#P yes\nP no\nx\n"},
		"no match, line there":      {p{"line": "P no", "match": "^Q"}, "P no\n", "P no\n"},
		"after":                     {p{"line": "c", "after": "^a"}, "a\na2\nb\n", "a\na2\nc\nb\n"},
		"before":                    {p{"line": "c", "before": "^b"}, "a\nb\nb\n", "a\nc\nb\nb\n"},
		"no anchor":                 {p{"line": "c", "before": "^q"}, "a\n", "a\nc\n"},
		"many lines":                {p{"line": []any{"c", m{"line": "d", "after": "^a"}}}, "a\n", "a\nd\nc\n"},
		"remove":                    {p{"remove": []any{"^#", "^$"}}, "#x\n\na\n", "a\n"},
		"remove all":                {p{"remove": "."}, "a\n", ""},
		"replace":                   {p{"replace": m{"match": "^port=(\\d)\\d+", "with": "port=${1}0"}}, "x\nport=123\n", "x\nport=10\n"},
		"replace across lines":      {p{"replace": []any{m{"match": "a\\nb", "with": "c"}}}, "a\nb\n", "c\n"},
		"remove, then line":         {p{"remove": "^a", "line": "new"}, "a1\nb\na2\n", "b\nnew\n"},
		"key changed in place":      {p{"keys": m{"b": "2"}}, "a = 1\nb=1\nc = 3\n", "a = 1\nb = 2\nc = 3\n"},
		"key as it is":              {p{"keys": m{"b": int64(1)}}, "  b=1\n", "  b=1\n"},
		"key beside its comment":    {p{"keys": m{"b": true}}, "a = 1\n#b = false\n\nz = 1\n", "a = 1\n#b = false\nb = true\n\nz = 1\n"},
		"key twice":                 {p{"keys": m{"b": "2"}}, "b = 1\nb = 2\n", "b = 2\n"},
		"key removed":               {p{"keys": m{"b": nil}}, "a = 1\nb = 1\nb = 2\n", "a = 1\n"},
		"key, longer name":          {p{"keys": m{"b": "2"}}, "bb = 1\n", "bb = 1\nb = 2\n"},
		"key value":                 {p{"keys": m{"Port": int64(22)}, "separator": " "}, "Port 1\nPortX 1\n", "Port 22\nPortX 1\n"},
		"shell variable":            {p{"keys": m{"A": "\"x y\""}, "separator": "="}, "export B=1\nA=1\n", "export B=1\nA=\"x y\"\n"},
		"above the sections":        {p{"keys": m{"k": "1"}}, "a = 1\n\n[s]\nk = 2\n", "a = 1\nk = 1\n\n[s]\nk = 2\n"},
		"in a section":              {p{"keys": m{"k": "1"}, "section": "t"}, "[s]\nk = 2\n\n[t]\nx = 1\n\n[u]\n", "[s]\nk = 2\n\n[t]\nx = 1\nk = 1\n\n[u]\n"},
		"sections":                  {p{"keys": m{"s": m{"k": "1"}, "n": m{"a": "b"}}}, "[s]\nk = 2\n", "[s]\nk = 1\n\n[n]\na = b\n"},
		"block":                     {p{"block": m{"name": "x", "content": "1\n2\n"}}, "a\n", "a\n# BEGIN shoal x\n1\n2\n# END shoal x\n"},
		"block changed":             {p{"block": m{"name": "x", "content": "3", "comment": "//"}}, "// BEGIN shoal x\n1\n2\n// END shoal x\na\n", "// BEGIN shoal x\n3\n// END shoal x\na\n"},
		"block removed":             {p{"block": m{"name": "x", "state": "absent"}}, "a\n# BEGIN shoal x\n1\n# END shoal x\nb\n", "a\nb\n"},
		"block before":              {p{"block": m{"name": "x", "content": "1", "before": "^b"}}, "a\nb\n", "a\n# BEGIN shoal x\n1\n# END shoal x\nb\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h := fake.New()
			have(t, h, "/f", c.old, executor.Meta{Mode: 0o644})
			c.p["path"], c.p["create"] = "/f", true
			if err := (file.Edit{}).Function().Validate(c.p); err != nil {
				t.Fatal(err)
			}
			if _, err := (file.Edit{}).Apply(t.Context(), h, nil, c.p); err != nil {
				t.Fatal(err)
			}
			if got, err := h.ReadFile("/f"); err != nil || string(got) != c.want {
				t.Errorf("got %q, wanted %q, %v", got, c.want, err)
			}
		})
	}
}

func TestBadEdits(t *testing.T) {
	type m = map[string]any
	for want, p := range map[string]executor.Params{
		"needs one of":                 {},
		"missing closing )":            {"line": "x", "match": "("},
		"one line of text":             {"line": "a\nb"},
		"belongs to a single line":     {"line": []any{"a"}, "match": "b"},
		"exclude each other":           {"line": "a", "after": "b", "before": "c"},
		"unknown key \"lien\"":         {"line": []any{m{"lien": "a"}}},
		"needs a name":                 {"block": m{"content": "a"}},
		"holds its own marker":         {"block": m{"name": "x", "content": "# END shoal x"}},
		"two have the marker":          {"block": []any{m{"name": "x"}, m{"name": "x"}}},
		"must be a string, a number":   {"keys": m{"a": []any{}}},
		"section: names one too":       {"keys": m{"a": m{"b": "c"}}, "section": "d"},
		"more than 1000 edits":         {"remove": slicesOf("x", 1001)},
		"regular expression in quotes": {"remove": []any{int64(1)}},
	} {
		err := (file.Edit{}).Function().Validate(p)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, wanted %q", p, err, want)
		}
	}
}

func slicesOf(s string, n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = s
	}
	return out
}

func TestEditsThatNeverRest(t *testing.T) {
	h := fake.New()
	have(t, h, "/f", "a\n", executor.Meta{Mode: 0o644})
	for _, p := range []executor.Params{
		{"replace": map[string]any{"match": "a", "with": "aa"}},
		{"line": []any{map[string]any{"line": "x", "match": "^[xy]$"}, map[string]any{"line": "y", "match": "^x$"}}, "remove": "^y$"},
	} {
		p["path"] = "/f"
		_, err := (file.Edit{}).Check(t.Context(), h, nil, p)
		if p["remove"] != nil {
			if err != nil {
				t.Errorf("%v: %v", p, err) // it ends as it began
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "never come to rest") {
			t.Errorf("%v: %v", p, err)
		}
	}
}

// What a command changed between the staging and its turn is not lost.
func TestEditAfterAnother(t *testing.T) {
	h := fake.New()
	have(t, h, "/f", "a\n", executor.Meta{Mode: 0o644})
	p := executor.Params{"path": "/f", "line": "c"}
	staged, err := file.Edit{}.Prepare(t.Context(), h, nil, p)
	if err != nil || staged == "" {
		t.Fatal(staged, err)
	}
	have(t, h, "/f", "a\nb\n", executor.Meta{Mode: 0o644})
	if _, err := (file.Edit{}).ApplyStaged(t.Context(), h, nil, p, staged); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.ReadFile("/f"); string(got) != "a\nb\nc\n" {
		t.Errorf("got %q", got)
	}
	if names, _ := h.ReadDir("/"); len(names) != 1 {
		t.Errorf("left %v", names)
	}
}

func FuzzEdit(f *testing.F) {
	f.Add("a\nb\n", "b", "k", "v", "[s]\n")
	f.Fuzz(func(t *testing.T, old, line, key, value, more string) {
		h := fake.New()
		have(t, h, "/f", old+more, executor.Meta{Mode: 0o644})
		p := executor.Params{"path": "/f", "line": line, "keys": map[string]any{key: value}}
		if (file.Edit{}).Function().Validate(p) != nil {
			return
		}
		if _, err := (file.Edit{}).Apply(t.Context(), h, nil, p); err != nil {
			return
		}
		if change, err := (file.Edit{}).Check(t.Context(), h, nil, p); err != nil || change.Needed {
			t.Errorf("%q %v: %v\n%s", old+more, p, err, change.Diff)
		}
	})
}
