package executor_test

import (
	"strings"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/local"
	"shoal/executor/module/archive"
	"shoal/executor/module/download"
	"shoal/executor/module/file"
	"shoal/executor/module/sshkey"
	"shoal/executor/moduletest"
	"shoal/states"
)

// newShed is a machine in memory with the modules that look after several things at once.
func newShed(t *testing.T) (*fake.Host, *executor.Engine) {
	t.Helper()
	h := fake.New()
	data := local.OpenData(t.TempDir())
	t.Cleanup(func() { data.Close() })
	var modules []executor.Module
	for _, some := range [][]executor.Module{file.Modules(), download.Modules(), archive.Modules(), sshkey.Modules()} {
		modules = append(modules, some...)
	}
	return h, &executor.Engine{
		Host: h, Modules: executor.Catalogue(modules...), Journal: data, Ledger: data, Vault: data, Lock: data, Clock: local.Clock{},
	}
}

func (p *planned) folder(files ...string) []any {
	var list []any
	for _, f := range files {
		list = append(list, map[string]any{states.FolderPath: f, states.FolderMode: "0644", states.FolderContents: p.text(f)})
	}
	return list
}

func write(t *testing.T, h executor.Host, name, text string) {
	t.Helper()
	staged, err := h.Stage(name, []byte(text), executor.Meta{Mode: 0o600, UID: 7})
	if err == nil {
		err = h.Rename(staged, name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What a later run was the first to touch is known when the state leaves the tree.
func TestSeveralThingsAreTakenBack(t *testing.T) {
	h, e := newShed(t)
	if err := h.Mkdir("/srv", executor.Meta{Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/srv/b", "/srv/old"} {
		write(t, h, name, "mine")
	}
	before := moduletest.Files(t, h)
	run := func(p *planned) {
		t.Helper()
		if r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Result != executor.Converged {
			t.Fatalf("%s: %s\n%s", r.Result, r.Error, results(r))
		}
	}
	for _, files := range [][]string{{"a"}, {"a", "b", "d/c"}, {"d/c"}} {
		p := newPlan()
		p.add("site", "file.tree", map[string]any{"path": "/srv", "source": p.folder(files...), "purge": len(files) > 1})
		run(p)
		if r := e.Check(t.Context(), &p.Plan, nil, executor.RunMeta{}); r.Changed != 0 {
			t.Fatalf("a second run would change\n%s", results(r))
		}
	}
	run(newPlan())
	after := moduletest.Files(t, h)
	if a, b := strings.Join(before.([]string), "\n"), strings.Join(after.([]string), "\n"); a != b {
		t.Errorf("before\n%s\nafter\n%s", a, b)
	}
}

// A fetch that fails ends the run before anything is changed.
func TestFetchFailsFirst(t *testing.T) {
	h, e := newShed(t)
	h.Publish("http://example.org/x", []byte("other bytes"))
	p := newPlan()
	p.file("first", "/etc/first", "first")
	p.add("tool", "download.fetched", map[string]any{"path": "/tool", "url": "http://example.org/x", "sha256": strings.Repeat("0", 64)})
	r := e.Apply(t.Context(), &p.Plan, nil, executor.RunMeta{})
	if r.Result != executor.RolledBackRun || !strings.Contains(r.Error, "its hash is") {
		t.Fatalf("%s: %s", r.Result, r.Error)
	}
	for _, s := range r.States {
		if s.Result == executor.RolledBack {
			t.Errorf("%s was changed before the fetch failed", s.ID)
		}
	}
	if left := moduletest.Files(t, h).([]string); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
