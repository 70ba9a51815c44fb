package timezone_test

import (
	"errors"
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/module/timezone"
	"shoal/executor/moduletest"
)

// TestMain: every function of the package has a conformance suite.
func TestMain(m *testing.M) { moduletest.Main(m, timezone.Modules()) }

var module = timezone.Modules()[0]

func newHost(t *testing.T) executor.Host {
	h := fake.New()
	for _, zone := range []string{"UTC", "Europe/Berlin"} {
		moduletest.Put(t, h, "/usr/share/zoneinfo/"+zone, "TZif2")
	}
	moduletest.Put(t, h, "/etc/motd", "")
	return h
}

func at(target, name string) func(*testing.T, executor.Host) {
	return func(t *testing.T, h executor.Host) {
		if err := h.Symlink(target, "/etc/localtime"); err != nil {
			t.Fatal(err)
		}
		if name != "" {
			moduletest.Put(t, h, "/etc/timezone", name+"\n")
		}
	}
}

func TestSet(t *testing.T) {
	p := executor.Params{"name": "Europe/Berlin"}
	moduletest.Run(t, moduletest.Suite{
		Module: module, Host: newHost, Snapshot: func(t *testing.T, h executor.Host) any { return moduletest.Tree(t, h, "/") },
		Cases: []moduletest.Case{
			{Name: "none", Params: p},
			{Name: "none, on Debian", Params: p, Setup: func(t *testing.T, h executor.Host) { moduletest.Put(t, h, "/etc/debian_version", "12\n") }},
			{Name: "another", Params: p, Setup: at("/usr/share/zoneinfo/UTC", "Etc/UTC")},
			{Name: "a copy of the file", Params: p, Setup: func(t *testing.T, h executor.Host) { moduletest.Put(t, h, "/etc/localtime", "TZif2") }},
			{Name: "that one", Params: p, Setup: at("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"), Matches: true},
			{Name: "that one, relative", Params: p, Setup: at("../usr/share/zoneinfo/Europe/Berlin", ""), Matches: true},
		},
	})
}

func TestNoSuchZone(t *testing.T) {
	change, err := module.Check(t.Context(), newHost(t), nil, executor.Params{"name": "Mars/Olympus"})
	var missing *executor.Missing
	if !errors.As(err, &missing) || !change.Needed {
		t.Errorf("%+v, %v", change, err)
	}
	for name, ok := range map[string]bool{"UTC": true, "Etc/GMT+1": true, "America/Port-au-Prince": true, "../../etc/shadow": false, "/UTC": false, "": false} {
		if err := module.Function().Validate(map[string]any{"name": name}); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
