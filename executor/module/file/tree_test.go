package file_test

import (
	"slices"
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/file"
	"shoal/executor/moduletest"
	"shoal/states"
)

// source makes the value of a folder parameter: "path mode text" each.
func source(texts moduletest.Texts, files ...string) []any {
	var list []any
	for _, f := range files {
		parts := strings.SplitN(f, " ", 3)
		list = append(list, map[string]any{states.FolderPath: parts[0], states.FolderMode: parts[1], states.FolderContents: texts.Text(parts[2])})
	}
	return list
}

func TestTree(t *testing.T) {
	type p = executor.Params
	texts := moduletest.Texts{}
	site := source(texts, "a 0644 a", "bin/run 0755 run", "bin/sub/x 0644 x")
	there := func(t *testing.T, h executor.Host) {
		have(t, h, "/srv/a", "a", executor.Meta{Mode: 0o644})
		have(t, h, "/srv/bin/run", "old", executor.Meta{Mode: 0o600, UID: 5, GID: 6})
		have(t, h, "/srv/keep/log", "log", executor.Meta{Mode: 0o644})
		have(t, h, "/srv/keep/gone", "x", executor.Meta{Mode: 0o600, UID: 3})
		have(t, h, "/srv/bin/gone/deep/x", "x", executor.Meta{Mode: 0o644})
		link(t, h, "/srv/l", "a")
	}
	kinds := func(t *testing.T, h executor.Host) {
		have(t, h, "/srv/bin", "a file", executor.Meta{Mode: 0o600, UID: 5})
		have(t, h, "/srv/a/deep/x", "in the way", executor.Meta{Mode: 0o600})
	}
	equal := func(t *testing.T, h executor.Host) {
		have(t, h, "/srv/a", "a", executor.Meta{Mode: 0o644})
		have(t, h, "/srv/bin/run", "run", executor.Meta{Mode: 0o755})
		have(t, h, "/srv/bin/sub/x", "x", executor.Meta{Mode: 0o644})
		have(t, h, "/srv/other", "x", executor.Meta{Mode: 0o644})
	}
	cases := []moduletest.Case{
		{Name: "new", Params: p{"path": "/x/srv", "source": site}},
		{Name: "new, with owners", Params: p{"path": "/srv", "source": site, "owner": "app", "group": "app", "mode": "0600", "folder_mode": "0700"}},
		{Name: "over some", Params: p{"path": "/srv", "source": site}, Setup: there},
		{Name: "purge", Params: p{"path": "/srv", "source": site, "purge": true, "exclude": []any{"log"}}, Setup: there},
		{Name: "purge, kinds change", Params: p{"path": "/srv", "source": site, "purge": true}, Setup: kinds},
		{Name: "other modes", Params: p{"path": "/srv", "source": site, "mode": "0640", "folder_mode": "0750"}, Setup: equal},
		{Name: "as it is", Params: p{"path": "/srv", "source": site}, Setup: equal, Matches: true},
		{Name: "as it is, excluded", Params: p{"path": "/srv", "source": site, "purge": true, "exclude": []any{"ot*"}}, Setup: equal, Matches: true},
		{Name: "empty source", Params: p{"path": "/srv", "source": []any{}, "purge": true}, Setup: equal},
	}
	for i := range cases {
		cases[i].Contents = texts
	}
	suite(t, file.Tree{}, cases)
}

func TestTreeKeeps(t *testing.T) {
	p := executor.Params{"path": "/srv", "source": source(moduletest.Texts{}, "a 0644 a", "bin/sub/x 0644 x", "log/y 0644 y"), "exclude": []any{"log"}}
	want := []string{"/srv/a", "/srv/bin", "/srv/bin/sub", "/srv/bin/sub/x"}
	if got := slices.Sorted(slices.Values(file.Tree{}.Keeps(p))); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	p["purge"] = true
	want = []string{"/srv/", "/srv/a", "/srv/bin", "/srv/bin/", "/srv/bin/sub", "/srv/bin/sub/", "/srv/bin/sub/x"}
	if got := slices.Sorted(slices.Values(file.Tree{}.Keeps(p))); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestTreePurges(t *testing.T) {
	h, texts := fake.New(), moduletest.Texts{}
	for _, name := range []string{"/srv/a", "/srv/up/1", "/srv/up/2.bak", "/srv/d/x", "/srv/d/e.bak", "/srv/d/f/y"} {
		have(t, h, name, "x", executor.Meta{Mode: 0o644})
	}
	p := executor.Params{"path": "/srv", "source": source(texts, "a 0644 new", "c.bak 0644 c"), "purge": true, "exclude": []any{"/up/1", "*.bak"}}
	change, err := file.Tree{}.Check(t.Context(), h, texts, p)
	if err != nil || !strings.Contains(change.Diff, "remove a folder /srv/d/f\n") || !strings.Contains(change.Diff, "+new") {
		t.Fatalf("%v\n%s", err, change.Diff)
	}
	if _, err := (file.Tree{}).Apply(t.Context(), h, texts, p); err != nil {
		t.Fatal(err)
	}
	rows := moduletest.Files(t, h).([]string)
	for i := range rows {
		rows[i], _, _ = strings.Cut(rows[i], " ")
	}
	if want := []string{"/srv", "/srv/a", "/srv/d", "/srv/d/e.bak", "/srv/up", "/srv/up/1", "/srv/up/2.bak"}; !slices.Equal(rows, want) {
		t.Errorf("left %v", rows)
	}
}

func TestTreeRefuses(t *testing.T) {
	h, texts := fake.New(), moduletest.Texts{}
	have(t, h, "/srv/d", "x", executor.Meta{Mode: 0o644})
	folder(t, h, "/srv/f")
	for want, files := range map[string]string{"/srv/d is a file": "d/x 0644 x", "/srv/f is a folder": "f 0644 x", "no file of a folder": "../x 0644 x"} {
		_, err := file.Tree{}.Check(t.Context(), h, texts, executor.Params{"path": "/srv", "source": source(texts, files)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, wanted %q", err, want)
		}
	}
	if (file.Tree{}).Function().Validate(map[string]any{"exclude": []any{"["}}) == nil {
		t.Error("took a bad pattern")
	}
}
