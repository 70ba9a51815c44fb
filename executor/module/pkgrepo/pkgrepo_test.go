package pkgrepo_test

import (
	"errors"
	"slices"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/pkgrepo"
	"shoal/executor/moduletest"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, pkgrepo.Modules()) }

var modules = pkgrepo.Modules()

func newHost(t *testing.T) executor.Host { return withFolder(t, "/etc/apt") }

func withFolder(t *testing.T, folder string) *fake.Host {
	h := fake.New()
	moduletest.Put(t, h, folder+"/x", "")
	return h
}

func snapshot(t *testing.T, h executor.Host) any { return moduletest.Tree(t, h, "/") }

var texts = moduletest.Texts{}

func docker() executor.Params {
	return executor.Params{
		"name": "docker", "uris": []any{"https://download.example/linux/debian"}, "suites": []any{"bookworm"}, "components": []any{"stable"},
		"architectures": []any{"amd64"}, "key": texts.Text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), "priority": int64(600),
	}
}

func old(t *testing.T, h executor.Host) {
	moduletest.Put(t, h, "/etc/apt/sources.list.d/docker.sources", "Types: deb\n")
	moduletest.Put(t, h, "/etc/apt/keyrings/docker.gpg", "binary")
}

func TestManagedAndAbsent(t *testing.T) {
	local := executor.Params{"name": "local", "uris": []any{"file:///srv/repo"}, "suites": []any{"./"}, "trusted": true}
	for i, cases := range [][]moduletest.Case{
		{
			{Name: "new", Params: docker(), Contents: texts},
			{Name: "another", Params: docker(), Contents: texts, Setup: old},
			{Name: "of this machine", Params: local},
			{Name: "as asked", Params: local, Matches: true, Setup: func(t *testing.T, h executor.Host) {
				moduletest.Put(t, h, "/etc/apt/sources.list.d/local.sources", "Types: deb\nURIs: file:///srv/repo\nSuites: ./\nTrusted: yes\n")
			}},
		},
		{
			{Name: "there", Params: executor.Params{"name": "docker"}, Setup: old},
			{Name: "not there", Params: executor.Params{"name": "docker"}, Matches: true},
		},
	} {
		moduletest.Run(t, moduletest.Suite{Module: modules[i], Host: newHost, Snapshot: snapshot, Cases: cases})
	}
}

func TestWhatIsWritten(t *testing.T) {
	p := docker()
	for folder, files := range map[string]map[string]string{
		"/etc/apt": {
			"/etc/apt/sources.list.d/docker.sources": "Types: deb\nURIs: https://download.example/linux/debian\nSuites: bookworm\nComponents: stable\n" +
				"Architectures: amd64\nSigned-By: /etc/apt/keyrings/docker.asc\n",
			"/etc/apt/preferences.d/docker": "Package: *\nPin: origin download.example\nPin-Priority: 600\n",
			"/etc/apt/keyrings/docker.asc":  "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
		},
		"/etc/yum.repos.d": {
			"/etc/yum.repos.d/docker.repo": "[docker]\nname=docker\nbaseurl=https://download.example/linux/debian\nenabled=1\ngpgcheck=1\n" +
				"gpgkey=file:///etc/pki/rpm-gpg/docker\npriority=600\n",
			"/etc/pki/rpm-gpg/docker": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
		},
		"/etc/zypp/repos.d": {"/etc/pki/rpm-gpg/docker": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"},
	} {
		h := withFolder(t, folder)
		out, err := modules[0].Apply(t.Context(), h, texts, p)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range files {
			if data, err := h.ReadFile(name); err != nil || string(data) != want {
				t.Errorf("%s: %q, %v", name, data, err)
			}
		}
		if got := h.Refreshes(); !slices.Equal(got, []string{"docker"}) {
			t.Errorf("%s: fetched the lists of %q", folder, got)
		}
		if data, err := h.ReadFile(out["path"].(string)); err != nil || len(data) == 0 {
			t.Errorf("output path %v: %v", out["path"], err)
		}
		if data, err := h.ReadFile(out["key"].(string)); err != nil || len(data) == 0 {
			t.Errorf("output key %v: %v", out["key"], err)
		}
	}
}

// A repository that cannot be reached is an error, and what it left is taken back.
func TestUnreachable(t *testing.T) {
	h := newHost(t).(*fake.Host)
	before := snapshot(t, h)
	m, p := modules[0], docker()
	undo, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("no route to host")
	h.Packages.Fail = func(string) error { return gone }
	if _, err := m.Apply(t.Context(), h, texts, p); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	if err := m.Revert(t.Context(), h, p, undo); err != nil {
		t.Errorf("a network that is down keeps the files from being put back: %v", err)
	}
	if after := moduletest.Tree(t, h, "/"); len(after) != len(before.(map[string]string)) {
		t.Errorf("left %v", after)
	}
}

// A disabled repository need not be reached.
func TestDisabled(t *testing.T) {
	h, p := newHost(t).(*fake.Host), docker()
	p["enabled"] = false
	if _, err := modules[0].Apply(t.Context(), h, texts, p); err != nil {
		t.Fatal(err)
	}
	if got := h.Refreshes(); len(got) != 0 {
		t.Errorf("fetched %q", got)
	}
}

// What a later form of the state wrote goes with the undo of the first.
func TestFirstUndoCoversLaterFiles(t *testing.T) {
	h := newHost(t)
	before := moduletest.Tree(t, h, "/etc")
	m, p := modules[0], docker()
	delete(p, "priority")
	undo, err := m.Capture(t.Context(), h, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, params := range []executor.Params{p, docker()} {
		if _, err := m.Apply(t.Context(), h, texts, params); err != nil {
			t.Fatal(err)
		}
	}
	undo.Old = func(string) ([]byte, error) { return nil, errors.New("nothing was there") }
	if err := m.Revert(t.Context(), h, p, undo); err != nil {
		t.Fatal(err)
	}
	for name := range moduletest.Tree(t, h, "/etc") {
		if _, was := before[name]; !was && name != "/etc/apt/preferences.d" { // a folder is the engine's to remove
			t.Errorf("left %s", name)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change map[string]any
		ok     bool
	}{
		{nil, true}, {map[string]any{"name": "../x"}, false}, {map[string]any{"name": "a b"}, false}, {map[string]any{"uris": []any{}}, false},
		{map[string]any{"suites": []any{"a\nTrusted: yes"}}, false}, {map[string]any{"signed_by": "/x"}, false}, {map[string]any{"pin": "a\nb"}, false},
	} {
		p := docker()
		for name, v := range c.change {
			p[name] = v
		}
		if err := modules[0].Function().Validate(p); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.change, err)
		}
	}
}
