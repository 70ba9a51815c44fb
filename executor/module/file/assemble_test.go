package file_test

import (
	"errors"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/file"
	"shoal/executor/moduletest"
)

func TestAssemble(t *testing.T) {
	type p = executor.Params
	texts := moduletest.Texts{}
	parts := func(t *testing.T, h executor.Host) {
		have(t, h, "/etc/f.d/10-a", "a\n", executor.Meta{Mode: 0o644})
		have(t, h, "/etc/f.d/20-b", "b", executor.Meta{Mode: 0o644})
		have(t, h, "/etc/f.d/.hidden", "h", executor.Meta{Mode: 0o644})
		folder(t, h, "/etc/f.d/sub")
	}
	equal := func(t *testing.T, h executor.Host) {
		parts(t, h)
		have(t, h, "/etc/f", "a\nb\n", executor.Meta{Mode: 0o644})
	}
	cases := []moduletest.Case{
		{Name: "new", Params: p{"path": "/etc/f", "from": "/etc/f.d"}, Setup: parts},
		{Name: "of the tree", Params: p{"path": "/x/f", "source": source(texts, "1 0644 one", "2 0644 two"), "fragments": map[string]any{"0": "zero"}, "mode": "0600"}},
		{Name: "changed", Params: p{"path": "/etc/f", "from": "/etc/f.d", "delimiter": "--"}, Setup: equal},
		{Name: "as it is", Params: p{"path": "/etc/f", "from": "/etc/f.d"}, Setup: equal, Matches: true},
		{Name: "refused", Params: p{"path": "/etc/f", "fragments": map[string]any{"a": "b"}, "validate": "false"}, Setup: equal, Fails: true},
	}
	for i := range cases {
		cases[i].Contents = texts
	}
	suite(t, file.Assemble{}, cases)
}

func TestAssembled(t *testing.T) {
	h, texts := fake.New(), moduletest.Texts{}
	have(t, h, "/d/20", "machine", executor.Meta{Mode: 0o644})
	have(t, h, "/d/20.bak", "no", executor.Meta{Mode: 0o644})
	p := executor.Params{
		"path": "/f", "from": "/d", "source": source(texts, "10 0644 tree\n"), "fragments": map[string]any{"30": "here"},
		"delimiter": "---", "exclude": []any{"*.bak"},
	}
	if _, err := (file.Assemble{}).Apply(t.Context(), h, texts, p); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.ReadFile("/f"); string(got) != "tree\n---\nmachine\n---\nhere\n" {
		t.Errorf("got %q", got)
	}
	p["fragments"] = map[string]any{"20": "x"}
	if _, err := (file.Assemble{}).Check(t.Context(), h, texts, p); err == nil || !strings.Contains(err.Error(), "two fragments are called 20") {
		t.Errorf("%v", err)
	}
	var missing *executor.Missing
	_, err := file.Assemble{}.Check(t.Context(), h, texts, executor.Params{"path": "/f", "from": "/none"})
	if !errors.As(err, &missing) {
		t.Errorf("%v", err)
	}
	if (file.Assemble{}).Function().Validate(map[string]any{}) == nil {
		t.Error("took nothing for fragments")
	}
}
